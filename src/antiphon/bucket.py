"""A token bucket: how many bytes may pass now, at a rate and with bursts.  Told the time, has no clock."""

from typing import Final

__all__ = ["Bucket"]

#: Seconds of the rate that an empty bucket waits for, so that bytes pass in pieces that are worth a system
#: call and a timer.
_STEP: Final = 0.05
#: What the sums of small numbers may be short of: the byte that was waited for is there.
_ROUNDING: Final = 1e-6


class Bucket:
    """Fills with `rate` bytes a second, up to what one second brings, and a byte at least.

    It is full at first. So in any t seconds no more than `rate` * (t + 1) bytes pass, where that is a byte or
    more.

    >>> bucket = Bucket(100, now=0.0)
    >>> bucket.available(0.0)
    100
    >>> bucket.take(100)
    >>> bucket.is_empty, bucket.next_at()
    (True, 0.05)
    >>> bucket.available(0.05)
    5
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate: float = rate
        self.burst: float = max(float(rate), 1.0)
        self._tokens = self.burst
        self._at = now

    def available(self, now: float) -> int:
        """Whole bytes that may pass at `now`, in seconds of a clock that never goes back."""
        if now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
            self._at = now
        return int(self._tokens + _ROUNDING)

    def take(self, count: int) -> None:
        """Say that `count` bytes have passed, `available` bytes at most."""
        self._tokens -= count

    @property
    def is_empty(self) -> bool:
        """Whether there was not a byte left when it was last asked or taken from."""
        return self._tokens + _ROUNDING < 1

    def next_at(self) -> float:
        """When enough has come in to go on, by the clock that `available` was told of."""
        enough = min(self.burst, max(1.0, self.rate * _STEP))
        return self._at + max(0.0, enough - self._tokens) / self.rate
