"""The events of one channel, and what becomes of the exceptions of its handlers."""

from collections.abc import Callable
from typing import Any, Final

from antiphon.errors import is_would_block
from antiphon.failures import ESCAPING, contain
from antiphon.pollers.base import ERROR, HANGUP, INVALID, READ, URGENT, WRITE

__all__ = ["TROUBLE", "ended", "failed", "handle_each", "lost"]

TROUBLE: Final = ERROR | HANGUP | INVALID


def handle_each(obj: Any, flags: int) -> None:
    """Have `obj` handle each of `flags`, the bits of poll(2), as long as it keeps its descriptor."""
    opened = _opened(obj)
    for bits, handle in _HANDLERS:
        if flags & bits:
            handle(obj)
            if _opened(obj) != opened:
                return


def _opened(obj: Any) -> tuple[int | None, Any]:
    """What changes when `obj` is closed, and again when it is opened anew with the same descriptor."""
    return getattr(obj, "_fileno", None), getattr(obj, "_ac_socket", None)


def ended(obj: Any) -> None:
    """Tell `obj` that its connection has ended: a channel of ours once, anything else each time."""
    getattr(obj, "_ac_hang_up", obj.handle_close)()


def lost(obj: Any) -> None:
    """The same where an exception has told of it; what that raises goes to the `handle_error` of `obj`."""
    try:
        ended(obj)
    except ESCAPING:
        raise
    except Exception as error:
        failed(obj, error)


def failed(obj: Any, error: Exception) -> None:
    """Have `obj` deal with the exception that is being handled, unless it only says "not now"."""
    if not is_would_block(error):
        contain(obj)


_HANDLERS: Final[tuple[tuple[int, Callable[[Any], None]], ...]] = (
    (READ, lambda obj: obj.handle_read_event()),
    (WRITE, lambda obj: obj.handle_write_event()),
    (URGENT, lambda obj: obj.handle_expt_event()),
    (TROUBLE, ended),
)
