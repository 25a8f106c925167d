"""What a loop is to do besides waiting: timers, and what other threads ask for."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast
from weakref import WeakMethod

from antiphon.counting import Counts
from antiphon.failures import ESCAPING, contain
from antiphon.logs import LimitedLog, origin_of
from antiphon.timers import Timer, Timers, seconds
from antiphon.watching import SLOW, Watch, checked

__all__ = ["Calls"]

_limited: Final = LimitedLog(logging.getLogger("antiphon.loop"), burst=10)

#: Those with timers or calls pending, which must outlive the last channel of their map.
_pinned: "set[Calls]" = set()


class Calls:
    """The timers and calls of one loop.

    Args:
        now: the clock of the timers, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        #: What was counted since the loop was made.
        self.counts: Counts = Counts()
        #: What looks how long handlers take; None if nothing does.
        self.watch: Watch | None = None
        self.slow_callback = SLOW
        self._timers = Timers(now, started=WeakMethod(self._pin), ended=WeakMethod(self._unpin))
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        #: What stands for the time of whatever happens now: it is told an upper bound of that, in seconds of
        #: the clock, before the loop waits again.
        self.moment: list[float] = []
        self._guarding: set[Timer] = set()
        self._pinned = False
        #: Whether a turn has more to do than to wait: set by whatever makes more to do, taken down by a turn.
        self._more_to_do = True
        self._waiting = False
        self._make_lock()

    def _make_lock(self) -> None:
        self._lock = lock = cast("Any", threading.RLock())
        #: Whether this thread is in a turn of this loop. `threading.Condition` asks an RLock likewise.
        self.in_turn: Callable[[], bool] = lock._is_owned

    def wake(self) -> None:
        """End the present wait, if there is one.  Safe in any thread and in a signal handler."""
        raise NotImplementedError

    @property
    def slow_callback(self) -> float | None:
        """Seconds: of a handler or a callback that takes longer a warning names it. None for no watch.

        0.1 by default, or what the environment variable ANTIPHON_SLOW_CALLBACK says; 0 there is None. It is
        logged by `antiphon.loop`, of each handler once a second at most. On Linux, a limit of some ticks of
        the system (1 to 10 ms) is measured in ticks, which is quick.

        Raises:
            TypeError: no number was assigned.
            ValueError: a number that is not more than 0.
        """
        return None if self.watch is None else self.watch.limit

    @slow_callback.setter
    def slow_callback(self, limit: float | None) -> None:
        limit = checked(limit)
        self.watch = None if limit is None else Watch(limit, self.counts, self.now)

    # -- other threads -------------------------------------------------------------------------------

    def call_soon_threadsafe(self, callback: Callable[..., Any], *arguments: Any) -> None:
        """Have the loop's thread call `callback(*arguments)` in its next turn, and wake it for that."""
        if not callable(callback):
            raise TypeError(f"wanted a callable, found {callback!r}")
        self._calls.append((callback, arguments))
        self._pin()
        self.wake()

    def call_soon(self, callback: Callable[..., Any], *arguments: Any) -> None:
        """As `call_soon_threadsafe`, at less cost in a turn of this loop: at its end, it is called."""
        self._calls.append((callback, arguments))
        self._pin()
        if self._waiting:
            self.wake()

    def do(self, callback: Callable[..., Any], *arguments: Any) -> None:
        """Call it here and now if no other thread is in a turn of this loop, else in that thread, soon."""
        if not self._lock.acquire(False):
            self.call_soon_threadsafe(callback, *arguments)
            return
        try:
            callback(*arguments)
        finally:
            self._lock.release()

    # -- timers --------------------------------------------------------------------------------------

    def call_later(
        self, delay: float, callback: Callable[..., Any], *arguments: Any, group: set[Timer] | None = None
    ) -> Timer:
        """Call `callback(*arguments)` once, `delay` seconds from now.

        Args:
            delay: seconds, 0 or more.
            callback: runs in the loop's thread; what it raises is logged.
            arguments: for the callback.
            group: a set that holds the timer as long as it is pending.
        """
        when = self.now() + seconds("delay", delay, least=0)
        return self._timer(when, callback, arguments, delay=delay, group=group)

    def call_at(
        self, when: float, callback: Callable[..., Any], *arguments: Any, group: set[Timer] | None = None
    ) -> Timer:
        """Call `callback(*arguments)` once, when the loop's clock (`now`, monotonic) shows `when`."""
        return self._timer(when, callback, arguments, group=group)

    def call_every(
        self, interval: float, callback: Callable[..., Any], *arguments: Any, group: set[Timer] | None = None
    ) -> Timer:
        """Call `callback(*arguments)` every `interval` seconds (more than 0), first after one interval."""
        when = self.now() + seconds("interval", interval, above=0)
        return self._timer(when, callback, arguments, interval=interval, group=group)

    def guard_at(self, when: float, callback: Callable[..., Any], *arguments: Any) -> Timer:
        """As `call_at`, for the limits of a channel: the loop does not go on for their sake.

        For the thread that is in a turn of this loop, or that keeps others out of one as `do` does.
        """
        return self._timers.call_at(when, callback, arguments, delay=0.0, group=self._guarding)

    def _timer(
        self, when: float, callback: Callable[..., Any], arguments: tuple[Any, ...], **how: Any
    ) -> Timer:
        timer = self._timers.prepare(when, callback, arguments, **how)
        if how.get("group") is not None:  # Also while it waits to be started by the loop's thread.
            how["group"].add(timer)
        self._pin()
        self.do(self._timers.start, timer)
        if self._waiting:
            self.wake()
        return timer

    def _pin(self) -> None:
        self._pinned = self._more_to_do = True
        if self.busy:
            _pinned.add(self)

    def _unpin(self) -> None:
        self._pinned = False
        _pinned.discard(self)
        if self._calls or self._timers.active:  # Another thread was faster.
            self._pin()

    @property
    def busy(self) -> bool:
        """Whether there is something to do even without a channel: a timer or another thread's call."""
        return bool(self._calls) or self._timers.active > len(self._guarding)

    # -- what is due -----------------------------------------------------------------------------------

    def _run_due(self) -> None:
        """Run what is due and what was asked from other threads, as far as there is any."""
        now = self.now()
        if not self._calls and self._timers.is_early(now):
            return
        for timer in self._timers.due(now):
            self._call(timer.callback, timer.arguments)
        self._run_calls()
        if not (self._calls or self._timers.active):
            self._unpin()
        elif not self.busy:
            _pinned.discard(self)
            self._pin()  # Another thread may have been faster.

    def _run_calls(self) -> None:
        calls = self._calls
        for _ in range(len(calls)):
            if calls:  # A call that runs the loop itself has taken the others.
                self._call(*calls.popleft())

    def _call(self, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        watch = self.watch
        if watch is None:
            self._guarded(callback, arguments)
        else:
            began = watch.clock(watch.which)
            self._guarded(callback, arguments)
            watch.look_at(callback, arguments, watch.clock(watch.which) - began)

    def _guarded(self, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            callback(*arguments)
        except ESCAPING:
            raise
        except Exception as error:
            owner = getattr(callback, "__self__", None)
            if hasattr(owner, "handle_error"):
                contain(owner)
            else:
                kind = origin_of(error)
                _limited.log(logging.ERROR, kind, "a callback failed: %r", callback, exc_info=error)
