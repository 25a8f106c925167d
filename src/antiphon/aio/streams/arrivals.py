"""What has arrived in a stream and was not read yet.  No I/O: who waits for more is `incoming`'s business.

A batch is the complete messages of what has arrived: `ready` goes through it. Most reads are whole messages,
with nothing kept before them; such a batch is split from `_whole`, the read itself. All else goes through a
`MessageBuffer`. What comes while nobody reads is kept as it came, until a reader says what ends a message.
"""

from collections.abc import Iterator
from typing import Any, Final

from antiphon.errors import MessageTooLong
from antiphon.framing.messages import MessageBuffer
from antiphon.framing.terminators import Terminator

__all__ = ["Arrivals"]

_NOTHING: Final[Iterator[bytes]] = iter(())


class Arrivals:
    """The bytes that were received and not read.

    Attributes:
        ready: the messages that are next.
        sought: what has ended them: the same object as long as a program asks for the same.
        clean: whether nothing is there.
        discarded: messages that were too long, and passed over.
    """

    __slots__ = (
        "_batch", "_buffer", "_discards", "_ends", "_later", "_later_size", "_limit", "_plain", "_total",
        "_whole", "clean", "discarded", "ready", "sought",
    )  # fmt: skip

    ready: Iterator[bytes]
    sought: Terminator
    clean: bool
    discarded: int

    def __init__(self, limit: int, discards: bool) -> None:
        self.ready = _NOTHING
        self.sought = None
        self._later_size = self.discarded = 0
        self.clean = True
        self._limit = limit
        self._discards = discards
        self._later: list[bytes] = []
        self._buffer = MessageBuffer()
        self._plain = True  # Whether nothing is kept in the buffer.
        self._total = 0  # Messages of the batch; what they were split from, if they were; what ended each.
        self._whole: bytes | None = None
        self._ends: list[bytes] = []
        self._batch: list[bytes] | None = None  # What a program has got in one piece.

    # -- what comes in ---------------------------------------------------------------------------------

    def keep(self, data: bytes) -> None:
        """Keep what nobody has asked for."""
        self.clean = False
        self._later.append(data)
        self._later_size += len(data)

    def add(self, data: bytes) -> None:
        """Keep what a reader of bytes waits for."""
        self._buffer.add(data)
        self._plain = self.clean = False

    def split(self, data: bytes) -> bool:
        """Have the messages ready that are complete with `data`, if any is. None was, before.

        Raises:
            MessageTooLong: the next one is.
        """
        terminator = self.sought
        if (
            self._plain
            and type(terminator) is bytes
            and data.endswith(terminator)
            and len(data) <= self._limit
        ):
            messages = data.split(terminator)
            if not messages.pop():  # The end may overlap another one: b"aaa" with b"aa".
                self._whole, self._total, self.ready = data, len(messages), iter(messages)
                self.clean = False
                return True
        self.add(data)
        return self._take()

    def _take(self) -> bool:
        while True:
            try:
                messages, self._ends = self._buffer.take(self.sought, self._limit)
            except MessageTooLong:
                if not self._discards or isinstance(self.sought, int):
                    raise
                self.discarded += 1
                continue
            self._total, self.ready = len(messages), iter(messages)
            return bool(messages)

    # -- what is asked for -----------------------------------------------------------------------------

    def frame(self, terminator: Terminator) -> bool:
        """Have the messages ready that this terminator ends, if any is there.

        Raises:
            MessageTooLong: the next one is.
        """
        if self._total:
            if self._whole is not None and not _left(self.ready):  # As most are.
                self._total, self._whole, self._batch = 0, None, None
            else:
                self._settle()
        self.sought = terminator
        later = self._later
        if not later:
            self.clean = self._plain
            return not self._plain and self._take()
        data = later[0] if len(later) == 1 else b"".join(later)
        later.clear()
        self._later_size = 0
        return self.split(data)

    def hand_over(self, first: bytes) -> list[bytes]:
        """The message that was ready first, and all that are ready behind it."""
        self._batch = batch = [first, *self.ready]
        return batch

    def put_back(self, used: int) -> None:
        """Have all but the first `used` messages ready again of what was handed over last.

        Raises:
            ValueError: nothing was, since the last read; or there weren't so many.
        """
        batch = self._batch
        if batch is None:
            raise ValueError("wanted a batch of which some were used, found none since the last read")
        if not 0 <= used <= len(batch):
            raise ValueError(
                f"wanted 0 to {len(batch)} as the number of messages that were used, found {used}"
            )
        self._batch, self.ready = None, iter(batch[used:])

    def missing(self, count: int) -> int:
        """How many bytes must arrive at least before there are `count`; 0 if they are there."""
        buffer = self.gathered()
        return max(0, count - buffer.size) if buffer.skip() else max(1, count)

    def cut(self, count: int) -> bytes:
        """Take the next `count` bytes: nothing is missing."""
        self.sought = None
        data = self._buffer.cut(count)
        self._plain = self._buffer.is_empty
        return data

    def take_rest(self) -> bytes:
        """Take all that is there."""
        rest = self.gathered().rest()
        self._buffer, self._plain = MessageBuffer(), True
        return rest

    def gathered(self) -> MessageBuffer:
        """All that is there, in one buffer."""
        self._settle()
        if self._later:
            for data in self._later:
                self.add(data)
            self._later.clear()
            self._later_size = 0
        return self._buffer

    @property
    def size(self) -> int:
        """Bytes that were not read, without the messages that are ready."""
        return self._later_size + self._buffer.size

    @property
    def is_empty(self) -> bool:
        """Whether all was read. What is skipped is nobody's."""
        return not (self.size or _left(self.ready))

    @property
    def last_terminator(self) -> bytes:
        """What ended the message that was read last; b"" where a length did, or nothing is known."""
        if isinstance(self.sought, bytes):
            return self.sought
        used = self._total - _left(self.ready)
        return self._ends[used - 1] if used else b""

    def _settle(self) -> None:
        """Put what is ready back to the rest."""
        if not self._total:
            return
        left, whole, buffer = _left(self.ready), self._whole, self._buffer
        total, self._total, self._whole = self._total, 0, None
        self.ready, self._batch = _NOTHING, None
        if whole is None:
            buffer.use(total - left)
            self._plain = buffer.is_empty
        elif left:
            buffer.add(whole)
            buffer.take(self.sought, None)
            buffer.use(total - left)
            self._plain = False


def _left(ready: Any) -> int:
    """How many an iterator over a list has left. `operator.length_hint` takes several times as long."""
    left: int = ready.__length_hint__()
    return left
