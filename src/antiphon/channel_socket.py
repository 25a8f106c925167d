"""A `SecureSocket` that is the socket of a channel: reaches it, its loop and its timers.

The channel is held weakly: nothing but its map owns a channel.
"""

import weakref
from typing import Any, Final

from antiphon.events import failed
from antiphon.failures import ESCAPING
from antiphon.pollers.base import READ
from antiphon.scheduling import Scheduling
from antiphon.secure_socket import SecureSocket
from antiphon.timers import Timer

__all__ = ["ChannelSocket"]


class _Nobody:
    """In the place of a channel that nobody has any more."""

    closing = True
    _ac_guard = _ac_loop = _ac_socket = _ac_timers = _ac_tls = None

    def _nothing(self, *about: Any) -> None:
        """There is nobody to tell."""

    _ac_hang_up = _ac_state_changed = _ac_tls_failed = handle_tls_stopped = _nothing


_NOBODY: Final = _Nobody()


class ChannelSocket(SecureSocket):
    """A `SecureSocket` of a channel.

    Args:
        channel: whose socket it becomes; None for that of the first channel that is given it.
        sock: what carries the records.
        context: of the side that this is.
        how: as `SSLContext.wrap_bio` takes it.
    """

    __slots__ = ("_channel", "_scheduled", "_seconds", "_timer")

    def __init__(self, channel: Any, sock: Any, context: Any, **how: Any) -> None:
        super().__init__(sock, context, **how)
        self._channel: weakref.ref[Any] = weakref.ref(_NOBODY if channel is None else channel)
        self._scheduled = False
        self._timer: Timer | None = None
        self._seconds = 0.0

    @property
    def _owner(self) -> Any:
        channel = self._channel()
        return _NOBODY if channel is None else channel

    def _changed(self) -> None:
        self._owner._ac_state_changed()

    def _progressed(self) -> None:
        guard = self._owner._ac_guard
        if guard is not None:
            guard.sent = guard.loop.moment

    # -- what can be had without waiting -------------------------------------------------------------

    def _has_more(self) -> None:
        """Have the channel read again in this turn of its loop, when the others have had theirs."""
        loop = self._owner._ac_loop
        if loop is not None and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        channel = self._owner
        loop = channel._ac_loop
        if (
            self._more
            and loop is not None
            and channel._ac_socket is self
            and loop.waits_for(channel._fileno) & READ
        ):
            try:
                channel.handle_read_event()
            except ESCAPING:
                raise
            except Exception as error:
                failed(channel, error)
            if self._more:  # As a socket that a handler has not read from is ready again.
                self._has_more()

    # -- time ----------------------------------------------------------------------------------------

    def _limit(self, seconds: float | None) -> None:
        """Have `_timed_out` called in so many seconds; None for never."""
        self._rest()
        if seconds is not None:
            self._seconds = seconds
            self._timer = Scheduling.call_later(self._owner, seconds, self._timed_out)

    def _rest(self) -> None:
        """Have it not called."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            channel = self._owner
            if not channel._ac_timers:
                channel._ac_timers = None  # Most connections never need another.

    def _timed_out(self) -> None:
        """Called when something has taken too long."""
        raise NotImplementedError

    # -- another channel -----------------------------------------------------------------------------

    def adopt_tls(self, channel: Any) -> None:
        """Be the socket of `channel`, which has got it from another."""
        seconds = None if self._timer is None else self._seconds
        self._rest()
        self._channel = weakref.ref(channel)
        self._scheduled = False
        channel._ac_tls = self
        self._limit(seconds)
