r"""What may end a message: a byte string, one of several, a length, or the end of what has arrived.  No I/O.

Each kind is a class with the questions that `antiphon.framing.messages` asks:

- `split(data)`: every message that ends in `data`, and how many bytes they and their terminators are.
- `search(data, start, before)`: where the message ends of which `before` bytes came before `data`.
- `begun(data)`: how much of the end of `data` may be the beginning of a terminator.
- `resume(begun, data)`: how that goes on: it ends in `data`, is still begun, or (None) was none.
- `behind(data, start, stop, count)`: where `count` messages end, of those that `data[start:stop]` is.
- `endless`: whether a message goes on for as long as no end of it is found.

**The earliest end wins, the longest terminator if several end there.**  So the verdict on bytes that have
arrived never depends on what follows, nor on how they were cut.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from antiphon.framing.delimiter import prefix_at_end, resume

__all__ = [
    "Alternatives",
    "AsItComes",
    "Begun",
    "Delimiter",
    "End",
    "Kind",
    "Length",
    "Terminator",
    "as_terminator",
    "kind_of",
]

Terminator: TypeAlias = bytes | tuple[bytes, ...] | int | None

#: Messages without their terminators; the terminators, b"" where no bytes ended the message; bytes of both.
Split: TypeAlias = tuple[list[bytes], list[bytes], int]

_WANTED: Final = "wanted bytes, a tuple of bytes, a length or None as the terminator"


class End(NamedTuple):
    """The end of a message.

    Attributes:
        start: where the terminator begins in the data; negative if it began before it.
        stop: where it ends.
        terminator: its bytes.
    """

    start: int
    stop: int
    terminator: bytes


class Begun(NamedTuple):
    """The end of the data, `delimiter[:size]`, may be the beginning of `delimiter`; at least one byte is."""

    delimiter: bytes
    size: int


class Delimiter:
    """A byte string."""

    endless = True

    def __init__(self, delimiter: bytes) -> None:
        self._delimiter = delimiter

    def split(self, data: bytes) -> Split:
        """Every message that ends in `data`."""
        messages = data.split(self._delimiter)
        rest = messages.pop()
        return messages, [self._delimiter] * len(messages), len(data) - len(rest)

    def search(self, data: bytes, start: int, before: int) -> End | None:
        """Where the message ends that `data[start:]` begins or goes on with."""
        found = data.find(self._delimiter, start)
        return None if found < 0 else End(found, found + len(self._delimiter), self._delimiter)

    def begun(self, data: bytes) -> Begun | None:
        """What the end of `data` may be the beginning of."""
        delimiter = self._delimiter
        if data.find(delimiter[:1], max(0, len(data) - len(delimiter) + 1)) < 0:
            return None
        size = prefix_at_end(data, delimiter)
        return Begun(delimiter, size) if size else None

    def resume(self, begun: Begun, data: bytes) -> End | Begun | None:
        """How it goes on in `data`; None if `data` is to be looked at by itself."""
        released, used, held = resume(self._delimiter, begun.size, data)
        if used:
            return End(released - begun.size, used, self._delimiter)
        return Begun(self._delimiter, held) if held else None

    def behind(self, data: bytes, start: int, stop: int, count: int) -> int:
        """Where `count` messages end."""
        return stop - len(data[start:stop].split(self._delimiter, count)[-1])


class Alternatives:
    """Several byte strings."""

    endless = True

    def __init__(self, delimiters: Iterable[bytes]) -> None:
        self._delimiters = _that_can_end(delimiters)
        self._pattern = re.compile(b"(" + b"|".join(map(re.escape, self._delimiters)) + b")")
        self._longest = max(map(len, self._delimiters))

    def split(self, data: bytes) -> Split:
        """Every message that ends in `data`."""
        parts: list[bytes] = self._pattern.split(data)
        rest = parts.pop()
        return parts[::2], parts[1::2], len(data) - len(rest)

    def search(self, data: bytes, start: int, before: int) -> End | None:
        """Where the message ends that `data[start:]` begins or goes on with."""
        found = self._pattern.search(data, start)
        return None if found is None else End(*found.span(), found[0])

    def begun(self, data: bytes) -> Begun | None:
        """What the end of `data` may be the beginning of; the longest, if there is a choice."""
        begun = (Begun(delimiter, prefix_at_end(data, delimiter)) for delimiter in self._delimiters)
        longest = max(begun, key=lambda begun: begun.size)
        return longest if longest.size else None

    def resume(self, begun: Begun, data: bytes) -> End | Begun | None:
        """How it goes on in `data`; None if `data` is to be looked at by itself."""
        near = begun.delimiter[: begun.size] + data[: self._longest - 1]
        found = self._pattern.search(near)
        if found is not None:
            return End(found.start() - begun.size, found.end() - begun.size, found[0])
        return self.begun(near) if len(data) < self._longest - 1 else None

    def behind(self, data: bytes, start: int, stop: int, count: int) -> int:
        """Where `count` messages end."""
        return stop - len(self._pattern.split(data[start:stop], count)[-1])


def _that_can_end(delimiters: Iterable[bytes]) -> list[bytes]:
    """Those that ever end a message: what has another one inside, which ends earlier, doesn't.

    Of the others, the one that begins first also ends first, and is the longest that ends there: what
    `re` finds.  No two of them match at the same place.
    """
    different = dict.fromkeys(delimiters)
    return [one for one in different if not any(other in one[:-1] for other in different)]


class Length:
    """A number of bytes; with 0, an empty message ends wherever one is looked for."""

    endless = False

    def __init__(self, length: int) -> None:
        self._length = length

    def split(self, data: bytes) -> Split:
        """Every message that ends in `data`."""
        length = self._length
        if not length:
            return [b""], [b""], 0
        size = len(data) - len(data) % length
        messages = [data[start : start + length] for start in range(0, size, length)]
        return messages, [b""] * len(messages), size

    def search(self, data: bytes, start: int, before: int) -> End | None:
        """Where the message ends that `data[start:]` begins or goes on with."""
        end = start + self._length - before
        return None if end > len(data) else End(end, end, b"")

    def begun(self, data: bytes) -> None:
        """Nothing: it has no bytes."""

    def resume(self, begun: Begun, data: bytes) -> None:
        """Likewise."""

    def behind(self, data: bytes, start: int, stop: int, count: int) -> int:
        """Where `count` messages end."""
        return start + count * self._length


class AsItComes:
    """No terminator: what has arrived is a message."""

    endless = False

    def split(self, data: bytes) -> Split:
        """All of `data` as a message, if there is any."""
        return ([data], [b""], len(data)) if data else ([], [], 0)

    def search(self, data: bytes, start: int, before: int) -> End | None:
        """The end of `data`."""
        return End(len(data), len(data), b"")

    def begun(self, data: bytes) -> None:
        """Nothing: it has no bytes."""

    def resume(self, begun: Begun, data: bytes) -> None:
        """Likewise."""

    def behind(self, data: bytes, start: int, stop: int, count: int) -> int:
        """Where the message ends."""
        return stop


Kind: TypeAlias = Delimiter | Alternatives | Length | AsItComes

_alternatives = lru_cache(maxsize=64)(Alternatives)


def kind_of(terminator: Terminator) -> Kind:
    """What answers the questions for a terminator."""
    if isinstance(terminator, bytes):
        return Delimiter(terminator)
    if isinstance(terminator, tuple):
        return _alternatives(terminator)
    return AsItComes() if terminator is None else Length(terminator)


def as_terminator(term: Any) -> Terminator:
    r"""Check a terminator.

    >>> as_terminator([b"\r\n", bytearray(b"\n")])
    (b'\r\n', b'\n')

    Raises:
        TypeError: it is none.
        ValueError: it is empty, or a negative length.
    """
    if term is None:
        return None
    if isinstance(term, int) and not isinstance(term, bool):
        if term < 0:
            raise ValueError(f"wanted a length of 0 bytes or more as the terminator, found {term}")
        return int(term)
    if isinstance(term, (tuple, list)):
        if not term:
            raise ValueError(f"{_WANTED}, found {term!r} with nothing in it")
        return tuple(_as_bytes(member, term) for member in term)
    return _as_bytes(term, term)


def _as_bytes(member: Any, term: Any) -> bytes:
    if not isinstance(member, (bytes, bytearray, memoryview)):
        raise TypeError(f"{_WANTED}, found {type(member).__name__}: {term!r:.60}")
    if not len(member):
        raise ValueError(f"{_WANTED}, found an empty one: {term!r:.60}")
    return bytes(member)
