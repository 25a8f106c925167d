"""What a loop counts as it happens.

Some of it is counted always: it happens once in the life of a connection. What happens with each read or
send is counted while somebody wants to know. Where nobody does, that costs the test of a global variable:
nothing is quicker, and each module that counts has its own.
"""

from collections.abc import Callable
from typing import Any, Final

from antiphon.endings import REASONS

__all__ = ["OBSERVED", "Counts", "note_messages", "note_received", "note_sent", "observed", "tell"]


class Counts:
    """The numbers of one loop.

    Attributes:
        accepted: connections that its listeners have taken.
        refused: connections that they have turned away.
        closed: channels that have ended, by reason.
        slow: handlers and callbacks that took longer than `slow_callback`.
        vain: reads that found nothing.
        since: when traffic began to be counted, by the loop's clock; None while it is not.
        received: bytes, while traffic is counted; and so on.
        sent: bytes.
        messages: ends of messages that were told.
        turns: those that had something to do.
        busy: seconds that these took, without their waits.
        worst: seconds of the longest of them.
    """

    __slots__ = (
        "accepted",
        "busy",
        "closed",
        "messages",
        "received",
        "refused",
        "sent",
        "since",
        "slow",
        "turns",
        "vain",
        "worst",
    )

    accepted: int
    refused: int
    slow: int
    vain: int
    closed: dict[str, int]
    received: int
    sent: int
    messages: int
    turns: int
    busy: float
    worst: float

    def __init__(self) -> None:
        self.accepted = self.refused = self.slow = self.vain = 0
        self.closed = dict.fromkeys(REASONS, 0)
        self.since: float | None = None
        self._clear()

    def _clear(self) -> None:
        self.received = self.sent = self.messages = self.turns = 0
        self.busy = self.worst = 0.0

    def start(self, now: float) -> None:
        """Count traffic from now on, from nothing."""
        self._clear()
        self.since = now
        _observe([*_without(self), self])

    def stop(self) -> None:
        """Count no more traffic."""
        self.since = None
        if self in OBSERVED:
            _observe(_without(self))

    def note_turn(self, seconds: float) -> None:
        """Count a turn."""
        self.turns += 1
        self.busy += seconds
        self.worst = max(self.worst, seconds)


#: Of the loops whose traffic is counted.
OBSERVED: Final[list[Counts]] = []
_told: list[Callable[[bool], None]] = []


def tell(told: Callable[[bool], None]) -> None:
    """Call `told` with whether there is any loop whose traffic is counted: now, and when that changes."""
    _told.append(told)
    told(bool(OBSERVED))


def _observe(observed: list[Counts]) -> None:
    OBSERVED[:] = observed
    for told in _told:
        told(bool(observed))


def _without(counts: Counts) -> list[Counts]:
    return [other for other in OBSERVED if other is not counts]


def note_received(channel: Any, size: int) -> None:
    """Count `size` bytes, if the channel's loop wants to know.

    The messages in them are counted where they are told of; that is not done on the short way which most
    reads of an `async_chat` take, so that it costs nothing there.
    """
    if (counts := observed(channel)) is not None:
        counts.received += size
        channel._ac_left = True


def note_sent(channel: Any, size: int) -> None:
    """Count `size` bytes, if the channel's loop wants to know."""
    if (counts := observed(channel)) is not None:
        counts.sent += size


def note_messages(channel: Any, number: int) -> None:
    """Count `number` messages, if the channel's loop wants to know."""
    if (counts := observed(channel)) is not None:
        counts.messages += number


def observed(channel: Any) -> Counts | None:
    """Where the channel's traffic is counted; None if nobody wants to know."""
    loop = channel._ac_loop
    counts: Counts | None = None if loop is None else loop.counts
    return counts if counts is not None and counts.since is not None else None
