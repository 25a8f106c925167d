"""Where the fault table is played: a loop on one poller, a channel on a socket that fails when it is told to.

The sockets are real and so is what the poller says; what a call on the channel's own socket returns is
scripted.
"""

import contextlib
import errno
import gc
import importlib
import logging
import os
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from antiphon import asyncore, pollers
from antiphon.loop import Loop
from antiphon.maps import ChannelMap
from antiphon.pollers.base import Poller
from antiphon.pollers.kqueue import KqueuePoller
from antiphon.testing import FakeClock, ScriptedSocket
from asyncio_engine import turns_of_asyncio
from effort import some
from faults.recorders import KINDS

__all__ = ["POLLERS", "Stage", "open_descriptors", "staged", "without_noise"]


def _kqueue() -> Poller:
    simulation = importlib.import_module("antiphon.testing.kqueue")  # Not for Windows.
    return KqueuePoller(simulation.SimulatedKqueue())


#: Not a poller, but the turns of an asyncio loop.
ASYNCIO: Final = "asyncio"

#: Those that the system has, and a simulated kqueue where it has none.
POLLERS: Final[dict[str, Callable[[], Poller]]] = {
    **{name: pollers.maker(name) for name in some(pollers.offered())},
    **({} if "kqueue" in pollers.offered() else {"kqueue": _kqueue}),
    ASYNCIO: pollers.make,
}


class Stage:
    """One cell of the table, while it is played.

    Attributes:
        trace: the handlers that were called.
        clock: the time of the loop.
        sock: the channel's socket, once there is one.
        far: the other end of its connection.
    """

    far: socket.socket

    def __init__(self, kind: str, make_poller: Callable[[], Poller], use_poll: bool, held: ExitStack) -> None:
        self.kind, self.use_poll = kind, use_poll
        self.trace: list[str] = []
        self.clock = FakeClock()
        self.map = ChannelMap()
        self.loop = self.map.loop = Loop(self.map, tells=True, make_poller=make_poller, now=self.clock)
        self._held = held
        self.sock: Any = None
        self._numbers: list[int] = []
        self._channel: Callable[[], Any] = lambda: None

    # -- what a scene is made of -----------------------------------------------------------------------

    def connected(self, **answers: Any) -> tuple[Any, socket.socket]:
        """A channel whose connection stands, and its peer."""
        far = self.pair(**answers)
        return self.channel(self.sock), far

    def pair(self, **answers: Any) -> socket.socket:
        """Have `sock` be one end of a connection; the other end."""
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self.far = self._held.enter_context(far)
        self.put_under(near, **answers)
        return far

    def tcp_pair(self, **answers: Any) -> socket.socket:
        """The same with a connection of TCP, which has urgent data."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            far = self._held.enter_context(socket.create_connection(server.getsockname()))
            near, _ = server.accept()
        near.setblocking(False)
        self.far = far
        self.put_under(near, **answers)
        return far

    def put_under(self, real: socket.socket, **answers: Any) -> None:
        """Have `sock` stand on a real socket."""
        self._held.enter_context(real)
        self.sock = ScriptedSocket(over=real, **answers)
        self._numbers.append(real.fileno())

    def channel(self, sock: Any) -> Any:
        """A channel of the kind that is played; `sock` may be None."""
        channel = KINDS[self.kind](self.trace, sock, self.map)
        self._channel = weakref.ref(channel)
        return channel

    def opened(self) -> Any:
        """A channel that has `sock` without a connection."""
        channel = self.channel(None)
        channel.set_socket(self.sock)
        return channel

    def connecting(self, **answers: Any) -> tuple[Any, socket.socket]:
        """A channel whose connection is being made, and its peer."""
        far = self.pair(connect_ex=[errno.EINPROGRESS], **answers)
        channel = self.opened()
        channel.connect(("192.0.2.1", 1))
        return channel, far

    def listening(self, **answers: Any) -> tuple[Any, socket.socket]:
        """A channel that listens, with a connection that waits; and a client of that."""
        server = socket.create_server(("127.0.0.1", 0))
        server.setblocking(False)
        self.put_under(server, **answers)
        channel = self.opened()
        channel.listen(5)
        return channel, self._held.enter_context(socket.create_connection(server.getsockname()))

    def turn(self, times: int = 1) -> None:
        """Have the loop go round."""
        for _ in range(times):
            (asyncore.poll2 if self.use_poll else asyncore.poll)(0.0, self.map)

    # -- what became of it ---------------------------------------------------------------------------

    @property
    def poller(self) -> Any:
        """What the loop waits with."""
        return self.loop._poller

    @property
    def reference(self) -> Callable[[], Any]:
        """The channel, weakly."""
        return self._channel

    @property
    def is_open(self) -> bool:
        """Whether the channel's socket is."""
        return not self.sock.closed

    def leftovers(self) -> list[str]:
        """What map, loop and poller have of the channel after its end."""
        wakeup = {self.loop._wakeup.fileno()} if self.loop._wakeup is not None else set()
        found = {
            "the map": self.map,
            "the loop's changes": self.loop._dirty,
            "the loop's polled channels": self.loop._polled,
            "the poller": [
                fd for fd in self._numbers if self.poller is not None and self.poller.interest(fd)
            ],
            "the kernel": set(_kernel_of(self.poller)) - wakeup,
            "timers": range(self.loop._timers.active),
        }
        return [f"{name}: {sorted(what)}" for name, what in found.items() if what]


def _kernel_of(poller: Any) -> list[int]:
    """The descriptors that the kernel's own object watches, where it tells."""
    if getattr(poller, "name", "") == "epoll":
        with contextlib.suppress(FileNotFoundError), open(f"/proc/self/fdinfo/{poller.fileno()}") as lines:
            return [int(line.split()[1]) for line in lines if line.startswith("tfd:")]
    if getattr(poller, "name", "") == "kqueue":
        return [fd for fd, _ in getattr(poller._kernel, "_filters", ())]
    return []


def open_descriptors() -> list[str]:
    """The numbers of the process's open descriptors."""
    return sorted(os.listdir("/dev/fd"))


@contextmanager
def staged(kind: str, poller: str, use_poll: bool) -> Iterator[Stage]:
    """A stage, and everything closed in the end."""
    with ExitStack() as held:
        if poller == ASYNCIO:
            held.enter_context(turns_of_asyncio())
        stage = Stage(kind, POLLERS[poller], use_poll, held)
        held.callback(stage.loop.close)
        yield stage


@contextmanager
def without_noise() -> Iterator[None]:
    """Nothing is logged, since a record with a traceback holds the channel; the cyclic collector rests."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        logging.disable(before)
