"""Delimiters that arrive in pieces: what the end of one read may begin, and how the next one goes on."""

from array import array
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

__all__ = ["Resumed", "prefix_at_end", "resume"]

_Text = TypeVar("_Text", bytes, str)

#: Up to this length, trying each prefix is faster than building a table.
_SHORT: Final = 16


class Resumed(NamedTuple):
    """How a delimiter that had begun goes on.

    Attributes:
        released: bytes held back, from the start, that belong to the message after all.
        used: bytes of the new data, from the start, that end the delimiter; 0 if it has not ended.
        held: bytes at the end of all that may still begin a delimiter, if this began before the new data.
    """

    released: int
    used: int
    held: int


def prefix_at_end(data: _Text, delimiter: _Text) -> int:
    r"""How much of the end of `data` may be the beginning of `delimiter`: the longest such length.

    A whole delimiter does not count.  Linear in the shorter of the two.

    >>> prefix_at_end(b"qwerty\r", b"\r\n")
    1
    >>> prefix_at_end("qwerty", "\r\n")
    0
    """
    longest = min(len(delimiter) - 1, len(data))
    if longest <= _SHORT:
        return next((size for size in range(longest, 0, -1) if data.endswith(delimiter[:size])), 0)
    start = data.find(delimiter[:1], len(data) - longest)
    if start < 0:
        return 0
    failure, matched = _failure_table(delimiter), 0
    for index in range(start, len(data)):
        matched = _step(delimiter, failure, matched, data[index])
    return matched


def resume(delimiter: bytes, held: int, data: bytes) -> Resumed:
    r"""Go on after `delimiter[:held]` with `data`, as far as the delimiter began before `data`.

    If no delimiter can have begun in what was held, all of it is released and `used` and `held` are 0:
    `data` is then looked at by itself.  Every byte is looked at once however the input is cut
    (Knuth, Morris and Pratt, 1977).

    >>> resume(b"\r\n", 1, b"\nnext")
    Resumed(released=0, used=1, held=0)
    >>> resume(b"\r\n", 1, b"\r")
    Resumed(released=1, used=0, held=0)
    """
    missing = len(delimiter) - held
    if len(data) < missing:  # Asked this way round, little data costs no copy of a long delimiter.
        if delimiter.startswith(data, held):
            return Resumed(0, 0, held + len(data))
    elif data.startswith(delimiter[held:]):
        return Resumed(0, missing, 0)
    failure, matched = _failure_table(delimiter), held
    for used, byte in enumerate(data, 1):
        matched = _step(delimiter, failure, matched, byte)
        if matched == len(delimiter):
            return Resumed(held + used - matched, used, 0)
        if matched <= used:  # Whatever has begun now began in `data`.
            return Resumed(held, 0, 0)
    return Resumed(held + len(data) - matched, 0, matched)


def _step(delimiter: bytes | str, failure: "array[int]", matched: int, unit: object) -> int:
    """The length that is matched after one more byte or character."""
    while matched and delimiter[matched] != unit:
        matched = failure[matched - 1]
    return matched + 1 if delimiter[matched] == unit else 0


@lru_cache(maxsize=16)
def _failure_table(delimiter: bytes | str) -> "array[int]":
    """For each prefix, the length of the longest proper prefix of it that is also its suffix."""
    table = array("L", bytes(array("L").itemsize * len(delimiter)))
    for index in range(1, len(delimiter)):
        table[index] = _step(delimiter, table, table[index - 1], delimiter[index])
    return table
