"""Buffer sizes that follow what a peer does, unless somebody has set them."""

from typing import Final

__all__ = ["ADAPTIVE", "FIRST", "LARGEST", "SIZED", "STEADY", "adapted", "sized"]

#: Bytes: where an adaptive size starts, the most that is kept when it was not needed whole, and the most that
#: it grows to.  With large sizes kept like small ones, uploads of 1 MiB took 4 % more.
FIRST: Final = 4096
STEADY: Final = 65_536
LARGEST: Final = 262_144
#: Bytes: when at least so many are missing of a length, just those are asked for. To copy what came too much
#: off the end costs more than another system call.
SIZED: Final = 16_384


#: The value of a buffer size that nobody has set. An object of its own, told by identity: 4096 written
#: anywhere else is somebody's wish.
ADAPTIVE: Final = int("4096")


def adapted(size: int, used: int) -> int:
    """The size for the next time, after `used` of `size` bytes were needed: twice, half, or the same."""
    if used >= size:
        return min(2 * size, LARGEST)
    return max(size // 2, FIRST) if size > STEADY or used < size // 4 else size


def sized(missing: int, size: int) -> int:
    """The size for the next time, when `missing` bytes are, of a length, and it would be `size` without."""
    return min(missing, max(size, STEADY))
