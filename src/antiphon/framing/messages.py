"""The messages of a stream, taken in runs: keeps what no program has had yet.  No I/O.

`add` what arrives; `take` the messages that are complete; `use` says how many of these were used, and the
rest is framed again, with another terminator perhaps.  Each byte is looked at once, however it arrives: of an
unfinished message nothing but the beginning of a terminator is looked at again.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Final

from antiphon.errors import BEGINNING, MessageTooLong
from antiphon.framing.terminators import Begun, End, Kind, Terminator, kind_of

__all__ = ["MessageBuffer"]

#: Bytes that are split at once after only a part of a run was used; then 4 times as many.  What was split is
#: split again when the terminator changes, so this bounds the waste.
_FIRST_WINDOW: Final = 512

#: Pieces of a message, and bytes in each on average, below which they are put together: a small object is
#: several times as large as what is in it.
_MANY: Final = 512
_SMALL: Final = 512

#: No message that is too long, and no terminator.
_NOTHING: Final = (b"", b"")


class _Unfinished:
    """The beginning of a message, in the pieces that it arrived in.

    Attributes:
        terminator: what it was looked at for.
        kind: the same.
        size: bytes.
        dropped: whether it is too long, so that nothing more of it is kept.
    """

    __slots__ = ("_begun", "_loose", "_pieces", "dropped", "kind", "size", "terminator")

    def __init__(self, terminator: Terminator, kind: Kind) -> None:
        self.terminator = terminator
        self.kind = kind
        self.size = 0
        self.dropped = False
        self._begun: Begun | None = None
        self._pieces: list[bytes] = []
        self._loose = 0  # The pieces from here on are still as they arrived.

    def go_on(self, data: bytes) -> End | None:
        """Where it ends in `data`; if it doesn't, all of `data` is kept."""
        if self._begun is not None:
            resumed = self.kind.resume(self._begun, data)
            if isinstance(resumed, End):
                return resumed
            if resumed is not None:
                self._keep(data, resumed)
                return None
        end = self.kind.search(data, 0, self.size)
        if end is None:
            self.begin(data)
        return end

    def begin(self, data: bytes) -> None:
        """Keep `data`, in which it doesn't end."""
        self._keep(data, self.kind.begun(data))

    def _keep(self, data: bytes, begun: Begun | None) -> None:
        self._begun = begun
        self.size += len(data)
        if not self.dropped:
            self._pieces.append(data)
            if len(self._pieces) - self._loose >= _MANY:
                self._put_together()

    def _put_together(self) -> None:
        """Join many small pieces into one. Each byte is copied once for that."""
        loose = self._pieces[self._loose :]
        if sum(map(len, loose)) < _MANY * _SMALL:
            self._pieces[self._loose :] = [b"".join(loose)]
        self._loose = len(self._pieces)

    def drop(self) -> bytes:
        """Keep nothing more of it; the bytes that it begins with. What is kept goes with `forget`."""
        self.dropped = True
        return b"".join(piece[:BEGINNING] for piece in self._pieces[:BEGINNING])[:BEGINNING]

    def forget(self) -> None:
        """Give up all but the search for its end."""
        self._pieces = []

    def part(self, data: bytes) -> tuple[bytes, End | None]:
        """Give out what certainly belongs to it of what is kept and of `data`; and where it ends."""
        kept = b"".join(self._pieces)
        before, size = (kept, len(kept)) if kept or self._begun is None else self._begun
        end = self.go_on(data) if data else None
        self._pieces = []
        if end is None:
            size_now = size + len(data) - (self._begun.size if self._begun is not None else 0)
        else:
            size_now = size + end.start
        return before[: min(size_now, size)] + data[: max(0, size_now - size)], end

    def left(self) -> bytes:
        """What `part` has not given out."""
        if not self._pieces and self._begun is not None:
            return self._begun.delimiter[: self._begun.size]
        return b"".join(self._pieces)

    def is_longer_than(self, limit: int) -> bool:
        """Whether it is, even if a terminator has begun at its end."""
        return self.size - (self._begun.size if self._begun is not None else 0) > limit

    def finish(self, data: bytes, start: int) -> bytes:
        """The message, whose terminator begins at `start` in `data`."""
        if start > 0:
            self._pieces.append(data[:start])
        message = b"".join(self._pieces)
        return message if start >= 0 else message[:start]

    def with_more(self, data: bytes) -> bytes:
        """All that is kept, and `data`."""
        return data if self.dropped else b"".join((*self._pieces, data))


class MessageBuffer:
    """What was received and not used.

    While a run of messages is out, `_first` is the one that arrived in several pieces, and its terminator, if
    there is one; the others are `_data[_position:_stop]`.

    Attributes:
        total: messages that are out.
        terminator: what they were looked for with.
        in_parts: whether what comes next is a message for `take_part`.
    """

    __slots__ = (
        "_arrived", "_data", "_first", "_kind", "_overlong", "_position", "_stop", "_unfinished", "_whole",
        "_window", "in_parts", "terminator", "total",
    )  # fmt: skip

    in_parts: bool
    total: int

    def __init__(self) -> None:
        self._data = b""
        self._position = self._stop = self.total = 0
        self._arrived: list[bytes] = []
        self._first: tuple[bytes, bytes] | None = None
        self._overlong = _NOTHING  # The message that is too long, and its terminator, if it has ended.
        self.in_parts = False
        self._unfinished: _Unfinished | None = None  # With one, all of `_data` is behind it.
        self._whole = True  # Whether no message is left behind the run in `_data`.
        self._window = sys.maxsize
        self._kind: Kind
        self.terminator: Terminator = None

    def add(self, data: bytes) -> None:
        """Put `data` behind all else."""
        if not data:
            return
        if self.total or self._position < len(self._data):
            self._arrived.append(data)
        else:
            self._data, self._position = data, 0

    def take(self, terminator: Terminator, limit: int | None) -> tuple[list[bytes], list[bytes]]:
        """The next complete messages, and what ended each; none if more must arrive.

        They are out until `use` is called.

        Args:
            terminator: the same object as long as it stays the same.
            limit: bytes of a message at most, if a terminator is to end it; None for any number.

        Raises:
            MessageTooLong: the next message is. It is dropped, to its end, whatever the terminator is then;
                unless `divide` is called.
        """
        if self._arrived:
            self._join_arrived()
        unfinished, overlong, self._overlong = self._unfinished, self._overlong, _NOTHING
        has_dropped = overlong is not _NOTHING
        if unfinished is not None and unfinished.dropped:
            unfinished.forget()
            if self._end(unfinished) is None:
                return [], []
            unfinished, has_dropped = None, True
        if unfinished is not None and unfinished.terminator is not terminator:
            self._data, self._unfinished = unfinished.with_more(self._data), None
            unfinished = None
        self.terminator = terminator
        self._kind = kind = kind_of(terminator) if unfinished is None else unfinished.kind
        bound = sys.maxsize if limit is None else limit
        if unfinished is None and isinstance(terminator, int) and terminator > bound:
            if has_dropped and self._position >= len(self._data):  # It may be the length of what was dropped.
                return [], []
            raise self._too_long(bound, terminator)
        if not kind.endless:
            bound = sys.maxsize
        messages: list[bytes] = []
        ends: list[bytes] = []
        if unfinished is not None:
            end = self._end(unfinished)
            if end is None:
                self._check(unfinished, bound)
                return [], []
            messages.append(self._finish(unfinished, end, bound))
            ends.append(end.terminator)
        self._split(messages, ends, bound)
        self.total = len(messages)
        if not messages and self._position < len(self._data):
            self._check(self._begin(), bound)
        return messages, ends

    def _join_arrived(self) -> None:
        self._data = b"".join((self._data[self._position :], *self._arrived))
        self._position = 0
        self._arrived.clear()

    def divide(self) -> None:
        """Have the message that was just found too long given out in parts, rather than drop it."""
        self.in_parts = True

    def take_part(self) -> tuple[bytes, bytes | None]:
        """What there is of a message that is `in_parts`; and what ended it, None if it goes on."""
        if self._arrived:
            self._join_arrived()
        unfinished = self._unfinished
        if unfinished is None:
            whole, self._overlong, self.in_parts = self._overlong, _NOTHING, False
            return whole
        part, end = unfinished.part(self._data)
        if end is None:
            self._data = b""
            return part, None
        self._position, self._unfinished, self.in_parts = end.stop, None, False
        return part, end.terminator

    def _too_long(self, limit: int, length: int) -> MessageTooLong:
        """The error of a message whose length is."""
        end = self._position + length
        if end <= len(self._data):
            self._overlong = self._data[self._position : end], b""
            self._position = end
        else:
            self._data, self._position = self._data[self._position :], 0
            self._unfinished = _Unfinished(self.terminator, self._kind)
            self._unfinished.drop()
        return MessageTooLong(limit, length, b"")

    def _end(self, unfinished: _Unfinished) -> End | None:
        """Go on with what is unfinished, to its end if that has arrived."""
        end = unfinished.go_on(self._data) if self._data else None
        if end is None:
            self._data = b""
        else:
            self._position, self._unfinished = end.stop, None
        return end

    def _finish(self, unfinished: _Unfinished, end: End, limit: int) -> bytes:
        size = unfinished.size + end.start
        if size > limit:
            self._overlong = unfinished.finish(self._data, end.start), end.terminator
            raise MessageTooLong(limit, size, self._overlong[0][:BEGINNING])
        message = unfinished.finish(self._data, end.start)
        self._first = message, end.terminator
        return message

    def _begin(self) -> _Unfinished:
        """Keep what is behind the position, in which no message ends."""
        self._unfinished = unfinished = _Unfinished(self.terminator, self._kind)
        unfinished.begin(self._data[self._position :])
        self._data, self._position = b"", 0
        return unfinished

    def _check(self, unfinished: _Unfinished, limit: int) -> None:
        if unfinished.is_longer_than(limit):
            raise MessageTooLong(limit, unfinished.size, unfinished.drop())

    def _split(self, messages: list[bytes], ends: list[bytes], limit: int) -> None:
        """Append what ends from the position on."""
        data, start, kind = self._data, self._position, self._kind
        stop = len(data) if self.terminator is None else min(start + self._window, len(data))
        more, more_ends, size = kind.split(data[start:stop])
        self._whole = stop == len(data)
        if not more and not self._whole and not messages:
            end = kind.search(data, start, 0)
            if end is not None:
                more, more_ends, size = [data[start : end.start]], [end.terminator], end.stop - start
        if size > limit and (found := next(_longer_than(limit, more), None)) is not None:
            self._whole, self._window = False, _FIRST_WINDOW
            if not found and not messages:
                self._position += len(more[0]) + len(more_ends[0])
                self._overlong = more[0], more_ends[0]
                raise MessageTooLong(limit, len(more[0]), more[0][:BEGINNING])
            more, more_ends = more[:found], more_ends[:found]
            size = sum(map(len, more)) + sum(map(len, more_ends))
        self._stop = start + size
        messages += more
        ends += more_ends

    def use(self, count: int) -> bool:
        """Say that `count` of the messages that are out were used; what follows them will be taken again.

        Returns:
            Whether that is any bytes: without, and with the same terminator, the same would be taken again.
        """
        position, first = self._position, self._first
        if count == self.total:
            self._position = self._stop
            self._window = min(4 * self._window, sys.maxsize)
            self.total, self._first = 0, None
            if self._whole and self._position < len(self._data):
                self._begin()
            return first is not None or self._stop > position
        self._data, self._position = self._behind(count)
        self._window = _FIRST_WINDOW
        self.total, self._first = 0, None
        return count > 0

    def _behind(self, count: int) -> tuple[bytes, int]:
        """Data, and where in it the first `count` messages that are out end."""
        if count == self.total:
            return self._data, self._stop
        if self._first is not None:
            if not count:
                return b"".join((*self._first, self._data[self._position :])), 0
            count -= 1
        if not count:
            return self._data, self._position
        return self._data, self._kind.behind(self._data, self._position, self._stop, count)

    def rest(self, used: int | None = None) -> bytes:
        """All that is not used.

        Args:
            used: how many of the messages that are out don't count as such; None for all.
        """
        data, position = self._data, self._position
        if self.total:
            data, position = self._behind(self.total if used is None else used)
        elif self._unfinished is not None:
            data = self._unfinished.with_more(data)
        return b"".join((*self._in_parts(), data[position:], *self._arrived))

    def _in_parts(self) -> tuple[bytes, ...]:
        """What was looked at of a message that is `in_parts`, and not given out."""
        if not self.in_parts:
            return ()
        return self._overlong if self._unfinished is None else (self._unfinished.left(),)

    def skip(self) -> bool:
        """Go on with a message that was too long, if there is one; False if its end must still arrive."""
        self._overlong = _NOTHING
        unfinished = self._unfinished
        if unfinished is None or not unfinished.dropped:
            return True
        unfinished.forget()
        self._join_arrived()
        return self._end(unfinished) is not None

    def cut(self, count: int) -> bytes:
        """Take the next `count` bytes for good: so many must be kept, none skipped, and nothing be out."""
        if self._unfinished is not None:
            self._data, self._position = self._unfinished.with_more(self._data), 0
            self._unfinished = None
        start, stop = self._position, self._position + count
        if stop > len(self._data):
            return self._cut_pieces(count)
        self._position = stop
        return self._data[start:stop]

    def _cut_pieces(self, count: int) -> bytes:
        """Likewise, of what arrived in pieces: what follows in the last of them need not be copied."""
        *pieces, last = (self._data[self._position :], *self._arrived)
        self._arrived.clear()
        stop = count - sum(map(len, pieces))
        if stop < 0:
            self._data, self._position = b"".join((*pieces, last)), count
            return self._data[:count]
        self._data, self._position = last, stop
        return b"".join((*pieces, last[:stop]))

    @property
    def size(self) -> int:
        """Bytes that are kept and not out."""
        size = len(self._data) - (self._stop if self.total else self._position) + sum(map(len, self._arrived))
        unfinished = self._unfinished
        return size if unfinished is None or unfinished.dropped else size + unfinished.size

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        waits = self._arrived or self._unfinished or self.in_parts or self._position < len(self._data)
        return not (self.total or waits)

    @property
    def missing(self) -> int:
        """Bytes that are missing of a message of a given length; 0 if none has begun."""
        unfinished = self._unfinished
        if unfinished is None or not isinstance(unfinished.terminator, int):
            return 0
        return unfinished.terminator - unfinished.size


def _longer_than(limit: int, messages: Iterable[bytes]) -> Iterator[int]:
    return (index for index, message in enumerate(messages) if len(message) > limit)
