"""A clock that moves only when told, and a poller that moves it instead of sleeping.

With both, a loop runs through hours of timeouts at once, and always in the same way.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from antiphon.pollers.base import check_interest

__all__ = ["FakeClock", "SilentPoller"]

#: (descriptor, ready bits)
Events: TypeAlias = list[tuple[int, int]]


class FakeClock:
    """A clock to hand in where `time.monotonic` would be.

    >>> clock = FakeClock()
    >>> clock.advance(2.5)
    >>> clock()
    2.5
    """

    def __init__(self, start: float = 0.0) -> None:
        """Show `start` seconds at first."""
        self._now = start

    def __call__(self) -> float:
        """Seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass.

        Raises:
            ValueError: `seconds` is negative, and time would go back.
        """
        if not seconds >= 0:
            raise ValueError(f"a clock advances by 0 seconds or more, not {seconds!r}")
        self._now += seconds

    def __repr__(self) -> str:
        """With the time that it shows."""
        return f"<FakeClock {self._now!r}>"


class SilentPoller:
    """A poller without a kernel: nothing happens but what the test says.

    A wait for which nothing is scripted advances the clock by its timeout and returns nothing, at once.
    One that would never end is a failure of the test.  What was delivered is reported once, watched or not.

    Args:
        clock: what each wait advances.
        ready: called with what is watched, in each wait for which nothing was delivered; returns the events
            that it is to return. Level-triggered: it is asked again in the next one.

    Attributes:
        watched: the descriptors that are watched now, and what for.
        waits: the timeouts of all waits so far, in seconds.
        reported: what the last wait has returned.
    """

    name = "silent"

    def __init__(
        self, clock: FakeClock, ready: Callable[[Mapping[int, int]], Events] = lambda watched: []
    ) -> None:
        self._clock = clock
        self._ready = ready
        self._script: list[tuple[float, Events]] = []
        self._is_closed = False
        self.watched: dict[int, int] = {}
        self.waits: list[float | None] = []
        self.reported: Events = []

    def deliver(self, *events: tuple[int, int], after: float = 0.0) -> None:
        """Have one wait return `events`.

        Args:
            events: (fd, ready) pairs.
            after: seconds from now until they arrive.  What arrives at the same time comes in as many
                waits as there were calls, in their order.
        """
        self._script.append((self._clock() + after, list(events)))
        self._script.sort(key=lambda arrival: arrival[0])

    def watch(self, fd: int, interest: int) -> None:
        """Note the interest in `watched`."""
        self._check_open()
        check_interest(interest)
        self.watched[fd] = interest

    def interest(self, fd: int) -> int:
        """What `fd` is watched for; 0 when it is not."""
        return self.watched.get(fd, 0)

    def forget(self, fd: int) -> None:
        """Drop `fd` from `watched`."""
        self.watched.pop(fd, None)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """What was delivered, if it arrives within `timeout` seconds of the clock; else nothing.

        Raises:
            AssertionError: `timeout` is None and nothing is to come.
            ValueError: the poller is closed.
        """
        self._check_open()
        self.waits.append(timeout)
        self.reported = self._next(timeout)
        return self.reported

    def _next(self, timeout: float | None) -> Events:
        now = self._clock()
        if not (self._script and self._script[0][0] <= now) and (ready := self._ready(self.watched)):
            return ready
        if self._script and (timeout is None or self._script[0][0] <= now + timeout):
            arrival, events = self._script.pop(0)
            self._clock.advance(max(0.0, arrival - now))
            return events
        if timeout is None:
            raise AssertionError(f"at {now!r} the loop would wait for ever: no timeout, and no event to come")
        self._clock.advance(max(0.0, timeout))
        return []

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError("the silent poller is closed")

    def close(self) -> None:
        """Refuse waits from now on."""
        self._is_closed = True
        self.watched.clear()
