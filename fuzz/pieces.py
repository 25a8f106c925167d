"""How the bytes of an input become a scene: numbers from its beginning, pieces of what is behind them."""

import itertools
import zlib
from collections.abc import Iterator

__all__ = ["Draft", "ways_to_cut"]


class Draft:
    """An input that is used up from its beginning. When it has run out, every byte is 0.

    Args:
        data: the input.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def number(self, most: int) -> int:
        """A number from 0 to `most`, which is below 256."""
        return self.take(1)[0] % (most + 1)

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        found = self._data[self._position : self._position + size]
        self._position += size
        return found.ljust(size, b"\0")

    def rest(self) -> bytes:
        """All that is left."""
        found = self._data[self._position :]
        self._position = len(self._data)
        return found


def ways_to_cut(data: bytes) -> Iterator[list[bytes]]:
    """`data` whole, byte by byte, and in pieces of sizes that hang on the data alone; no piece is empty."""
    yield [data] if data else []
    yield [data[at : at + 1] for at in range(len(data))]
    seed = zlib.crc32(data)
    sizes = itertools.cycle(1 + (seed >> shift) % 11 for shift in range(0, 32, 4))
    pieces, start = [], 0
    while start < len(data):
        stop = start + next(sizes)
        pieces.append(data[start:stop])
        start = stop
    yield pieces
