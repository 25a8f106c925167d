r"""MessageChannel: `async_chat` for programs to be written, a call for all complete messages of a read.

The library keeps the bytes of an unfinished message, in a `MessageBuffer` that a channel has only while there
is something to keep.  Most reads are whole messages and need none: then `_ac_buffer` is the read itself while
its messages are out.
"""

from collections.abc import Iterator
from operator import length_hint
from typing import Any, Final

from antiphon import counting
from antiphon.asynchat import async_chat
from antiphon.bounded import PIECES, check_bounds
from antiphon.counting import note_messages
from antiphon.endings import OVERFLOW, because
from antiphon.errors import MessageTooLong
from antiphon.framing.messages import MessageBuffer
from antiphon.framing.terminators import Terminator, as_terminator, kind_of
from antiphon.sizes import FIRST, SIZED, sized
from antiphon.tls import Securing

__all__ = ["MessageChannel"]

_CRLF: Final = b"\r\n"
_NOTHING_LEFT: Final[Iterator[bytes]] = iter(())


_observed = False


def _observe(is_observed: bool) -> None:
    global _observed  # noqa: PLW0603 (the quickest to look at)
    _observed = is_observed


counting.tell(_observe)


class _Empty(int):
    """The length 0. Whenever it is set, it asks for another empty message: each is an object of its own."""


class _FirstTerminator:
    """The attribute `terminator`: of a class, what its channels begin with; of a channel, what it has now."""

    def __init__(self, terminator: Terminator) -> None:
        self.terminator = terminator

    def __get__(self, channel: "MessageChannel | None", owner: type) -> Terminator:
        return self.terminator if channel is None else channel._ac_terminator

    def __set__(self, channel: "MessageChannel", terminator: Any) -> None:
        channel.set_terminator(terminator)


class MessageChannel(async_chat):
    r"""A channel whose protocol consists of messages.

    Abstract: subclasses define `message_received`, or `messages_received`.

    Args:
        sock: a connected socket, or None.
        map: where the channel lives; `asyncore.socket_map` if None.

    Attributes:
        terminator: what ends a message, as `set_terminator` takes it. A class says by it what its channels
            begin with: b"\r\n", which ends the lines of most Internet protocols, unless it says otherwise.
        last_terminator: the bytes that ended the message that is being delivered, or was last; b"" where a
            length did, or nothing. In `messages_received`, it is that of the last message.
        max_message_size: bytes of a message at most, without its terminator; None for any number. A longer
            one goes to `handle_overflow`, and `overflow_policy` says what becomes of it. Where the
            terminator is None it means nothing: nothing is kept.
        idle_timeout, message_timeout, connect_timeout, send_timeout, close_timeout, high_water, max_outgoing,
            backpressure: as `dispatcher` has them, with values that are safe for a server of commands.
    """

    terminator: Any = _FirstTerminator(_CRLF)
    max_message_size: int | None = 1_048_576
    idle_timeout: float | None = 1800
    message_timeout: float | None = 120
    connect_timeout: float | None = 60
    send_timeout: float | None = 120
    close_timeout: float | None = 600
    high_water: int | None = 262_144
    max_outgoing: int | None = 67_108_864
    backpressure: bool = True
    resumes_after_errors = True
    last_terminator: bytes

    _ac_terminator: Terminator
    #: What was received and not used; a read itself while it is out, all of it.
    _ac_buffer: MessageBuffer | bytes | None
    #: The terminator that ended what is out.
    _ac_sought: Terminator
    #: The messages that are out; what each of them ended with, if that may differ; how many are left of them,
    #: if `messages_received` is ours.
    _ac_messages: list[bytes] | None
    _ac_ends: list[bytes] | None
    _ac_progress: Iterator[bytes] | None

    #: Of the other way to deliver, by which nothing is ever left over here.
    _ac_data = None
    _ac_held = 0
    _ac_owes = _ac_left = False

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        cls.terminator = _FirstTerminator(_checked_first(cls.terminator, cls.max_message_size))

    def _ac_prepare(self) -> None:
        self._ac_outbox = None
        self._ac_read_size = FIRST
        self._ac_deaf = self._ac_writes = False
        self._ac_terminator = type(self).terminator
        self._ac_buffer = self._ac_messages = self._ac_ends = self._ac_progress = self._ac_sought = None
        self.last_terminator = b""

    # -- what the program says -----------------------------------------------------------------------

    def set_terminator(self, term: Any) -> None:
        r"""Say what ends each message, from the one that is being received on.

        Inside of `message_received`, that is the one after the message that is being delivered. Otherwise,
        what is kept of an unfinished message is looked at again, from its beginning, when more arrives; to
        have that done at once, call `feed(b"")`.

        Args:
            term: bytes-like, the terminator itself; several of them, in a tuple, of which the one that ends
                first ends the message (the longest, if several end there); an int, the length of each message
                in bytes; None if whatever a read brings is a message. It stays until another is set, a length
                too. With 0, an empty message is delivered at once, or with the next read if nothing is being
                delivered; its handler must set another.

        Raises:
            TypeError: it is something else.
            ValueError: an empty terminator; a negative length.
        """
        term = _checked(term)
        current = self._ac_terminator
        if type(term) is int:
            if self._ac_buffer is not None and (not term or self._ac_is_too_long(term)):
                self._ac_own_buffer()  # There is something to deliver behind what is out.
            if not term:
                self._ac_terminator = _Empty()
                return
            if term >= SIZED:
                self._ac_read_size = sized(term, self._ac_read_size)
        elif type(current) is int and current >= SIZED:
            self._ac_read_size = FIRST  # What a read takes along of the next body is copied more often.
        if type(term) is not type(current) or term != current:  # The same object tells that nothing changed.
            self._ac_terminator = term

    def get_terminator(self) -> Any:
        """What ends each message, as it was set."""
        return self._ac_terminator

    def message_received(self, message: bytes) -> None:
        """Called with each message, without its terminator. Must be overridden, or `messages_received`.

        Args:
            message: may be empty.
        """
        raise NotImplementedError(f"{type(self).__name__} has no message_received(message)")

    def messages_received(self, messages: list[bytes]) -> int | None:
        """Called with all messages that a read completes. By default calls `message_received` with each.

        If an override runs the loop, what the connection brings meanwhile is delivered after it; inside of
        `message_received` at once, behind what was received before.

        Args:
            messages: at least one.

        Returns:
            How many were used, when the terminator was changed half-way: what is behind these is looked at
            again, with the other terminator. None for all.
        """
        out = self._ac_messages
        if messages is out and len(messages) == 1:  # As most reads of a dialogue are.
            self._ac_progress = _NOTHING_LEFT
            self.message_received(messages[0])
            self._ac_progress = None
            return None
        ends, terminator = None, self._ac_terminator
        iterator = iter(messages)
        if messages is out:
            self._ac_progress = iterator
            if self._ac_ends is not None:
                ends = iter(self._ac_ends)
        for message in iterator:
            if ends is not None:
                self.last_terminator = next(ends)
            self.message_received(message)
            if self._ac_messages is not out or self._ac_terminator is not terminator:
                left = length_hint(iterator)
                if left:
                    return len(messages) - left
        self._ac_progress = None
        return None

    def message_part_received(self, part: bytes, last: bool) -> None:
        """Called with each part of a message that is too long, if `overflow_policy` is "pieces".

        `handle_overflow` comes before the first one, and no other message between them. Must be overridden
        with that policy.

        Args:
            part: its bytes in their order, as they arrive; the first part has all that was kept of them.
            last: whether the message ends with it. It may be empty then.
        """
        raise NotImplementedError(f"{type(self).__name__} has no message_part_received(part, last)")

    def feed(self, data: Any) -> None:
        """Deliver `data` as if it had been received.

        With b"", what is kept is looked at again, if the terminator has changed; and what an exception of a
        handler has left is delivered.

        Args:
            data: bytes-like. Nothing happens to it after `close()` or `close_when_done()`.

        Raises:
            TypeError: it is something else.
            Exception: what the handlers raise.
        """
        data = self._ac_as_received(data)
        if not self._ac_deaf or self._ac_hears_again(data):
            self._ac_feed_apart(data)

    def take_buffer(self, used: int | None = None) -> bytes:
        """Take what was received and not delivered. It will not be delivered.

        Inside of `message_received`, that is all behind the message and its terminator.

        Args:
            used: inside of `messages_received`, how many of its messages were used: what is behind these is
                taken, and what the method returns has no meaning then. None for all of them.

        Raises:
            ValueError: `used` is not 0 to the number of those messages.
        """
        buffer = self._ac_own_buffer()
        rest = buffer.rest(self._ac_used() if used is None else _checked_count(used, buffer.total))
        self._ac_drop()
        return rest

    @property
    def ac_in_buffer(self) -> bytes:
        """What was received and is not delivered. May be replaced, also in a callback."""
        return b"" if self._ac_buffer is None else self._ac_own_buffer().rest(self._ac_used())

    @ac_in_buffer.setter
    def ac_in_buffer(self, data: Any) -> None:
        self._ac_drop()
        data = self._ac_as_received(data)
        if data:
            self._ac_own_buffer().add(data)

    # -- what the peer says --------------------------------------------------------------------------

    def _ac_is_too_long(self, length: int) -> bool:
        limit = self.max_message_size
        return limit is not None and length > limit

    def _ac_feed(self, received: bytes) -> None:
        """Deliver what was received."""
        terminator = self._ac_terminator
        if self._ac_buffer is not None:
            self._ac_feed_more(received)
        elif type(terminator) is bytes:
            limit = self.max_message_size
            if received.endswith(terminator) and (limit is None or len(received) <= limit):
                messages = received.split(terminator)
                if not messages.pop():  # The end may overlap another one: b"aaa" with b"aa".
                    self._ac_buffer = received
                    self._ac_messages = messages
                    self._ac_sought = self.last_terminator = terminator
                    if _observed:
                        note_messages(self, len(messages))
                    try:  # As _ac_hand_over, without the call.
                        used = self.messages_received(messages)
                    except BaseException:
                        self._ac_interrupted(messages)
                        raise
                    if (
                        (used is None or (type(used) is int and used == len(messages)))
                        and self._ac_progress is None
                        and self._ac_buffer is received
                    ):
                        self._ac_buffer = self._ac_messages = None
                        return
                    self._ac_returned(messages, used)
                    self._ac_deliver_messages()
                    return
            self._ac_feed_more(received)
        else:
            self._ac_feed_other(received, terminator)

    def _ac_feed_other(self, received: bytes, terminator: Terminator) -> None:
        """Deliver what was received, which no single byte string ends."""
        kind, limit = kind_of(terminator), self.max_message_size
        length = terminator if isinstance(terminator, int) else 0
        if limit is None or len(received) <= limit or (not kind.endless and length <= limit):
            messages, ends, size = kind.split(received)
            if size == len(received) > 0:
                self._ac_buffer = received
                self._ac_sought, self.last_terminator = terminator, ends[-1]
                self._ac_ends = ends if kind.endless else None
                self._ac_hand_over(messages)
                self._ac_deliver_messages()
                return
        self._ac_feed_more(received)

    def _ac_feed_more(self, received: bytes) -> None:
        """Deliver what was received behind other data, or is not whole messages."""
        self._ac_own_buffer().add(received)
        if self._ac_messages is not None:  # A callback runs the loop, or feeds.
            if self._ac_progress is None:
                return
            self._ac_settle(self._ac_used())
        self._ac_deliver_messages()

    def _ac_deliver_messages(self) -> None:
        """Deliver all that is complete."""
        has_ended = False
        while self._ac_buffer is not None and not self._ac_deaf:
            buffer = self._ac_own_buffer()
            if buffer.in_parts:
                if not self._ac_hand_over_part(buffer):
                    if self._ac_guard is not None:
                        self._ac_guard.left_unfinished(self, has_ended)
                    return
                continue
            terminator = self._ac_terminator
            try:
                messages, ends = buffer.take(terminator, self.max_message_size)
            except MessageTooLong as error:
                check_bounds(self.max_message_size, self.overflow_policy)
                if self.overflow_policy == PIECES:
                    buffer.divide()
                because(OVERFLOW, self, self.handle_overflow, error)
                continue
            if not messages:
                if buffer.is_empty:
                    self._ac_buffer = None
                    return
                if buffer.missing >= SIZED:
                    self._ac_read_size = sized(buffer.missing, self._ac_read_size)
                if self._ac_guard is not None:
                    self._ac_guard.left_unfinished(self, has_ended)
                return
            has_ended = True
            self.last_terminator = ends[-1]
            self._ac_ends = ends if type(terminator) is tuple else None
            self._ac_hand_over(messages)

    def _ac_hand_over_part(self, buffer: MessageBuffer) -> bool:
        """Deliver what there is of a message that is too long; whether there was anything."""
        part, terminator = buffer.take_part()
        if terminator is not None:
            self.last_terminator = terminator
            if _observed:
                note_messages(self, 1)
        elif not part:
            return False
        self.message_part_received(part, terminator is not None)
        return True

    def _ac_hand_over(self, messages: list[bytes]) -> None:
        """Call `messages_received`, and keep what it has not used."""
        self._ac_messages = messages
        if _observed:
            note_messages(self, len(messages))
        try:
            used = self.messages_received(messages)
        except BaseException:
            self._ac_interrupted(messages)
            raise
        self._ac_returned(messages, used)

    def _ac_interrupted(self, messages: list[bytes]) -> None:
        """Keep what `messages_received` has not come to when it raised, or paused."""
        if self._ac_messages is messages:
            used = self._ac_used()
            if _observed:
                note_messages(self, used - len(messages))
            self._ac_own_buffer().use(used)
            self._ac_messages = self._ac_ends = self._ac_progress = None

    def _ac_returned(self, messages: list[bytes], used: Any) -> None:
        """Keep what `messages_received` says that it has not used."""
        if self._ac_messages is not messages:  # It has closed, taken the rest, or run the loop.
            return
        all_used = used is None or (type(used) is int and used == len(messages))
        if all_used and self._ac_progress is None and type(self._ac_buffer) is bytes:
            self._ac_drop()
            return
        total = self._ac_own_buffer().total
        try:
            count = self._ac_used() if used is None else _checked_count(used, total)
        except (TypeError, ValueError):
            self._ac_settle(total)
            raise
        self._ac_settle(count)

    def _ac_settle(self, used: int) -> None:
        """Have all behind the first `used` messages that are out looked at again."""
        buffer = self._ac_own_buffer()
        if _observed:
            note_messages(self, used - buffer.total)
        self._ac_messages = self._ac_ends = self._ac_progress = None
        if not buffer.use(used) and buffer.terminator is self._ac_terminator:
            raise ValueError(
                "wanted messages to be used, or another terminator to be set: nothing was used with "
                f"{self._ac_terminator!r:.60}, and the same would be delivered for ever"
            )

    def _ac_used(self) -> int:
        """How many of the messages that are out were delivered; all, if nobody knows but the program."""
        left = 0 if self._ac_progress is None else length_hint(self._ac_progress)
        return self._ac_own_buffer().total - left

    def _ac_own_buffer(self) -> MessageBuffer:
        buffer = self._ac_buffer
        if isinstance(buffer, MessageBuffer):
            return buffer
        whole, self._ac_buffer = buffer, (buffer := MessageBuffer())
        if whole is not None:
            buffer.add(whole)
            buffer.take(self._ac_sought, None)
        return buffer

    def _ac_drop(self) -> None:
        self._ac_buffer = self._ac_messages = self._ac_ends = self._ac_progress = None

    def _ac_keeps_message(self) -> bool:
        return self._ac_buffer is not None and self._ac_messages is None and not self._ac_cork

    def _ac_owes_message(self) -> bool:
        return self._ac_buffer is not None and async_chat._ac_owes_message(self)

    # -- pausing -------------------------------------------------------------------------------------

    def _ac_set_aside(self) -> None:
        self._ac_deaf = True
        if self._ac_messages is not None and self._ac_progress is not None:
            self._ac_interrupted(self._ac_messages)

    def _ac_has_more(self) -> bool:
        return self._ac_buffer is not None

    def _ac_keep(self, data: bytes) -> None:
        self._ac_own_buffer().add(data)

    def _ac_undelivered(self, used: int | None = None) -> bytes:
        if self._ac_buffer is None:
            return Securing._ac_undelivered(self)
        buffer = self._ac_own_buffer()
        if used is not None:
            used = _checked_count(used, buffer.total)
        elif self._ac_messages is not None and self._ac_progress is None:
            used = min(1, buffer.total)  # Nobody knows but the program.
        else:
            used = self._ac_used()
        return Securing._ac_undelivered(self) + buffer.rest(used)

    def _ac_stop_delivering(self) -> None:
        self._ac_deaf = True
        self._ac_drop()


def _checked(term: Any) -> Terminator:
    checked: Terminator = term if type(term) is bytes and term else as_terminator(term)
    return checked


def _checked_first(term: Any, limit: Any) -> Terminator:
    """The terminator of a class. Here a length above the limit is no peer's doing."""
    checked = _checked(term)
    if type(checked) is int and type(limit) is int and checked > limit:
        raise ValueError(
            f"wanted a length of at most {limit} bytes, max_message_size, as the terminator, found {checked}"
        )
    return checked


def _checked_count(used: Any, total: int) -> int:
    if type(used) is not int:
        raise TypeError(
            f"wanted None or an int, how many of {total} messages were used, "
            f"found {type(used).__name__}: {used!r:.60}"
        )
    if not 0 <= used <= total:
        raise ValueError(f"wanted 0 to {total} as the number of messages that were used, found {used}")
    return used
