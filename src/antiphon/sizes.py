"""Buffer sizes that follow what a peer does, unless somebody has set them."""

from typing import Final

__all__ = ["FIRST", "LARGEST", "AdaptiveSize", "adapted"]

#: Bytes: where an adaptive size starts, and the most that it grows to.
FIRST: Final = 4096
LARGEST: Final = 262_144


class AdaptiveSize(int):
    """A buffer size that nobody has set: a number of bytes like any other, but only a start."""


def adapted(size: int, used: int) -> int:
    """The size for the next time, after `used` of `size` bytes were needed: twice, half, or the same."""
    if used >= size:
        return min(2 * size, LARGEST)
    return max(size // 2, FIRST) if used < size // 4 else size
