"""Deadlines in order, and who is to be called then.

Knows no clock of its own: every question carries `now` with it, and the one that a new delay is counted
from is handed in.  Calls nobody: `Timers.due` says whose time has come, the loop calls them.

Not for several threads: everything here is called in the thread of the loop that owns it.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

__all__ = ["Timer", "Timers", "seconds"]

#: A heap up to this length is never worth tidying.
SMALL: Final = 64


def _nobody() -> None:
    """The reference to nobody who would be told."""


def _cancelled() -> None:
    """What a cancelled timer would call."""


class Timer:
    """One call that is to be made later, once or again and again.

    Made by `Timers.call_at`.

    Attributes:
        when: the deadline, in the clock's seconds; of a repeating timer the next one.
        interval: seconds between calls, or None for a single call.
        active: whether a call is still to come.
        callback: what is called.
        arguments: what it is called with.
    """

    __slots__ = (
        "__weakref__",
        "_delay",
        "_group",
        "_is_ready",
        "_queued",
        "_sequence",
        "_timers",
        "active",
        "arguments",
        "callback",
        "interval",
        "when",
    )

    def __init__(
        self,
        timers: "Timers",
        sequence: int,
        when: float,
        callback: Callable[..., object],
        arguments: tuple[object, ...],
        delay: float,
        interval: float | None,
        group: "set[Timer] | None",
    ) -> None:
        """For `Timers.call_at` only, which checks what is given."""
        self.when: float = when
        self.interval: float | None = interval
        self.active: bool = False
        self.callback: Callable[..., object] = callback
        self.arguments: tuple[object, ...] = arguments
        self._timers = timers
        self._sequence = sequence
        self._delay = delay
        self._group = group
        #: The deadline that its place in the heap says, which may be earlier than `when`; None: no place.
        self._queued: float | None = None
        #: Whether its time has come and its call has not.
        self._is_ready = False

    def cancel(self) -> None:
        """Never call.  Final; what the timer would have called is let go of.  Twice does no harm."""
        self._timers._stop(self)
        self.callback = _cancelled
        self.arguments = ()

    def reset(self, delay: float | None = None) -> None:
        """Start the delay again, from now.

        Cheap when the deadline moves later, as that of an idle timeout does with each byte.  A timer that
        has called already starts again; one that was cancelled stays so.

        Args:
            delay: seconds, also for the next resets; None takes the last one.

        Raises:
            ValueError: `delay` is negative, or not a finite number.
            TypeError: `delay` is no number.
        """
        if delay is not None:
            self._delay = seconds("delay", delay, least=0)
        if self.callback is not _cancelled:
            self._timers._start(self, self._timers.now() + self._delay)

    def __repr__(self) -> str:
        """With the name of what it calls, and its deadline."""
        name = getattr(self.callback, "__qualname__", None) or repr(self.callback)
        state = f"when={self.when!r}" if self.active else "inactive"
        every = "" if self.interval is None else f" interval={self.interval!r}"
        return f"<Timer {name} {state}{every}>"


class Timers:
    """The timers of one loop.

    Attributes:
        now: the clock, in seconds, never going back.  Asked when a delay starts, and only then.
        active: how many timers are active, as `len` says too.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        started: Callable[[], Callable[[], object] | None] = _nobody,
        ended: Callable[[], Callable[[], object] | None] = _nobody,
    ) -> None:
        """Count delays from what the clock `now` shows.

        Args:
            now: the clock.
            started: a weak reference to what is called whenever a timer becomes active.
            ended: likewise, when none is active any more.
        """
        self.now = now
        self._started = started
        self._ended = ended
        # (deadline, number, timer).  No two timers have the same number, so that no timer is compared.
        self._heap: list[tuple[float, int, Timer]] = []
        self._ready: deque[Timer] = deque()
        self.active: int = 0
        self._numbers = itertools.count()

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        arguments: Iterable[object] = (),
        *,
        delay: float | None = None,
        interval: float | None = None,
        group: set[Timer] | None = None,
    ) -> Timer:
        """Have `callback(*arguments)` called at `when`.

        Args:
            when: the deadline, in the clock's seconds; one that is past is due at once.
            callback: what to call.
            arguments: what to call it with.
            delay: seconds that `Timer.reset` starts again; None takes the interval and, where there is
                none, the time from now to `when`.
            interval: seconds between this call and each next; None calls once.
            group: holds the timer for as long as it is active, so that whoever
                keeps the set can cancel all of its own.

        Raises:
            TypeError: `callback` cannot be called, or a time is no number.
            ValueError: a time is not finite, `delay` is negative or `interval` not above 0.
        """
        timer = self.prepare(when, callback, arguments, delay=delay, interval=interval, group=group)
        self.start(timer)
        return timer

    def prepare(
        self,
        when: float,
        callback: Callable[..., object],
        arguments: Iterable[object] = (),
        *,
        delay: float | None = None,
        interval: float | None = None,
        group: set[Timer] | None = None,
    ) -> Timer:
        """As `call_at`, but nothing is called before `start(timer)`.  Any thread may do this."""
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        when = seconds("when", when)
        if interval is not None:
            interval = seconds("interval", interval, above=0)
        if delay is not None:
            delay = seconds("delay", delay, least=0)
        elif interval is not None:
            delay = interval
        else:
            delay = max(0.0, when - self.now())
        return Timer(self, next(self._numbers), when, callback, tuple(arguments), delay, interval, group)

    def start(self, timer: Timer) -> None:
        """Let a prepared timer run, unless it was cancelled meanwhile."""
        if timer.callback is not _cancelled:
            self._start(timer, timer.when)

    def seconds_until_next(self, now: float) -> float | None:
        """Seconds from `now` to the next deadline: 0.0 when it is past, None when there is none."""
        if self._ready:
            while self._ready and not self._ready[0]._is_ready:
                self._ready.popleft()
            if self._ready:
                return 0.0
        self._settle()
        return max(0.0, self._heap[0][0] - now) if self._heap else None

    def is_early(self, now: float) -> bool:
        """Whether there are timers, none of which is due: a quick answer, for every turn of a loop."""
        return bool(self._heap) and self._heap[0][0] > now and not self._ready

    def due(self, now: float) -> Iterable[Timer]:
        """The timers whose deadline is not after `now`, by deadline and then as they were made.

        To be iterated at once, calling `timer.callback(*timer.arguments)` of each.  Whoever is cancelled or
        reset meanwhile does not come; who is made or reset meanwhile comes with the next question at the
        earliest.  Those that an exception kept from their turn come with the next one too.

        A single timer is inactive when it comes.  A repeating one is active, its next deadline the
        previous one plus its interval; deadlines that are past as well are left out.
        """
        self._settle()
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            timer._queued = None
            timer._is_ready = True
            self._ready.append(timer)
            self._settle()
        return self._take_ready(now) if self._ready else ()

    def _take_ready(self, now: float) -> Iterator[Timer]:
        while self._ready:
            timer = self._ready.popleft()
            if timer._is_ready:
                if timer.interval is None:
                    self._stop(timer)
                else:
                    self._start(timer, _next_deadline(timer.when, timer.interval, now))
                yield timer

    def _start(self, timer: Timer, when: float) -> None:
        timer.when = when
        timer._is_ready = False
        if not timer.active:
            timer.active = True
            self.active += 1
            if timer._group is not None:
                timer._group.add(timer)
            if (tell := self._started()) is not None:
                tell()
        # A later deadline is looked at when the old place comes to the top.
        if timer._queued is None or when < timer._queued:
            self._push(timer)
            self._compact()

    def _stop(self, timer: Timer) -> None:
        if not timer.active:
            return
        timer.active = False
        timer._is_ready = False
        timer._queued = None
        self.active -= 1
        if timer._group is not None:
            timer._group.discard(timer)
        self._compact()
        if not self.active and (tell := self._ended()) is not None:
            tell()

    def _push(self, timer: Timer) -> None:
        timer._queued = timer.when
        heapq.heappush(self._heap, (timer.when, timer._sequence, timer))

    def _settle(self) -> None:
        """Bring the place of a timer that is active, and its true one, to the top of the heap."""
        heap = self._heap
        while heap:
            queued, sequence, timer = heap[0]
            if timer._queued != queued:
                heapq.heappop(heap)
            elif timer.when > queued:
                timer._queued = timer.when
                heapq.heapreplace(heap, (timer.when, sequence, timer))
            else:
                return

    def _compact(self) -> None:
        """Build the heap anew if more than half of it are places that nobody comes to any more."""
        if len(self._heap) > SMALL and self.active * 2 < len(self._heap):
            live = {timer for queued, _, timer in self._heap if timer._queued == queued}
            self._heap.clear()
            for timer in live:
                self._push(timer)

    def clear(self) -> None:
        """Cancel every timer."""
        for timer in [*self._ready, *(place[2] for place in self._heap)]:
            timer.cancel()
        self._heap.clear()
        self._ready.clear()

    def __len__(self) -> int:
        """How many timers are active."""
        return self.active


def _next_deadline(when: float, interval: float, now: float) -> float:
    """The first of `when` + n * `interval`, n above 0, that is after `now`.

    >>> _next_deadline(10.0, 5.0, now=11.0), _next_deadline(10.0, 5.0, now=27.0)
    (15.0, 30.0)
    """
    following = when + interval
    if following <= now:
        following = when + interval * ((now - when) // interval + 1)
    return following if following > now else now + interval  # Rounding may have taken the step away.


def seconds(name: str, value: float, *, least: float = -math.inf, above: float = -math.inf) -> float:
    """`value` as a float, or an error that names what was wanted and what was found."""
    try:
        if not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number of seconds, not {value!r}")
    except TypeError:
        raise TypeError(f"{name} must be a number of seconds, not {value!r}") from None
    if value < least:
        raise ValueError(f"{name} must be {least:g} seconds or more, not {value!r}")
    if value <= above:
        raise ValueError(f"{name} must be more than {above:g} seconds, not {value!r}")
    return float(value)
