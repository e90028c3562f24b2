"""Tests of `easyremote.py` against a gateway that `cargo test --features python --test python` starts."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import queue
import socket
import threading
import time
import unittest
import urllib.request
import uuid
import warnings
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import easyremote
from easyremote import AsyncClient, CallError, Client, FunctionError, RemoteError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

URL = os.environ.get("EASYREMOTE_URL", "http://127.0.0.1:8081")
BEARER = os.environ.get("EASYREMOTE_BEARER", "none")
CA_FILE = os.environ.get("EASYREMOTE_CA")

# What does not happen within this time does not happen.
SOON = 60.0


def new_client(url: str = URL, **options: Any) -> Client:
    return Client(url, BEARER, ca_file=CA_FILE, **options)


def new_key() -> str:
    return uuid.uuid4().hex


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.client = new_client()
        self.addCleanup(self.client.close)
        self.key = new_key()

    def heard(self, what: str) -> None:
        """Waits until the node has said this."""
        self.assertEqual(self.client.call("said", self.key, timeout=SOON), what)

    def give(self, n: int) -> None:
        self.client.call("give", self.key, n)

    def fails(
        self, kind: str, executed: str, call: Callable[..., object], *args: Any, **named: Any
    ) -> CallError:
        with self.assertRaises(CallError) as raised:
            call(*args, **named)
        error = raised.exception
        self.assertEqual((error.kind, error.executed), (kind, executed), error)
        return error


class Calls(Case):
    def test_arguments_are_given_by_position_by_name_or_all_at_once(self) -> None:
        self.assertEqual(self.client.call("add", 1, 2), 3)
        self.assertEqual(self.client.call("add", a=1, b=2), 3)
        self.assertEqual(self.client.call("add", arguments=[1, 2]), 3)
        self.assertEqual(self.client.call("add", arguments={"b": 2, "a": 1}), 3)
        self.assertIsNone(self.client.call("nothing"))
        odd = {"timeout": 1, "key": "k", "take": 2}
        self.assertEqual(self.client.call("odd_names", arguments=odd), "1 k 2")
        self.fails("InvalidInput", "No", self.client.call, "add", 1, b=2)
        self.fails("InvalidInput", "No", self.client.call, "add", arguments="12")

    def test_values_arrive_as_they_were_sent(self) -> None:
        for n in (0, 2**53 + 1, 2**64 - 1, 2**64, 2**128 - 1):
            self.assertEqual(self.client.call("same_integer", n), n)
        for text in ("", '\u0000\u001f"\\/', "Zürich 雪 \U0001f600", "\u2028\u2029", "a" * 300_000):
            self.assertEqual(self.client.call("same_text", text), text)
        for number in (0.1, -0.0, 5e-324, 1.7976931348623157e308, 1e23):
            self.assertEqual(repr(self.client.call("same_float", number)), repr(number))
        self.assertIsNone(self.client.call("infinite"))
        for data in (b"", bytes(range(256)), bytearray(b"ab"), memoryview(b"abcd")[::2]):
            self.assertEqual(self.client.call("byte_sum", data), sum(bytes(data)))
        for numbers in ([1, 2], (1, 2), range(1, 3), deque([1, 2])):
            self.assertEqual(self.client.call("byte_sum", numbers), 3)
        named = MappingProxyType({"a": 1, "b": 2})
        self.assertEqual(self.client.call("add", arguments=named), 3)

    def test_what_json_cannot_say_is_not_sent(self) -> None:
        circle: list[Any] = []
        circle.append(circle)
        for odd in (float("nan"), float("inf"), {1, 2}, object(), 1j, "\ud800", circle):
            error = self.fails("InvalidInput", "No", self.client.call, "same_text", odd)
            self.assertIsNone(error.status)

    def test_options_reach_the_function(self) -> None:
        client = self.client
        for node, tag in (("node-1", "blue"), ("node-2", "green")):
            self.assertEqual(client.call("place", node=node)["node"], node)
            self.assertEqual(client.call("place", tag=tag)["node"], node)
            self.assertEqual(client.call("place", prefer_tag=[tag])["node"], node)
        self.fails("NoNode", "No", client.call, "place", tag=["blue", "green"])
        place = client.call("place", metadata={"tenant": "Zürich", "x-1": "a,b"}, timeout=30)
        self.assertEqual(place["metadata"], {"tenant": "Zürich", "x-1": "a,b"})
        self.assertTrue(place["has_deadline"])
        self.assertFalse(client.call("place")["has_deadline"])
        trace = "0af7651916cd43dd8448eb211c80319c"
        place = client.call("place", traceparent=f"00-{trace}-b7ad6b7169203331-01")
        self.assertEqual(place["trace"], trace)
        nodes = {client.call("place", sticky="user-17")["node"] for _ in range(8)}
        self.assertEqual(len(nodes), 1)
        runs = {client.call("run_once", self.key, arguments=None, key=self.key) for _ in range(3)}
        self.assertEqual(runs, {1})

    def test_a_handle_has_options_of_its_own(self) -> None:
        handle = self.client.with_options(node="node-2", metadata={"a": "1"})
        place = handle.call("place", metadata={"b": "2"})
        self.assertEqual((place["node"], place["metadata"]), ("node-2", {"a": "1", "b": "2"}))
        self.assertEqual(handle.call("place", node="node-1")["node"], "node-1")
        with self.assertRaises(TypeError):
            self.client.with_options(nodes="node-2")

    def test_options_that_http_would_change_are_not_sent(self) -> None:
        for options in (
            {"node": "a\r\nHost: b"},
            {"node": " a"},
            {"key": "a\x00"},
            {"tag": "a,b"},
            {"tag": ["a", "b,c"]},
            {"metadata": {"Tenant": "a"}},
            {"metadata": {"a b": "a"}},
            {"metadata": {"a": "b\n"}},
            {"timeout": -1},
            {"timeout": float("nan")},
        ):
            with self.subTest(options):
                self.fails("InvalidInput", "No", self.client.call, "place", **options)

    def test_names_of_functions_are_no_paths(self) -> None:
        for name in ("../call/add", "add/", "add?x=1", "add#", "a%2fb", "ä b", "add\r\nX: y"):
            self.fails("NoSuchFunction", "No", self.client.call, name, 1, 2)
        for name in ("", ".", ".."):
            self.fails("InvalidInput", "No", self.client.call, name, 1, 2)

    def test_threads_share_a_client(self) -> None:
        results: queue.Queue[int] = queue.Queue()

        def run(n: int) -> None:
            for i in range(10):
                results.put(self.client.call("add", n, i) - n - i)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
        self.assertEqual([results.get_nowait() for _ in range(80)], [0] * 80)

    def test_functions_are_listed_with_their_schemas(self) -> None:
        listed = {function.name: function for function in self.client.functions()}
        add = listed["add"]
        self.assertEqual((add.parameters, add.nodes), (["a", "b"], ["node-1", "node-2"]))
        self.assertIn("Adds two numbers.", add.doc)
        assert add.schemas is not None
        self.assertEqual(add.schemas["result"]["type"], "integer")

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_a_forked_process_has_connections_of_its_own(self) -> None:
        self.assertEqual(self.client.call("add", 1, 1), 2)
        with warnings.catch_warnings():
            # That a process with threads is forked is the point.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                code = 0 if new_client().call("add", 2, 2) == 4 else 2
            os._exit(code)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(self.client.call("add", 1, 1), 2)


class Server:
    """A server that answers each connection as `answer` says."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self.connected: queue.Queue[None] = queue.Queue()
        self._open: list[socket.socket] = []

        def run() -> None:
            while True:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                self.accepted += 1
                self.connected.put(None)
                self._open.append(connection)
                threading.Thread(
                    target=self._answer, args=(connection, answer), daemon=True
                ).start()

        threading.Thread(target=run, daemon=True).start()

    @staticmethod
    def _answer(connection: socket.socket, answer: Callable[[socket.socket], None]) -> None:
        with connection, contextlib.suppress(OSError):
            answer(connection)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        # Wakes the thread that waits for a connection.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Ends all connections."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def request_of(connection: socket.socket) -> bytes:
    """Reads a request without a body of its own length, or with a small one."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return data
        data += more
    return data


def answering(text: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    return answer


def with_length(body: bytes, status: str = "200 OK", head: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


def in_chunks(body: bytes, size: int, head: str = "") -> bytes:
    text = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{head}\r\n".encode()
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        text += b"%X;x=y\r\n%s\r\n" % (len(piece), piece)
    return text + b"0\r\nTrailer: x\r\n\r\n"


class Failures(Case):
    def test_an_error_of_the_function_has_its_value(self) -> None:
        error = self.fails("Function", "Yes", self.client.call, "divide", 1, 0)
        assert isinstance(error, FunctionError)
        self.assertEqual(error.error, {"DivisionByZero": {"dividend": 1.0}})
        self.assertEqual(error.status, 422)

    def test_other_errors_say_whether_the_function_ran(self) -> None:
        call = self.client.call
        late = call, "hang", self.key
        for kind, executed, status, function, options in (
            ("NoSuchFunction", "No", 404, (call, "no_such", 1), {}),
            ("BadArguments", "No", 400, (call, "add", "a", 1), {}),
            ("Panicked", "Yes", 500, (call, "panics"), {}),
            ("NoNode", "No", 503, (call, "add", 1, 2), {"node": "none"}),
            ("DeadlineExceeded", "Maybe", 504, late, {"timeout": 0.2}),
        ):
            with self.subTest(kind):
                error = self.fails(kind, executed, *function, **options)
                assert isinstance(error, RemoteError)
                self.assertEqual(error.status, status)
                self.assertIn(kind, str(error))
                self.assertEqual(error.is_retryable, kind == "NoNode")

    def test_a_wrong_bearer_is_refused_and_not_shown(self) -> None:
        client = Client(URL, "secret-" + BEARER[:8], ca_file=CA_FILE)
        error = self.fails("Unauthenticated", "No", client.call, "add", 1, 2)
        self.assertEqual(error.status, 401)
        self.assertNotIn("secret", f"{error!r} {client!r}")
        big = "a" * (8 << 20)
        self.fails("Unauthenticated", "No", client.call, "same_text", big)
        self.fails("Unauthenticated", "No", next, client.stream("count", 1))

    def test_where_no_server_is_nothing_was_sent(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            url = f"http://127.0.0.1:{gone.getsockname()[1]}"
        error = self.fails("Unavailable", "No", lambda: Client(url, "b").call("add", 1, 2))
        assert isinstance(error, RemoteError)
        self.assertTrue(error.is_retryable)
        self.fails("Unavailable", "No", lambda: Client("http://[::1]:1", "b").call("add", 1, 2))

    def test_addresses_are_checked_before_anything_is_sent(self) -> None:
        for url in (
            "gw:1",
            "ftp://gw",
            "http://gw.example.com",
            "http://",
            "https://u:p@gw",
            "http://127.0.0.1:x",
        ):
            self.fails("InvalidInput", "No", Client, url, "b")
        self.fails("InvalidInput", "No", Client, URL, "b\r\nX: y")

    def test_what_was_sent_and_not_answered_may_have_run(self) -> None:
        for answer in (
            b"",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n12",
        ):
            with self.subTest(answer), Server(answering(answer)) as server:
                client = Client(server.url, "b")
                error = self.fails("ConnectionLost", "Maybe", client.call, "f")
                self.assertIsNone(error.status)
                self.assertEqual(server.accepted, 1)

    def test_an_answer_that_is_none_may_hide_a_run(self) -> None:
        for kind, answer in (
            ("Protocol", b"SSH-2.0-OpenSSH_9\r\n"),
            ("Protocol", b"HTTP/1.1 200 OK\r\n\r\n1"),
            ("Protocol", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n1"),
            ("Protocol", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"),
            ("Protocol", with_length(b"<h1>Bad Gateway</h1>", "502 Bad Gateway")),
            ("Protocol", with_length(b"", "302 Found", "Location: /\r\n")),
            ("Protocol", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000),
            ("BadResponse", with_length(b"NaN")),
            ("BadResponse", with_length(b"[1")),
            ("BadResponse", with_length(b"\xff")),
        ):
            with self.subTest(answer[:60]), Server(answering(answer)) as server:
                client = Client(server.url, "b")
                self.fails(kind, "Maybe", client.call, "f")

    def test_answers_are_read_however_they_are_cut_into_chunks(self) -> None:
        body = json.dumps({"a": "ü" * 50}, ensure_ascii=False).encode()
        for size in (1, 2, 7, 1000):
            with Server(
                answering(b"HTTP/1.1 100 Continue\r\n\r\n" + in_chunks(body, size))
            ) as server:
                self.assertEqual(Client(server.url, "b").call("f"), {"a": "ü" * 50})

    def test_a_gateway_that_is_silent_does_not_outlast_the_deadline(self) -> None:
        def silent(connection: socket.socket) -> None:
            while connection.recv(65536):
                pass

        with Server(silent) as server:
            client = Client(server.url, "b", timeout=0.1)
            self.fails("DeadlineExceeded", "Maybe", client.call, "f")
            self.fails("DeadlineExceeded", "Maybe", next, client.stream("f"))
            self.fails("DeadlineExceeded", "No", client.call, "f", timeout=0)

    def test_a_request_that_does_not_leave_in_full_has_not_run(self) -> None:
        def rude(connection: socket.socket) -> None:
            connection.recv(1000)

        with Server(rude) as server:
            client = Client(server.url, "b")
            self.fails("ConnectionLost", "No", client.call, "f", "a" * (64 << 20))

    def test_a_connection_that_ended_meanwhile_is_not_used_again(self) -> None:
        ended: queue.Queue[None] = queue.Queue()

        def answer(connection: socket.socket) -> None:
            request_of(connection)
            connection.sendall(with_length(b"1"))
            connection.shutdown(socket.SHUT_WR)
            ended.put(None)

        with Server(answer) as server:
            client = Client(server.url, "b")
            for n in range(20):
                self.assertEqual(client.call("f"), 1)
                self.assertEqual(server.accepted, n + 1)
                ended.get(timeout=SOON)

    def test_a_closed_client_says_so(self) -> None:
        with new_client() as client:
            self.assertEqual(client.call("add", 1, 2), 3)
        self.fails("ConnectionLost", "No", client.call, "add", 1, 2)


class Secure(Case):
    def test_the_gateway_has_to_be_the_one_that_the_authority_names(self) -> None:
        self.assertTrue(URL.startswith("https://"))
        self.assertEqual(self.client.call("add", 1, 2), 3)
        # Not signed by a public authority; another name.
        self.fails("Unavailable", "No", Client(URL, BEARER).call, "add", 1, 2)
        other = Client(URL.replace("localhost", "127.0.0.1"), BEARER, ca_file=CA_FILE)
        self.fails("Unavailable", "No", other.call, "add", 1, 2)
        plain = Client(URL.replace("https", "http"), BEARER)
        self.fails("ConnectionLost", "Maybe", plain.call, "add", 1, 2)


class Streams(Case):
    def test_a_stream_is_an_iterator_that_ends(self) -> None:
        stream = self.client.stream("count", 1000)
        self.assertEqual(list(stream), list(range(1000)))
        self.assertEqual(stream.delivered, 1000)
        self.assertEqual(list(stream), [])
        self.assertEqual(list(self.client.stream("count", n=0)), [])

    def test_items_arrive_as_they_are_made(self) -> None:
        stream = self.client.stream("paced", self.key)
        for n in range(5):
            # The function has made no item that was not given.
            self.give(1)
            self.assertEqual(next(stream), n)
        stream.close()

    def test_nothing_starts_before_the_first_item_is_read(self) -> None:
        stream = self.client.stream("endless", self.key)
        stream.take(1).skip(0)
        self.assertEqual(next(stream), 0)
        self.heard("started")
        self.fails("InvalidInput", "No", stream.take, 1)

    def test_operators_act_in_the_order_in_which_they_are_written(self) -> None:
        count = self.client.stream
        self.assertEqual(list(count("count", 10, skip=2, take=3)), [2, 3, 4])
        self.assertEqual(list(count("count", 10, take=3, skip=2)), [2])
        self.assertEqual(list(count("count", 10).skip(1).every(3).take(2).skip(1)), [4])
        self.assertEqual(list(count("count", 7).batches(3, 60)), [[0, 1, 2], [3, 4, 5], [6]])
        self.assertEqual(
            list(count("count", 5, dedup=True, buffer=0, latest=False)), list(range(5))
        )
        self.assertEqual(list(count("count", 5).through("above", 2)), [30, 40])
        self.assertEqual(list(count("count", 5).through("above", limit=3)), [40])
        self.assertEqual(list(count("count", 5, through=("above", [3]))), [40])
        self.assertEqual(list(count("count", 5, latest=True))[-1], 4)
        self.assertIn(next(count("count", 5, sample=0.01)), range(5))
        for odd in (
            {"take": -1},
            {"take": 1.5},
            {"skip": True},
            {"latest": 1},
            {"batches": 3},
            {"sample": -1},
        ):
            with self.subTest(odd):
                self.fails("InvalidInput", "No", count, "count", 5, **odd)

    def test_an_error_of_one_item_does_not_end_a_stream(self) -> None:
        results = list(self.client.stream("odd_ones_fail", 4).results())
        errors = [it.error if isinstance(it, FunctionError) else it for it in results]
        self.assertEqual(errors, [0, "1 is odd", 2, "3 is odd"])
        stream = self.client.stream("odd_ones_fail", 3)
        self.assertEqual(next(stream), 0)
        self.assertRaises(FunctionError, next, stream)
        self.assertEqual(next(stream), 2)
        self.assertRaises(StopIteration, next, stream)

    def test_a_stream_that_cannot_be_set_up_says_why(self) -> None:
        error = self.fails("Function", "Yes", next, self.client.stream("tail", "lost"))
        assert isinstance(error, FunctionError)
        self.assertEqual(error.error, {"name": "lost"})
        self.assertEqual(list(self.client.stream("tail", "known")), [1, 2])
        self.fails("NoSuchFunction", "No", next, self.client.stream("no_such"))

    def test_a_stream_that_breaks_delivers_what_came_before(self) -> None:
        stream = self.client.stream("breaks", 3)
        self.assertEqual([next(stream) for _ in range(3)], [0, 1, 2])
        for _ in range(2):
            error = self.fails("Panicked", "Yes", next, stream)
            self.assertEqual(error.delivered, 3)

    def test_closing_a_stream_cancels_its_function(self) -> None:
        with self.client.stream("endless", self.key) as stream:
            self.assertEqual([next(stream) for _ in range(3)], [0, 1, 2])
        self.heard("started")
        self.heard("stopped")
        self.fails("Cancelled", "Maybe", next, stream)

    def test_dropping_a_stream_cancels_its_function(self) -> None:
        for n in self.client.stream("endless", self.key):
            if n == 2:
                break
        gc.collect()
        self.heard("started")
        self.heard("stopped")

    def test_another_thread_may_close_a_stream(self) -> None:
        # One that waits for an item, and one whose set-up waits.
        for function in ("paced", "slow_start"):
            self.key = new_key()
            stream = self.client.stream(function, self.key)
            ended: queue.Queue[CallError] = queue.Queue()

            def read(
                stream: easyremote.Stream[Any] = stream, ended: queue.Queue[CallError] = ended
            ) -> None:
                try:
                    next(stream)
                except CallError as error:
                    ended.put(error)

            thread = threading.Thread(target=read, daemon=True)
            thread.start()
            self.heard("started")
            stream.close()
            thread.join(SOON)
            self.assertEqual(ended.get(timeout=SOON).kind, "Cancelled")
            self.heard("stopped")

    def test_a_deadline_ends_a_stream(self) -> None:
        stream = self.client.stream("paced", self.key, timeout=0.3)
        self.give(1)
        self.assertEqual(next(stream), 0)
        error = self.fails("DeadlineExceeded", "Yes", next, stream)
        self.assertEqual(error.delivered, 1)


EVENTS = (
    b': hello\n\nid: 1\ndata: 1\n\nid:2\r\ndata:2\r\n\r\nevent: fault\nid: 3\ndata: {"no":"\xc3\xbc"}\n\n'
    b": still there\n\ndata: [1,\ndata: 2]\n\nevent: unknown\ndata: 0\n\n"
)
END = b'event: end\ndata: {"items":4}\n\n'
SSE = "Content-Type: text/event-stream\r\n"


def read_all(stream: easyremote.Stream[Any]) -> list[Any]:
    return [getattr(it, "error", it) for it in stream.results()]


class Proxy(Server):
    """Passes connections on, until they are cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname, parts.port)
        super().__init__(self._serve)
        # The gateway answers requests for itself only.
        self._hosts = (
            f"Host: {urlsplit(self.url).netloc}".encode(),
            f"Host: {parts.netloc}".encode(),
        )

    def _serve(self, connection: socket.socket) -> None:
        with socket.create_connection(self._to) as to:
            back = threading.Thread(target=self._copy, args=(to, connection), daemon=True)
            back.start()
            self._copy(connection, to)
            back.join(SOON)

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65536)
                if not data:
                    break
                sink.sendall(data.replace(*self._hosts))
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Cuts(Case):
    def test_events_are_read_however_they_arrive(self) -> None:
        for size in (1, 2, 5, 1000):
            with Server(answering(in_chunks(EVENTS + END, size, SSE))) as server:
                stream = Client(server.url, "b").stream("f")
                self.assertEqual(read_all(stream), [1, 2, {"no": "ü"}, [1, 2]])

    def test_a_stream_that_is_cut_anywhere_never_ends_well(self) -> None:
        whole = in_chunks(EVENTS + END, 16, SSE)
        at = [len(whole) // 3, len(whole) // 2, *range(len(whole) - 40, len(whole))]
        for cut in (*range(0, len(whole), 23), *at):
            with self.subTest(cut), Server(answering(whole[:cut])) as server:
                stream = Client(server.url, "b").stream("f")
                items = []
                try:
                    for item in stream.results():
                        items.append(getattr(item, "error", item))
                except RemoteError as error:
                    self.assertEqual((error.kind, error.executed), ("ConnectionLost", "Maybe"))
                    self.assertEqual(error.delivered, len(items))
                    self.fails("ConnectionLost", "Maybe", next, stream)
                else:
                    # All was said before the cut.
                    self.assertGreaterEqual(cut, len(whole) - 60)
                    self.assertEqual(len(items), 4)
                self.assertEqual(items, [1, 2, {"no": "ü"}, [1, 2]][: len(items)])

    def test_a_problem_in_a_stream_comes_after_what_was_before(self) -> None:
        problem = b'event: problem\ndata: {"kind":"NodeLost","executed":"Maybe","delivered":4,"node":"n"}\n\n'
        with Server(answering(in_chunks(EVENTS + problem, 1000, SSE))) as server:
            stream = Client(server.url, "b").stream("f")
            self.assertEqual([next(stream), next(stream)], [1, 2])
            self.assertRaises(FunctionError, next, stream)
            self.assertEqual(next(stream), [1, 2])
            error = self.fails("NodeLost", "Maybe", next, stream)
            self.assertEqual((error.delivered, error.node), (4, "n"))

    def test_a_stream_that_resumes_loses_no_item_wherever_it_is_cut(self) -> None:
        asked: list[bytes] = []

        def answer(connection: socket.socket) -> None:
            request = request_of(connection)
            asked.append(request)
            last = [line for line in request.split(b"\r\n") if line.startswith(b"Last-Event-ID: ")]
            n = int(last[0].split(b" s")[1]) if last else 0
            # The id of the beginning comes before there is an item.
            events = b"id: s%d\n\n" % n
            events += b"".join(b"id: s%d\ndata: %d\n\n" % (i + 1, i) for i in range(n, 20))
            whole = in_chunks(events + b'event: end\ndata: {"items":20}\n\n', 7, SSE)
            connection.sendall(whole[: self.cut_at])

        for cut in (*range(190, 260, 7), 400, 10_000):
            with self.subTest(cut), Server(answer) as server:
                self.cut_at = cut
                asked.clear()
                stream = Client(server.url, "b").stream("f", 1, resume=True)
                self.assertEqual(list(stream), list(range(20)))
                self.assertEqual(stream.delivered, 20)
                for request in asked:
                    self.assertTrue(request.startswith(b"POST /stream/f?resume=1 "), request)
                    self.assertTrue(request.endswith(b"\r\n\r\n[1]"), request)
                # Only the first one starts it.
                self.assertEqual(
                    [b"Last-Event-ID" in it for it in asked], [False] + [True] * (len(asked) - 1)
                )

    def test_what_cannot_be_resumed_is_told(self) -> None:
        gap = b'{"kind":"Gap","executed":"Yes","delivered":2,"detail":"gone"}'
        answers = iter(
            (
                in_chunks(b"id: 1\ndata: 1\n\nid: 2\ndata: 2\n\n", 99, SSE)[:-17],
                with_length(gap, "410 Gone"),
            )
        )

        def answer(connection: socket.socket) -> None:
            request_of(connection)
            connection.sendall(next(answers))

        with Server(answer) as server:
            stream = Client(server.url, "b").stream("f").resume()
            self.assertEqual([next(stream), next(stream)], [1, 2])
            error = self.fails("Gap", "Yes", next, stream)
            self.assertEqual((error.delivered, error.status), (2, 410))
            self.fails("Gap", "Yes", next, stream)
        self.addCleanup(setattr, easyremote, "RESUME", easyremote.RESUME)
        easyremote.RESUME = 0.3
        once = in_chunks(b"id: 1\ndata: 1\n\n", 99, SSE)[:-17]
        with Server(answering(once)) as server:
            stream = Client(server.url, "b").stream("f").resume()
            self.assertEqual(next(stream), 1)
            server.close()
            error = self.fails("ConnectionLost", "Maybe", next, stream)
            self.assertEqual(error.delivered, 1)

    def test_a_cut_connection_ends_a_stream_and_cancels_its_function(self) -> None:
        with Proxy(URL) as proxy:
            stream = new_client(proxy.url).stream("paced", self.key)
            self.give(2)
            self.assertEqual([next(stream), next(stream)], [0, 1])
            self.heard("started")
            proxy.cut()
            error = self.fails("ConnectionLost", "Maybe", next, stream)
            self.assertEqual(error.delivered, 2)
            self.heard("stopped")

    def test_a_cut_connection_ends_a_call_and_cancels_its_function(self) -> None:
        with Proxy(URL) as proxy:
            client = new_client(proxy.url)

            def cut() -> None:
                self.heard("started")
                proxy.cut()

            threading.Thread(target=cut, daemon=True).start()
            self.fails("ConnectionLost", "Maybe", client.call, "hang", self.key)
            self.heard("stopped")


class Uploads(Case):
    def test_items_are_sent_as_they_are_made(self) -> None:
        def numbers() -> Iterator[int]:
            self.heard("started")
            for n in range(1, 6):
                yield n
                # The function has this one, and there is no other yet.
                self.heard(str(n))

        self.assertEqual(self.client.upload("total", [self.key], items=numbers()), 15)
        self.heard("stopped")
        self.assertEqual(self.client.upload("total", {"key": new_key()}, items=[]), 0)
        many = range(20_000)
        self.assertEqual(self.client.upload("total", [new_key()], items=many), sum(many))

    def test_a_function_may_answer_before_the_last_item(self) -> None:
        block = threading.Event()

        def numbers() -> Iterator[int]:
            yield 7
            block.wait(SOON)

        self.assertEqual(self.client.upload("first", items=numbers()), 7)
        block.set()
        # More than fits into all buffers on the way.
        self.assertEqual(self.client.upload("first", items=iter(lambda: 3, 4)), 3)

    def test_what_the_items_raise_cancels_the_function(self) -> None:
        def numbers() -> Iterator[int]:
            yield 1
            self.heard("started")
            self.heard("1")
            raise KeyError("on purpose")

        with self.assertRaises(KeyError):
            self.client.upload("total", [self.key], items=numbers())
        self.heard("stopped")
        upload = self.client.upload
        self.fails("InvalidInput", "Maybe", upload, "total", [new_key()], items=[1, {2}])

    def test_errors_of_uploads_are_those_of_calls(self) -> None:
        upload = self.client.upload
        self.fails("NoSuchFunction", "No", upload, "no_such", items=[1])
        self.fails("NoNode", "No", upload, "total", [self.key], items=[1], node="none")
        with self.assertRaises(CallError):
            upload("total", [self.key], items=["a"])

    def test_both_sides_may_stream(self) -> None:
        answers: queue.Queue[int] = queue.Queue()

        def numbers() -> Iterator[int]:
            for n in range(1, 6):
                yield n
                # The answer comes before the next number is sent.
                self.assertEqual(answers.get(timeout=SOON), 3 * n)

        for answer in self.client.duplex("doubled", [3], items=numbers()):
            answers.put(answer)
        stream = self.client.duplex("doubled", {"by": 2}, items=range(9), skip=3, take=2)
        self.assertEqual(list(stream), [6, 8])


class Jobs(Case):
    def test_a_job_runs_without_its_caller(self) -> None:
        job = self.client.spawn("train", self.key)
        self.heard("started")
        self.heard("halfway")
        status = self.client.job(job.id).status()
        self.assertEqual((status.state, status.is_ended), ("Running", False))
        assert status.progress is not None
        self.assertEqual((status.progress.fraction, status.progress.text), (0.5, "halfway"))
        self.assertIn(job.id, [it.id for it in self.client.jobs()])
        self.give(1)
        self.assertEqual(job.result(), 42)
        self.assertTrue(job.status().is_ended)

    def test_an_error_of_a_job_is_that_of_its_function(self) -> None:
        error = self.fails("Function", "Yes", self.client.spawn("train_badly", "x").result)
        assert isinstance(error, FunctionError)
        self.assertEqual(error.error, {"name": "x"})

    def test_a_job_can_be_cancelled(self) -> None:
        job = self.client.spawn("train", self.key)
        self.heard("started")
        self.heard("halfway")
        job.cancel()
        self.heard("stopped")
        with self.assertRaises(CallError) as raised:
            job.result()
        self.assertEqual(raised.exception.kind, "Cancelled")

    def test_who_waits_for_a_job_waits_through_a_cut(self) -> None:
        job = self.client.spawn("train", self.key)
        self.heard("started")
        self.heard("halfway")
        with Proxy(URL) as proxy:
            waiting = new_client(proxy.url).job(job.id)
            result: queue.Queue[Any] = queue.Queue()
            threading.Thread(target=lambda: result.put(waiting.result()), daemon=True).start()
            proxy.connected.get(timeout=SOON)
            proxy.cut()
            proxy.connected.get(timeout=SOON)
            self.give(1)
            self.assertEqual(result.get(timeout=SOON), 42)

    def test_a_job_that_is_none_is_told(self) -> None:
        with self.assertRaises(RemoteError):
            self.client.job("none").status()


class Tickets(Case):
    def test_a_ticket_opens_one_stream_without_a_bearer(self) -> None:
        ticket = self.client.ticket("count", 10, skip=2, take=2)
        self.assertTrue(ticket.url.startswith(URL))
        self.assertNotIn(BEARER, ticket.url)
        request = urllib.request.Request(ticket.url, headers={"Accept": "text/event-stream"})
        with urllib.request.urlopen(request, timeout=SOON) as answer:
            lines = answer.read().decode().splitlines()
        self.assertEqual(
            [line for line in lines if line.startswith("data")][:2], ["data: 2", "data: 3"]
        )


class Asyncio(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.key = new_key()
        self.client = AsyncClient(URL, BEARER, ca_file=CA_FILE)

    async def asyncTearDown(self) -> None:
        await self.client.aclose()

    async def heard(self, what: str) -> None:
        self.assertEqual(await self.client.call("said", self.key, timeout=SOON), what)

    async def test_calls_run_beside_each_other(self) -> None:
        sums = await asyncio.gather(*(self.client.call("add", n, n) for n in range(50)))
        self.assertEqual(sums, [2 * n for n in range(50)])
        with self.assertRaises(FunctionError):
            await self.client.call("divide", 1, 0)
        self.assertIn("add", [it.name for it in await self.client.functions()])

    async def test_cancelling_a_task_cancels_its_function(self) -> None:
        task = asyncio.ensure_future(self.client.call("hang", self.key))
        await self.heard("started")
        stopped = asyncio.ensure_future(self.heard("stopped"))
        await asyncio.sleep(0)
        begun = time.monotonic()
        task.cancel()
        await stopped
        print(f"stopped {1000 * (time.monotonic() - begun):.1f} ms after the task was cancelled")
        with self.assertRaises(asyncio.CancelledError):
            await task

    async def test_cancelling_who_reads_a_stream_cancels_its_function(self) -> None:
        async def read() -> None:
            async for _ in self.client.stream("paced", self.key):
                pass

        task = asyncio.ensure_future(read())
        await self.heard("started")
        task.cancel()
        await self.heard("stopped")
        self.assertTrue((await asyncio.gather(task, return_exceptions=True))[0])

    async def test_a_cancel_at_any_moment_leaves_no_connection(self) -> None:
        def answer(connection: socket.socket) -> None:
            request_of(connection)
            connection.sendall(in_chunks(EVENTS, 1000, SSE)[:-20])
            while connection.recv(65536):
                pass

        def is_open(it: object) -> bool:
            return isinstance(it, easyremote._Connection) and it.is_usable

        async def numbers() -> AsyncIterator[int]:
            yield 1
            await asyncio.sleep(SOON)

        with Server(answer) as server:
            client = AsyncClient(server.url, "b")
            for steps in range(40):
                stream = client.stream("f")
                for task in (
                    asyncio.ensure_future(client.call("f")),
                    asyncio.ensure_future(client.upload("f", items=numbers())),
                    asyncio.ensure_future(stream.__anext__()),
                ):
                    for _ in range(min(steps, 30)):
                        await asyncio.sleep(0)
                    if steps > 30:
                        await asyncio.sleep(0.002 * (steps - 30))
                    task.cancel()
                    await asyncio.wait({task})
                await stream.aclose()
            # What ends after a cancel has had its turn.
            for _ in range(5):
                await asyncio.sleep(0)
            self.assertEqual([it for it in gc.get_objects() if is_open(it)], [])

    async def test_streams_are_read_and_left(self) -> None:
        self.assertEqual([n async for n in self.client.stream("count", 5, skip=1)], [1, 2, 3, 4])
        stream = self.client.stream("odd_ones_fail", 2)
        self.assertEqual(len([it async for it in stream.results()]), 2)
        async with self.client.stream("endless", self.key) as stream:
            self.assertEqual(await stream.__anext__(), 0)
        await self.heard("started")
        await self.heard("stopped")
        with self.assertRaises(RemoteError):
            await stream.__anext__()
        async for _ in self.client.stream("endless", self.key):
            break
        gc.collect()
        await self.heard("started")
        await self.heard("stopped")

    async def test_items_arrive_as_they_are_made(self) -> None:
        stream = self.client.stream("paced", self.key)
        for n in range(5):
            await self.client.call("give", self.key, 1)
            self.assertEqual(await stream.__anext__(), n)
        await stream.aclose()

    async def test_uploads_take_iterators_of_both_kinds(self) -> None:
        async def numbers() -> AsyncIterator[int]:
            await self.heard("started")
            for n in range(1, 4):
                yield n
                await self.heard(str(n))

        self.assertEqual(await self.client.upload("total", [self.key], items=numbers()), 6)
        self.assertEqual(await self.client.upload("total", [new_key()], items=[1, 2]), 3)

        async def bad() -> AsyncIterator[int]:
            yield 1
            raise KeyError("on purpose")

        with self.assertRaises(KeyError):
            await self.client.upload("total", [new_key()], items=bad())

    async def test_both_sides_may_stream(self) -> None:
        answers: asyncio.Queue[int] = asyncio.Queue()

        async def numbers() -> AsyncIterator[int]:
            for n in range(1, 6):
                yield n
                self.assertEqual(await answers.get(), 3 * n)

        async for answer in self.client.duplex("doubled", [3], items=numbers()):
            answers.put_nowait(answer)

    async def test_jobs_are_found_again(self) -> None:
        job = await self.client.spawn("train", self.key)
        await self.client.call("give", self.key, 1)
        self.assertEqual(await self.client.job(job.id).result(), 42)
        self.assertIn(job.id, [it.id for it in await self.client.jobs()])
        await job.cancel()
        self.assertTrue((await job.status()).is_ended)

    def test_a_client_outlives_a_loop(self) -> None:
        async def call() -> int:
            return int(await self.client.call("add", 1, 2))

        for _ in range(3):
            with contextlib.closing(asyncio.new_event_loop()) as loop:
                self.assertEqual(loop.run_until_complete(call()), 3)


if __name__ == "__main__":
    unittest.main()
