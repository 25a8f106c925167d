"""The C library's heap, where input is received into."""

from typing import Final

__all__ = ["keep_large_blocks"]

_KEPT: Final = 4 << 20


def keep_large_blocks() -> None:
    """Have blocks of up to 4 MiB come from the heap, and up to 8 MiB that are free stay in it.

    glibc maps each block of 128 KiB or more by itself, until one of these is freed. From then on it maps what
    is larger than that, and gives back what is free at the end of the heap beyond twice as much (mallopt(3),
    M_MMAP_THRESHOLD). A body of 1 MiB and its pieces are as large as that again: their pages are given back
    and faulted in anew, body after body, or not, as it happens. Elsewhere this does nothing.
    """
    bytes(_KEPT)  # Mapped, not touched, and freed.
