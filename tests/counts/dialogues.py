"""The servers whose work is counted, each the least that such a program can be, and turns of their loops."""

from collections import Counter
from typing import Any, Final

from antiphon import asyncore, pollers
from antiphon.asynchat import async_chat, simple_producer
from antiphon.testing import FakeClock, SilentPoller
from chat_support import ScriptedSocket
from counts.counters import system_calls
from loop_support import CountingPoller, Wires

#: Bytes: of a body that is uploaded or downloaded.
LARGE: Final = 1 << 20

#: One request of `Echo`, and its answer.
LINE: Final = b"hello\r\n"


class Echo(async_chat):
    """Answers each line with that line.

    Attributes:
        collected: how often it was given a piece of a line.
        found: how often a line ended.
    """

    coalesce_pushes = True

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.pieces: list[bytes] = []
        self.collected = self.found = 0
        self.set_terminator(b"\r\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self.collected += 1
        self.pieces.append(data)

    def found_terminator(self) -> None:
        self.found += 1
        message = b"".join(self.pieces)
        self.pieces.clear()
        self.answer(message)

    def answer(self, message: bytes) -> None:
        self.push(message + b"\r\n")


class Upload(Echo):
    """Takes a line with a length and a body of that length, and answers with the length of the body."""

    def found_terminator(self) -> None:
        if self.get_terminator() == b"\r\n":
            self.set_terminator(int(b"".join(self.pieces)))
            self.pieces.clear()
        else:
            self.set_terminator(b"\r\n")
            self.push(b"%d\r\n" % sum(map(len, self.pieces)))
            self.pieces.clear()


class Download(Echo):
    """Answers a line with LARGE bytes of a producer whose chunks are as large as the line says."""

    def answer(self, message: bytes) -> None:
        self.push_with_producer(simple_producer(bytes(LARGE), int(message)))


class Once(Echo):
    """Answers one line, and ends the connection."""

    def answer(self, message: bytes) -> None:
        super().answer(message)
        self.close_when_done()


class Listener(asyncore.dispatcher):
    """Makes an Echo of each connection, and keeps them in `accepted`."""

    makes: Any = Echo

    def __init__(self, map: Any) -> None:
        super().__init__(map=map)
        self.accepted: list[Any] = []

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        self.accepted.append(self.makes(sock, self._map))


def served(channels: Any, turns: int = 1, *, use_poll: bool = False, timeout: float = 10) -> Counter[str]:
    """Have the loop wait for an event `turns` times; the system calls that this takes."""
    return system_calls(lambda: asyncore.loop(timeout, use_poll, channels, turns))


def crowd(wires: Wires, size: int) -> tuple[Any, SilentPoller, CountingPoller, list[Echo]]:
    """A map with `size` channels without a kernel, all of them looked at once.

    Returns:
        The map; its poller, to deliver events to; how often that is called from then on; the channels.
    """
    clock = FakeClock()
    silent = SilentPoller(clock)
    counting = CountingPoller(silent)
    channels = wires.map(now=clock, make_poller=lambda: counting)
    idle = [Echo(ScriptedSocket(), channels) for _ in range(size)]
    asyncore.loop(0, map=channels, count=1)
    counting.calls.clear()
    return channels, silent, counting, idle


def said(channels: list[Echo], poller: SilentPoller, data: bytes = LINE) -> None:
    """Let `data` arrive at some of a crowd, in one turn."""
    for channel in channels:
        channel.socket.script.append(data)
    poller.deliver(*[(channel.socket.fileno(), pollers.READ) for channel in channels])
