r"""MessageParser: the messages of a stream, for programs that receive by themselves.  No I/O.

>>> parser = MessageParser(b"\n")
>>> parser.feed(b"one\ntwo\nth")
[b'one', b'two']
>>> parser.feed(b"ree\n")
[b'three']
"""

import sys
from collections.abc import Iterator, Sequence
from operator import length_hint
from typing import Final, Literal, TypeAlias

from antiphon.errors import MessageIncomplete, MessageTooLong
from antiphon.framing.messages import MessageBuffer
from antiphon.framing.terminators import Terminator, as_terminator

__all__ = ["AnyTerminator", "MessageParser", "Overflow", "as_limit", "as_overflow"]

#: What a program may say for a terminator.
AnyTerminator: TypeAlias = (
    bytes | bytearray | memoryview | Sequence[bytes | bytearray | memoryview] | int | None
)

#: What becomes of a message that is too long: an error, or nothing. It is skipped in any case.
Overflow: TypeAlias = Literal["raise", "discard"]

_CRLF: Final = b"\r\n"


def as_limit(limit: int | None, name: str) -> int:
    """Check a number of bytes; None stands for no limit.

    Raises:
        TypeError: it is none.
        ValueError: it is not positive.
    """
    if limit is None:
        return sys.maxsize
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"wanted an int or None as {name}, found {type(limit).__name__}: {limit!r:.60}")
    if limit < 1:
        raise ValueError(f"wanted 1 byte or more as {name}, found {limit}")
    return limit


def as_overflow(overflow: str) -> bool:
    """Whether a message that is too long is discarded.

    Raises:
        ValueError: it is neither "raise" nor "discard".
    """
    if overflow not in ("raise", "discard"):
        raise ValueError(f'wanted "raise" or "discard" as overflow, found {overflow!r:.60}')
    return overflow == "discard"


class _Empty(int):
    """The length 0. Whenever it is set, it asks for another empty message: each is an object of its own."""


class MessageParser:
    r"""Cuts a stream of bytes into messages.

    Knows no socket and no loop: what was received goes into `feed` or `messages`, and messages come out. They
    are the same however the bytes were cut, and each byte is looked at once.

    Args:
        terminator: what ends a message, as `set_terminator` takes it.
        max_size: bytes of a message at most, without its terminator; None for any number. Where the
            terminator is None it means nothing.
        overflow: what happens to a longer one, which is skipped in any case: "raise" a MessageTooLong, or
            "discard" it in silence. What is too long by its length is raised, too.

    Attributes:
        last_terminator: the bytes that ended the message that came out last; b"" where a length did, or none.
        discarded: how many messages were too long and discarded.

    Raises:
        TypeError: the terminator or `max_size` is of another type.
        ValueError: an empty terminator; a negative length, or one above `max_size`; a `max_size` below 1;
            another word as `overflow`.
    """

    __slots__ = (
        "_buffer", "_discards", "_empty_body", "_ended", "_ends", "_limit", "_out", "_terminator",
        "discarded", "last_terminator",
    )  # fmt: skip

    discarded: int
    last_terminator: bytes

    def __init__(
        self,
        terminator: AnyTerminator = _CRLF,
        max_size: int | None = 1_048_576,
        *,
        overflow: Overflow = "raise",
    ) -> None:
        self._buffer = MessageBuffer()
        self._out: Iterator[bytes] | None = None  # What `messages` has not yet come to of what is out.
        self._ends: list[bytes] = []
        self._ended = self._empty_body = False
        self._limit = as_limit(max_size, "max_size")
        self._discards = as_overflow(overflow)
        self._terminator: Terminator = None
        self.discarded = 0
        self.last_terminator = b""
        self.set_terminator(terminator)
        if isinstance(self._terminator, int) and self._terminator > self._limit:
            raise ValueError(
                f"wanted at most {max_size} bytes, max_size, as the length of a message, found {terminator}"
            )

    # -- what the program says -----------------------------------------------------------------------

    @property
    def terminator(self) -> Terminator:
        """What ends a message, as it was set."""
        return self._terminator

    @property
    def max_size(self) -> int | None:
        """Bytes of a message at most; None for any number."""
        return None if self._limit == sys.maxsize else self._limit

    def set_terminator(self, terminator: AnyTerminator) -> None:
        """Say what ends each message, from the next one that comes out on.

        What `feed` has returned is not looked at again. Within a loop over `messages`, that is the message
        behind the current one. Of an unfinished message, all that is kept is looked at again.

        Args:
            terminator: bytes-like, the terminator itself; several of them, in a tuple, of which the one that
                ends first ends the message (the longest, if several end there); an int, the length of each
                message in bytes; None if whatever is fed is a message. It stays until another is set. A
                length of 0 gives one empty message; then another must be set. Of a length above `max_size`,
                the message is too long at once; then, too, another must be set.

        Raises:
            TypeError: it is something else.
            ValueError: an empty terminator, or a negative length.
        """
        checked = as_terminator(terminator)
        self._empty_body = checked == 0
        if self._empty_body:
            self._terminator = _Empty()
        elif type(checked) is not type(self._terminator) or checked != self._terminator:
            self._terminator = checked  # The same object tells that nothing changed.

    # -- what the peer says --------------------------------------------------------------------------

    def feed(self, data: bytes | bytearray | memoryview = b"") -> list[bytes]:
        """The messages that are complete with `data`, with the terminator that is set.

        If the terminator depends on the messages, use `messages`.

        Args:
            data: what was received. With b"", what is kept is looked at again, if the terminator has
                changed or a message was too long.

        Raises:
            MessageTooLong: a message is. Its `messages` are those before it; `feed()` gives those after it.
            TypeError: `data` is not bytes-like.
            ValueError: `data` comes after `feed_eof`; or the terminator is 0.
        """
        self._receive(data)
        messages: list[bytes] = []
        try:
            while taken := self._take():
                messages += taken
                self.last_terminator = self._ends[-1]
                self._settle()
        except MessageTooLong as error:
            error.messages = messages
            raise
        return messages

    def messages(self, data: bytes | bytearray | memoryview = b"") -> Iterator[bytes]:
        """Likewise, one after the other: the terminator may be set between any two.

        `data` is kept when this is called. A message counts as taken when it comes out: what a loop leaves
        that ends early will come out of the next call of `messages` or `feed`.

        Raises:
            MessageTooLong: the next message is. Call `messages()` for those after it.
            TypeError: `data` is not bytes-like.
            ValueError: `data` comes after `feed_eof`; or no other terminator was set behind a length of 0.
        """
        self._receive(data)
        return self._iterate()

    def feed_eof(self) -> None:
        """Say that nothing more will come.

        Raises:
            MessageIncomplete: a message has begun. Its `partial` is all that was not taken; it stays
                there for `take_buffer`.
        """
        self._ended = True
        if self.pending or not self._buffer.skip():
            self._settle()
            expected = self._terminator if isinstance(self._terminator, int) else None
            raise MessageIncomplete(self._buffer.rest(), expected)

    @property
    def pending(self) -> int:
        """Bytes that are kept, and were not taken as messages."""
        return self._buffer.size if self._out is None else len(self._buffer.rest(self._used()))

    def take_buffer(self) -> bytes:
        """Take what was fed and has not come out, for another protocol. It will not come out.

        Within a loop over `messages`, that is all behind the current message and its terminator.
        """
        rest = self._buffer.rest(self._used())
        self._buffer, self._out = MessageBuffer(), None
        return rest

    # -- how -----------------------------------------------------------------------------------------

    def _receive(self, data: bytes | bytearray | memoryview) -> None:
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"wanted bytes as data, found {type(data).__name__}: {data!r:.60}")
            data = bytes(data)
        if self._ended and data:
            raise ValueError(f"wanted nothing after the end, found {len(data)} bytes: {data!r:.60}")
        self._buffer.add(data)

    def _take(self) -> list[bytes]:
        """The next messages, which are out then; none if more must be fed."""
        self._settle()
        if self._terminator == 0:
            if not self._empty_body:
                raise ValueError("wanted another terminator behind a length of 0, found that set still")
            self._empty_body = False
        while True:
            try:
                taken, self._ends = self._buffer.take(self._terminator, self._limit)
            except MessageTooLong:
                if not self._discards or isinstance(self._terminator, int):
                    raise
                self.discarded += 1
                continue
            if taken:
                self._out = iter(())  # All of them, until `_iterate` says otherwise.
            return taken

    def _iterate(self) -> Iterator[bytes]:
        while taken := self._take():
            iterator = self._out = iter(taken)
            ends, terminator = self._ends, self._terminator
            for message, self.last_terminator in zip(iterator, ends, strict=False):
                yield message
                if self._out is not iterator or self._terminator is not terminator:
                    break

    def _used(self) -> int:
        return self._buffer.total - (length_hint(self._out) if self._out is not None else 0)

    def _settle(self) -> None:
        """Have all that has not come out looked at again."""
        if self._out is None:
            return
        used, self._out = self._used(), None
        self._buffer.use(used)
