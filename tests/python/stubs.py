"""Calls each function of `zoo.rs` by its generated stub. Also what mypy checks."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import functions
from easyremote import AsyncClient, Client, FunctionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

URL, BEARER = os.environ["EASYREMOTE_URL"], os.environ["EASYREMOTE_BEARER"]


def same(one: object, other: object) -> bool:
    """Compares values whose types differ: what a function returns may be `None` in more places."""
    return one == other


def threads() -> None:
    stubs = functions.Functions(Client(URL, BEARER))
    reading: functions.Reading = {"celsius": 0.5, "at": 2**64 - 1, "note": None, "tags": ["a"]}
    assert same(stubs.same_reading(reading), reading)
    without_tags: functions.Reading = {"celsius": 0.5, "at": 1, "note": "n"}
    assert stubs.same_reading(without_tags)["tags"] == []
    color: functions.Color = 'dark "blue"'
    assert stubs.same_color(color) == color
    shapes: list[functions.Shape] = [
        "Nothing",
        {"Circle": {"radius": 1.5, "color": "Red"}},
        {"Square": 2.0},
        {"Corner": (1.0, 2.0)},
        {"Unit": None},
    ]
    for shape in shapes:
        # What is a tuple becomes a list.
        expected = {"Corner": [1.0, 2.0]} if shape == {"Corner": (1.0, 2.0)} else shape
        assert same(stubs.same_shape(shape), expected)
    tree: functions.Tree = {"value": 1, "children": [{"value": 2, "children": []}]}
    assert stubs.same_tree(tree)["children"][0]["value"] == 2
    sum_of_two: functions.Expression = {"Sum": ({"Number": 1}, {"Negative": {"of": {"Number": 2}}})}
    listed = {"Sum": [{"Number": 1}, {"Negative": {"of": {"Number": 2}}}]}
    assert same(stubs.same_expression(sum_of_two), listed)
    assert stubs.same_loop([[], [[]]]) == [[], [[]]]
    assert stubs.same_event({"kind": "Stop", "code": 3}) == {"kind": "Stop", "code": 3}
    assert stubs.same_either("a") == "a"
    pair, unit, empty = stubs.same_pair((1, "a"), None, {})
    assert (pair[1], unit, empty) == ("a", None, {})
    odd: functions.Odd = {
        "from": 1,
        "max-speed": 2,
        "1st": 3,
        "int": 4,
        "str": 5,
        "__secret": 6,
        "class": None,
    }
    assert stubs.same_odd(odd) == odd
    one, two = stubs.same_clients({"name": "a"}, {"number": 1})
    assert (one["name"], two["number"]) == ("a", 1)
    maps = stubs.same_maps({"a": 1}, {"7": b"ab"}, {"Red": True})
    assert maps[0]["a"] == 1 and maps[1]["7"] == [97, 98] and maps[2] == {"Red": True}
    small = stubs.same_small(1, 2**128 - 1, "x", True, (1, 2, 3), [4] * 9, None)
    assert small[1] == 2**128 - 1 and small[5] == [4] * 9
    assert stubs.greet("Ann") == stubs.greet("Ann", 1, None) == "hello Ann"
    assert stubs.greet(name="B", times=2, mark="!") == "hello B!hello B!"
    assert stubs.greet.__doc__ and '\\ and """quotes"""' in stubs.greet.__doc__
    assert stubs.keywords(lambda_=1, in_=2, pass_=3, cast_=4, int_=5, result=6, self_=7) == [
        *range(1, 8)
    ]
    assert (stubs.class_(), stubs.int_(), stubs.client()) == (1, 2, 3)
    assert (stubs.model_embed("ab"), stubs.model_embed_("ab")) == (2, 3)
    try:
        stubs.check(10)
    except FunctionError as raised:
        error: functions.CheckError = raised.error
        assert error == {"TooLarge": 10}
    stubs.check_text(0)
    readings = stubs.readings(3).skip(1)
    assert [it["at"] for it in readings] == [1, 2]
    results = list(stubs.checked(3).results())
    assert results[0] == 0 and isinstance(results[1], FunctionError)
    assert stubs.sum_of(1, items_=[reading, reading]) == 2.0
    assert list(stubs.shapes(items=shapes[:1])) == ["Nothing"]


async def asyncio_too() -> None:
    stubs = functions.AsyncFunctions(AsyncClient(URL, BEARER).with_options(timeout=60))
    assert await stubs.greet("Ann", 2) == "hello Annhello Ann"
    assert [it["at"] async for it in stubs.readings(2)] == [0, 1]

    async def both() -> AsyncIterator[functions.Shape]:
        yield "Nothing"
        yield {"Square": 1.0}

    assert len([it async for it in stubs.shapes(items=both())]) == 2
    reading: functions.Reading = {"celsius": 0.5, "at": 1, "note": None}
    assert await stubs.sum_of(1, items_=[reading]) == 1.5


threads()
asyncio.run(asyncio_too())
