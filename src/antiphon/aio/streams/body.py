"""Large numbers of bytes that a reader waits for: received where they are put together.

A body in pieces takes its size twice, once in pieces and once joined. Memory of that size comes fresh from
the system each time, and a page fault for each page of it costs more than the bytes do. So the pieces go into
buffers that are kept.
"""

from typing import Final

__all__ = ["LARGE", "LARGEST", "Body"]

#: Bytes from which on this is worth while, and what is put together at most: more is joined from such parts.
LARGE: Final = 131_072
LARGEST: Final = 1_048_576

#: Buffers that are not in use, and how many are kept.
_POOL: Final[list[memoryview]] = []
_POOLED: Final = 4


class Body:
    """Some bytes of which a part has arrived.

    Args:
        size: how many there will be, LARGEST at most.
        beginning: what has arrived.

    Attributes:
        missing: how many bytes have not.
        lent: where a transport may put some of them at any time; None if none has asked.
    """

    __slots__ = ("_buffer", "_filled", "lent", "missing")

    missing: int

    def __init__(self, size: int, beginning: bytes) -> None:
        try:
            self._buffer = _POOL.pop()
        except IndexError:
            self._buffer = memoryview(bytearray(LARGEST))
        self._filled = len(beginning)
        self._buffer[: self._filled] = beginning
        self.missing = size - self._filled
        self.lent: memoryview | None = None

    def lend(self) -> memoryview:
        """Where to put the next bytes."""
        if self.lent is None:
            self.lent = self._buffer[self._filled : self._filled + self.missing]
        return self.lent

    def fill(self, count: int) -> None:
        """Take `count` bytes that were put there."""
        self.lent = None
        self._filled += count
        self.missing -= count

    def take(self) -> bytes:
        """What has arrived. That is the end of it, but for what is lent."""
        data = self._buffer[: self._filled].tobytes()
        if self.lent is None and len(_POOL) < _POOLED:
            _POOL.append(self._buffer)
        return data
