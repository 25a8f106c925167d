"""A clock that moves only when told, and a poller that moves it instead of sleeping.

With both, a loop runs through hours of timeouts at once, and always in the same way.
"""

from antiphon.pollers.base import check_interest

__all__ = ["FakeClock", "SilentPoller"]


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

    Attributes:
        watched: the descriptors that are watched now, and what for.
        waits: the timeouts of all waits so far, in seconds.
    """

    name = "silent"

    def __init__(self, clock: FakeClock) -> None:
        """Advance `clock` with each wait."""
        self._clock = clock
        self._script: list[tuple[float, list[tuple[int, int]]]] = []
        self._is_closed = False
        self.watched: dict[int, int] = {}
        self.waits: list[float | None] = []

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
        now = self._clock()
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
