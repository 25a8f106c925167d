"""Channels that note what they are told, sockets that do what a test says, and the turns of the loop."""

import contextlib
import itertools
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from antiphon import asyncore
from antiphon.asynchat import async_chat
from antiphon.producers import Producer


class Chat(async_chat):
    """Notes the messages that it is given.

    Attributes:
        sock: the socket that it was made with.
        messages: the finished ones.
        pieces: of the one that is not finished.
        on_data: called with each piece, after it was noted.
        on_found: called with each message, after it was noted.
        closes: how often `handle_close` was called.
    """

    def __init__(self, sock: Any = None, map: Any = None, terminator: Any = b"\n") -> None:
        super().__init__(sock, {} if map is None else map)
        self.sock = sock
        self.messages: list[bytes] = []
        self.pieces: list[bytes] = []
        self.on_data: Callable[[bytes], object] = lambda piece: None
        self.on_found: Callable[[bytes], object] = lambda message: None
        self.closes = 0
        self.set_terminator(terminator)

    def collect_incoming_data(self, data: bytes) -> None:
        self.pieces.append(data)
        self.on_data(data)

    def found_terminator(self) -> None:
        self.messages.append(b"".join(self.pieces))
        self.pieces.clear()
        self.on_found(self.messages[-1])

    def handle_close(self) -> None:
        self.closes += 1
        super().handle_close()

    @property
    def unfinished(self) -> bytes:
        """What was handed over of the message that is not finished."""
        return b"".join(self.pieces)


class Patient(Chat):
    """Notes the errors of its handlers, and goes on."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.errors: list[BaseException] = []
        super().__init__(*arguments, **named)

    def handle_error(self) -> None:
        error = sys.exc_info()[1]
        assert error is not None
        self.errors.append(error)


C = TypeVar("C", bound=async_chat)

_descriptors = itertools.count(1_000_000)  # Beyond any that the system gives out.


class ScriptedSocket:
    """A socket that plays back what is to be received, and takes what is sent.

    Args:
        script: what `recv` returns or raises, in order; when it has run out, nothing has arrived.
        takes: how many bytes each `send` takes, or what it raises; when they have run out, all.

    Attributes:
        offered: the very objects that were given to `send`.
        sent: the bytes that it took, call by call.
        sizes: what `recv` was asked for.
    """

    def __init__(self, *script: Any, takes: Iterable[int | Exception] = ()) -> None:
        self.script = list(script)
        self.takes = list(takes)
        self.offered: list[Any] = []
        self.sent: list[bytes] = []
        self.sizes: list[int] = []
        self.descriptor = next(_descriptors)
        self.closed = False

    def recv(self, size: int) -> Any:
        self.sizes.append(size)
        if not self.script:
            raise BlockingIOError
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        if len(step) > size:
            self.script.insert(0, step[size:])
        return step[:size]

    def send(self, data: Any) -> int:
        if self.closed:
            raise AssertionError("sent after it was closed")
        self.offered.append(data)
        view = memoryview(data).cast("B")
        step = self.takes.pop(0) if self.takes else len(view)
        if isinstance(step, Exception):
            raise step
        self.sent.append(bytes(view[:step]))
        return len(self.sent[-1])

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def fileno(self) -> int:
        return self.descriptor

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def getsockopt(self, level: int, option: int) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    @property
    def wire(self) -> bytes:
        """All that the peer gets."""
        return b"".join(self.sent)


class CountingSocket(socket.socket):
    """A real socket that notes the size of each `recv` asked for and each `send` offered."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(fileno=sock.detach())
        self.recvs: list[int] = []
        self.sends: list[int] = []

    def recv(self, size: int, *flags: int) -> bytes:
        self.recvs.append(size)
        return super().recv(size, *flags)

    def send(self, data: Any, *flags: int) -> int:
        self.sends.append(len(data))
        return super().send(data, *flags)


class Chunks:
    """The least that a producer must be: plays back chunks, raises exceptions among them, counts calls."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.calls = 0

    def more(self) -> Any:
        self.calls += 1
        step = self.script.pop(0) if self.script else b""
        if isinstance(step, Exception):
            raise step
        return step


class ClosingChunks(Chunks, Producer):
    """Likewise, and counts how often it is closed."""

    closings = 0

    def close(self) -> None:
        self.closings += 1


@contextmanager
def connected(
    make: Callable[..., C], *arguments: Any, tcp: bool = False, **named: Any
) -> Iterator[tuple[C, Any]]:
    """A channel on a `CountingSocket`, and its peer, a socket that does not block; closed in the end."""
    near, far = _tcp_pair() if tcp else socket.socketpair()
    counting = CountingSocket(near)
    with counting, far:
        far.setblocking(False)
        channel = make(counting, *arguments, **named)
        try:
            yield channel, far
        finally:
            channel.close()


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        return listener.accept()[0], far


def fed(channel: C, *pieces: bytes) -> C:
    """The channel, after it has read each of the pieces in an event of its own, or more for a large one."""
    sock = channel.socket
    for piece in pieces:
        sock.script.append(piece)
        while sock.script and not sock.closed:
            channel.handle_read_event()
    return channel


def turn(channels: Any, times: int = 1) -> None:
    """Have the loop go round without waiting."""
    asyncore.loop(0, map=channels, count=times)


def received(peer: socket.socket, size: int = 1 << 20) -> bytes:
    """Everything that waits at `peer`, read `size` bytes at a time."""
    pieces = []
    with contextlib.suppress(BlockingIOError, ConnectionResetError):
        while piece := peer.recv(size):
            pieces.append(piece)
    return b"".join(pieces)


def transferred(channel: async_chat, peer: socket.socket, size: int) -> bytes:
    """What `peer` receives while the loop goes round until it is `size` bytes, or nothing more comes."""
    data, idle = bytearray(), 0
    while len(data) < size and idle < 200:
        asyncore.loop(0.01 if idle else 0, map=channel._map, count=1)
        piece = received(peer, 65536)
        data += piece
        idle = 0 if piece else idle + 1
    return bytes(data)


def once(action: Callable[[], object]) -> Callable[[bytes], None]:
    """A callback for `on_found` or `on_data` that does something the first time only."""
    actions = [action]

    def act(data: bytes) -> None:
        if actions:
            actions.pop()()

    return act


def shown(value: Any) -> str:
    """A name for a parameter that is the same in each process: its repr without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
