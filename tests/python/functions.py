"""Typed stubs of easyremote functions.

Written by `easyremote gen python` from the schemas of the functions; do not edit.

    from easyremote import Client
    functions = Functions(Client(url, bearer))

Options of calls belong to the client: `Functions(client.with_options(timeout=5))`. A tuple in a
result is a list when the program runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from typing import Any, Dict, List, Literal, Optional, Tuple, TypedDict, Union, cast

from easyremote import AsyncClient, AsyncStream, Client, Stream


CheckError = Union["Refusal"]


CheckTextError = Union[str]


CheckedError = Union[str]


CheckedSetupError = Union["Refusal"]


class Client2(TypedDict):
    number: int


class Client_(TypedDict):
    name: str


Color = Literal["Red", "dark \"blue\""]


class Empty(TypedDict):
    pass


Expression = Union["ExpressionNumber", "ExpressionSum", "ExpressionNegative"]


ExpressionNegative = TypedDict("ExpressionNegative", {"Negative": "ExpressionNegativeNegative"})


class ExpressionNegativeNegative(TypedDict):
    of: Expression


ExpressionNumber = TypedDict("ExpressionNumber", {"Number": "int"})


ExpressionSum = TypedDict("ExpressionSum", {"Sum": "Tuple[Expression, Expression]"})


Loop = Union["List[Loop]"]


_OddRequired = TypedDict("_OddRequired", {"1st": "int", "__secret": "int", "from": "int", "int": "int", "max-speed": "int", "str": "int"})


_OddOptional = TypedDict("_OddOptional", {"class": "Optional[int]"}, total=False)


class Odd(_OddRequired, _OddOptional):
    pass


class _ReadingRequired(TypedDict):
    at: int
    celsius: float


class _ReadingOptional(TypedDict, total=False):
    note: Optional[str]
    tags: List[str]


class Reading(_ReadingRequired, _ReadingOptional):
    pass


class _ReadingResultRequired(TypedDict):
    at: int
    celsius: Optional[float]


class _ReadingResultOptional(TypedDict, total=False):
    note: Optional[str]
    tags: List[str]


class ReadingResult(_ReadingResultRequired, _ReadingResultOptional):
    pass


Refusal = Union[Literal["Closed"], "RefusalTooLarge"]


RefusalTooLarge = TypedDict("RefusalTooLarge", {"TooLarge": "int"})


Shape = Union[Literal["Nothing"], "ShapeCircle", "ShapeSquare", "ShapeCorner", "ShapeUnit"]


ShapeCircle = TypedDict("ShapeCircle", {"Circle": "ShapeCircleCircle"})


class ShapeCircleCircle(TypedDict):
    color: Color
    radius: float


ShapeCorner = TypedDict("ShapeCorner", {"Corner": "Tuple[float, float]"})


ShapeResult = Union[Literal["Nothing"], "ShapeResultCircle", "ShapeResultSquare", "ShapeResultCorner", "ShapeResultUnit"]


ShapeResultCircle = TypedDict("ShapeResultCircle", {"Circle": "ShapeResultCircleCircle"})


class ShapeResultCircleCircle(TypedDict):
    color: Color
    radius: Optional[float]


ShapeResultCorner = TypedDict("ShapeResultCorner", {"Corner": "Tuple[Optional[float], Optional[float]]"})


ShapeResultSquare = TypedDict("ShapeResultSquare", {"Square": "Optional[float]"})


ShapeResultUnit = TypedDict("ShapeResultUnit", {"Unit": "None"})


ShapeSquare = TypedDict("ShapeSquare", {"Square": "float"})


ShapeUnit = TypedDict("ShapeUnit", {"Unit": "None"})


class Tree(TypedDict):
    children: List[Tree]
    value: int


class Functions:
    """The functions of a gateway."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def model_embed(self, /, text: str) -> int:
        return cast("int", self._client.call("Model.embed", arguments={"text": text}))

    def client(self, /) -> int:
        return cast("int", self._client.call("_client", arguments={}))

    def check(self, /, n: int) -> int:
        """Raises `FunctionError`, whose `error` is `CheckError`."""
        return cast("int", self._client.call("check", arguments={"n": n}))

    def check_text(self, /, n: int) -> None:
        """Raises `FunctionError`, whose `error` is `CheckTextError`."""
        self._client.call("check_text", arguments={"n": n})

    def checked(self, /, n: int) -> Stream[int]:
        """Raises `FunctionError`, whose `error` is `CheckedError`.

        Raises `FunctionError` before the first item, whose `error` is `CheckedSetupError`.
        """
        return self._client.stream("checked", arguments={"n": n})

    def class_(self, /) -> int:
        return cast("int", self._client.call("class", arguments={}))

    def greet(self, /, name: str, times: Optional[int] = None, mark: Optional[str] = None) -> str:
        """Greets somebody.

        With a \\ and \"\"\"quotes\"\"\", and an é.

        - `name`: Who it is.
        - `times`: How often;
          once, unless given.
        """
        return cast("str", self._client.call("greet", arguments={"name": name, "times": times, "mark": mark}))

    def int_(self, /) -> int:
        return cast("int", self._client.call("int", arguments={}))

    def keywords(self, /, lambda_: int, in_: int, pass_: int, cast_: int, int_: int, result: int, self_: int) -> List[int]:
        return cast("List[int]", self._client.call("keywords", arguments={"lambda": lambda_, "in": in_, "pass": pass_, "cast": cast_, "int": int_, "result": result, "self_": self_}))

    def model_embed_(self, /, text: str) -> int:
        return cast("int", self._client.call("model_embed", arguments={"text": text}))

    def readings(self, /, n: int) -> Stream[ReadingResult]:
        return self._client.stream("readings", arguments={"n": n})

    def same_clients(self, /, one: Client_, two: Client2) -> Tuple[Client_, Client2]:
        return cast("Tuple[Client_, Client2]", self._client.call("same_clients", arguments={"one": one, "two": two}))

    def same_color(self, /, color: Color) -> Color:
        return cast("Color", self._client.call("same_color", arguments={"color": color}))

    def same_either(self, /, either: Any) -> Any:
        return self._client.call("same_either", arguments={"either": either})

    def same_event(self, /, event: Mapping[str, Any]) -> Dict[str, Any]:
        return cast("Dict[str, Any]", self._client.call("same_event", arguments={"event": event}))

    def same_expression(self, /, expression: Expression) -> Expression:
        return cast("Expression", self._client.call("same_expression", arguments={"expression": expression}))

    def same_loop(self, /, looped: Loop) -> Loop:
        return cast("Loop", self._client.call("same_loop", arguments={"looped": looped}))

    def same_maps(self, /, by_text: Mapping[str, int], by_number: Mapping[str, Sequence[int]], by_color: Mapping[Literal["Red", "dark \"blue\""], bool]) -> Tuple[Dict[str, int], Dict[str, List[int]], Dict[Literal["Red", "dark \"blue\""], bool]]:
        return cast("Tuple[Dict[str, int], Dict[str, List[int]], Dict[Literal[\"Red\", \"dark \\\"blue\\\"\"], bool]]", self._client.call("same_maps", arguments={"by_text": by_text, "by_number": by_number, "by_color": by_color}))

    def same_odd(self, /, odd: Odd) -> Odd:
        return cast("Odd", self._client.call("same_odd", arguments={"odd": odd}))

    def same_pair(self, /, pair: Tuple[int, str], unit: None, empty: Empty) -> Tuple[Tuple[int, str], None, Empty]:
        return cast("Tuple[Tuple[int, str], None, Empty]", self._client.call("same_pair", arguments={"pair": pair, "unit": unit, "empty": empty}))

    def same_reading(self, /, reading: Reading) -> ReadingResult:
        return cast("ReadingResult", self._client.call("same_reading", arguments={"reading": reading}))

    def same_shape(self, /, shape: Shape) -> ShapeResult:
        return cast("ShapeResult", self._client.call("same_shape", arguments={"shape": shape}))

    def same_small(self, /, byte: int, large: int, letter: str, flag: bool, triple: Tuple[int, int, int], long: Sequence[int], none: None) -> Tuple[int, int, str, bool, Tuple[int, int, int], List[int], None]:
        return cast("Tuple[int, int, str, bool, Tuple[int, int, int], List[int], None]", self._client.call("same_small", arguments={"byte": byte, "large": large, "letter": letter, "flag": flag, "triple": triple, "long": long, "none": none}))

    def same_tree(self, /, tree: Tree) -> Tree:
        return cast("Tree", self._client.call("same_tree", arguments={"tree": tree}))

    def shapes(self, /, *, items: Iterable[Shape]) -> Stream[ShapeResult]:
        return self._client.duplex("shapes", {}, items=items)

    def sum_of(self, /, items: int, *, items_: Iterable[Reading]) -> Optional[float]:
        return cast("Optional[float]", self._client.upload("sum_of", {"items": items}, items=items_))


class AsyncFunctions:
    """The functions of a gateway, for asyncio."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def model_embed(self, /, text: str) -> int:
        return cast("int", await self._client.call("Model.embed", arguments={"text": text}))

    async def client(self, /) -> int:
        return cast("int", await self._client.call("_client", arguments={}))

    async def check(self, /, n: int) -> int:
        """Raises `FunctionError`, whose `error` is `CheckError`."""
        return cast("int", await self._client.call("check", arguments={"n": n}))

    async def check_text(self, /, n: int) -> None:
        """Raises `FunctionError`, whose `error` is `CheckTextError`."""
        await self._client.call("check_text", arguments={"n": n})

    def checked(self, /, n: int) -> AsyncStream[int]:
        """Raises `FunctionError`, whose `error` is `CheckedError`.

        Raises `FunctionError` before the first item, whose `error` is `CheckedSetupError`.
        """
        return self._client.stream("checked", arguments={"n": n})

    async def class_(self, /) -> int:
        return cast("int", await self._client.call("class", arguments={}))

    async def greet(self, /, name: str, times: Optional[int] = None, mark: Optional[str] = None) -> str:
        """Greets somebody.

        With a \\ and \"\"\"quotes\"\"\", and an é.

        - `name`: Who it is.
        - `times`: How often;
          once, unless given.
        """
        return cast("str", await self._client.call("greet", arguments={"name": name, "times": times, "mark": mark}))

    async def int_(self, /) -> int:
        return cast("int", await self._client.call("int", arguments={}))

    async def keywords(self, /, lambda_: int, in_: int, pass_: int, cast_: int, int_: int, result: int, self_: int) -> List[int]:
        return cast("List[int]", await self._client.call("keywords", arguments={"lambda": lambda_, "in": in_, "pass": pass_, "cast": cast_, "int": int_, "result": result, "self_": self_}))

    async def model_embed_(self, /, text: str) -> int:
        return cast("int", await self._client.call("model_embed", arguments={"text": text}))

    def readings(self, /, n: int) -> AsyncStream[ReadingResult]:
        return self._client.stream("readings", arguments={"n": n})

    async def same_clients(self, /, one: Client_, two: Client2) -> Tuple[Client_, Client2]:
        return cast("Tuple[Client_, Client2]", await self._client.call("same_clients", arguments={"one": one, "two": two}))

    async def same_color(self, /, color: Color) -> Color:
        return cast("Color", await self._client.call("same_color", arguments={"color": color}))

    async def same_either(self, /, either: Any) -> Any:
        return await self._client.call("same_either", arguments={"either": either})

    async def same_event(self, /, event: Mapping[str, Any]) -> Dict[str, Any]:
        return cast("Dict[str, Any]", await self._client.call("same_event", arguments={"event": event}))

    async def same_expression(self, /, expression: Expression) -> Expression:
        return cast("Expression", await self._client.call("same_expression", arguments={"expression": expression}))

    async def same_loop(self, /, looped: Loop) -> Loop:
        return cast("Loop", await self._client.call("same_loop", arguments={"looped": looped}))

    async def same_maps(self, /, by_text: Mapping[str, int], by_number: Mapping[str, Sequence[int]], by_color: Mapping[Literal["Red", "dark \"blue\""], bool]) -> Tuple[Dict[str, int], Dict[str, List[int]], Dict[Literal["Red", "dark \"blue\""], bool]]:
        return cast("Tuple[Dict[str, int], Dict[str, List[int]], Dict[Literal[\"Red\", \"dark \\\"blue\\\"\"], bool]]", await self._client.call("same_maps", arguments={"by_text": by_text, "by_number": by_number, "by_color": by_color}))

    async def same_odd(self, /, odd: Odd) -> Odd:
        return cast("Odd", await self._client.call("same_odd", arguments={"odd": odd}))

    async def same_pair(self, /, pair: Tuple[int, str], unit: None, empty: Empty) -> Tuple[Tuple[int, str], None, Empty]:
        return cast("Tuple[Tuple[int, str], None, Empty]", await self._client.call("same_pair", arguments={"pair": pair, "unit": unit, "empty": empty}))

    async def same_reading(self, /, reading: Reading) -> ReadingResult:
        return cast("ReadingResult", await self._client.call("same_reading", arguments={"reading": reading}))

    async def same_shape(self, /, shape: Shape) -> ShapeResult:
        return cast("ShapeResult", await self._client.call("same_shape", arguments={"shape": shape}))

    async def same_small(self, /, byte: int, large: int, letter: str, flag: bool, triple: Tuple[int, int, int], long: Sequence[int], none: None) -> Tuple[int, int, str, bool, Tuple[int, int, int], List[int], None]:
        return cast("Tuple[int, int, str, bool, Tuple[int, int, int], List[int], None]", await self._client.call("same_small", arguments={"byte": byte, "large": large, "letter": letter, "flag": flag, "triple": triple, "long": long, "none": none}))

    async def same_tree(self, /, tree: Tree) -> Tree:
        return cast("Tree", await self._client.call("same_tree", arguments={"tree": tree}))

    def shapes(self, /, *, items: Union[Iterable[Shape], AsyncIterable[Shape]]) -> AsyncStream[ShapeResult]:
        return self._client.duplex("shapes", {}, items=items)

    async def sum_of(self, /, items: int, *, items_: Union[Iterable[Reading], AsyncIterable[Reading]]) -> Optional[float]:
        return cast("Optional[float]", await self._client.upload("sum_of", {"items": items}, items=items_))
