"""Fixtures and channels for the tests of the loop and of what stands around it.

A test module takes a fixture by giving it a name of its own: `wires = loop_support.wires`.
"""

import contextlib
import gc
import os
import socket
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from antiphon import asyncore, pollers
from antiphon.loop import Loop
from antiphon.maps import ChannelMap
from antiphon.pollers.base import Poller
from antiphon.testing import FakeClock, SilentPoller
from asyncio_engine import turns_of_asyncio
from effort import some

#: The system's own pollers; what a channel notices must not depend on which of them it is.
POLLERS = some(pollers.offered())


class Wires:
    """Opens sockets, maps and channels for one test, and closes them after it."""

    def __init__(self) -> None:
        self._opened = ExitStack()

    def pair(self, family: int | None = None) -> tuple[socket.socket, socket.socket]:
        """Two connected sockets that do not block: of TCP for AF_INET, else of what is quickest."""
        near, far = _tcp_pair() if family == socket.AF_INET else socket.socketpair()
        for end in near, far:
            end.setblocking(False)
            self._opened.callback(end.close)
        return near, far

    def map(self, **how: Any) -> ChannelMap:
        """A map that tells its loop, which is made with the arguments of `Loop`."""
        channels = ChannelMap()
        channels.loop = Loop(channels, tells=True, **how)
        self._opened.callback(channels.loop.close)
        self._opened.callback(asyncore.close_all, channels, ignore_all=True)
        return channels

    def plain_map(self) -> dict[int, Any]:
        """A map that doesn't tell its loop of changes."""
        channels: dict[int, Any] = {}
        loop = asyncore.get_loop(channels)
        self._opened.callback(loop.close)
        self._opened.callback(asyncore.close_all, channels, ignore_all=True)
        return channels

    def channel(self, made: Callable[..., Any], channels: Any) -> tuple[Any, socket.socket]:
        """`made(socket, channels)`, and the other end of its connection."""
        near, far = self.pair()
        return self.keep(made(near, channels)), far

    def keep(self, channel: Any) -> Any:
        """`channel`, to be closed in the end."""
        self._opened.callback(_end, channel)
        return channel

    def owned(self, sock: socket.socket) -> socket.socket:
        """`sock`, to be closed in the end."""
        self._opened.callback(sock.close)
        return sock

    def listener(self, made: Callable[..., Any], channels: Any, **named: Any) -> Any:
        """A channel that listens on 127.0.0.1."""
        listener = self.keep(made(map=channels, **named))
        listener.create_socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        return listener

    def client(self, address: Any) -> socket.socket:
        """A socket that is connected to `address`."""
        return self._opened.enter_context(socket.create_connection(address, timeout=10))

    def close(self) -> None:
        self._opened.close()


def _end(channel: Any) -> None:
    """Close a channel also if it was made to fail at that."""
    with contextlib.suppress(Exception):
        channel.close()
    asyncore.dispatcher.close(channel)


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        return near, server.accept()[0]


@pytest.fixture
def wires() -> Iterator[Wires]:
    wires = Wires()
    yield wires
    wires.close()


@pytest.fixture(params=POLLERS)
def each_poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs the test once with every poller of the system; the loops of its maps use that one."""
    monkeypatch.setenv(pollers.ENVIRONMENT_VARIABLE, request.param)
    return str(request.param)


@pytest.fixture(params=[*POLLERS, "asyncio"])
def each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same, and once in the turns of an asyncio loop."""
    if request.param == "asyncio":
        gc.collect()  # So that no descriptor of another test's is closed in the middle of this one.
        with turns_of_asyncio():
            yield "asyncio"
    else:
        monkeypatch.setenv(pollers.ENVIRONMENT_VARIABLE, request.param)
        yield str(request.param)


@pytest.fixture(params=[False, True], ids=["poll", "poll2"])
def use_poll(request: pytest.FixtureRequest) -> bool:
    """Both ways to deal with what is ready: that of select(2) and that of poll(2)."""
    return bool(request.param)


class Noting(asyncore.dispatcher):
    """Notes which of its handlers are called, and what it receives. Tracked, and silent about writing."""

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        self.events: list[str] = []
        self.received = b""
        super().__init__(sock, map)

    def handle_read(self) -> None:
        self.events.append("read")
        self.received += self.recv(4096)

    def handle_connect(self) -> None:
        self.events.append("connect")

    def handle_close(self) -> None:
        self.events.append("close")
        self.close()

    def handle_error(self) -> None:
        self.events.append(repr(sys.exc_info()[1]))
        self.close()


class Writing(Noting):
    """Notes that it can write, too; it always wants to."""

    def handle_write(self) -> None:
        self.events.append("write")


class Foreign:
    """What a map may hold that is no dispatcher: the handlers, and nothing of ours."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.events: list[str] = []

    def fileno(self) -> int:
        return self.sock.fileno()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        self.events.append(f"read {self.sock.recv(100)!r}")

    def handle_write_event(self) -> None:
        self.events.append("write")

    def handle_close(self) -> None:
        self.events.append("close")

    def handle_error(self) -> None:
        self.events.append(repr(sys.exc_info()[1]))

    def close(self) -> None:
        self.sock.close()


def raising(error: BaseException) -> Any:
    """A handler that raises `error`."""

    def handler(*_: Any) -> None:
        raise error

    return handler


class Failing:
    """A socket of which everything fails, or all but closing it."""

    def __init__(self, number: int, *, closes: bool = False) -> None:
        self.recv = self.send = self.close = raising(OSError(number, os.strerror(number)))
        if closes:
            self.close = lambda: None


class CountingPoller:
    """Another poller, and how often each of its methods was called."""

    def __init__(self, inner: Poller | None = None) -> None:
        self.inner = inner or pollers.make()
        self.name = self.inner.name
        self.calls: Counter[str] = Counter()

    def watch(self, fd: int, interest: int) -> None:
        self.calls["watch"] += 1
        self.inner.watch(fd, interest)

    def interest(self, fd: int) -> int:
        return self.inner.interest(fd)

    def forget(self, fd: int) -> None:
        self.calls["forget"] += 1
        self.inner.forget(fd)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        self.calls["wait"] += 1
        return self.inner.wait(timeout)

    def close(self) -> None:
        self.calls["close"] += 1
        self.inner.close()


def silent_map(wires: Wires) -> tuple[ChannelMap, FakeClock, SilentPoller]:
    """A map whose loop has a clock that moves when told, and a kernel that does what a script says."""
    clock = FakeClock()
    poller = SilentPoller(clock)
    return wires.map(now=clock, make_poller=lambda: poller), clock, poller


def spin(channels: Any, turns: int = 1, *, use_poll: bool = False) -> None:
    """Have the loop of `channels` look `turns` times, without waiting."""
    asyncore.loop(0, use_poll, channels, turns)


def is_closed(sock: socket.socket) -> bool:
    """Whether the other end of `sock` was closed; what it sent before is thrown away."""
    with contextlib.suppress(BlockingIOError):
        while sock.recv(65536):
            pass
        return True
    return False


def with_sources() -> dict[str, str]:
    """The environment of a child whose `import antiphon` finds what is tested here."""
    sources = str(Path(str(asyncore.__file__)).parents[1])
    return {**os.environ, "PYTHONPATH": sources}


def fork() -> int:
    """As `os.fork()`, which warns of threads beside it: those of the tests' runner are none of a test's."""
    if sys.platform == "win32":
        raise NotImplementedError("wanted a system with fork(2), found Windows")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
