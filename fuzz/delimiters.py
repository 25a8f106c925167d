"""The search for the beginning of a delimiter, beside a model that tries every place."""

from antiphon.framing.delimiter import Resumed, prefix_at_end, resume
from fuzz.pieces import Draft

__all__ = ["try_delimiter"]


def try_delimiter(data: bytes) -> None:
    """A delimiter, how much of it has come, and the data behind that.

    The length of the delimiter, from 1 to 64; how much of it has come; the delimiter; the rest is data.
    """
    draft = Draft(data)
    size, held = 1 + draft.number(63), draft.number(255)
    delimiter, text = draft.take(size), draft.rest()

    assert prefix_at_end(text, delimiter) == _prefix(text, delimiter)
    string, word = text.decode("latin-1"), delimiter.decode("latin-1")
    assert prefix_at_end(string, word) == _prefix(text, delimiter)
    if size > 1 and text:
        held = 1 + held % (size - 1)
        assert resume(delimiter, held, text) == _resumed(delimiter, held, text)


def _prefix(text: bytes, delimiter: bytes) -> int:
    return max(size for size in range(len(delimiter)) if text.endswith(delimiter[:size]))


def _resumed(delimiter: bytes, held: int, data: bytes) -> Resumed:
    """What begins at the first place of those before `data` at which anything can."""
    text = delimiter[:held] + data
    for start in range(held):
        if text.startswith(delimiter, start):
            return Resumed(start, start + len(delimiter) - held, 0)
        if delimiter.startswith(text[start:]):
            return Resumed(start, 0, len(text) - start)
    return Resumed(held, 0, 0)
