"""Channels that read nothing for a while.

Each reason to pause is a bit, so that two that overlap don't end each other: a channel reads again when the
last one has gone.
"""

from collections.abc import Callable
from typing import Final

__all__ = ["BY_COROUTINE", "BY_DRAIN", "BY_OUTPUT", "BY_PROGRAM", "Pausing"]

#: `pause_reading()` was called.
BY_PROGRAM: Final = 1
#: The peer doesn't take what it is sent.
BY_OUTPUT: Final = 2
#: A coroutine that the channel runs has not ended.
BY_COROUTINE: Final = 4
#: The loop is being drained, and the channel still has an answer to give.
BY_DRAIN: Final = 8


class Pausing:
    """Pausing and resuming.

    Attributes:
        reading_paused: whether the channel reads nothing at present. Only the two methods change it.
    """

    reading_paused: bool = False

    _ac_reading_paused = 0
    _ac_do: Callable[..., None]
    _ac_state_changed: Callable[[], None]

    def pause_reading(self) -> None:
        """Read nothing, and deliver nothing of what was read, until `resume_reading()`; again is fine.

        No handler for input is called from here on: inside of a callback, what the same read has brought
        besides waits. A listener accepts nothing. Output goes on, and so do timers. That the peer has ended
        the connection is found after resuming, behind what it sent before, unless sending to it fails.

        In another thread than the loop's, it is done soon: after what that thread is in the middle of.
        """
        self._ac_do(self._ac_pause_reading)

    def resume_reading(self) -> None:
        """Read again; again is fine.

        What was received before and not delivered is delivered by the loop, in the same turn or the next one,
        whether or not the peer sends more. A channel in no map does that at once.
        """
        self._ac_do(self._ac_resume_reading)

    def _ac_pause_reading(self, reason: int = BY_PROGRAM) -> None:
        before = self._ac_reading_paused
        self._ac_reading_paused = before | reason
        if not before:
            self.reading_paused = True
            self._ac_state_changed()
            self._ac_set_aside()

    def _ac_resume_reading(self, reason: int = BY_PROGRAM) -> None:
        before = self._ac_reading_paused
        if before:
            self._ac_reading_paused = left = before & ~reason
            if not left:
                self.reading_paused = False
                self._ac_state_changed()
                self._ac_take_up()

    def _ac_pause_for_output(self) -> None:
        self._ac_pause_reading(BY_OUTPUT)

    def _ac_resume_after_output(self) -> None:
        self._ac_resume_reading(BY_OUTPUT)

    def _ac_set_aside(self) -> None:
        """Keep what was received, in the middle of delivering it perhaps, for later."""

    def _ac_take_up(self) -> None:
        """Have what was kept delivered."""
