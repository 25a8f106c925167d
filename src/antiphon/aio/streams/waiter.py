"""What a reader awaits while there is nothing to read: a future without the turn of the loop behind it.

A task takes for a future what has `_asyncio_future_blocking` (see `asyncio.isfuture`). It leaves a callback,
to be called when it shall go on. asyncio's futures have their loop call it in its next turn. This one's is
called at once, in the event that the reader waits for, unless a task is running already. So a request is
answered within the event that brought it, and what is written meanwhile leaves together when that ends.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, NoReturn
from weakref import ref

__all__ = ["CANCELLED", "IDLE", "WAITING", "Waiter", "raise_it"]

IDLE: Final = 0
WAITING: Final = 1
CANCELLED: Final = 2


class Waiter:
    """May be awaited again and again, by one task at a time, unless it was cancelled.

    Whoever is about to wait sets `state` and `_asyncio_future_blocking`, and yields it.

    A task calls `get_loop` and `result` each time. They are builtins, as these cost a third of a method. What
    `result` returns is nobody's concern.

    Attributes:
        state: IDLE, WAITING, or CANCELLED: the task was cancelled while it waited, and is to hear of it.
        callback: what makes the task go on, called with the waiter.
        context: that of the task.
        get_loop: the loop that it belongs to.
        result: raises a CancelledError if it was cancelled.
    """

    __slots__ = (
        "_asyncio_future_blocking", "_loop", "callback", "context", "get_loop", "result", "state",
    )  # fmt: skip

    state: int

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.callback: Callable[[Any], object]
        self.context: Context
        self._asyncio_future_blocking = False
        self.state = IDLE
        self.get_loop: Callable[[], asyncio.AbstractEventLoop | None] = ref(loop)
        self.result: Callable[[], object] = bytes

    def wake_later(self) -> None:
        """Have the task go on in the next turn, as a future does."""
        self.state = IDLE
        self._loop.call_soon(self.callback, self, context=self.context)

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context) -> None:
        """Keep what makes the task go on."""
        self.callback = callback
        self.context = context

    def cancel(self, msg: Any = None) -> bool:
        """Have the task go on with a CancelledError; whether it still waited."""
        if self.state != WAITING:
            return False
        self.state = CANCELLED
        error = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self.result = lambda: raise_it(error)
        self._loop.call_soon(self.callback, self, context=self.context)
        return True


def raise_it(error: BaseException) -> NoReturn:
    """Raise an exception where only a call can be made."""
    raise error
