"""Buffer sizes that follow what a peer does, unless somebody has set them."""

from typing import Final

__all__ = ["ADAPTIVE", "FIRST", "LARGEST", "SIZED", "adapted"]

#: Bytes: where an adaptive size starts, and the most that it grows to.  Blocks from 128 KiB on may be mapped
#: anew for each read (mallopt(3), M_MMAP_THRESHOLD): on a fresh heap, reads of 256 KiB took twice the time.
FIRST: Final = 4096
#:
#: The most is an object of its own, told by identity: a socket that has to be given the bytes before it can
#: give them, as that of TLS, may answer to it with more.
LARGEST: Final = int("65536")
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
    return max(size // 2, FIRST) if used < size // 4 else size
