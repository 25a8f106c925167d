r"""The input side of `async_chat`: what arrives is handed over up to each terminator.

State between two callbacks, and between two reads: `_ac_data[_ac_position:]` was received and is not handed
over; while a run of messages is handed over, `_ac_position` is the `Batch` that tells the position instead;
`_ac_delimiter[:_ac_held]` was received before that, and may be the first part of a terminator.
"""

import os
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from antiphon import counting
from antiphon.counting import note_messages, observed
from antiphon.errors import is_would_block
from antiphon.failures import contain
from antiphon.framing import prefix_at_end, resume
from antiphon.interest import noticed, patient
from antiphon.outbox import DELIVERING
from antiphon.outgoing import Outgoing
from antiphon.sizes import ADAPTIVE, FIRST, SIZED, adapted, sized

__all__ = ["FIRST_WINDOW", "Incoming", "position_in"]

#: (terminator, messages, an iterator over them, the position in the data behind the last one)
Batch: TypeAlias = tuple[bytes, list[bytes], Any, int]

#: Bytes that are split at once when the terminator has stayed the same for a message; then 4 times as many.
#: What was split is split again if the terminator changes, so this bounds the waste.
FIRST_WINDOW: Final = 512


_observed = False


def _observe(is_observed: bool) -> None:
    global _observed  # noqa: PLW0603 (the quickest to look at)
    _observed = is_observed


counting.tell(_observe)


class Incoming(Outgoing):
    """Delivers input: `collect_incoming_data` with pieces of a message, `found_terminator` at its end.

    Attributes:
        terminator: what ends a message, as `set_terminator` takes it; a length is counted down here.
        incoming: where `_collect_incoming_data` puts what it is given.
    """

    ac_in_buffer_size: int = ADAPTIVE
    resumes_after_errors = False
    coalesce_pushes: bool = os.environ.get("ANTIPHON_COALESCE_PUSHES", "1") != "0"
    use_encoding: Any = 0
    encoding = "latin-1"
    terminator: Any
    incoming: list[bytes]
    max_message_size: int | None
    #: Bytes that were handed over of the message that is being received, if the channel has a bound, and
    #: whether the program knows that it is too long.
    _ac_size = 0
    _ac_told = False
    _ac_feed_bounded: Callable[[bytes], None]
    _ac_begin_message: Callable[[], None]

    _ac_data: bytes | None
    _ac_position: Any
    _ac_held: int
    _ac_delimiter = b""
    _ac_read_size: int
    _ac_counting: tuple[int, int] | None = None
    #: Whether found_terminator() is still to be called for what collect_incoming_data() has or had.
    _ac_owes: bool
    #: Whether there is anything of the other state: of the read before, or of one that is being handed over.
    _ac_left: bool
    _ac_deaf: bool
    #: While it is paused: data, the position in it of what is to be delivered, and whether it owes.
    _ac_kept: tuple[bytes, int, bool] | None = None

    # -- what the program says -----------------------------------------------------------------------

    def set_terminator(self, term: Any) -> None:
        """Say what ends the message that is being received.

        Args:
            term: bytes-like, the terminator itself (`str` if `use_encoding` is set); an int, the length of
                the message in bytes; None, 0 or nothing at all (b"") if it never ends.

        Raises:
            TypeError: it is something else.
            ValueError: a negative length.
        """
        if type(term) is not bytes:
            term = self._ac_as_terminator(term)
            if isinstance(term, int) and term >= SIZED:
                self._ac_read_size = sized(term, self._ac_read_size)
        if term != self.terminator or type(term) is not bytes:  # The same object tells that nothing changed.
            self.terminator = term

    def _ac_as_terminator(self, term: Any) -> bytes | int | None:
        if isinstance(term, (bytes, bytearray, memoryview)):
            return bytes(term)
        if isinstance(term, str) and (self.use_encoding or not term):
            return term.encode(self.encoding)
        if isinstance(term, int) and not isinstance(term, bool):
            if term < 0:
                raise ValueError(f"wanted a length of 0 bytes or more as the terminator, found {term}")
            return int(term)
        if term is None:
            return None
        raise TypeError(
            f"wanted bytes, an int or None as the terminator (str only with use_encoding), "
            f"found {type(term).__name__}: {term!r:.60}"
        )

    def get_terminator(self) -> Any:
        """What ends the message that is being received; of a length, what is missing of it."""
        return self.terminator

    @property
    def ac_in_buffer(self) -> bytes:
        """What was received and is not handed over yet. May be replaced, also in a callback."""
        if self._ac_data is None:
            return self._ac_delimiter[: self._ac_held]
        if type(self._ac_position) is tuple:
            return self._ac_data[position_in(self._ac_position) :]
        return self._ac_data[self._ac_position :]

    @ac_in_buffer.setter
    def ac_in_buffer(self, data: Any) -> None:
        self._ac_held = self._ac_position = 0
        self._ac_data = self._ac_as_received(data) or None
        self._ac_left = self._ac_data is not None or self._ac_counting is not None

    def collect_incoming_data(self, data: bytes) -> None:
        """Called with a piece of a message. Must be overridden.

        Args:
            data: at least one byte; a message may come in any number of pieces.
        """
        raise NotImplementedError(f"{type(self).__name__} has no collect_incoming_data(data)")

    def found_terminator(self) -> None:
        """Called when a message has ended as `set_terminator` said. Must be overridden."""
        raise NotImplementedError(f"{type(self).__name__} has no found_terminator()")

    def _collect_incoming_data(self, data: bytes) -> None:
        """Keep a piece in `incoming`. For use as `collect_incoming_data`."""
        self.incoming.append(data)

    def _get_data(self) -> bytes:
        """Take all that was kept in `incoming`."""
        data = b"".join(self.incoming)
        self.incoming.clear()
        return data

    # -- what the peer says --------------------------------------------------------------------------

    @noticed
    def readable(self) -> bool:
        """Whether to wait until the channel can be read from. An override is asked in every turn."""
        return not self._ac_reading_paused

    @patient
    def handle_read(self) -> None:  # noqa: C901 (in one, since it runs for every read)
        """Receive once, and hand over what that completes.

        Raises:
            ssl.SSLWantReadError, ssl.SSLWantWriteError: from a `recv` that knows TLS; nothing is lost.
        """
        size = self.ac_in_buffer_size
        adaptive = size is ADAPTIVE
        if adaptive:
            size = self._ac_read_size
        guard = self._ac_guard
        if guard is not None and guard.bucket_in is not None and not (size := guard.receivable(self, size)):
            return
        try:
            data = self.recv(size)
        except BlockingIOError:
            return
        except OSError as error:
            if is_would_block(error):
                raise
            contain(self)
            return
        if type(data) is not bytes:
            data = self._ac_as_received(data)
        if not data or (self._ac_deaf and not self._ac_hears_again(data)):
            return
        if guard is not None:
            guard.received(self, len(data))
        if adaptive and (len(data) == size or size > FIRST):
            self._ac_read_size = adapted(size, len(data))
        cork = self._ac_cork
        if not cork and self.coalesce_pushes:
            self._ac_cork = DELIVERING
        try:
            self._ac_feed(data)
        except BaseException:
            self._ac_go_on_later()
            raise
        finally:
            if not cork:
                self._ac_cork = 0
                if self._ac_outbox or self._ac_foreign_fifo:
                    self.initiate_send()
                    if self._ac_outbox:  # Our initiate_send may be overridden.
                        self._ac_note_output()

    def _ac_go_on_later(self) -> None:
        """Have delivered what an exception of a callback kept from it: the peer may say nothing more."""

    def _ac_as_received(self, data: Any) -> bytes:
        if isinstance(data, str) and (self.use_encoding or not data):
            return data.encode(self.encoding)
        if isinstance(data, (bytes, bytearray, memoryview)):
            return bytes(data)
        raise TypeError(f"wanted bytes as input, found {type(data).__name__}: {data!r:.60}")

    def _ac_feed(self, received: bytes) -> None:  # noqa: C901 (runs for every read)
        """Hand over what was received. One function of this length, since it runs for every read."""
        if self.max_message_size is not None:
            self._ac_feed_bounded(received)
            return
        last = None
        if self._ac_left or self._ac_owes:
            self._ac_catch_up(received)
        else:
            try:
                terminator = self.get_terminator()
            except BaseException:
                self._ac_catch_up(received)
                raise
            if type(terminator) is bytes and terminator:
                message, found, rest = received.partition(terminator)
                if found:  # Most reads of a dialogue are a single message, of which nothing need be noted.
                    if rest:
                        self._ac_data = rest
                        self._ac_position = 0
                        self._ac_left = True
                        last = terminator
                    if message:
                        self._ac_owes = True
                        self.collect_incoming_data(message)
                    # If it does not owe any more, it was closed, or a loop inside of the callback has told.
                    if self._ac_owes or not message:
                        self._ac_owes = False
                        self.found_terminator()
                    if not self._ac_left:
                        return
                else:
                    self._ac_left = True
                    self._ac_deliver_part(received, 0, terminator)
                    if self._ac_data is None:  # Nobody has put anything into ac_in_buffer.
                        self._ac_left = self._ac_held > 0
                        return
            elif type(terminator) is int and terminator > len(received):
                self._ac_left = True
                if self._ac_guard is not None:
                    self._ac_note_unfinished(len(received))
                self._ac_collect_counted(received, terminator, ends=False)
            else:
                self._ac_data = received
                self._ac_position = 0
                self._ac_left = True
        self._ac_deliver(last)

    def _ac_deliver(self, last: bytes | None) -> None:
        """Hand over `_ac_data`. One function of this length, since it runs for every message.

        Args:
            last: the terminator of the message before, if that was received in one piece with the data.
        """
        if self._ac_held:
            self._ac_resume()
        window = FIRST_WINDOW
        while (data := self._ac_data) is not None:
            position = self._ac_position
            if position >= len(data):
                self._ac_data = None
                break
            terminator = self.get_terminator()
            if type(terminator) is not bytes or not terminator:
                terminator = self._ac_as_terminator(terminator)
                if not isinstance(terminator, bytes) or not terminator:
                    self._ac_deliver_count(data, position, terminator or 0)
                    continue
            if terminator is last:
                window *= 4
                if self._ac_deliver_batch(data, position, terminator, window):
                    continue
            else:
                last, window = terminator, FIRST_WINDOW
            end = data.find(terminator, position)
            if end < 0:
                self._ac_deliver_part(data, position, terminator)
                continue
            self._ac_position = end + len(terminator)
            if end > position:
                self._ac_owes = True
                self.collect_incoming_data(data[position:end])
                if not self._ac_owes:
                    continue
                self._ac_owes = False
            if _observed:
                note_messages(self, 1)
            self.found_terminator()
        self._ac_left = self._ac_held > 0

    def _ac_catch_up(self, data: bytes) -> None:
        """Put `data` behind what was not handed over because a callback raised, or now runs the loop."""
        if self._ac_data is None or data:
            self._ac_data = data if self._ac_data is None else self.ac_in_buffer + data
            self._ac_position = 0
        elif type(self._ac_position) is tuple:
            self._ac_position = position_in(self._ac_position)
        self._ac_left = True
        if self._ac_counting is not None:
            self._ac_count(*self._ac_counting)
        if self._ac_owes:
            self._ac_owes = False
            if _observed:
                note_messages(self, 1)
            self.found_terminator()

    def _ac_deliver_batch(self, data: bytes, position: int, terminator: bytes, window: int) -> bool:
        """Hand over the messages that end within `window` bytes; whether there is one."""
        messages = data[position : position + window].split(terminator)
        rest = messages.pop()
        if not messages:
            return False
        own = getattr(self.get_terminator, "__func__", None) is _get_terminator
        iterator: Any = iter(messages)
        counts = observed(self) if _observed else None
        batch = terminator, messages, iterator, min(position + window, len(data)) - len(rest)
        self._ac_position = batch
        try:
            for message in iterator:
                if message:
                    try:
                        self.collect_incoming_data(message)
                    except BaseException:
                        self._ac_owes = True
                        raise
                    if self._ac_deaf:
                        self._ac_owes = self._ac_kept is not None
                        if counts is not None and not self._ac_owes:
                            counts.messages -= 1  # Its end is not told.
                        break
                self.found_terminator()
                if (
                    self._ac_position is not batch
                    or (self.terminator if own else self.get_terminator()) is not terminator
                ):
                    break
        finally:
            if counts is not None:
                counts.messages += len(messages) - iterator.__length_hint__() - self._ac_owes
            if self._ac_position is batch:
                self._ac_position = position_in(batch)
        return True

    def _ac_deliver_part(self, data: bytes, position: int, delimiter: bytes) -> None:
        """Hand over what has no terminator, but for the end that may be the beginning of one."""
        if self._ac_guard is not None:
            self._ac_note_unfinished(len(data) - position)
        part = data[position:] if position else data
        self._ac_data = None
        self._ac_held = held = prefix_at_end(part, delimiter)
        self._ac_delimiter = delimiter
        if not held:
            self.collect_incoming_data(part)
        elif held < len(part):
            self.collect_incoming_data(part[:-held])

    def _ac_resume(self) -> None:
        """Go on with a terminator that may have begun in an earlier read."""
        data = self._ac_data or b""
        delimiter, held = self._ac_delimiter, self._ac_held
        if self.get_terminator() != delimiter:
            self._ac_held = 0
            self._ac_data = delimiter[:held] + data
            return
        released, used, self._ac_held = resume(delimiter, held, data)
        self._ac_position = used
        if self._ac_held:
            self._ac_data = None
            if self._ac_guard is not None:
                self._ac_note_unfinished(len(data))
        self._ac_owes = used > 0
        if released:
            self.collect_incoming_data(delimiter[:released])
        if self._ac_owes:
            self._ac_owes = False
            if _observed:
                note_messages(self, 1)
            self.found_terminator()

    def _ac_deliver_count(self, data: bytes, position: int, terminator: int) -> None:
        """Hand over up to a length, or all of it without one."""
        if not terminator:
            self._ac_data = None
            self.collect_incoming_data(data[position:] if position else data)
            return
        end = position + terminator
        if end > len(data):
            if self._ac_guard is not None:
                self._ac_note_unfinished(len(data) - position)
            self._ac_data = None
            self._ac_collect_counted(data[position:] if position else data, terminator, ends=False)
        else:
            self._ac_position = end
            part = data[position:end] if end - position < len(data) else data
            self._ac_collect_counted(part, terminator, ends=True)

    def _ac_collect_counted(self, part: bytes, missing: int, ends: bool) -> None:
        self._ac_counting = missing, len(part)
        self._ac_owes = ends
        try:
            self.collect_incoming_data(part)
        finally:
            if self._ac_counting is not None:
                self._ac_count(missing, len(part))
        if ends and self._ac_owes:
            self._ac_owes = False
            if _observed:
                note_messages(self, 1)
            self.found_terminator()

    def _ac_count(self, missing: int, size: int) -> None:
        """Count down what was handed over: after the callback, or as soon as the callback runs the loop."""
        self._ac_counting = None
        if self.terminator == missing:  # Unless the callback has set another.
            self.terminator = left = missing - size
            if left >= SIZED:
                self._ac_read_size = sized(left, self._ac_read_size)
            elif not left and missing >= SIZED:
                self._ac_read_size = FIRST

    def _ac_note_unfinished(self, size: int) -> None:
        """Have the limits know that the last `size` bytes belong to a message that goes on."""
        guard = self._ac_guard
        assert guard is not None
        guard.left_unfinished(self, size < guard.size)

    def _ac_tells_input(self) -> bool:
        return getattr(self.handle_read, "__func__", None) is _handle_read

    def _ac_owes_message(self) -> bool:
        return self._ac_guard is not None and self._ac_guard.unfinished

    def _ac_undelivered(self, used: int | None = None) -> bytes:
        return super()._ac_undelivered(used) + self.ac_in_buffer

    def _ac_drop_undelivered(self) -> None:
        super()._ac_drop_undelivered()
        self.ac_in_buffer = b""

    def _ac_stop_delivering(self) -> None:
        """Hand over nothing more: what was received and not handed over is dropped."""
        self._ac_deaf = True
        self._ac_owes = False
        if self._ac_kept is not None:
            self._ac_kept = None
        if self._ac_left:
            self._ac_left = False
            self._ac_data = self._ac_counting = None
            self._ac_held = self._ac_position = 0
        if self._ac_told or self._ac_size:
            self._ac_begin_message()


#: A call less for each message, where nobody has overridden it.
_get_terminator: Final = Incoming.get_terminator
_handle_read: Final = Incoming.handle_read


def position_in(batch: Batch) -> int:
    """The position in the data of the next message of a batch."""
    terminator, messages, iterator, end = batch
    left: int = iterator.__length_hint__()
    return end - left * len(terminator) - sum(map(len, messages[len(messages) - left :]))
