"""Channels that note which of their limits are reached and when, on clocks that move when told."""

from typing import Any

from antiphon import MessageChannel, asyncore
from antiphon.asynchat import async_chat
from antiphon.pollers.base import READ, WRITE
from antiphon.testing import FakeClock, SilentPoller
from chat_support import ScriptedSocket
from loop_support import Wires

__all__ = ["READ", "WRITE", "Chat", "Messages", "Noting", "Stage", "Unlimited"]


class Noting:
    """Notes what is called, with the time.

    Attributes:
        clock: says the time.
        events: (seconds, what).
        stays: what is called at a timeout besides noting it; by default, the channel closes.
    """

    clock: Any = staticmethod(lambda: 0.0)
    stays: Any = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.events: list[tuple[float, str]] = []
        super().__init__(*arguments, **named)

    def note(self, what: str) -> None:
        self.events.append((self.clock(), what))

    def handle_timeout(self, which: str) -> None:
        self.note(which)
        if self.stays is None:
            super().handle_timeout(which)  # type: ignore[misc] # the channel's
        else:
            self.stays()

    def handle_output_full(self) -> None:
        self.note("full")

    def handle_output_drained(self) -> None:
        self.note("drained")

    def handle_connect(self) -> None:
        self.note("connected")

    def handle_close(self) -> None:
        self.note("close")
        super().handle_close()  # type: ignore[misc] # the channel's


class Chat(Noting, async_chat):
    """Notes its messages too; ends them at a line feed."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.messages: list[bytes] = []
        super().__init__(*arguments, **named)
        self.set_terminator(b"\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self._collect_incoming_data(data)

    def found_terminator(self) -> None:
        self.messages.append(self._get_data())


class Unlimited:
    """Takes from a channel the limits that its class has."""

    idle_timeout: float | None = None
    message_timeout: float | None = None
    connect_timeout: float | None = None
    send_timeout: float | None = None
    close_timeout: float | None = None
    high_water: int | None = None
    max_outgoing: int | None = None
    backpressure = False


class Messages(Noting, Unlimited, MessageChannel):
    """Likewise, without limits."""

    terminator = b"\n"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.messages: list[bytes] = []
        super().__init__(*arguments, **named)

    def message_received(self, message: bytes) -> None:
        self.messages.append(message)


class Kernel(SilentPoller):
    """Has sockets that are always ready.

    Attributes:
        ready: what for, by descriptor.
    """

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.ready: dict[int, int] = {}

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        ready = [
            (fd, bits & self.interest(fd)) for fd, bits in self.ready.items() if bits & self.interest(fd)
        ]
        return ready or super().wait(timeout)


class Stage:
    """A map with a clock and a kernel that do what the test says.

    Attributes:
        channels: the map.
        loop: its loop.
        clock: shows 0 at first.
        poller: the kernel.
    """

    def __init__(self, wires: Wires) -> None:
        self.clock = FakeClock()
        self.poller = Kernel(self.clock)
        self.channels = wires.map(now=self.clock, make_poller=lambda: self.poller)
        self.loop = asyncore.get_loop(self.channels)

    def channel(self, made: Any, *script: Any, takes: Any = (), **limits: Any) -> Any:
        """A connected channel whose limits were assigned to it, and that its loop knows."""
        channel = made(ScriptedSocket(*script, takes=takes), self.channels)
        channel.clock = self.clock
        for name, value in limits.items():
            setattr(channel, name, value)
        self.turn()
        return channel

    def turn(self) -> None:
        """Have the loop look, without waiting."""
        asyncore.loop(0, map=self.channels, count=1)

    def arrives(self, channel: Any, *pieces: Any, after: float = 0.0) -> None:
        """Have `pieces` arrive, one an event, all of them `after` seconds from now."""
        for piece in pieces:
            channel.socket.script.append(piece)
            self.poller.deliver((channel.socket.fileno(), READ), after=after)

    def takes(self, channel: Any, after: float = 0.0) -> None:
        """Have the system tell that it takes more, `after` seconds from now."""
        self.poller.deliver((channel.socket.fileno(), WRITE), after=after)

    def until(self, when: float) -> None:
        """Let the time pass, and whatever happens in it."""
        while self.clock() < when:
            asyncore.loop(when - self.clock(), map=self.channels, count=1)
            if not self.channels:
                break

    def waits_for(self, channel: Any) -> int:
        """The bits that the kernel was told to wait for."""
        return self.poller.interest(channel.socket.fileno())
