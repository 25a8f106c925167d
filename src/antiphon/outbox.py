"""Pushes and producers in a queue -> the next piece to send.  No I/O.

The queue holds bytes, producers (anything with `more()`) and None, the mark at which to close.  It is an
ordinary deque to the programs that have always handled `producer_fifo` themselves.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Final, TypeAlias

from antiphon.errors import ESCAPING
from antiphon.producers import Producer

__all__ = [
    "CLOSE",
    "DELIVERING",
    "FLUSHING",
    "LARGEST_PIECE",
    "SENDING",
    "CloseMark",
    "Outbox",
    "ProducerFailed",
    "fifo",
    "weight",
]

Piece: TypeAlias = bytes | memoryview

#: What one system call is offered at most, in bytes, unless a single chunk is larger.
LARGEST_PIECE: Final = 262_144
#: Chunks of at least this many bytes are sent as they are: joining them costs more than a system call.
_NOT_JOINED: Final = 16_384


#: How often a producer of small chunks is asked for one piece at most, so that the others have their turn.
_ASKS: Final = 1024

#: Bytes: pieces of this size on are worth a sendmsg(2) when so many are together; to copy smaller ones, or
#: fewer, is quicker.
_LARGE: Final = 4096
_GATHERED: Final = 65_536
#: Pieces of one sendmsg(2) at most; POSIX promises 16, the systems have 1024.
_GATHERED_PIECES: Final = 64

#: What a channel is in the middle of (its `_ac_cork`), when pushes are not to be sent one by one: handing
#: over input; sending; sending before something else takes effect.
DELIVERING: Final = 1
SENDING: Final = 2
FLUSHING: Final = 3

_log: Final = logging.getLogger("antiphon.channels")


#: For our own changes, which `Outbox.weigh` knows of.
_popleft: Final = deque.popleft
_appendleft: Final = deque.appendleft


class CloseMark:
    """The type of the mark at which the channel is to be closed."""


CLOSE: Final = CloseMark()


class ProducerFailed(Exception):  # noqa: N818 (never seen outside of the sending code)
    """A producer raised, or gave something that can't be sent; the cause says what."""


def _recounting(name: str) -> Any:
    """The method of that name for an `Outbox`, which changes more than its end: all is weighed again."""
    change: Callable[..., Any] = getattr(deque, name)

    @wraps(change)
    def changing(queue: "Outbox", *arguments: Any) -> Any:
        result = change(queue, *arguments)
        queue.weighed = queue.total = 0
        queue._tell()
        return result

    return changing


class Outbox(deque[Any]):
    """The queue of a channel.

    Attributes:
        changed: called after the queue was changed through its own methods, by code that doesn't go through
            the channel; None when nobody is interested any more.
        encoding: of `str` items and chunks; None when these are errors.
        weighed: items, from the front on, that `weigh` has looked at.
        total: what these weigh.
    """

    # One of these outlives the first push of every channel.
    __slots__ = ("changed", "encoding", "total", "weighed")
    changed: Callable[[], None] | None
    encoding: str | None
    weighed: int
    total: int

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(items)
        self.changed = self.encoding = None
        self.weighed = self.total = 0

    def weigh(self) -> int:
        """What all items weigh. Only those that came since the last call are looked at."""
        new = len(self) - self.weighed
        if 2 * new > len(self):
            self.total += sum(map(weight, list(self)[self.weighed : self.weighed + new]))
        else:  # By their places from the front: another thread may be appending.
            self.total += sum(weight(self[self.weighed + place]) for place in range(new))
        self.weighed += new
        return self.total

    def _take(self) -> Any:
        """Take the item at the front."""
        item = _popleft(self)
        if self.weighed:
            self.weighed -= 1
            self.total -= weight(item)
        return item

    def _return(self, item: Any) -> None:
        """Put an item to the front."""
        _appendleft(self, item)
        if self.weighed:
            self.weighed += 1
            self.total += weight(item)

    def next_piece(self, size: int, limit: int | None) -> Piece | CloseMark | None:
        """Take the next bytes to send off the queue.

        Args:
            size: small chunks of a producer are asked for until this many bytes are together.
            limit: bytes at most; None where one call may be offered all that is there.

        Returns:
            At least one byte, CLOSE for the close mark, or None if the queue is empty.

        Raises:
            ProducerFailed: the producer was taken off the queue and closed.
        """
        while self:
            first = self[0]
            if first is None:
                self._take()
                return CLOSE
            if type(first) is bytes:
                piece: Piece = self._join_pushed()
            elif isinstance(first, (memoryview, bytes, bytearray, str)):
                self._take()
                if isinstance(first, memoryview) and first.nbytes == len(first):
                    piece = first
                else:
                    piece = self._as_bytes(first)
            else:
                piece = self._join_produced(first, size)
            if len(piece):
                return piece if limit is None else self._cut(piece, limit)
        return None

    def take_pushed(self) -> bytes | None:
        """Take all of a queue that holds nothing but pushed bytes, which no send has failed to take yet.

        Items are taken one at a time: another thread may be appending.

        Returns:
            None, with the queue as it was, if it holds anything else or more than one system call should be
            offered.
        """
        if self.weighed:
            self.weighed = self.total = 0
        pieces = [_popleft(self) for _ in range(len(self))]
        if set(map(type, pieces)) == {bytes}:
            size = sum(map(len, pieces))
            if size < _GATHERED or len(pieces) * _LARGE > size:
                return b"".join(pieces)
        super().extendleft(reversed(pieces))
        return None

    def take_large(self) -> list[Piece]:
        """Take pieces off the front that sendmsg(2) may collect for less than it costs to join them.

        Returns:
            Two or more that are large, and bounded together; none if there aren't.
        """
        count = size = 0
        while count < min(len(self), _GATHERED_PIECES) and _is_large(self[count]) and size < LARGEST_PIECE:
            size += len(self[count])
            count += 1
        if count < 2 or size < _GATHERED:
            return []
        return [self._take() for _ in range(count)]

    def put_back_several(self, pieces: list[Piece], sent: int) -> None:
        """As `put_back`, for several pieces of which `sent` bytes were sent."""
        for place, piece in enumerate(pieces):
            if sent < len(piece):
                for following in reversed(pieces[place + 1 :]):
                    self._return(following)
                self.put_back(piece, sent)
                return
            sent -= len(piece)

    def put_back(self, piece: Piece, sent: int) -> None:
        """Return what was not sent of a piece to the front of the queue, without a copy."""
        if sent < len(piece):
            self._return(memoryview(piece)[sent:])

    def discard(self) -> None:
        """Empty the queue and release what its producers hold."""
        while self:
            _close(self._take())

    def _join_pushed(self) -> bytes:
        """Take the pushed bytes at the front, joined up to about LARGEST_PIECE.

        Items are taken one at a time: another thread may be appending.
        """
        take = self._take if self.weighed else super().popleft
        piece: bytes = take()
        if not self or type(self[0]) is not bytes or len(piece) >= _NOT_JOINED:
            return piece
        pieces, size = [piece], len(piece)
        while self and type(following := self[0]) is bytes:
            size += len(following)
            if size > LARGEST_PIECE:
                break
            pieces.append(take())
        return b"".join(pieces) if len(pieces) > 1 else piece

    def _join_produced(self, producer: Any, size: int) -> bytes:
        """Ask for chunks until `size` bytes are together, or one comes that is not worth joining."""
        chunks: list[bytes] = []
        have = 0
        while have < size and len(chunks) < _ASKS:
            try:
                chunk = self._ask(producer)
            except ProducerFailed as failure:
                if not chunks:
                    raise
                self._return(_Failed(failure.__cause__))  # What it gave before leaves first.
                break
            except BaseException:
                if chunks and self:
                    super().appendleft(b"".join(chunks))
                raise
            if not self:  # It has closed the channel.
                return b""
            if self[0] is not producer:  # It has put something before itself.
                self._return(chunk)
                break
            if not chunk:
                self.finish(producer)
                break
            if len(chunk) >= _NOT_JOINED:
                if not chunks:
                    return chunk
                self._return(chunk)
                break
            chunks.append(chunk)
            have += len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _ask(self, producer: Any) -> bytes:
        try:
            chunk = producer.more()
            if type(chunk) is bytes:
                return chunk
            return b"" if chunk is None else self._as_bytes(chunk)
        except ESCAPING:  # The loop may be entered again, and the producer be asked again.
            raise
        except Exception as error:
            self.finish(producer)
            raise ProducerFailed(f"{producer!r} failed") from error

    def finish(self, producer: Any) -> None:
        """Take a producer off the front, if it is there, and release what it holds."""
        if self and self[0] is producer:
            self._take()
        _close(producer)

    def _as_bytes(self, chunk: Any) -> bytes:
        if isinstance(chunk, str) and self.encoding is not None:
            return chunk.encode(self.encoding)
        if isinstance(chunk, (bytes, bytearray, memoryview)):
            return bytes(chunk)
        raise TypeError(f"wanted bytes to send, found {type(chunk).__name__}: {chunk!r:.60}")

    def _cut(self, piece: Piece, limit: int) -> Piece:
        if len(piece) <= limit:
            return piece
        view = memoryview(piece)
        self._return(view[limit:])
        return view[:limit]

    # -- changes from outside of the channel ---------------------------------------------------------

    def append(self, item: Any) -> None:
        """As deque.append."""
        super().append(item)
        self._tell()

    def extend(self, items: Any) -> None:
        """As deque.extend."""
        super().extend(items)
        self._tell()

    def __iadd__(self, items: Any) -> "Outbox":  # type: ignore[misc] # deque's own signature
        self.extend(items)
        return self

    def _tell(self) -> None:
        if self.changed is not None:
            self.changed()


#: Those of deque that change more than its end.
_RECOUNTED: Final = (
    "__delitem__",
    "__setitem__",
    "appendleft",
    "clear",
    "extendleft",
    "insert",
    "pop",
    "popleft",
    "remove",
    "reverse",
    "rotate",
)

for _name in _RECOUNTED:
    setattr(Outbox, _name, _recounting(_name))


def weight(item: Any) -> int:
    """The bytes that an item of a queue has in memory. None of a producer: it is asked for few at a time.

    >>> weight(b"ping"), weight(None)
    (4, 0)
    """
    if type(item) is bytes:
        return len(item)
    if isinstance(item, memoryview):
        return item.nbytes
    return len(item) if isinstance(item, (bytes, bytearray, str)) else 0


class _Failed:
    """Stands in the queue for a producer that has failed, until what it gave before has left."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    def more(self) -> bytes:
        """Fail as the producer did."""
        raise self.error or AssertionError


def _is_large(item: Any) -> bool:
    are_bytes = type(item) is bytes or (type(item) is memoryview and item.nbytes == len(item))
    return are_bytes and len(item) >= _LARGE


def _close(item: Any) -> None:
    """Have a producer of ours release what it holds; one that fails to keeps nothing else from it."""
    if isinstance(item, Producer):
        try:
            item.close()
        except Exception:
            _log.exception("%r could not be closed", item)


class fifo(deque[Any]):  # noqa: N801 (the name of older versions)
    """The queue of asynchat before Python 3.6, for the programs that still make one.

    `pop()` answers (1, item), or (0, None) when there is none.
    """

    def __init__(self, list: Any = None) -> None:
        super().__init__(() if list is None else list)

    def push(self, data: Any) -> None:
        """Append an item."""
        self.append(data)

    def first(self) -> Any:
        """The item at the front, which stays there."""
        return self[0]

    def is_empty(self) -> bool:
        """Whether there is no item."""
        return not self

    def pop(self) -> tuple[int, Any]:  # type: ignore[override] # the contract of older versions
        """Take the item at the front: (1, item), or (0, None)."""
        return (1, self.popleft()) if self else (0, None)
