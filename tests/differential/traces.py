"""What the old modules and ours are both put through, and what is noted of it.

A trace is a list of plain tuples; two implementations behave alike if their traces are equal.
"""

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeAlias

from hypothesis import HealthCheck, settings

from faults.originals import Modules

Trace: TypeAlias = list[tuple[Any, ...]]
Turn: TypeAlias = Callable[[Modules, Any], None]

#: Real sockets are slower than hypothesis expects, and by an amount that means nothing.
DIFFERENTIAL: Final = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))

#: The ways in which programs have a loop go round once without waiting.
TURNS: Final[dict[str, Turn]] = {
    "loop": lambda modules, channels: modules.asyncore.loop(0, map=channels, count=1),
    "loop, use_poll": lambda modules, channels: modules.asyncore.loop(0, True, channels, 1),
    "poll": lambda modules, channels: modules.asyncore.poll(0.0, channels),
    "poll2": lambda modules, channels: modules.asyncore.poll2(0.0, channels),
}


@contextmanager
def connected_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets, the second of which does not block."""
    near, far = socket.socketpair()
    with near, far:
        far.setblocking(False)
        yield near, far


def take(sock: socket.socket, trace: Trace) -> int:
    """Read what waits at `sock` into `trace`; how many bytes that was."""
    size = 0
    try:
        while data := sock.recv(65536):
            add(trace, "received", data)
            size += len(data)
    except BlockingIOError:
        return size
    except ConnectionResetError:
        trace.append(("reset",))
        return size
    if ("end",) not in trace:
        trace.append(("end",))
    return size


def add(trace: Trace, name: str, data: bytes) -> None:
    """Note `data`, joined to what was noted under the same `name` just before."""
    if trace and trace[-1][0] == name:
        data = trace.pop()[1] + data
    trace.append((name, data))


class Reaction(NamedTuple):
    """What a channel does inside of a callback.

    Attributes:
        method: of the channel, or "produce", or "look" at the input buffer, or "replace" it (with something
            in front of it; without arguments, with nothing), or "raise".
        arguments: its arguments; with a second one, "raise" closes the channel.
    """

    method: str
    arguments: tuple[Any, ...] = ()

    #: After these nothing more is delivered (by us; the old modules go on).
    @property
    def ends(self) -> bool:
        return self.method in {"close", "handle_close", "close_when_done"}


NOTHING: Final = Reaction("nothing")


class Producer:
    """A producer of the given chunks."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = list(chunks)

    def more(self) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""


def chat_class(modules: Modules) -> Any:  # noqa: C901 (one class, whose methods are short)
    """A class of channels that note what is called, and react as they are told.

    `to_found` and `to_data` hold a reaction for each coming call of `found_terminator` and for the
    first call of `collect_incoming_data` in each coming message.
    """

    class Chat(modules.asynchat.async_chat):  # type: ignore[misc, name-defined]
        ac_in_buffer: bytes

        def __init__(self, sock: Any, channels: Any) -> None:
            super().__init__(sock, channels)
            self.trace: Trace = []
            self.to_found: list[Reaction] = []
            self.to_data: list[Reaction] = []
            self.in_message = self.fatal = False
            self.over = self.ended = self.notes_all = False

        def collect_incoming_data(self, data: bytes) -> None:
            if self.over:
                return
            add(self.trace, "data", bytes(data))
            if not self.in_message:
                self.in_message = True
                self.react(self.to_data)

        def found_terminator(self) -> None:
            if self.over:
                return
            self.in_message = False
            self.trace.append(("found", self.get_terminator()))
            self.react(self.to_found)

        def react(self, reactions: list[Reaction]) -> None:
            method, arguments = reaction = reactions.pop(0) if reactions else NOTHING
            if method == "raise":
                self.fatal = len(arguments) > 1
                raise LookupError(*arguments)
            if method == "produce":
                self.push_with_producer(Producer(*arguments))
            elif method == "look":
                self.trace.append(("buffer", bytes(self.ac_in_buffer)))
            elif method == "replace":
                self.ac_in_buffer = b"".join(arguments) + (self.ac_in_buffer if arguments else b"")
            elif reaction is not NOTHING:
                getattr(self, method)(*arguments)
            # What the old modules still deliver then is a deliberate difference.
            self.over = self.over or (reaction.ends and not self.notes_all)

        def handle_close(self) -> None:
            if not self.ended:  # That the old modules may call it again is a deliberate difference.
                self.trace.append(("close",))
            self.ended = True
            self.close()

        def handle_error(self) -> None:
            self.trace.append(("error", type(sys.exc_info()[1]).__name__))
            if self.fatal:
                self.close()

    return Chat


def cuts(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of the given sizes, and a last one of what is left."""
    pieces, start = [], 0
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    return [piece for piece in [*pieces, data[start:]] if piece]
