"""Calls the functions of an easyremote gateway over HTTP.

One file, without dependencies, for Python 3.9 and later: copy it beside your program.

    from easyremote import Client

    client = Client("https://gw.example.com:8443", bearer)
    print(client.call("add", 1, 2))
    for number in client.stream("count", 10, skip=3):
        print(number)

`AsyncClient` is the same for asyncio. Both have one implementation: the I/O of every `Client` of a
process runs on one thread, "easyremote-io", so that a client may be used by many threads, and closed
by any.

- Every failure is a `CallError`: a `FunctionError` is the function's own, a `RemoteError` is
  everything else. `executed` says whether the function may have run: "No" is a proof.
- Items of a stream arrive as the function makes them. A stream ends only after the gateway has
  said that it is complete; one whose connection is cut raises a `RemoteError`.
- What is given up is cancelled at its node: a cancelled task, a closed or dropped stream.
- Nothing is sent a second time, except what starts no function.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import datetime
import ipaddress
import json
import os
import random
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Generic,
    NoReturn,
    TypeVar,
    Union,
)
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "AsyncStream",
    "CallError",
    "Client",
    "FunctionError",
    "FunctionInfo",
    "Job",
    "JobProgress",
    "JobStatus",
    "RemoteError",
    "Stream",
    "Ticket",
]

T = TypeVar("T")
S = TypeVar("S", bound="_Operators")

Duration = Union[int, float, datetime.timedelta]
"""Seconds, or a `timedelta`."""

Tags = Union[str, Sequence[str]]
"""A tag, or several."""

Arguments = Union[Sequence[Any], Mapping[str, Any]]
"""The arguments of a function, by position or by name."""

CONNECT_TIMEOUT = 10.0
"""Time to connect, with the TLS handshake, in seconds."""

IDLE = 5.0
"""How long a connection waits for its next request: shorter than the gateway's 10 s, so that a
request does not meet its end."""

SILENCE = 45.0
"""How long an open stream may be silent: the gateway sends a comment every 15 s."""

RESUME = 30.0
"""How long a stream that may be resumed is tried again: as long as its node keeps it."""

EXPECT = 1.0
"""How long the body of a long request waits to be wanted: not every proxy says so."""

GRACE = 1.0
"""How long after a deadline the gateway may still say how the call has ended."""

MAX_MESSAGE = 256 << 20
"""Maximum size of an answer, or of an item, in bytes."""

_MAX_HEAD = 64 << 10
_PIECE = 64 << 10


# ---- Errors ----------------------------------------------------------------------------------------


class CallError(Exception):
    """Why a call, or a stream, has failed.

    `kind` is the name of the kind, such as "NoNode"; "Function" is the function's own error.
    `executed` says whether the function may have run: "No", "Maybe" or "Yes". "No" is a proof.
    `node` is the id of the node, if one was chosen. `delivered` is the number of items that came
    before. `retry_after` is how long to wait, in seconds, if the gateway knows. `status` is that of
    the HTTP answer; `None` if there was none.
    """

    def __init__(
        self,
        message: str,
        kind: str,
        executed: str,
        *,
        node: str | None = None,
        delivered: int = 0,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.executed = executed
        self.node = node
        self.delivered = delivered
        self.retry_after = retry_after
        self.status = status

    def __str__(self) -> str:
        return f"{self.message} ({self.kind}, executed: {self.executed})"


class RemoteError(CallError):
    """A failure that is not the function's own: no node, a lost connection, wrong arguments."""

    @property
    def is_retryable(self) -> bool:
        """Whether the same call may succeed later, and has certainly not started now."""
        return self.executed == "No" and self.kind in _PASSING


class FunctionError(CallError):
    """The function's own error; `error` is its value, as JSON."""

    def __init__(
        self, error: Any, message: str = "the function returned an error", **of: Any
    ) -> None:
        super().__init__(f"{message}: {_short(error)}", "Function", "Yes", **of)
        self.error = error


_PASSING = frozenset(
    ["Unavailable", "NoNode", "Overloaded", "NodeLost", "ConnectionLost", "Draining"]
)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + ".."


def _invalid(text: str) -> RemoteError:
    return RemoteError(text, "InvalidInput", "No")


class _Lost(Exception):
    """The connection has ended too early."""


# ---- JSON ------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return list(bytes(value))
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"a {type(value).__name__} has no JSON; convert it first")


def _encode(value: Any, what: str) -> bytes:
    """Encodes a value. Bytes are lists of numbers, as the schemas say."""
    try:
        text = json.dumps(
            value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain
        )
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid(f"{what} cannot be sent as JSON: {error}") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _decode(text: bytes | bytearray) -> Any:
    """Decodes a value. Integers are exact, however long they are."""
    return json.loads(text.decode(), parse_constant=_no_constant)


# ---- Options ---------------------------------------------------------------------------------------


def _seconds(duration: Duration, name: str) -> float:
    seconds = (
        duration.total_seconds() if isinstance(duration, datetime.timedelta) else float(duration)
    )
    if not 0 <= seconds < 1e9:
        raise _invalid(f"`{name}` must be a time in seconds, and not {duration!r}")
    return seconds


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"


def _header(name: str, value: str) -> tuple[str, str]:
    if not isinstance(value, str):
        raise _invalid(f"`{name}` must be a text, and not {value!r}")
    # What HTTP would change, or take for the end of the header.
    if value != value.strip() or any(c < " " or c == "\x7f" for c in value):
        raise _invalid(f"`{name}` has a character, or a space at an end, that HTTP cannot send")
    return name, value


def _list(tags: Tags | None, name: str) -> str | None:
    if tags is None:
        return None
    tags = [tags] if isinstance(tags, str) else list(tags)
    if any("," in tag for tag in tags):
        raise _invalid(f"`{name}` has a tag with a comma, which HTTP cannot send")
    return ",".join(tags) if tags else None


@dataclass(frozen=True)
class _Options:
    """How calls are made."""

    timeout: Duration | None = None
    node: str | None = None
    tag: Tags | None = None
    prefer_tag: Tags | None = None
    sticky: str | None = None
    strategy: str | None = None
    wait_for_node: bool | None = None
    key: str | None = None
    metadata: Mapping[str, str] | None = None
    traceparent: str | None = None

    def over(self, given: dict[str, Any]) -> _Options:
        """Returns these options, changed by those of `given`, which are taken out of it."""
        changed = {name: given.pop(name) for name in _OPTION_NAMES if name in given}
        changed = {name: value for name, value in changed.items() if value is not None}
        if "metadata" in changed and self.metadata:
            changed["metadata"] = {**self.metadata, **changed["metadata"]}
        return replace(self, **changed)

    def headers(self) -> list[tuple[str, str]]:
        """Returns all but the timeout, which becomes shorter while a connection is made."""
        named = [
            ("Easyremote-Node", self.node),
            ("Easyremote-Tag", _list(self.tag, "tag")),
            ("Easyremote-Prefer-Tag", _list(self.prefer_tag, "prefer_tag")),
            ("Easyremote-Sticky", self.sticky),
            ("Easyremote-Strategy", self.strategy),
            ("Easyremote-Wait-For-Node", "true" if self.wait_for_node else None),
            ("Easyremote-Key", self.key),
            ("traceparent", self.traceparent),
        ]
        headers = [_header(name, value) for name, value in named if value is not None]
        for name, value in (self.metadata or {}).items():
            if not _is_token(name) or name != name.lower():
                # Names of headers arrive in lower case.
                raise _invalid(
                    f"the name of metadata {name!r} must be lower-case letters, digits or -_."
                )
            headers.append(_header(f"Easyremote-Metadata-{name}", value))
        return headers


_OPTION_NAMES = tuple(_Options.__dataclass_fields__)


def _is_token(name: str) -> bool:
    return bool(name) and all(c.isascii() and (c.isalnum() or c in "-_.") for c in name)


def _arguments(
    args: tuple[Any, ...], named: dict[str, Any], arguments: Arguments | None
) -> list[Any] | dict[str, Any]:
    given = sum([bool(args), bool(named), arguments is not None])
    if given > 1:
        raise _invalid(
            "give the arguments by position, by name, or as `arguments`, in one way only"
        )
    if isinstance(arguments, (str, bytes)):
        raise _invalid("`arguments` is a list or a dict of all arguments")
    if isinstance(arguments, Mapping):
        return dict(arguments)
    if arguments is not None:
        return list(arguments)
    return named if named else list(args)


# ---- Operators -------------------------------------------------------------------------------------


def _number(value: Any, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _invalid(f"`{name}` must be a number of items or bytes, and not {value!r}")
    return str(value)


def _switch(value: Any, name: str) -> str | None:
    if not isinstance(value, bool):
        raise _invalid(f"`{name}` is `True` or `False`")
    return "" if value else None


def _batches(value: Any, _: str) -> str:
    try:
        items, wait = value
    except (TypeError, ValueError):
        raise _invalid("`batches` is a number and a time, as in `(100, 0.5)`") from None
    return f"{_number(items, 'batches')},{_milliseconds(_seconds(wait, 'batches'))}"


def _through(value: Any, _: str) -> str:
    if isinstance(value, str):
        return value
    try:
        name, arguments = value
        arguments = _arguments((), {}, arguments)
    except (TypeError, ValueError):
        raise _invalid(
            "`through` is a name, or a name and arguments, as in `('hot', [30])`"
        ) from None
    return f"{name}:{_encode(arguments, 'the arguments of `through`').decode()}"


_OPERATORS: dict[str, Callable[[Any, str], str | None]] = {
    "take": _number,
    "skip": _number,
    "every": _number,
    "sample": lambda value, name: _milliseconds(_seconds(value, name)),
    "latest": _switch,
    "dedup": _switch,
    "batches": _batches,
    "buffer": _number,
    "through": _through,
    "resume": lambda value, name: "1" if _switch(value, name) is not None else None,
}


def _query(given: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns the operators of `given`, in their order, and takes them out of it."""
    query = []
    for name in [name for name in given if name in _OPERATORS]:
        value = _OPERATORS[name](given.pop(name), name)
        if value is not None:
            query.append((name, value))
    return query


class _Operators:
    """What acts on the items of a stream, at its node, in the order in which it is written. Each
    is set before the first item is read."""

    def _operate(self, name: str, value: Any) -> Self:
        raise NotImplementedError

    def take(self, n: int) -> Self:
        """The first `n` items."""
        return self._operate("take", n)

    def skip(self, n: int) -> Self:
        """All but the first `n` items."""
        return self._operate("skip", n)

    def every(self, n: int) -> Self:
        """The first item, and every `n`-th behind it."""
        return self._operate("every", n)

    def sample(self, time: Duration) -> Self:
        """At most one item in this time, the newest."""
        return self._operate("sample", time)

    def latest(self) -> Self:
        """The newest item, whenever the last one has been taken."""
        return self._operate("latest", True)

    def dedup(self) -> Self:
        """Leaves out an item that equals the one before."""
        return self._operate("dedup", True)

    def batches(self, n: int, time: Duration) -> Self:
        """Lists of up to `n` items, or of what came within a time."""
        return self._operate("batches", (n, time))

    def buffer(self, n_bytes: int) -> Self:
        """How far the function may run ahead of this reader."""
        return self._operate("buffer", n_bytes)

    def through(self, function: str, *args: Any, **named: Any) -> Self:
        """Passes the items through an operator of the node."""
        arguments = _arguments(args, named, None)
        return self._operate("through", (function, arguments) if arguments else function)

    def resume(self) -> Self:
        """Continues, without a lost item, when the connection is cut."""
        return self._operate("resume", True)


# ---- HTTP ------------------------------------------------------------------------------------------


class _Connection(asyncio.Protocol):
    """A connection, with what has arrived and is not read yet.

    What came before the end of a connection can be read after it: a gateway that refuses a request
    says why, and may not wait for the rest of it.
    """

    def __init__(self) -> None:
        self.sent = False
        self.reused = False
        self.idle_since = 0.0
        self.buffer = bytearray()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._failure: BaseException | None = None
        self._ended = False
        self._reading_paused = False
        self._writing_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_PIECE)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            _keep_alive(raw)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) > 4 * _PIECE and not self._reading_paused and self._transport:
            self._reading_paused = True
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        self._ended = True
        _wake(self._reader)
        return False

    def connection_lost(self, _: Exception | None) -> None:
        self._ended = True
        self._writing_paused = False
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        _wake(self._writer)

    # What requests use.

    @property
    def is_usable(self) -> bool:
        return not (self._ended or self._failure or self.buffer or self._transport is None)

    async def more(self, patience: float | None = None) -> None:
        """Waits until more has arrived; for at most `patience` seconds."""
        if self._failure is not None:
            raise self._failure
        if self._ended:
            raise _Lost()
        if self._reader is not None:
            raise RuntimeError("this stream is being read by another task")
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        known = len(self.buffer)
        timer = None
        if patience is not None:
            timer = self._loop.call_later(patience, self.fail, _Lost())
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None
            if timer is not None:
                timer.cancel()
        if self._failure is not None:
            raise self._failure
        if len(self.buffer) == known:
            raise _Lost()

    async def write(self, data: bytes, *, last: bool) -> None:
        """Writes data. A request counts as sent once its `last` piece is handed over."""
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            while self._writing_paused:
                self._writer = self._loop.create_future()
                try:
                    await self._writer
                finally:
                    self._writer = None
            if (
                self._ended
                or self._failure
                or self._transport is None
                or self._transport.is_closing()
            ):
                raise _Lost()
            self.sent = self.sent or (last and start + _PIECE >= len(view))
            self._transport.write(bytes(view[start : start + _PIECE]))

    def send(self, pieces: AsyncIterator[bytes], head: bytes, wanted: asyncio.Event) -> None:
        """Sends a long request while its answer is read.

        Its body follows once it is `wanted`. A gateway that refuses it need not read it then, which
        would end the connection before its answer has arrived. RFC 9110, section 10.1.1.
        """

        async def run() -> None:
            timer = self._loop.call_later(EXPECT, wanted.set)
            try:
                await self.write(head, last=False)
                await wanted.wait()
                async for piece in pieces:
                    await self.write(piece, last=True)
            except _Lost:
                pass
            except Exception as error:  # noqa: BLE001 - what the caller's items raise
                self.fail(error)
            finally:
                timer.cancel()

        self._sender = self._loop.create_task(run())

    @property
    def is_sending(self) -> bool:
        return self._sender is not None and not self._sender.done()

    def fail_at(self, seconds: float, error: BaseException) -> None:
        self._deadline = self._loop.call_later(seconds, self.fail, error)

    def fail(self, error: BaseException) -> None:
        """Ends the connection for a reason that readers shall see."""
        if self._failure is None and not self._ended:
            self._failure = error
        self.abort()

    def settle(self) -> None:
        """Ends what belongs to the last request."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._sender is not None:
            self._sender.cancel()
            self._sender = None

    def abort(self) -> None:
        """Closes the connection at once, which cancels its request at the gateway."""
        self.settle()
        # A loop that has ended has taken its transports with it.
        if self._transport is not None and not self._loop.is_closed():
            self._transport.abort()
        self._ended = True
        self._writing_paused = False
        _wake(self._reader)
        _wake(self._writer)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _keep_alive(raw: Any) -> None:
    """Notices within half a minute that the other end is gone without a word."""
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class _Response:
    """An answer, whose body is read in parts."""

    def __init__(
        self, pool: _Pool, connection: _Connection, status: int, head: dict[str, str]
    ) -> None:
        self.status = status
        self.head = head
        self._pool = pool
        self._connection = connection
        self._chunked = head.get("transfer-encoding", "").lower() == "chunked"
        length = head.get("content-length", "")
        empty = status in (204, 304)
        if not (empty or self._chunked or (length.isascii() and length.isdigit())):
            raise _malformed("the answer does not say how long it is")
        self._left = 0 if empty or self._chunked else int(length)
        self._ended = empty or not (self._chunked or self._left)
        if self._ended:
            self._release()

    async def part(self, patience: float | None = None) -> bytes:
        """Returns the next part of the body; nothing at its end.

        Raises `_Lost` if the connection ends before.
        """
        if self._ended:
            return b""
        if self._chunked and self._left == 0 and not await self._chunk(patience):
            return b""
        buffer = self._connection.buffer
        while not buffer:
            await self._connection.more(patience)
        part = bytes(buffer[: self._left])
        del buffer[: len(part)]
        self._left -= len(part)
        if self._left == 0:
            if self._chunked:
                await self._line_end(patience)
            else:
                self._release()
        return part

    async def _chunk(self, patience: float | None) -> bool:
        line = await _line(self._connection, patience)
        size = line.split(b";")[0].strip()
        try:
            self._left = int(size, 16)
        except ValueError:
            raise _malformed("a chunk of the answer has no size") from None
        if self._left < 0 or len(size) > 15:
            raise _malformed("a chunk of the answer has no size")
        if self._left == 0:
            while await _line(self._connection, patience):
                pass
            self._release()
            return False
        return True

    async def _line_end(self, patience: float | None) -> None:
        if await _line(self._connection, patience):
            raise _malformed("a chunk of the answer is longer than it says")

    def _release(self) -> None:
        self._ended = True
        if self.head.get("connection", "").lower() == "close":
            self._connection.abort()
        else:
            self._pool.release(self._connection)

    async def read(self) -> bytes:
        """Returns the whole body."""
        body = bytearray()
        while True:
            part = await self.part()
            if not part:
                return bytes(body)
            body += part
            if len(body) > MAX_MESSAGE:
                text = f"the answer is longer than {MAX_MESSAGE} bytes"
                raise RemoteError(text, "TooLarge", "Maybe", status=self.status)

    def abort(self) -> None:
        """Gives up what is left of the answer."""
        if not self._ended:
            self._ended = True
            self._connection.abort()


def _malformed(text: str) -> RemoteError:
    return RemoteError(f"{text}; is this an easyremote gateway?", "Protocol", "Maybe")


async def _line(connection: _Connection, patience: float | None = None) -> bytes:
    start = 0
    while True:
        end = connection.buffer.find(b"\n", start)
        if end >= 0:
            line = bytes(connection.buffer[:end]).rstrip(b"\r")
            del connection.buffer[: end + 1]
            return line
        start = len(connection.buffer)
        if start > _MAX_HEAD:
            raise _malformed("a line of the answer is too long")
        await connection.more(patience)


@dataclass
class _Request:
    """A request, before it is known when it is sent."""

    method: str
    path: str
    what: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    timeout: float | None = None
    body: bytes | None = None
    # The lines of a body whose end is not known; the first one has the arguments.
    lines: AsyncIterator[bytes] | None = None
    # Whether it starts nothing, so that it may be sent again.
    repeatable: bool = False


class _Pool:
    """The connections of a client."""

    def __init__(self, url: str, bearer: str, ca_file: str | None, plaintext: bool) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            # The address is not quoted: it may hold a secret.
            raise _invalid("the address of the gateway must be `https://host:port`")
        try:
            port = parts.port
        except ValueError:
            raise _invalid("the port of the gateway's address is not valid") from None
        self.is_https = parts.scheme == "https"
        self.host = parts.hostname
        self.port = port or (443 if self.is_https else 80)
        if not (self.is_https or plaintext or _is_loopback(self.host)):
            raise _invalid("a bearer must not travel in the clear: use `https://`, or loopback")
        self._is_address = _address(self.host) is not None
        self.prefix = parts.path.rstrip("/")
        authority = f"[{self.host}]" if ":" in self.host else self.host
        # The port of the scheme is left out, as browsers do it.
        self.authority = authority if port is None else f"{authority}:{port}"
        self.base = f"{parts.scheme}://{self.authority}{self.prefix}"
        _header("bearer", bearer)
        self._bearer = bearer
        self._tls: ssl.SSLContext | None = None
        if self.is_https:
            self._tls = ssl.create_default_context(cafile=ca_file)
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[_Connection] = []
        self._closed = False

    async def exchange(self, request: _Request) -> _Response:
        """Sends a request, and returns the answer once its body begins.

        Cancelling it closes the connection, which cancels the function.
        """
        deadline = None
        if request.timeout is not None:
            deadline = time.monotonic() + request.timeout
        while True:
            connection = await self._acquire(request, deadline)
            try:
                return await self._converse(connection, request, deadline)
            except _Lost:
                connection.abort()
                if connection.reused and (request.repeatable or not connection.sent):
                    # It had ended before the request reached it.
                    continue
                raise self._lost(request, connection.sent) from None
            except BaseException:
                connection.abort()
                raise

    @staticmethod
    def _lost(request: _Request, sent: bool) -> RemoteError:
        text = f"the connection was lost during {request.what}"
        executed = "Maybe" if sent and not request.repeatable else "No"
        return RemoteError(text, "ConnectionLost", executed)

    async def _converse(
        self, connection: _Connection, request: _Request, deadline: float | None
    ) -> _Response:
        connection.sent = False
        head = self._head(request, self._left(request, deadline))
        if deadline is not None:
            text = f"the deadline of {request.what} has passed, and the gateway has not answered"
            left = deadline - time.monotonic() + GRACE
            connection.fail_at(left, RemoteError(text, "DeadlineExceeded", "Maybe"))
        body = request.body or b""
        if request.lines is None and len(body) <= _PIECE // 2:
            await connection.write(head + body, last=True)
            return await self._answer(connection, None)
        wanted = asyncio.Event()
        pieces = _whole(body) if request.lines is None else _chunked(request.lines)
        connection.send(pieces, head, wanted)
        return await self._answer(connection, wanted)

    @staticmethod
    def _left(request: _Request, deadline: float | None) -> float | None:
        if deadline is None:
            return None
        left = deadline - time.monotonic()
        if left <= 0:
            text = f"the deadline of {request.what} has passed before it was sent"
            raise RemoteError(text, "DeadlineExceeded", "No")
        return left

    def _head(self, request: _Request, left: float | None) -> bytes:
        lines = [
            f"{request.method} {self.prefix}{request.path} HTTP/1.1",
            f"Host: {self.authority}",
            f"Authorization: Bearer {self._bearer}",
        ]
        lines += [f"{name}: {value}" for name, value in request.headers]
        if left is not None:
            lines.append(f"Easyremote-Timeout: {_milliseconds(left)}")
        if request.lines is not None:
            lines += ["Content-Type: application/x-ndjson", "Transfer-Encoding: chunked"]
            lines.append("Expect: 100-continue")
        elif request.body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(request.body)}"]
            if len(request.body) > _PIECE // 2:
                lines.append("Expect: 100-continue")
        elif request.method == "POST":
            lines.append("Content-Length: 0")
        return "\r\n".join([*lines, "", ""]).encode()

    async def _answer(self, connection: _Connection, wanted: asyncio.Event | None) -> _Response:
        """Reads up to the body of the answer. Sets `wanted` if the gateway wants that of the request."""
        while True:
            status = await _line(connection)
            parts = status.split(b" ", 2)
            if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
                raise _malformed("the answer is not HTTP")
            head: dict[str, str] = {}
            size = 0
            while True:
                line = await _line(connection)
                if not line:
                    break
                size += len(line)
                if size > _MAX_HEAD:
                    raise _malformed("the header of the answer is too long")
                name, _, value = line.decode("latin-1").partition(":")
                head[name.strip().lower()] = value.strip()
            if not parts[1].startswith(b"1"):
                return _Response(self, connection, int(parts[1]), head)
            if wanted is not None:
                wanted.set()

    async def _acquire(self, request: _Request, deadline: float | None) -> _Connection:
        if self._closed:
            raise RemoteError("this client is closed", "ConnectionLost", "No")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # A loop that has ended has taken its connections with it.
            self._loop, self._idle = loop, []
        # The lines of a request exist once, so it begins on a connection that has not ended.
        while self._idle and request.lines is None:
            connection = self._idle.pop()
            # Lets the loop see an end that has arrived: it polls before the second one.
            try:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            except BaseException:
                connection.abort()
                raise
            if connection.is_usable and time.monotonic() - connection.idle_since < IDLE:
                return connection
            connection.abort()
        left = self._left(request, deadline)
        limit = CONNECT_TIMEOUT if left is None else min(left, CONNECT_TIMEOUT)
        return await self._connect(loop, limit)

    async def _connect(self, loop: asyncio.AbstractEventLoop, limit: float) -> _Connection:
        connecting = loop.create_task(self._dial(loop))
        try:
            await asyncio.wait({connecting}, timeout=limit)
        except BaseException:
            connecting.cancel()
            # It may have ended at the same time.
            connecting.add_done_callback(_abandon)
            raise
        if not connecting.done():
            connecting.cancel()
            connecting.add_done_callback(_abandon)
            raise RemoteError(f"{self.base} does not answer", "Unavailable", "No")
        try:
            return connecting.result()
        except OSError as error:
            text = f"cannot connect to {self.base}: {error}"
            raise RemoteError(text, "Unavailable", "No") from error

    async def _dial(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        _, connection = await loop.create_connection(
            _Connection,
            self.host,
            self.port,
            ssl=self._tls,
            server_hostname=self.host if self._tls else None,
            # Of several addresses, one that does not answer is not waited for.
            happy_eyeballs_delay=None if self._is_address else 0.25,
        )
        return connection

    def release(self, connection: _Connection) -> None:
        """Keeps a connection for the next request."""
        usable = connection.is_usable and not connection.is_sending
        connection.settle()
        if usable and not self._closed and len(self._idle) < 16:
            connection.reused = True
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.abort()

    def close(self) -> None:
        self._closed = True
        _abort_all(self._idle)

    def __del__(self) -> None:
        loop, idle = getattr(self, "_loop", None), getattr(self, "_idle", None)
        if loop is not None and idle:
            # Raised if the loop has ended, and all connections with it.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_abort_all, idle)


def _abort_all(idle: list[_Connection]) -> None:
    while idle:
        idle.pop().abort()


def _abandon(task: asyncio.Task[_Connection] | asyncio.Task[_Response]) -> None:
    """Ends what a task has made that is not wanted any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _chunked(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines as chunks, each as soon as it exists, and the chunk that ends them."""
    async for line in lines:
        yield b"%x\r\n%s\n\r\n" % (len(line) + 1, line)
    yield b"0\r\n\r\n"


def _problem(text: bytes | bytearray, status: int | None, head: Mapping[str, str]) -> CallError:
    """Returns the error that a problem document tells of."""
    try:
        problem = _decode(text)
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or not isinstance(problem.get("kind"), str):
        # A proxy in between, which may have passed the request on.
        wrong = f"the answer has the status {status}, and does not say why"
        return RemoteError(wrong, "Protocol", "Maybe", status=status)
    after = head.get("retry-after", "")
    delivered = problem.get("delivered", 0)
    known: dict[str, Any] = {
        "node": problem.get("node"),
        "delivered": delivered if isinstance(delivered, int) else 0,
        "retry_after": float(after) if after.isascii() and after.isdigit() else None,
        "status": problem.get("status", status),
    }
    if problem["kind"] == "Function":
        return FunctionError(problem.get("error"), **known)
    executed = problem.get("executed")
    executed = executed if executed in ("No", "Yes") else "Maybe"
    message = str(problem.get("detail") or problem.get("title") or "the call failed")
    return RemoteError(message, problem["kind"], executed, **known)


# ---- What is asked ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class FunctionInfo:
    """A function that is offered now, and that the bearer's identity may call.

    `kind` says which sides send a stream. `schemas` has JSON Schemas (2020-12): `arguments`, and
    where there are such, `result`, `item`, `error`, `setup_error` and `upload`.
    """

    name: str
    kind: str
    parameters: list[str]
    signature: str
    doc: str
    needs: list[str]
    nodes: list[str]
    schemas: dict[str, Any] | None


@dataclass(frozen=True)
class JobProgress:
    """How far the function of a job says that it is: a part from 0 to 1, and a text."""

    fraction: float
    text: str


@dataclass(frozen=True)
class JobStatus:
    """What a job does now.

    `state` is "Waiting", "Running", "Succeeded" or "Failed".
    """

    id: str
    function: str
    node: str
    state: str
    progress: JobProgress | None

    @property
    def is_ended(self) -> bool:
        """Whether the function has returned, failed, or was cancelled."""
        return self.state in ("Succeeded", "Failed")

    @classmethod
    def _of(cls, status: Mapping[str, Any]) -> JobStatus:
        progress = status.get("progress")
        if progress is not None:
            progress = JobProgress(progress["fraction"], progress["text"])
        return cls(status["id"], status["function"], status["node"], status["state"], progress)


@dataclass(frozen=True)
class Ticket:
    """Opens one stream without a bearer, for `EventSource` in a browser. Valid for `expires_in`
    seconds; `url` is the whole address."""

    ticket: str
    url: str
    expires_in: float


class _Core:
    """What both clients do alike, on the loop that runs it."""

    def __init__(self, pool: _Pool, options: _Options) -> None:
        self.pool = pool
        self.options = options

    async def json(self, request: _Request) -> Any:
        """Makes a request, and returns its answer; raises the error that it tells of."""
        response = await self.pool.exchange(request)
        try:
            text = await response.read()
        except _Lost:
            raise self.pool._lost(request, True) from None
        except BaseException:
            response.abort()
            raise
        if not 200 <= response.status < 300:
            raise _problem(text, response.status, response.head)
        if not text:
            return None
        try:
            return _decode(text)
        except ValueError as error:
            raise RemoteError(f"the answer is not JSON: {error}", "BadResponse", "Maybe") from error

    def request(
        self,
        method: str,
        path: str,
        what: str,
        options: _Options | None = None,
        **more: Any,
    ) -> _Request:
        """Returns a request with these options; without any, one that calls no function."""
        options = options or _Options(timeout=self.options.timeout)
        timeout = None if options.timeout is None else _seconds(options.timeout, "timeout")
        headers = [*options.headers(), *more.pop("headers", [])]
        return _Request(method, path, what, headers=headers, timeout=timeout, **more)

    def call(
        self,
        route: str,
        function: str,
        args: tuple[Any, ...],
        named: dict[str, Any],
        arguments: Arguments | None,
    ) -> _Request:
        options = self.options.over(named)
        given = _arguments(args, named, arguments)
        body = _encode(given, f"an argument of `{function}`")
        return self.request("POST", _path(route, function), f"`{function}`", options, body=body)

    def upload(
        self,
        route: str,
        function: str,
        arguments: Arguments,
        items: AsyncIterator[Any],
        named: dict[str, Any],
        **more: Any,
    ) -> _Request:
        options = self.options.over(named)
        _no_more(named)
        first = _encode(_arguments((), {}, arguments), f"an argument of `{function}`")
        lines = _lines(first, items, function)
        path = _path(route, function)
        return self.request("POST", path, f"`{function}`", options, lines=lines, **more)

    async def functions(self) -> list[FunctionInfo]:
        listed = await self.json(self.request("GET", "/functions", "the list", repeatable=True))
        names = list(FunctionInfo.__dataclass_fields__)
        return [FunctionInfo(**{name: it.get(name) for name in names}) for it in listed]

    async def spawn(self, request: _Request) -> str:
        return str((await self.json(request))["id"])

    async def job_status(self, id: str) -> JobStatus:
        path = _path("jobs", id)
        status = await self.json(self.request("GET", path, "a job", repeatable=True))
        return JobStatus._of(status)

    async def jobs(self) -> list[JobStatus]:
        listed = await self.json(self.request("GET", "/jobs", "the jobs", repeatable=True))
        return [JobStatus._of(it) for it in listed]

    async def job_result(self, id: str) -> Any:
        path = _path("jobs", id) + "/result"
        begun = None
        while True:
            request = self.request("GET", path, "the result of a job", repeatable=True)
            try:
                return await self.json(request)
            except RemoteError as error:
                # The job goes on without those who wait for it.
                if error.kind not in ("ConnectionLost", "Unavailable"):
                    raise
                begun = begun or time.monotonic()
                if time.monotonic() - begun > RESUME:
                    raise
            await asyncio.sleep(random.uniform(0.25, 1.0))

    async def job_cancel(self, id: str) -> None:
        await self.json(self.request("DELETE", _path("jobs", id), "a job", repeatable=True))

    async def ticket(
        self,
        function: str,
        args: tuple[Any, ...],
        named: dict[str, Any],
        arguments: Arguments | None,
    ) -> Ticket:
        query = urlencode(_query(named))
        options = self.options.over(named)
        given = _arguments(args, named, arguments)
        wanted = {"function": function, "arguments": given, "query": query}
        body = _encode(wanted, f"an argument of `{function}`")
        request = self.request("POST", "/ticket", "a ticket", options, body=body, repeatable=True)
        made = await self.json(request)
        return Ticket(made["ticket"], self.pool.base + made["url"], float(made["expires_in"]))


def _path(route: str, name: str) -> str:
    if not name or name in (".", ".."):
        raise _invalid(f"{name!r} is not a name")
    return f"/{route}/{quote(name, safe='')}"


def _no_more(named: dict[str, Any]) -> None:
    if named:
        raise TypeError(f"unexpected keyword arguments: {', '.join(named)}")


async def _lines(first: bytes, items: AsyncIterator[Any], function: str) -> AsyncIterator[bytes]:
    yield first
    async for item in items:
        try:
            yield _encode(item, f"an item for `{function}`")
        except RemoteError as error:
            error.executed = "Maybe"
            raise


class _Events:
    """Splits the body of a stream into events, as they arrive."""

    def __init__(self) -> None:
        self.id: str | None = None
        self._rest = bytearray()
        self._seen = 0
        self._event = ""
        self._id: str | None = None
        self._data: bytes | None = None

    def feed(self, part: bytes) -> list[tuple[str, bytes]]:
        """Returns the events that `part` completes, each with its name and data."""
        self._rest += part
        events: list[tuple[str, bytes]] = []
        start = 0
        while True:
            end = self._rest.find(b"\n", max(start, self._seen))
            if end < 0:
                break
            line = bytes(self._rest[start:end]).rstrip(b"\r")
            start = self._seen = end + 1
            self._line(line, events)
        del self._rest[:start]
        self._seen = len(self._rest)
        if self._seen > MAX_MESSAGE:
            raise RemoteError(f"an item is longer than {MAX_MESSAGE} bytes", "TooLarge", "Maybe")
        return events

    def _line(self, line: bytes, events: list[tuple[str, bytes]]) -> None:
        if not line:
            if self._id is not None:
                self.id = self._id
            if self._data is not None:
                events.append((self._event, self._data))
            self._event, self._data = "", None
            return
        name, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            self._data = value if self._data is None else self._data + b"\n" + value
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id":
            self._id = value.decode("ascii", "replace")


class _Reading:
    """A stream, from its request to its end."""

    def __init__(self, core: _Core, request: _Request, query: list[tuple[str, str]]) -> None:
        self.request = request
        self.query = query
        self.delivered = 0
        self.ended = False
        self._core = core
        self._path = request.path
        self._response: _Response | None = None
        self._events = _Events()
        self._ready: deque[Any] = deque()
        self._started = False
        # The gateway counts the items of one answer.
        self._resumed = False
        # When its connection was lost, if nothing has come since.
        self._stalled_since: float | None = None
        self._failure: CallError | None = None
        self._opening: asyncio.Task[_Response] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def started(self) -> bool:
        return self._started

    async def batch(self) -> list[Any]:
        """Returns what has arrived, at least one; nothing at the end. The function's errors are in it.

        Cancelling it closes the stream.
        """
        if self.ended:
            return []
        if self._failure is not None:
            raise self._failure
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                batch = await self._some()
                if batch or self.ended:
                    return batch
        except CallError as error:
            error.delivered = max(error.delivered, self.delivered)
            self._give_up(error)
            raise
        except BaseException:
            self.close()
            raise

    async def _some(self) -> list[Any]:
        if self._response is None:
            self._started = True
            self.request.path = (
                f"{self._path}?{urlencode(self.query)}" if self.query else self._path
            )
            self._response = await self._open()
        try:
            part = await self._response.part(SILENCE)
            if not part:
                raise _Lost()
        except _Lost:
            self._response.abort()
            if self._failure is not None:
                # Another task has closed it.
                raise self._failure from None
            await self._resume()
            return []
        batch: list[Any] = []
        for event, data in self._events.feed(part):
            if self.ended:
                break
            try:
                self._take(event, data, batch)
            except CallError as error:
                if not batch:
                    raise
                # What came before it is delivered first.
                self.delivered += len(batch)
                error.delivered = max(error.delivered, self.delivered)
                self._give_up(error)
                return batch
        self.delivered += len(batch)
        if batch:
            self._stalled_since = None
        return batch

    def _take(self, event: str, data: bytes, batch: list[Any]) -> None:
        try:
            value = _decode(data)
        except ValueError as error:
            text = f"an item of {self.request.what} is not JSON: {error}"
            raise RemoteError(text, "BadResponse", "Yes") from error
        if event == "":
            batch.append(value)
        elif event == "fault":
            batch.append(FunctionError(value))
        elif event == "problem":
            raise _problem(data, None, {})
        elif event == "end":
            count = value.get("items") if isinstance(value, dict) else None
            if not self._resumed and count != self.delivered + len(batch):
                text = f"{self.request.what} has ended, and not all of its items have arrived"
                raise RemoteError(text, "Protocol", "Yes")
            self.ended = True

    async def _open(self) -> _Response:
        """Begins in a way that `close` can end."""
        opening = asyncio.get_running_loop().create_task(self._begin())
        self._opening = opening
        try:
            return await opening
        except asyncio.CancelledError:
            # It may have ended at the same time.
            opening.add_done_callback(_abandon)
            if self._failure is not None:
                raise self._failure from None
            raise
        finally:
            self._opening = None

    async def _begin(self) -> _Response:
        response = await self._core.pool.exchange(self.request)
        try:
            if response.status != 200:
                raise _problem(await response.read(), response.status, response.head)
            if not response.head.get("content-type", "").startswith("text/event-stream"):
                raise _malformed("the answer is not a stream of events")
        except _Lost:
            raise self._core.pool._lost(self.request, True) from None
        except BaseException:
            response.abort()
            raise
        return response

    async def _resume(self) -> None:
        """Continues behind the last item, or raises what has happened."""
        text = f"the connection was lost before the end of {self.request.what}"
        lost = RemoteError(text, "ConnectionLost", "Maybe")
        last = self._events.id
        if ("resume", "1") not in self.query or last is None or self.request.lines is not None:
            raise lost
        # What came of an interrupted item comes again.
        self._events = _Events()
        self._events.id = last
        headers = [it for it in self.request.headers if it[0] != "Last-Event-ID"]
        self.request.headers = [*headers, ("Last-Event-ID", last)]
        self._resumed = True
        now, pause = time.monotonic(), 0.1
        if self._stalled_since is None:
            self._stalled_since = now
        else:
            # The last answer has brought nothing.
            await asyncio.sleep(pause)
        begun = self._stalled_since
        while True:
            if time.monotonic() - begun > RESUME:
                raise lost
            try:
                self._response = await self._open()
                return
            except RemoteError as error:
                # Also the leg that continued may be cut before its answer; nothing starts anew.
                if error.kind not in ("ConnectionLost", "Unavailable", "Draining", "Overloaded"):
                    raise
                if time.monotonic() - begun > RESUME:
                    raise lost from error
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            if self._failure is not None:
                raise self._failure
            pause = min(pause * 1.6, 2.0)

    def _give_up(self, error: CallError) -> None:
        self._failure = self._failure or error
        if self._opening is not None:
            self._opening.cancel()
        if self._response is not None:
            self._response.abort()

    def close(self) -> None:
        """Closes the stream, which cancels the function at its node."""
        if not self.ended:
            executed = "Maybe" if self._started else "No"
            text = f"{self.request.what} was closed before its end"
            self._give_up(RemoteError(text, "Cancelled", executed, delivered=self.delivered))

    def drop(self) -> None:
        """Closes the stream from any thread."""
        loop = self._loop
        if self.ended or loop is None or self._response is None:
            return
        with contextlib.suppress(RuntimeError):
            # Raised if the loop has ended, and all connections with it.
            loop.call_soon_threadsafe(self.close)


def _reading(
    core: _Core,
    function: str,
    args: tuple[Any, ...],
    named: dict[str, Any],
    arguments: Arguments | None,
    items: AsyncIterator[Any] | None,
) -> _Reading:
    query = _query(named)
    accept = [("Accept", "text/event-stream")]
    if items is None:
        request = core.call("stream", function, args, named, arguments)
        request.headers += accept
    else:
        given = list(args) if arguments is None else arguments
        request = core.upload("stream", function, given, items, named, headers=accept)
    return _Reading(core, request, query)


# ---- asyncio ---------------------------------------------------------------------------------------


class AsyncStream(_Operators, AsyncIterator[T]):
    """The items of a stream, as they come. Nothing is sent before the first one is awaited.

    It ends only after the gateway has said that it is complete; otherwise it raises a `RemoteError`,
    again at each further attempt to read. An error that the function returns for one item is raised
    as `FunctionError`, and the next read goes on behind it; `results` iterates over both.

    Cancelling the wait for an item, `aclose`, and dropping the stream cancel the function.
    """

    def __init__(self, reading: _Reading) -> None:
        self._reading = reading
        self._batch: deque[Any] = deque()

    def _operate(self, name: str, value: Any) -> Self:
        _add_operator(self._reading, name, value)
        return self

    @property
    def delivered(self) -> int:
        """The number of items and of the function's errors that were read."""
        return self._reading.delivered - len(self._batch)

    def __aiter__(self) -> AsyncStream[T]:
        return self

    async def __anext__(self) -> T:
        result = await self._next()
        if isinstance(result, FunctionError):
            raise result
        return result

    async def _next(self) -> T | FunctionError:
        if not self._batch:
            self._batch.extend(await self._reading.batch())
        if not self._batch:
            raise StopAsyncIteration
        result: T | FunctionError = self._batch.popleft()
        return result

    async def results(self) -> AsyncIterator[T | FunctionError]:
        """Iterates over items, and over the function's errors for single items."""
        while True:
            try:
                result = await self._next()
            except StopAsyncIteration:
                return
            yield result

    async def aclose(self) -> None:
        """Closes the stream, which cancels the function at its node."""
        self._batch.clear()
        self._reading.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        reading = getattr(self, "_reading", None)
        if reading is not None:
            reading.drop()


def _add_operator(reading: _Reading, name: str, value: Any) -> None:
    if reading.started:
        raise _invalid(f"`{name}` must be set before the first item is read")
    reading.query += _query({name: value})


class AsyncJob(Generic[T]):
    """A call that runs without its caller."""

    def __init__(self, core: _Core, id: str) -> None:
        self._core = core
        self.id = id

    async def status(self) -> JobStatus:
        """Returns what the job does now."""
        return await self._core.job_status(self.id)

    async def result(self) -> T:
        """Waits for the end of the job, and returns its result, or raises its error.

        Waits on through lost connections. Cancelling it leaves the job as it is.
        """
        result: T = await self._core.job_result(self.id)
        return result

    async def cancel(self) -> None:
        """Cancels the job."""
        await self._core.job_cancel(self.id)

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r})"


class AsyncClient:
    """Calls functions, for asyncio. Each call may be made from any loop, one loop at a time.

    `url` is that of the gateway's HTTP server, and `bearer` what `easyremote token` prints.
    `ca_file` is a PEM file of authorities, if the certificate is not from a public one. A bearer
    travels over `http://` to loopback only, unless `plaintext` says otherwise.

    Keyword arguments of `call`, `stream`, `spawn` and `ticket` are the arguments of the function by
    name, except for the options `timeout`, `node`, `tag`, `prefer_tag`, `sticky`, `strategy`,
    `wait_for_node`, `key`, `metadata` and `traceparent`, and the operators of streams. If a parameter
    has one of these names, give all arguments as `arguments={..}`.
    """

    def __init__(
        self,
        url: str,
        bearer: str,
        *,
        ca_file: str | None = None,
        timeout: Duration | None = None,
        plaintext: bool = False,
    ) -> None:
        pool = _Pool(url, bearer, ca_file, plaintext)
        self._core = _Core(pool, _Options(timeout=timeout))

    def with_options(self, **options: Any) -> AsyncClient:
        """Returns a handle that makes all its calls with these options, on the same connections."""
        other = AsyncClient.__new__(AsyncClient)
        other._core = _Core(self._core.pool, self._core.options.over(options))
        _no_more(options)
        return other

    async def call(
        self, function: str, /, *args: Any, arguments: Arguments | None = None, **named: Any
    ) -> Any:
        """Calls a function, and returns its result. Cancelling it cancels the function."""
        return await self._core.json(self._core.call("call", function, args, named, arguments))

    def stream(
        self, function: str, /, *args: Any, arguments: Arguments | None = None, **named: Any
    ) -> AsyncStream[Any]:
        """Returns a stream of the items of a function.

        The operators `take`, `skip`, `every`, `sample`, `latest`, `dedup`, `batches`, `buffer`,
        `through` and `resume` may be keywords here, in their order, or methods of the stream.
        """
        return AsyncStream(_reading(self._core, function, args, named, arguments, None))

    async def upload(
        self,
        function: str,
        arguments: Arguments = (),
        *,
        items: Iterable[Any] | AsyncIterable[Any],
        **options: Any,
    ) -> Any:
        """Calls a function with a client stream, and returns its result.

        Each item is sent as soon as `items` has it. An exception that `items` raises cancels the
        function, and is raised here.
        """
        request = self._core.upload("call", function, arguments, _items(items), options)
        return await self._core.json(request)

    def duplex(
        self,
        function: str,
        arguments: Arguments = (),
        *,
        items: Iterable[Any] | AsyncIterable[Any],
        **named: Any,
    ) -> AsyncStream[Any]:
        """Returns a stream of the items of a function that takes a client stream, as they come."""
        return AsyncStream(_reading(self._core, function, (), named, arguments, _items(items)))

    async def spawn(
        self, function: str, /, *args: Any, arguments: Arguments | None = None, **named: Any
    ) -> AsyncJob[Any]:
        """Starts a call that runs without its caller."""
        request = self._core.call("jobs", function, args, named, arguments)
        return AsyncJob(self._core, await self._core.spawn(request))

    def job(self, id: str) -> AsyncJob[Any]:
        """Returns the job with this id, without asking whether there is one."""
        return AsyncJob(self._core, id)

    async def jobs(self) -> list[JobStatus]:
        """Returns the jobs of the bearer's identity."""
        return await self._core.jobs()

    async def functions(self) -> list[FunctionInfo]:
        """Returns the functions that are offered now."""
        return await self._core.functions()

    async def ticket(
        self, function: str, /, *args: Any, arguments: Arguments | None = None, **named: Any
    ) -> Ticket:
        """Returns a ticket for one stream, with these arguments and operators."""
        return await self._core.ticket(function, args, named, arguments)

    async def aclose(self) -> None:
        """Closes the connections that wait for the next request."""
        self._core.pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncClient({self._core.pool.base!r})"


async def _items(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


# ---- Threads ---------------------------------------------------------------------------------------


class _Background:
    """The thread with the loop that all clients of the process share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._pools: weakref.WeakSet[_Pool] = weakref.WeakSet()
        atexit.register(self._end)

    def serve(self, pool: _Pool) -> None:
        """Closes the connections of a pool with the process, if nobody does so before."""
        with self._lock:
            self._pools.add(pool)

    def _end(self) -> None:
        loop, pools = self._loop, list(self._pools)
        if loop is None or self._process != os.getpid():
            return

        async def close() -> None:
            for pool in pools:
                pool.close()
            # Transports end in a callback.
            await asyncio.sleep(0)

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(close(), loop).result(1.0)

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            # A process that was forked has the loop, and not its thread.
            if self._loop is None or self._process != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._process = os.getpid()
                run = self._loop.run_forever
                threading.Thread(target=run, name="easyremote-io", daemon=True).start()
            return self._loop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop, and waits for it. Ctrl-C cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


_background = _Background()


class Stream(_Operators, Iterator[T]):
    """The items of a stream, as they come. Nothing is sent before the first one is read.

    It ends only after the gateway has said that it is complete; otherwise it raises a `RemoteError`,
    again at each further attempt to read. An error that the function returns for one item is raised
    as `FunctionError`, and the next read goes on behind it; `results` iterates over both.

    `close`, which any thread may call, and dropping the stream cancel the function.
    """

    def __init__(self, reading: _Reading) -> None:
        self._reading = reading
        self._batch: deque[Any] = deque()

    def _operate(self, name: str, value: Any) -> Self:
        _add_operator(self._reading, name, value)
        return self

    @property
    def delivered(self) -> int:
        """The number of items and of the function's errors that were read."""
        return self._reading.delivered - len(self._batch)

    def __iter__(self) -> Stream[T]:
        return self

    def __next__(self) -> T:
        result = self._next()
        if isinstance(result, FunctionError):
            raise result
        return result

    def _next(self) -> T | FunctionError:
        if not self._batch:
            self._batch.extend(_background.run(self._reading.batch()))
        if not self._batch:
            raise StopIteration
        result: T | FunctionError = self._batch.popleft()
        return result

    def results(self) -> Iterator[T | FunctionError]:
        """Iterates over items, and over the function's errors for single items."""
        while True:
            try:
                result = self._next()
            except StopIteration:
                return
            yield result

    def close(self) -> None:
        """Closes the stream, which cancels the function at its node."""
        self._batch.clear()

        async def close() -> None:
            self._reading.close()

        _background.run(close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        reading = getattr(self, "_reading", None)
        if reading is not None:
            reading.drop()


class Job(Generic[T]):
    """A call that runs without its caller."""

    def __init__(self, core: _Core, id: str) -> None:
        self._core = core
        self.id = id

    def status(self) -> JobStatus:
        """Returns what the job does now."""
        return _background.run(self._core.job_status(self.id))

    def result(self) -> T:
        """Waits for the end of the job, and returns its result, or raises its error.

        Waits on through lost connections. Ctrl-C leaves the job as it is.
        """
        result: T = _background.run(self._core.job_result(self.id))
        return result

    def cancel(self) -> None:
        """Cancels the job."""
        _background.run(self._core.job_cancel(self.id))

    def __repr__(self) -> str:
        return f"Job({self.id!r})"


class Client:
    """Calls functions. May be shared by threads.

    `url` is that of the gateway's HTTP server, and `bearer` what `easyremote token` prints.
    `ca_file` is a PEM file of authorities, if the certificate is not from a public one. A bearer
    travels over `http://` to loopback only, unless `plaintext` says otherwise.

    Keyword arguments of `call`, `stream`, `spawn` and `ticket` are the arguments of the function by
    name, except for the options `timeout`, `node`, `tag`, `prefer_tag`, `sticky`, `strategy`,
    `wait_for_node`, `key`, `metadata` and `traceparent`, and the operators of streams. If a parameter
    has one of these names, give all arguments as `arguments={..}`.
    """

    def __init__(
        self,
        url: str,
        bearer: str,
        *,
        ca_file: str | None = None,
        timeout: Duration | None = None,
        plaintext: bool = False,
    ) -> None:
        pool = _Pool(url, bearer, ca_file, plaintext)
        _background.serve(pool)
        self._core = _Core(pool, _Options(timeout=timeout))

    def with_options(self, **options: Any) -> Client:
        """Returns a handle that makes all its calls with these options, on the same connections."""
        other = Client.__new__(Client)
        other._core = _Core(self._core.pool, self._core.options.over(options))
        _no_more(options)
        return other

    def call(
        self, function: str, /, *args: Any, arguments: Arguments | None = None, **named: Any
    ) -> Any:
        """Calls a function, and returns its result. Ctrl-C cancels the function."""
        request = self._core.call("call", function, args, named, arguments)
        return _background.run(self._core.json(request))

    def stream(
        self, function: str, /, *args: Any, arguments: Arguments | None = None, **named: Any
    ) -> Stream[Any]:
        """Returns a stream of the items of a function.

        The operators `take`, `skip`, `every`, `sample`, `latest`, `dedup`, `batches`, `buffer`,
        `through` and `resume` may be keywords here, in their order, or methods of the stream.
        """
        return Stream(_reading(self._core, function, args, named, arguments, None))

    def upload(
        self, function: str, arguments: Arguments = (), *, items: Iterable[Any], **options: Any
    ) -> Any:
        """Calls a function with a client stream, and returns its result.

        Each item is sent as soon as `items` has it, which is iterated on a thread of its own. An
        exception that `items` raises cancels the function, and is raised here.
        """
        request = self._core.upload("call", function, arguments, _from_thread(items), options)
        return _background.run(self._core.json(request))

    def duplex(
        self, function: str, arguments: Arguments = (), *, items: Iterable[Any], **named: Any
    ) -> Stream[Any]:
        """Returns a stream of the items of a function that takes a client stream, as they come."""
        sent = _from_thread(items)
        return Stream(_reading(self._core, function, (), named, arguments, sent))

    def spawn(
        self, function: str, /, *args: Any, arguments: Arguments | None = None, **named: Any
    ) -> Job[Any]:
        """Starts a call that runs without its caller."""
        request = self._core.call("jobs", function, args, named, arguments)
        return Job(self._core, _background.run(self._core.spawn(request)))

    def job(self, id: str) -> Job[Any]:
        """Returns the job with this id, without asking whether there is one."""
        return Job(self._core, id)

    def jobs(self) -> list[JobStatus]:
        """Returns the jobs of the bearer's identity."""
        return _background.run(self._core.jobs())

    def functions(self) -> list[FunctionInfo]:
        """Returns the functions that are offered now."""
        return _background.run(self._core.functions())

    def ticket(
        self, function: str, /, *args: Any, arguments: Arguments | None = None, **named: Any
    ) -> Ticket:
        """Returns a ticket for one stream, with these arguments and operators."""
        return _background.run(self._core.ticket(function, args, named, arguments))

    def close(self) -> None:
        """Closes the connections that wait for the next request."""

        async def close() -> None:
            self._core.pool.close()

        _background.run(close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._core.pool.base!r})"


async def _from_thread(items: Iterable[Any]) -> AsyncIterator[Any]:
    """Iterates over `items` on a thread of its own, one item ahead: they may take their time."""
    loop = asyncio.get_running_loop()
    handed: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(1)
    stopped = threading.Event()

    def hand(kind: str, value: Any) -> None:
        asyncio.run_coroutine_threadsafe(handed.put((kind, value)), loop).result()

    def run() -> None:
        try:
            for item in items:
                hand("item", item)
                if stopped.is_set():
                    return
            hand("end", None)
        except BaseException as error:  # noqa: BLE001 - raised by the call
            hand("error", error)

    threading.Thread(target=run, name="easyremote-items", daemon=True).start()
    try:
        while True:
            kind, value = await handed.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        stopped.set()
        # Makes room for what the thread is handing over, which ends then.
        while not handed.empty():
            handed.get_nowait()
