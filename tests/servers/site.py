"""An HTTP server and its clients, turned by the test's own thread."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from antiphon import asyncore
from antiphon.servers.http import HTTPServer, PostHandler
from antiphon.servers.http_channel import http_request_handler

T = TypeVar("T")

#: Turns after which a test has gone wrong.
MOST_TURNS = 20_000


class Answer(NamedTuple):
    """What a client makes of one response."""

    status: int
    headers: Message
    body: bytes


class Client:
    """A connection whose calls turn the server's loop as long as they have to wait."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.received = b""
        self.socket = socket.socket()
        self.socket.connect(site.server.socket.getsockname())
        self.socket.setblocking(False)

    def send(self, data: bytes) -> None:
        """Send all of `data`, or as much as the server takes before it closes."""
        view = memoryview(data)
        for _ in range(MOST_TURNS):
            if not view:
                return
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                self.site.turn()
            except (BrokenPipeError, ConnectionResetError):
                return
        raise AssertionError(f"the server does not read; {len(view)} bytes are left")

    def receive(self) -> bool:
        """Take what has arrived; whether the connection stands."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self.received += data
        return bool(data)

    def receive_until(self, pattern: bytes) -> None:
        """Turn until `pattern` was received."""
        for _ in range(MOST_TURNS):
            if pattern in self.received:
                return
            self.site.turn()
            assert self.receive(), f"the server closed after {self.received!r}"
        raise AssertionError(f"wanted {pattern!r}, found {self.received!r:.2000}")

    def receive_all(self) -> bytes:
        """Turn until the server has said all, and close; all that was received."""
        for _ in range(MOST_TURNS):
            if not self.receive():
                self.socket.close()
                return self.received
            self.site.turn()
        raise AssertionError(f"the server does not close; found {self.received!r:.2000}")


class Site:
    """A server on a map of its own."""

    def __init__(
        self, directory: Path, post: PostHandler | None = None, channels: dict[int, Any] | None = None
    ) -> None:
        self.channels: dict[int, Any] = {} if channels is None else channels
        self.server = HTTPServer(directory, port=0, post=post, map=self.channels)
        self.clients: list[Client] = []

    @property
    def connections(self) -> list[http_request_handler]:
        """The connections that stand."""
        return [channel for channel in self.channels.values() if isinstance(channel, http_request_handler)]

    @property
    def closed(self) -> bool:
        """Whether all connections end without another word."""
        for _ in range(20):
            if not self.connections:
                return True
            self.turn()
        return False

    def turn(self, timeout: float = 0.02) -> None:
        """Let the server do what there is to do."""
        asyncore.loop(timeout=timeout, map=self.channels, count=1)

    def client(self) -> Client:
        """A client that is connected and has been accepted."""
        before = set(self.connections)
        client = Client(self)
        self.clients.append(client)
        while before.issuperset(self.connections):
            self.turn()
        return client

    def exchange(self, data: bytes, pieces: Iterable[bytes] | None = None) -> bytes:
        """What the server answers to `data`, sent at once or in `pieces`, until it closes."""
        client = self.client()
        for piece in [data] if pieces is None else pieces:
            client.send(piece)
            self.turn(0)
        return client.receive_all()

    def run(self, browse: Callable[[str], T]) -> T:
        """Turn until `browse`, a blocking client in another thread, has returned; it is given the URL."""
        with ThreadPoolExecutor(1) as threads:
            result = threads.submit(browse, self.server.url)
            while not result.done():
                self.turn()
            return result.result()

    def close(self) -> None:
        """Close the server, its connections and its clients."""
        for client in self.clients:
            client.socket.close()
        asyncore.close_all(self.channels)


@contextmanager
def serving(
    directory: Path, post: PostHandler | None = None, channels: dict[int, Any] | None = None
) -> Iterator[Site]:
    """A site, closed at the end."""
    site = Site(directory, post, channels)
    try:
        yield site
    finally:
        site.close()


class _Received(io.BytesIO):
    """Bytes in the place of a socket, which outlive the first response that is read from them."""

    def makefile(self, *arguments: object) -> _Received:
        return self

    def close(self) -> None:
        pass


def answers(received: bytes, methods: Iterable[str] = ()) -> list[Answer]:
    """The responses that `received` consists of, as `http.client` reads them.

    Args:
        received: all that came.
        methods: of the requests, as far as they are not GET.
    """
    source, wanted = _Received(received), list(methods)
    found: list[Answer] = []
    while source.tell() < len(received):
        response = HTTPResponse(source, method=wanted[len(found)] if len(found) < len(wanted) else "GET")  # type: ignore[arg-type] # has all that is used of a socket
        response.begin()
        found.append(Answer(response.status, response.headers, response.read()))
    return found
