"""How a loop ends: `stop()` after the present turn, `drain()` when what was promised has been sent."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, ClassVar, Final, NamedTuple

from antiphon import lingering
from antiphon.calls import Calls
from antiphon.endings import OWN, TIMEOUT, because
from antiphon.failures import ESCAPING, contain
from antiphon.interest import interest_of, traits_of
from antiphon.pollers.base import WRITE
from antiphon.timers import seconds

__all__ = ["Drained", "Stoppable"]

_log: Final = logging.getLogger("antiphon.loop")

#: Seconds between two looks at what the peers of ended connections have acknowledged.
_LOOK_AGAIN: Final = 0.05


class Drained(NamedTuple):
    """What became of the channels of a loop that was drained.

    Attributes:
        listeners: those that accept connections; they were closed first.
        flushed: those that have sent all that they had to send, and ended in time.
        lost: those whose connection ended before that.
        aborted: those that were closed because the time was over.
    """

    listeners: int
    flushed: int
    lost: int
    aborted: int


class Stoppable(Calls):
    """How the loop of one map ends.

    Attributes:
        stopped: another object after each `stop()`.
        stop_pending: whether no `loop()` has returned for the last one yet.
        draining: what is known while the loop is being drained.
    """

    #: asyncore.loop, which is above this module and puts itself here.
    run: ClassVar[Callable[..., None]]
    map: MutableMapping[Any, Any]
    #: What runs the turns in the place of `run`, if anything does.
    host: Any

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(now)
        self.stopped: object = None
        self.stop_pending: bool = False
        self.draining: Draining | None = None

    def stop(self) -> None:
        """Have `loop()` return after its present turn, whether or not there are channels left.

        For any thread, and for signal handlers. Nothing is closed, and `loop()` may be called again. Where a
        handler runs a loop of the same map inside of it, both return. Where none runs, the next one returns
        before its first turn; so a signal that comes a moment too early is not missed. A `drain()` gives up,
        as at its deadline.
        """
        self.stop_pending = True
        self.stopped = object()
        self.call_soon_threadsafe(_nothing)

    def heed_stop(self) -> None:
        """Note that a `loop()` returns because it was stopped; one inside of a handler is not the last."""
        if not self.in_turn():
            self.stop_pending = False

    def _acquire(self, timeout: float | None) -> bool:
        """Wait until no other thread is in a turn; whether this one is to make its own."""
        stopped = self.stopped
        limit = -1 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX)
        if not self._lock.acquire(timeout=limit):
            return False
        if self.stopped is not stopped:
            self._lock.release()
        return self.stopped is stopped

    def drain(self, deadline: float, *, use_poll: bool = False) -> Drained:
        """End all channels of the map, as soon as they have sent what they have to send.

        Calls `handle_drain()` of each channel, also of those that come later: listeners close, an
        `async_chat` closes when all that was pushed has left, any other channel when it has nothing to write.
        One that runs a coroutine (`spawn`) is told when that is through, and reads nothing until then.
        Runs the loop until none is left; at the deadline, closes those that are. What a chat was given to
        send is not only handed to the system: its connection is ended in our direction first, and closed when
        the peer has ended the other, or has said nothing for a second and has acknowledged everything. What
        arrives meanwhile is dropped, an unfinished message too. Timers are called, and stay.

        Call it after `loop()` has returned, or in a handler; not while `loop()` waits, as a signal handler
        would: that calls `stop()`.

        Args:
            deadline: seconds that it takes at most, 0 or more.
            use_poll: as of `asyncore.loop`.

        Returns:
            How many channels ended in which way.

        Raises:
            RuntimeError: the loop waits, or is being drained already, or an asyncio loop serves the map.
            ValueError: the deadline is negative or not finite.
        """
        if self._waiting and self.in_turn():
            raise RuntimeError("drain() runs the loop, and was called while it waits: call stop() there")
        if self.host is not None:
            self.host.check_turn()
        with self.draining_for(deadline) as draining:
            draining.run(use_poll)
        return draining.drained

    @contextmanager
    def draining_for(self, deadline: float) -> Iterator["Draining"]:
        """What a drain of `deadline` seconds knows; whoever asks runs the turns until it is over.

        Raises:
            RuntimeError: the loop is being drained already.
            ValueError: the deadline is negative or not finite.
        """
        deadline = seconds("deadline", deadline, least=0)
        if self.draining is not None:
            raise RuntimeError("the loop is being drained already")
        began = self.now()
        self.draining = draining = Draining(self, began + deadline)
        try:
            yield draining
        finally:
            self.draining = None
        drained = draining.drained
        level = logging.WARNING if drained.lost or drained.aborted else logging.INFO
        _log.log(level, "drained in %.3g s: %s", self.now() - began, drained)


class _Told(NamedTuple):
    """A channel that knows of the drain.

    Attributes:
        channel: it.
        listens: whether it accepts connections.
    """

    channel: Any
    listens: bool


class Draining:
    """One `drain()`, while it lasts."""

    def __init__(self, loop: Stoppable, until: float) -> None:
        self._loop = loop
        self._until = until
        self._stopped = loop.stopped
        #: By descriptor.
        self._told: dict[int, _Told] = {}
        self._closing_at_rest: dict[int, Any] = {}
        #: Those that end when the coroutines are through that they run.
        self._answering: dict[int, Any] = {}
        #: By descriptor: the channel, and when it is looked at again.
        self._lingering: dict[int, tuple[Any, float]] = {}
        #: Whether another thread is in the loop, too.
        self._is_shared = False
        self._listeners = self._flushed = self._lost = self._aborted = 0

    @property
    def drained(self) -> Drained:
        """What has become of the channels so far."""
        return Drained(self._listeners, self._flushed, self._lost, self._aborted)

    @property
    def is_over(self) -> bool:
        """Whether there is no channel left, or no time."""
        loop = self._loop
        return not loop.map or loop.now() >= self._until or loop.stopped is not self._stopped

    def run(self, use_poll: bool) -> None:
        """Run the loop until there is no channel left, or no time."""
        loop = self._loop
        self._apart(self.look)
        while loop.map:
            loop.run(self.patience(), use_poll, loop.map, 1)
            self._apart(self.look)
            if self.is_over:
                break
        self._apart(self.abort)

    def close_at_rest(self, channel: Any) -> None:
        """Close a channel as soon as it has nothing to write."""
        self._closing_at_rest[channel._fileno] = channel

    def linger(self, channel: Any) -> bool:
        """Whether a channel that has nothing left to send waits for its peer, and is not to be closed yet."""
        if not lingering.half_close(channel._ac_socket):
            return False
        self.wait_longer(channel)
        return True

    def wait_longer(self, channel: Any) -> None:
        """Start the time that a peer has to end its direction, also when it still talks."""
        self._lingering[channel._fileno] = channel, self._loop.now() + lingering.SECONDS

    def _apart(self, action: Callable[[], None]) -> None:
        """Do it while no other thread is in the loop, or have that thread do it."""
        done = threading.Event()
        here = threading.get_ident()

        def act() -> None:
            self._is_shared = threading.get_ident() != here
            try:
                action()
            finally:
                done.set()

        self._loop.do(act)
        while not done.is_set():
            self._loop.run(_LOOK_AGAIN, False, self._loop.map, 1)
            done.wait(_LOOK_AGAIN)

    def patience(self) -> float:
        """Seconds after which there is something to look at, though no turn has come."""
        now = self._loop.now()
        times = [self._until, *(when for _, when in self._lingering.values())]
        if self._closing_at_rest or self._is_shared:  # Whether there is anything to do, nobody may tell.
            times.append(now + _LOOK_AGAIN)
        return max(0.0, min(times) - now)

    def look(self) -> None:
        """Count who has ended, tell who has come, close who is done."""
        for fd, told in tuple(self._told.items()):
            if not self._is_in_map(fd, told.channel):
                self._has_ended(fd, told)
        for fd, channel in tuple(self._loop.map.items()):
            if fd not in self._told and self._is_in_map(fd, channel):
                self._tell(fd, channel)
        for fd, channel in tuple(self._answering.items()):
            if channel._ac_end_answering():
                del self._answering[fd]
                self._ask_to_end(fd, channel)
        for fd, channel in tuple(self._closing_at_rest.items()):
            _contained(channel, self._close_if_at_rest, fd, channel)
        for fd, (channel, when) in tuple(self._lingering.items()):
            if when <= self._loop.now():
                self._end_lingering(fd, channel)

    def _has_ended(self, fd: int, told: _Told) -> None:
        del self._told[fd]
        self._closing_at_rest.pop(fd, None)
        self._answering.pop(fd, None)
        self._lingering.pop(fd, None)
        if not told.listens:
            is_lost = getattr(told.channel, "_ac_unsent", False) or getattr(told.channel, "out_buffer", b"")
            self._lost += bool(is_lost)
            self._flushed += not is_lost

    def _tell(self, fd: int, channel: Any) -> None:
        listens = bool(getattr(channel, "accepting", False))
        self._listeners += listens
        self._told[fd] = _Told(channel, listens)
        if listens or not hasattr(channel, "_ac_end_answering") or channel._ac_end_answering():
            self._ask_to_end(fd, channel)
        else:
            self._answering[fd] = channel

    def _ask_to_end(self, fd: int, channel: Any) -> None:
        if hasattr(channel, "handle_drain"):
            _contained(channel, channel.handle_drain)
        else:
            self._closing_at_rest[fd] = channel

    def _close_if_at_rest(self, fd: int, channel: Any) -> None:
        if self._is_in_map(fd, channel) and not _wants_to_write(channel):
            channel.close()

    def _is_in_map(self, fd: int, channel: Any) -> bool:
        return self._loop.map.get(fd) is channel

    def _end_lingering(self, fd: int, channel: Any) -> None:
        if lingering.unacknowledged(channel._ac_socket) or _wants_to_write(channel):
            self._lingering[fd] = channel, self._loop.now() + _LOOK_AGAIN
        else:
            del self._lingering[fd]
            _contained(channel, channel._ac_hang_up, OWN)

    def abort(self) -> None:
        """Close who is left."""
        self.look()
        for fd, channel in tuple(self._loop.map.items()):
            if fd in self._lingering:  # All that it had to send has left.
                _contained(channel, channel._ac_hang_up, OWN)
            else:
                told = self._told.pop(fd, None)
                self._aborted += told is None or not told.listens
            if self._is_in_map(fd, channel):
                _contained(channel, because, TIMEOUT, channel, channel.close)
        for fd, told in tuple(self._told.items()):
            self._has_ended(fd, told)


def _wants_to_write(channel: Any) -> bool:
    guard = getattr(channel, "_ac_guard", None)
    if getattr(channel, "_ac_paused", False) or (guard is not None and not guard.interest & WRITE):
        return True  # As soon as its name is found, or its rate permits.
    return interest_of(channel, traits_of(type(channel))) & WRITE > 0


def _contained(channel: Any, action: Callable[..., object], *arguments: object) -> None:
    """Have an exception of the program end in the channel that it concerns."""
    try:
        action(*arguments)
    except ESCAPING:
        raise
    except Exception:
        contain(channel)


def _nothing() -> None:
    """What `stop` has the loop call, so that it doesn't wait."""
