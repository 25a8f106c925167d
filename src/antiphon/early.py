"""Connections that have waited in a listener's queue, and what they have sent meanwhile.

When a queue is long, those in it have mostly spoken by the time that they are accepted.  To read from each at
once, before the next is accepted, costs less than to have a poller tell of it later: what the system and the
interpreter need for it is in the processor's caches.
"""

from typing import Any, Final

from antiphon.interest import traits_of
from antiphon.watching import Watch

__all__ = ["NOTHING", "SILENT", "Early", "arrival"]

#: Connections that are left to the poller after a batch of which most had sent nothing.
SILENT: Final = 256

#: What `Arrival.latest` is while nothing is handed over.
NOTHING: Final = None, None, False, None


class Arrival:
    """The connection that is being handed over.

    Attributes:
        latest: its socket, None if there is none; its address as accept(2) gave it, since getpeername(2) need
            not; whether it came with TCP_NODELAY; the backlog that it comes from. In one, since other threads
            hand over too.
        channel: what was made of it.
    """

    __slots__ = ("channel", "latest")

    def __init__(self) -> None:
        self.latest: tuple[Any, Any, bool, Any] = NOTHING
        self.channel: Any = None


arrival: Final = Arrival()


class Early:
    """Reads from the new connections of a listener.

    Args:
        listener: the channel.
    """

    __slots__ = (
        "_began",
        "_kind",
        "_limits",
        "_listener",
        "_looked",
        "_suits",
        "_tried",
        "_unasked",
        "_vain",
        "_watch",
    )

    def __init__(self, listener: Any) -> None:
        self._listener = listener
        #: The class of channel that was looked at last, whether it may be read from, and its limits.
        self._kind: type | None = None
        self._suits = False
        self._limits: Any = None
        #: What has looked how long each of this batch takes; when the batch began, and when it looked last.
        self._watch: Watch | None = None
        self._began = self._looked = 0.0
        #: The size of the last batch, the reads in vain up to then, and the connections to leave alone.
        self._tried = self._vain = self._unasked = 0

    @property
    def accounted(self) -> float:
        """Seconds of the listener's present event that were looked at, whether they are too many."""
        return self._looked - self._began

    def begins(self, loop: Any, batch: int) -> bool:
        """Whether to read from the connections that are accepted next.

        Args:
            loop: that of the listener, None if it has left.
            batch: how many there may be. One, when the queue is not long.
        """
        self._began = self._looked = 0.0
        if batch == 1 or loop is None or loop.stale is None:
            return False
        vain, self._vain = self._vain, loop.counts.vain
        tried, self._tried = self._tried, batch
        if 2 * (self._vain - vain) > tried:
            self._unasked = SILENT
        if self._unasked > 0:
            self._unasked -= batch
            return False
        self._kind = None
        self._watch = watch = loop.watch
        if watch is not None:
            self._began = self._looked = watch.clock(watch.which)
        return True

    def read(self, loop: Any) -> None:
        """Have the channel that was made of a connection, if there is one, handle what has arrived.

        Only one that reads by the library's own methods is asked, since these bear it if nothing has.

        Args:
            loop: that of the listener, in a batch of events.
        """
        made = arrival.channel
        if type(made) is not self._kind:
            self._look_at(type(made))
        if self._suits and made._ac_loop is loop and not made._ac_untracked:
            if self._limits is not None or made._ac_limited:
                loop.guard(made, self._limits)
            if made._ac_established:
                outer, loop.served = loop.served, made
                try:
                    loop.read_one(made)
                finally:
                    loop.served = outer
        watch = self._watch
        if watch is not None:
            now = watch.clock(watch.which)
            if now - self._looked > watch.limit:
                watch.look_at_arrival(self._listener, made, now - self._looked)
            self._looked = now

    def _look_at(self, kind: type) -> None:
        self._kind, self._suits = kind, False
        if hasattr(kind, "_ac_find_limits"):
            traits = traits_of(kind)
            if traits.tracked and traits.patient:
                self._suits, self._limits = True, kind._ac_find_limits()
