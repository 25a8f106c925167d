"""How much may flow through one channel: marks in its output queue, and bytes a second.

What is too much is held: the loop doesn't wait for what the channel may not do.
"""

from collections.abc import Callable
from math import inf
from typing import Any, Final, NamedTuple

from antiphon.bucket import Bucket
from antiphon.endings import OVERFLOW, OWN, because
from antiphon.failures import ESCAPING, contain
from antiphon.outbox import weight
from antiphon.pollers.base import READ, URGENT, WRITE
from antiphon.sizes import STEADY

__all__ = ["NO_LIMITS", "Flow", "Limits", "call", "waiting"]

#: Why a channel doesn't read, and doesn't send. It does again when there is no reason left.
FULL: Final = 1
FAST_IN: Final = 2
FAST_OUT: Final = 4
NO_READING: Final = FULL | FAST_IN

_EVERYTHING: Final = READ | WRITE | URGENT


class Limits(NamedTuple):
    """The limits of a channel, each None where there is none. `limits.Limited` says what they mean."""

    idle_timeout: float | None = None
    message_timeout: float | None = None
    connect_timeout: float | None = None
    send_timeout: float | None = None
    close_timeout: float | None = None
    high_water: int | None = None
    low_water: int | None = None
    max_outgoing: int | None = None
    backpressure: bool = False
    rate_in: float | None = None
    rate_out: float | None = None

    def room(self, size: int) -> float:
        """Bytes by which a queue of `size` bytes may grow before it crosses a mark."""
        high, most = self.high_water, inf if self.max_outgoing is None else self.max_outgoing
        return (most if high is None or size > high or most < high else high) - size

    @property
    def low(self) -> int:
        """Bytes at which a queue that was full is drained."""
        high = self.high_water or 0
        return high // 4 if self.low_water is None else min(self.low_water, high)


NO_LIMITS: Final = Limits()


class Flow:
    """Watches the queue of one channel, and its rates, in the turns of one loop. Doesn't hold the channel.

    Attributes:
        loop: whose turns.
        limits: what is watched.
        interest: the bits that the channel may wait for.
        bucket_in: the bytes that may be received now; None for any.
        bucket_out: the bytes that may be sent now; None for any.
        room: bytes that may be pushed before it is to be found out again how much waits; whoever pushes them
            without sending takes them off.
    """

    __slots__ = (
        "_full",
        "_held",
        "_held_at",
        "bucket_in",
        "bucket_out",
        "interest",
        "limits",
        "loop",
        "room",
    )

    def __init__(self, loop: Any, limits: Limits) -> None:
        self.loop: Any = loop
        self.limits: Limits = limits
        self.interest: int = _EVERYTHING
        self.bucket_in: Bucket | None = None
        self.bucket_out: Bucket | None = None
        self._full = False
        self.room: float = limits.room(0)
        self._held = 0
        self._held_at = 0.0

    # -- the rates -----------------------------------------------------------------------------------

    def _set_rates(self, channel: Any, now: float) -> None:
        self.bucket_in = _bucket(self.limits.rate_in, self.bucket_in, now)
        self.bucket_out = _bucket(self.limits.rate_out, self.bucket_out, now)
        self._release(channel, FAST_IN, now)
        self._release(channel, FAST_OUT, now)

    def receivable(self, channel: Any, size: int) -> int:
        """How many of `size` bytes may be received now, of a channel with a rate."""
        assert self.bucket_in is not None
        size = min(size, STEADY, self.bucket_in.available(self.loop.now()))
        if not size:
            self._hold(channel, FAST_IN)
        return size

    def sendable(self, channel: Any, most: int | None) -> int:
        """How many bytes may be sent now, `most` at most, of a channel with a rate."""
        assert self.bucket_out is not None
        size = self.bucket_out.available(self.loop.now())
        if not size:
            self._hold(channel, FAST_OUT)
        return size if most is None else min(size, most)

    def _take_in(self, channel: Any, size: int) -> None:
        assert self.bucket_in is not None
        self.bucket_in.take(size)
        if self.bucket_in.is_empty:
            self._hold(channel, FAST_IN)

    def _take_out(self, channel: Any, size: int) -> None:
        assert self.bucket_out is not None
        self.bucket_out.take(size)
        if self.bucket_out.is_empty:
            self._hold(channel, FAST_OUT)

    def _goes_on_at(self, reason: int) -> float:
        bucket = self.bucket_in if reason == FAST_IN else self.bucket_out
        assert bucket is not None
        return bucket.next_at()

    def _held_until(self) -> list[float]:
        return [self._goes_on_at(reason) for reason in (FAST_IN, FAST_OUT) if self._held & reason]

    def _go_on(self, channel: Any, now: float) -> None:
        """Let pass what has waited long enough."""
        for reason in (FAST_IN, FAST_OUT):
            if self._held & reason and self._goes_on_at(reason) <= now:
                self._release(channel, reason, now)

    # -- the queue -----------------------------------------------------------------------------------

    def _measure_again(self) -> None:
        """Have it found out at the next push how much waits."""
        self.room = 0

    def crosses_a_mark(self, channel: Any) -> bool:
        """Whether too much waits, now that there is no room left."""
        size, limits = waiting(channel), self.limits
        crosses = (limits.max_outgoing is not None and size > limits.max_outgoing) or (
            limits.high_water is not None and size > limits.high_water and not self._full
        )
        self.room = 0 if crosses else limits.room(size)  # Some of it is sent now.
        return crosses

    def _weigh(self, channel: Any) -> None:
        """Look whether the queue has crossed a mark."""
        size, limits = waiting(channel), self.limits
        if limits.max_outgoing is not None and size > limits.max_outgoing:
            call(channel, OVERFLOW, channel._ac_overflowed, size)
        elif self._full and (limits.high_water is None or size <= limits.low):
            self._full = False
            self._release(channel, FULL, self.loop.now())
            call(channel, OWN, channel.handle_output_drained)
        elif not self._full and limits.high_water is not None and size > limits.high_water:
            self._full = True
            if limits.backpressure:
                self._hold(channel, FULL)
            call(channel, OVERFLOW, channel.handle_output_full)

    # -- what the channel may wait for ---------------------------------------------------------------

    def _hold(self, channel: Any, reason: int) -> None:
        now = self.loop.now()
        if reason & NO_READING and not self._held & NO_READING:
            self._held_at = now
        self._held |= reason
        if reason == FULL:
            channel._ac_pause_for_output()
        else:
            self._permit(channel)
            self._look_at(channel, self._goes_on_at(reason), now)

    def _release(self, channel: Any, reason: int, now: float) -> None:
        if self._held & reason:
            self._held &= ~reason
            if reason == FAST_OUT:
                self._sends_again(channel, now)
            elif not self._held & NO_READING:
                self._reads_again(channel, now)
            if reason == FULL:
                channel._ac_resume_after_output()
            else:
                self._permit(channel)

    def _permit(self, channel: Any) -> None:
        refused = READ | URGENT if self._held & FAST_IN else 0
        if self._held & FAST_OUT:
            refused |= WRITE
        self.interest = _EVERYTHING & ~refused
        self.loop.changed(channel._fileno)

    def _look_at(self, channel: Any, when: float, now: float) -> None:
        """Have `_go_on` called at `when`."""
        raise NotImplementedError

    def _reads_again(self, channel: Any, now: float) -> None:
        """Nothing was read since `_held_at`."""

    def _sends_again(self, channel: Any, now: float) -> None:
        """Nothing was sent for a while."""


def waiting(channel: Any) -> int:
    """The bytes that wait to be sent."""
    queue, foreign = getattr(channel, "_ac_outbox", None), getattr(channel, "_ac_foreign_fifo", None)
    size: int = 0 if queue is None else len(queue) if type(queue) is bytes else queue.weigh()
    return size + sum(map(weight, tuple(foreign))) if foreign else size


def call(channel: Any, reason: str, handler: Callable[..., Any], *arguments: Any) -> None:
    """Call a handler from wherever we are: what it raises is a matter of its channel.

    Args:
        channel: the channel.
        reason: why it ends, if it does.
        handler: one of its handlers.
        arguments: for that.
    """
    try:
        because(reason, channel, handler, *arguments)
    except ESCAPING:
        raise
    except Exception:
        contain(channel)


def _bucket(rate: float | None, present: Bucket | None, now: float) -> Bucket | None:
    if rate is None:
        return None
    return present if present is not None and present.rate == rate else Bucket(rate, now)
