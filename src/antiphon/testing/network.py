"""A network that is a script: a map whose loop has no kernel and no time but what a test says.

While it is entered, it stands in for the real one: `asyncore.socket_map` is its map, and what channels open
with `create_socket()` are its sockets.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from antiphon import asyncore
from antiphon.loop import Loop
from antiphon.maps import ChannelMap
from antiphon.pollers.base import READ, URGENT, WRITE
from antiphon.testing.clock import FakeClock, SilentPoller
from antiphon.testing.scripted import ScriptedSocket

__all__ = ["FakeNetwork"]

C = TypeVar("C")

#: Turns in a row in which something is ready and nothing comes of it, before that is taken for a busy loop.
_FUTILE: Final = 20
#: Turns of one `run` at most.
_TURNS: Final = 100_000

_NAMES: Final = ((READ, "reading"), (URGENT, "out-of-band data"), (WRITE, "writing"))


class FakeNetwork:
    r"""Everything that a channel needs, and nothing real.

    >>> class Shouting(asyncore.dispatcher_with_send):
    ...     def handle_read(self):
    ...         self.send(self.recv(100).upper())
    >>> with FakeNetwork() as network:
    ...     channel = network.channel(Shouting, b"hello\r\n")
    ...     network.run()
    ...     channel.socket.sent
    b'HELLO\r\n'

    Args:
        use_poll: whether events are dealt with as by `loop(use_poll=True)`.

    Attributes:
        clock: the time of its loop, 0 at first.
        poller: what its loop waits with; `poller.waits` are its timeouts.
        map: where its channels live.
        loop: the loop of the map.
        sockets: what channels have opened with `create_socket()`, in this order.
    """

    def __init__(self, *, use_poll: bool = False) -> None:
        self.clock: FakeClock = FakeClock()
        self.poller: SilentPoller = SilentPoller(self.clock, ready=self._ready)
        self.map: ChannelMap = ChannelMap()
        self.loop: Loop = Loop(self.map, tells=True, make_poller=lambda: self.poller, now=self.clock)
        self.map.loop = self.loop
        self.sockets: list[ScriptedSocket] = []
        self._use_poll = use_poll
        self._prepared: list[ScriptedSocket] = []
        self._real: dict[str, Any] = {}

    def __enter__(self) -> Self:
        names = vars(asyncore)
        self._real = {name: names[name] for name in ("socket", "socket_map")}
        names.update(socket=_SocketModule(names["socket"], self._open), socket_map=self.map)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        vars(asyncore).update(self._real)
        self.close()

    def close(self) -> None:
        """Close every channel of the map, and its loop."""
        asyncore.close_all(self.map, ignore_all=True)
        self.loop.close()
        self.poller.close()

    def prepare(self, *sockets: ScriptedSocket) -> None:
        """Have the next calls of `create_socket()` open these; after them come sockets without a script."""
        self._prepared.extend(sockets)

    def _open(self, *kind: Any) -> ScriptedSocket:
        sock = self._prepared.pop(0) if self._prepared else ScriptedSocket()
        self.sockets.append(sock)
        return sock

    def channel(self, make: Callable[[Any], C], *received: bytes | BaseException | None, **answers: Any) -> C:
        """What `make` makes of a `ScriptedSocket` with these arguments."""
        return make(ScriptedSocket(*received, **answers))

    def run(self, seconds: float = 0.0) -> None:
        """Have happen all that is scripted and due, and then let time pass.

        Args:
            seconds: how long, by the clock; timers that are due meanwhile are called.

        Raises:
            AssertionError: there is a busy loop: a channel is ready again and again, and nothing comes of it.
        """
        end = self.clock() + seconds
        futile, before = 0, self._state()
        for _ in range(_TURNS):
            if not self.map and not self.loop.busy:
                self.clock.advance(max(0.0, end - self.clock()))
                return
            waits = len(self.poller.waits)
            self.turn(max(0.0, end - self.clock()))
            if len(self.poller.waits) == waits:
                continue  # It had only to do what other threads had asked for.
            if self.clock() >= end and self._is_idle():
                return
            after = self._state()
            futile = futile + 1 if self.poller.reported and before == after else 0
            before = after
            if futile > _FUTILE:
                raise AssertionError(f"a busy loop: {self._busy()}")
        raise AssertionError(f"after {_TURNS} turns there is still something to do: {self._busy()}")

    def turn(self, timeout: float | None = 0.0) -> None:
        """One turn of the loop, which waits for `timeout` seconds of the clock if nothing is ready."""
        (asyncore.poll2 if self._use_poll else asyncore.poll)(timeout, self.map)

    def _is_idle(self) -> bool:
        """Whether another turn would do nothing."""
        return (
            not self.poller.reported
            and self.loop._patience(None) != 0
            and not self._ready(self.poller.watched)
        )

    def _state(self) -> object:
        """What changes when something comes of an event."""
        scripts = [getattr(_socket_of(channel), "progress", 0) for channel in self.map.values()]
        return self.clock(), list(self.map), scripts

    def _busy(self) -> str:
        reported = [
            f"{self.map.get(fd)!r} is ready for {' and '.join(name for bit, name in _NAMES if ready & bit)}"
            for fd, ready in self.poller.reported
        ]
        return ", ".join(reported) or "timers or calls without end"

    def _ready(self, watched: Mapping[int, int]) -> list[tuple[int, int]]:
        """What the scripts of the channels' sockets have ready of what the loop waits for."""
        events = []
        for fd, interest in watched.items():
            ready = getattr(_socket_of(self.map.get(fd)), "ready", 0) & interest
            if ready:
                events.append((fd, ready))
        return events


def _socket_of(channel: Any) -> Any:
    """Its socket; of a channel of ours without the access by which it sends what it has pushed."""
    sock = getattr(channel, "_ac_socket", None)
    return getattr(channel, "socket", None) if sock is None else sock


class _SocketModule:
    """The socket module, but for what makes sockets."""

    def __init__(self, real: Any, make: Callable[..., ScriptedSocket]) -> None:
        self._real = real
        self.socket = make

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
