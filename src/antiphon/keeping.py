"""What an `async_chat` keeps that was received, while it is paused, and after an exception of a callback.

While it is paused, that is taken out of the state that deliveries work on, so that one which is going on
finds nothing left, and asks nobody whether the channel is paused.
"""

import sys
from typing import Any

from antiphon.incoming import Incoming, position_in
from antiphon.outbox import DELIVERING
from antiphon.outgoing import Outgoing
from antiphon.scheduling import Scheduling

__all__ = ["Keeping"]


class Keeping(Incoming):
    """Keeps input while it is paused."""

    _ac_reading_paused: int

    def _ac_set_aside(self) -> None:
        if self._ac_deaf:
            return
        if self._ac_counting is not None:  # A piece of it is being handed over.
            self._ac_count(*self._ac_counting)
        if self._ac_data is None:
            self._ac_kept = self._ac_delimiter[: self._ac_held], 0, self._ac_owes
        else:
            position = self._ac_position
            if type(position) is tuple:
                position = position_in(position)
            self._ac_kept = self._ac_data, position, self._ac_owes
        self._ac_data = None
        self._ac_held = self._ac_position = 0
        self._ac_owes = self._ac_left = False
        self._ac_deaf = True

    def _ac_take_up(self) -> None:
        if not Outgoing._ac_hears_again(self, b""):  # It is closed, or will be.
            return
        if self._ac_kept is not None:
            (data, position, owes), self._ac_kept = self._ac_kept, None
            self._ac_owes = self._ac_owes or owes
            if data:  # With all of it handed over, its end is still to be noticed.
                self._ac_data, self._ac_position, self._ac_left = data, position, True
        if self._ac_has_more():
            if self._ac_loop is None:
                self._ac_go_on()
            else:  # Whoever resumes it may be in the middle of anything.
                self._ac_goes_on = True
                self._ac_loop.call_soon_threadsafe(self._ac_go_on)

    def _ac_has_more(self) -> bool:
        """Whether anything of what was received is left to be delivered."""
        return self._ac_left or self._ac_owes

    def _ac_go_on(self) -> None:
        """Deliver what is left, if somebody else hasn't meanwhile."""
        self._ac_goes_on = False
        if self._ac_deaf or not self._ac_has_more():
            return
        try:
            self._ac_feed_apart(b"")
        except BaseException:
            self._ac_go_on_later()
            raise

    def _ac_has_gone_on(self) -> bool:
        """Deliver what is left, since a turn that began by resuming the channel has found its end.

        Returns:
            Whether it hears of that. Paused again, it finds its end again; or it is closed, or will be.
        """
        self._ac_go_on()
        return not self._ac_deaf

    def _ac_go_on_later(self, before: int = sys.maxsize) -> None:
        if self.resumes_after_errors and self._ac_loop is not None and self._ac_has_more():
            # Less after each callback, of which the last byte of a message can be owed two.
            left = 2 * len(self.ac_in_buffer) + self._ac_owes
            if left < before:  # Else the same would fail for ever.
                Scheduling.call_later(self, 0, self._ac_go_on_after_error, left)

    def _ac_go_on_after_error(self, before: int) -> None:
        if self._ac_deaf or not self._ac_has_more():
            return
        try:
            self._ac_feed_apart(b"")
        except BaseException:
            self._ac_go_on_later(before)
            raise

    def _ac_feed_apart(self, data: bytes) -> None:
        """Deliver `data`, as what follows a `recv`."""
        cork = self._ac_cork
        if not cork and self.coalesce_pushes:
            self._ac_cork = DELIVERING
        try:
            self._ac_feed(data)
        finally:
            if not cork:
                self._ac_cork = 0
                self._ac_flush()

    def _ac_hears_again(self, data: bytes) -> bool:
        if not Outgoing._ac_hears_again(self, data):
            return False
        if not self._ac_reading_paused:
            return True
        self._ac_keep(data)
        self._ac_deaf = True
        return False

    def _ac_keep(self, data: bytes) -> None:
        """Keep what was read though it is paused: the program itself has called `handle_read`."""
        before, position, owes = self._ac_kept or (b"", 0, False)
        self._ac_kept = before[position:] + data, 0, owes

    @property
    def ac_in_buffer(self) -> bytes:
        """What was received and is not handed over yet. May be replaced, also in a callback."""
        if self._ac_kept is not None:
            data, position, _ = self._ac_kept
            return data[position:]
        return super().ac_in_buffer

    @ac_in_buffer.setter
    def ac_in_buffer(self, data: Any) -> None:
        if self._ac_kept is not None:
            self._ac_kept = self._ac_as_received(data), 0, self._ac_kept[2]
        else:
            Incoming.ac_in_buffer.fset(self, data)  # type: ignore[attr-defined] # mypy knows its type only

    @ac_in_buffer.deleter
    def ac_in_buffer(self) -> None:
        self.ac_in_buffer = b""
