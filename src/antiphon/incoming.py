r"""The input side of `async_chat`: what arrives is handed over up to each terminator.

State between two callbacks, and between two reads:
`_data[_position:]` is what was received and not handed over; while a run of messages is handed over it is
told by `_batch` instead; `_delimiter[:_held]` was received too, and may be the first part of a terminator.
"""

from typing import Any, Final, TypeAlias

from antiphon.endpoint import DELIVERING
from antiphon.errors import is_would_block
from antiphon.framing import prefix_at_end, resume
from antiphon.interest import noticed
from antiphon.outgoing import Outgoing
from antiphon.sizes import ADAPTIVE, FIRST, adapted

__all__ = ["Incoming"]

#: (terminator, messages, an iterator over them, the position in the data behind the last one)
Batch: TypeAlias = tuple[bytes, list[bytes], Any, int]

#: Bytes that are split at once when the terminator has stayed the same for a message; then 4 times as many.
#: What was split is split again if the terminator changes, so this bounds the waste.
_FIRST_WINDOW: Final = 512


class Incoming(Outgoing):
    """Delivers input: `collect_incoming_data` with pieces of a message, `found_terminator` at its end.

    Attributes:
        terminator: what ends a message, as `set_terminator` takes it; a length is counted down here.
        incoming: where `_collect_incoming_data` puts what it is given.
    """

    ac_in_buffer_size: int = ADAPTIVE
    coalesce_pushes = True
    use_encoding: Any = 0
    encoding = "latin-1"
    terminator: Any = None
    incoming: list[bytes]

    _data: bytes | None
    _position: int
    _batch: Batch | None
    _held: int
    _delimiter = b""
    _read_size: int
    _deaf: bool

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
            term = self._as_terminator(term)
        if term != self.terminator or type(term) is not bytes:  # The same object tells that nothing changed.
            self.terminator = term

    def _as_terminator(self, term: Any) -> bytes | int | None:
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
        if self._batch is not None:
            self._position = _position_in(self._batch)
        if self._data is None:
            return self._delimiter[: self._held]
        return self._data[self._position :]

    @ac_in_buffer.setter
    def ac_in_buffer(self, data: Any) -> None:
        self._batch = None
        self._held = self._position = 0
        self._data = self._as_received(data) or None

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
        return True

    def handle_read(self) -> None:
        """Receive once, and hand over what that completes.

        Raises:
            ssl.SSLWantReadError, ssl.SSLWantWriteError: from a `recv` that knows TLS; nothing is lost.
        """
        size = self.ac_in_buffer_size
        adaptive = size is ADAPTIVE
        if adaptive:
            size = self._read_size
        try:
            data = self.recv(size)
        except BlockingIOError:
            return
        except OSError as error:
            if is_would_block(error):
                raise
            self.handle_error()
            return
        if type(data) is not bytes:
            data = self._as_received(data)
        if not data or self._deaf:
            return
        if adaptive and (len(data) == size or size > FIRST):
            self._read_size = adapted(size, len(data))
        cork = self._cork
        if not cork and self.coalesce_pushes:
            self._cork = DELIVERING
        try:
            self._feed(data)
        finally:
            if not cork:
                self._cork = 0
                if self._outbox or self._foreign_fifo:
                    self.initiate_send()
                    if self._outbox and not self._writes:  # What is ours may be overridden.
                        self._note_output()

    def _as_received(self, data: Any) -> bytes:
        if isinstance(data, str) and (self.use_encoding or not data):
            return data.encode(self.encoding)
        if isinstance(data, (bytes, bytearray, memoryview)):
            return bytes(data)
        raise TypeError(f"wanted bytes as input, found {type(data).__name__}: {data!r:.60}")

    def _feed(self, data: bytes) -> None:
        """Hand over what was received. One function of this length, since it runs for every message."""
        if self._data is not None:  # A callback raised, or called the loop.
            data = self.ac_in_buffer + data
            self._batch = None
        self._data = data
        self._position = 0
        if self._held:
            self._resume(data)
        last, window = None, _FIRST_WINDOW
        while (data := self._data) is not None:
            position = self._position
            if position >= len(data):
                self._data = None
                return
            terminator = self.get_terminator()
            if type(terminator) is not bytes or not terminator:
                self._deliver_count(data, position, terminator)
                continue
            if terminator is last:
                window *= 4
                if self._deliver_batch(data, position, terminator, window):
                    continue
            else:
                last, window = terminator, _FIRST_WINDOW
            end = data.find(terminator, position)
            if end < 0:
                self._deliver_part(data, position, terminator)
                return
            self._position = end + len(terminator)
            if end > position:
                self.collect_incoming_data(data[position:end])
                if self._deaf:
                    return
            self.found_terminator()

    def _deliver_batch(self, data: bytes, position: int, terminator: bytes, window: int) -> bool:
        """Hand over the messages that end within `window` bytes; whether there is one."""
        messages = data[position : position + window].split(terminator)
        rest = messages.pop()
        if not messages:
            return False
        iterator = iter(messages)
        batch = terminator, messages, iterator, min(position + window, len(data)) - len(rest)
        self._batch = batch
        try:
            for message in iterator:
                if message:
                    self.collect_incoming_data(message)
                    if self._deaf:
                        break
                self.found_terminator()
                if self._batch is not batch or self.get_terminator() is not terminator:
                    break
        finally:
            if self._batch is batch:
                self._position = _position_in(batch)
                self._batch = None
        return True

    def _deliver_part(self, data: bytes, position: int, delimiter: bytes) -> None:
        """Hand over what has no terminator, but for the end that may be the beginning of one."""
        part = data[position:] if position else data
        self._data = None
        self._held = held = prefix_at_end(part, delimiter)
        self._delimiter = delimiter
        if not held:
            self.collect_incoming_data(part)
        elif held < len(part):
            self.collect_incoming_data(part[:-held])

    def _resume(self, data: bytes) -> None:
        """Go on with a terminator that may have begun in an earlier read."""
        delimiter, held = self._delimiter, self._held
        if self.get_terminator() != delimiter:
            self._held = 0
            self._data = delimiter[:held] + data
            return
        released, used, self._held = resume(delimiter, held, data)
        self._position = used
        if self._held:
            self._data = None
        if used:
            if released:
                self.collect_incoming_data(delimiter[:released])
            if not self._deaf:
                self.found_terminator()
        elif released:
            self.collect_incoming_data(delimiter[:released])

    def _deliver_count(self, data: bytes, position: int, terminator: Any) -> None:
        """Hand over up to a length, or all of it without one."""
        if not terminator:
            self._data = None
            self.collect_incoming_data(data[position:] if position else data)
            return
        if type(terminator) is not int:
            terminator = self.terminator = self._as_terminator(terminator)
            return
        end = position + terminator
        if end > len(data):
            self._data = None
            self._collect_counted(data[position:] if position else data, terminator)
            return
        self._position = end
        self._collect_counted(data[position:end] if end - position < len(data) else data, terminator)
        if not self._deaf:
            self.found_terminator()

    def _collect_counted(self, data: bytes, missing: int) -> None:
        try:
            self.collect_incoming_data(data)
        finally:
            if self.terminator == missing:  # Unless the callback has set another.
                self.terminator = missing - len(data)

    def _stop_delivering(self) -> None:
        """Hand over nothing more: what was received and not handed over is dropped."""
        self._deaf = True
        self._data = self._batch = None
        self._position = self._held = 0


def _position_in(batch: Batch) -> int:
    """The position in the data of the next message of a batch."""
    terminator, messages, iterator, end = batch
    left: int = iterator.__length_hint__()
    return end - left * len(terminator) - sum(map(len, messages[len(messages) - left :]))
