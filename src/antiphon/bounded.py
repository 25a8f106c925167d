"""What a message may grow to: `max_message_size`, and what becomes of a message that is longer.

Of a channel with the classic callbacks, what was handed over of the message is counted.  The verdict on a
message is that on its bytes, however the network has cut them: a terminator is looked for no further than
where it must begin, and what may be the beginning of one counts only when it turns out to be none.

`message_channel` keeps its messages, and has `framing.messages` look at their size.
"""

import logging
import sys
from typing import Any, Final

from antiphon import counting
from antiphon.counting import note_messages
from antiphon.endings import OVERFLOW, because
from antiphon.errors import BEGINNING, MessageTooLong
from antiphon.framing import prefix_at_end, resume
from antiphon.incoming import FIRST_WINDOW, Incoming
from antiphon.keeping import Keeping
from antiphon.logs import LimitedLog, name_of

__all__ = ["CLOSE", "DISCARD", "PIECES", "Bounded", "check_bounds", "check_policy"]

#: The values of `overflow_policy`.
CLOSE: Final = "close"
DISCARD: Final = "discard"
PIECES: Final = "pieces"
_POLICIES: Final = (CLOSE, DISCARD, PIECES)

#: Bytes: a batch of fewer hardly has several messages.
_WORTH_A_BATCH: Final = 128

#: Lines of one kind a second: a peer decides how many messages are too long.
_BURST: Final = 10

_limited: Final = LimitedLog(logging.getLogger("antiphon.limits"), burst=_BURST)

_observed = False


def _observe(is_observed: bool) -> None:
    global _observed  # noqa: PLW0603 (the quickest to look at)
    _observed = is_observed


counting.tell(_observe)


def check_bounds(size: Any, policy: Any) -> None:
    """Refuse what is no `max_message_size`, or no `overflow_policy`.

    Raises:
        TypeError: the size is no int and not None.
        ValueError: it is negative; there is no such policy.
    """
    if size is not None:
        if type(size) is not int:
            found = f"{type(size).__name__}: {size!r:.60}"
            raise TypeError(f"wanted a number of bytes or None as max_message_size, found {found}")
        if size < 0:
            raise ValueError(f"wanted 0 bytes or more as max_message_size, found {size}")
    check_policy(policy)


def check_policy(policy: Any) -> None:
    """Refuse what is no `overflow_policy`: ValueError."""
    if policy not in _POLICIES:
        raise ValueError(f'wanted "close", "discard" or "pieces" as overflow_policy, found {policy!r:.60}')


class Bounded(Keeping):
    """Counts the bytes of the message that is being received.

    Attributes:
        max_message_size: bytes of a message at most, without its terminator; None for any number. A longer
            one goes to `handle_overflow`. Where nothing ends a message (a terminator of None) it means
            nothing.
        overflow_policy: what becomes of a longer one. "close": the connection ends. "discard": its bytes up
            to its end are dropped. "pieces": its bytes are handed over all the same, as they arrive.
    """

    max_message_size: int | None = None
    overflow_policy: str = CLOSE

    #: The first bytes that were handed over of the message that is being received.
    _ac_beginning = b""
    #: What ends the message that is being dropped: its delimiter, or how many bytes are missing.
    _ac_dropping: bytes | int | None = None

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        size, policy = cls.max_message_size, cls.overflow_policy
        # What is computed for each channel is looked at when it is used.
        check_bounds(
            None if hasattr(size, "__get__") else size, CLOSE if hasattr(policy, "__get__") else policy
        )

    def handle_overflow(self, error: MessageTooLong) -> None:
        """Called once for a message that is longer than `max_message_size`, as soon as that is certain.

        That is when more than so many bytes of it have arrived, or its length was set as the terminator. The
        messages before it were delivered; of itself, `collect_incoming_data` was given the first
        `max_message_size` bytes (none, where its length is known), and a `MessageChannel` nothing.

        By default, with the policy "close", says so in a line of the logger `antiphon.limits` and closes; of
        such lines, 10 a second are written at most for each class, and how many were left out.
        With "discard", forgets what is in `incoming`; a class that collects elsewhere must override this
        method, and forget. With "pieces", does nothing.

        A terminator that is set here is that of the next message; with "pieces", of this one, which goes on.
        If an override leaves the channel open with the policy "close", the message is dropped, as with
        "discard".

        Args:
            error: what is wrong, with `limit` and `size`. It is being handled.
        """
        if self.overflow_policy == CLOSE:
            self._ac_tell(error, logging.WARNING, "closing it")
            self._ac_hang_up(OVERFLOW)
            if not self.closing:
                self.close()
        elif self.overflow_policy == DISCARD:
            self.incoming.clear()
            self._ac_tell(error, logging.INFO, "dropping it")

    def _ac_tell(self, error: MessageTooLong, level: int, consequence: str) -> None:
        if self._ac_has_own_log_info():
            self.log_info(f"{name_of(self)}: {error}; {consequence}", "warning")
        else:
            _limited.log(level, (type(self), level), "%s: %s; %s", name_of(self), error, consequence)

    # -- delivering ------------------------------------------------------------------------------------

    def _ac_feed_bounded(self, received: bytes) -> None:
        """As `_ac_feed`. Where a run of messages may be handed over at once, none of them can be too long."""
        limit = self.max_message_size
        if type(limit) is not int or limit < 0 or self.overflow_policy != CLOSE:
            self._ac_check_bounds()
        if self._ac_left or self._ac_owes:
            self._ac_catch_up(received)
        else:
            self._ac_data, self._ac_position, self._ac_left = received, 0, True
        if self._ac_held:
            if self._ac_dropping is None:
                self._ac_resume_bounded()
            else:
                self._ac_resume_dropping()
        last: Any = None
        window = FIRST_WINDOW
        while (data := self._ac_data) is not None:
            position: int = self._ac_position
            if self._ac_dropping is not None:
                self._ac_drop_more(data, position)
                continue
            terminator = self.get_terminator()
            if type(terminator) is not bytes or not terminator:
                self._ac_deliver_other(data, position, terminator)
                continue
            if position >= len(data):
                self._ac_data = None
                break
            if terminator is not last:
                last, window = terminator, FIRST_WINDOW
            elif not (self._ac_size or self._ac_told):
                window = min(4 * window, self._ac_room())
                if window >= _WORTH_A_BATCH and self._ac_deliver_batch(data, position, terminator, window):
                    continue
            self._ac_deliver_delimited(data, position, terminator)
        self._ac_left = self._ac_held > 0

    def _ac_check_bounds(self) -> None:
        check_bounds(self.max_message_size, self.overflow_policy)
        if (
            self.overflow_policy == DISCARD
            and getattr(self.handle_overflow, "__func__", None) is Bounded.handle_overflow
            and getattr(self.collect_incoming_data, "__func__", None) is not Incoming._collect_incoming_data
        ):
            raise TypeError(
                f"wanted a handle_overflow() that forgets what collect_incoming_data() was given, since "
                f'overflow_policy is "discard"; found none in {type(self).__name__}'
            )

    def _ac_deliver_other(self, data: bytes, position: int, term: Any) -> None:
        """Hand over what there is of a message of a given length, or without an end."""
        terminator = self._ac_as_terminator(term)
        if isinstance(terminator, int) and terminator > self._ac_room():
            self._ac_overflow(self._ac_size + terminator, b"", terminator)
        elif position >= len(data):
            self._ac_data = None
        elif isinstance(terminator, bytes) and terminator:
            self._ac_deliver_delimited(data, position, terminator)
        else:
            self._ac_deliver_counted(data, position, terminator or 0)

    def _ac_room(self) -> int:
        """How many more bytes the message may have."""
        limit = self.max_message_size
        return sys.maxsize if self._ac_told or limit is None else max(0, limit - self._ac_size)

    def _ac_deliver_delimited(self, data: bytes, position: int, delimiter: bytes) -> None:
        """Hand over one message, or what there is of it."""
        room = self._ac_room()
        end = data.find(delimiter, position, position + room + len(delimiter))
        if end >= 0:
            self._ac_position = end + len(delimiter)
            if self._ac_size or self._ac_told:
                self._ac_begin_message()
            if end > position:
                self._ac_owes = True
                self.collect_incoming_data(data[position:end])
                if not self._ac_owes:
                    return
                self._ac_owes = False
            if _observed:
                note_messages(self, 1)
            self.found_terminator()
            return
        rest = len(data) - position
        held = 0
        if rest - room < len(delimiter):  # Else a beginning of it would be beyond the limit too.
            held = prefix_at_end(data[max(position, len(data) - len(delimiter)) :], delimiter)
        if rest - held <= room:
            self._ac_data, self._ac_held, self._ac_delimiter = None, held, delimiter
            if self._ac_guard is not None:
                self._ac_note_unfinished(rest)
            self._ac_collect(data[position : len(data) - held])
        elif room:
            self._ac_position = position + room
            self._ac_collect(data[position : position + room])
        else:
            beginning = self._ac_beginning + data[position : position + 1]
            self._ac_overflow(self._ac_size + 1, beginning[:BEGINNING], delimiter)

    def _ac_deliver_counted(self, data: bytes, position: int, length: int) -> None:
        available = len(data) - position
        if available < length:
            self._ac_size += available
        else:  # It ends; or without a length, there is none.
            self._ac_begin_message()
        self._ac_deliver_count(data, position, length)

    def _ac_collect(self, part: bytes) -> None:
        """Hand over a part of a message that goes on."""
        if part:
            self._ac_count_in(part)
            self.collect_incoming_data(part)

    def _ac_count_in(self, part: bytes) -> None:
        self._ac_size += len(part)
        if len(self._ac_beginning) < BEGINNING:
            self._ac_beginning = (self._ac_beginning + part[:BEGINNING])[:BEGINNING]

    def _ac_begin_message(self) -> None:
        self._ac_size, self._ac_beginning = 0, b""
        self._ac_told, self._ac_dropping = False, None

    def _ac_resume_bounded(self) -> None:
        """Go on with a delimiter that may have begun in an earlier read."""
        data, delimiter, held = self._ac_data or b"", self._ac_delimiter, self._ac_held
        if self.get_terminator() == delimiter:
            released, used, _ = resume(delimiter, held, data)
            if released > self._ac_room():  # To be cut at the limit.
                self._ac_data, self._ac_held = delimiter[:held] + data, 0
                return
            if used:
                self._ac_begin_message()
            else:
                self._ac_count_in(delimiter[:released])
        self._ac_resume()

    # -- dropping --------------------------------------------------------------------------------------

    def _ac_overflow(self, size: int, beginning: bytes, end: bytes | int) -> None:
        """Tell of a message that is too long."""
        self._ac_told = True
        if self.overflow_policy != PIECES:
            self._ac_dropping = end
        try:
            raise MessageTooLong(self.max_message_size or 0, size, beginning)
        except MessageTooLong as error:
            because(OVERFLOW, self, self.handle_overflow, error)

    def _ac_drop_more(self, data: bytes, position: int) -> None:
        """Drop what there is of a message, up to its end."""
        end = self._ac_dropping
        if isinstance(end, bytes):
            found = data.find(end, position)
            if found < 0:
                self._ac_held = prefix_at_end(data[max(position, len(data) - len(end)) :], end)
                self._ac_data, self._ac_delimiter = None, end
                if self._ac_guard is not None:
                    self._ac_note_unfinished(len(data) - position)
                return
            stop = found + len(end)
        else:
            stop = position + (end or 0)
            if stop > len(data):
                self._ac_data, self._ac_dropping = None, stop - len(data)
                if self._ac_guard is not None:
                    self._ac_note_unfinished(len(data) - position)
                return
        self._ac_dropped(stop)

    def _ac_resume_dropping(self) -> None:
        """Go on with a delimiter that may have begun in an earlier read."""
        _, used, self._ac_held = resume(self._ac_delimiter, self._ac_held, self._ac_data or b"")
        if used:
            self._ac_dropped(used)
        elif self._ac_held:
            self._ac_data = None
            if self._ac_guard is not None:
                self._ac_note_unfinished(self._ac_guard.size)

    def _ac_dropped(self, stop: int) -> None:
        """Go on behind a message that was dropped. The terminator may be the length of just that one."""
        self._ac_begin_message()
        self._ac_position = stop
        if stop == len(self._ac_data or b""):
            self._ac_data = None
