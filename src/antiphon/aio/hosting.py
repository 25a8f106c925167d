"""asyncio code where `asyncore.loop()` owns the thread: an asyncio loop that takes one step at a time.

Its selector's descriptor is a channel of the map.  A step is a run of the asyncio loop that is stopped at
once, which has asyncio do what is ready and due, and never wait.  `call_soon` and `call_at`, through which
all else goes, tell when the next step is to be.
"""

import asyncio
import heapq
import selectors
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, TypeVarTuple

from antiphon import asyncore
from antiphon.timers import Timer

__all__ = ["HostedLoop", "run_in"]

_Arguments = TypeVarTuple("_Arguments")

#: Selectors whose own descriptor can be waited for.
_NESTING: Final = ("EpollSelector", "KqueueSelector")


def run_in(map: Any = None) -> "HostedLoop":
    """Make an asyncio loop that runs in the turns of `asyncore.loop()`.

    Its tasks, transports and timers make progress while the channels of the map are served, in the same
    thread; `asyncore.loop()` goes on until it is closed:

        asyncio_loop = aio.run_in()
        asyncio_loop.create_task(fetch())
        asyncore.loop()

    Args:
        map: descriptor -> channel; `asyncore.socket_map` if None.

    Raises:
        RuntimeError: this system has no selector that can be waited for (Windows).
    """
    return HostedLoop(_nesting_selector(), asyncore.socket_map if map is None else map)


class _Readiness(asyncore.dispatcher):
    """The channel of an asyncio loop's selector."""

    def __init__(self, selector: Any, map: Any, step: Callable[[], None]) -> None:
        self._ac_step = step
        super().__init__(None, map)
        self.connected = True
        self._fileno = selector.fileno()
        self.add_channel()

    def handle_read(self) -> None:
        """Have asyncio deal with what is ready."""
        self._ac_step()


class HostedLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that runs in the turns of a map's loop. Made by `run_in`.

    `run_until_complete` and `run_forever` still work, while `asyncore.loop()` does not run.
    """

    def __init__(self, selector: selectors.BaseSelector, channels: Any) -> None:
        self._ac_turns = asyncore.get_loop(channels)
        self._ac_is_asked = self._ac_is_stepping = False
        #: When asyncio has something to do, and the timer for the first of these.
        self._ac_deadlines: list[float] = []
        self._ac_timer: Timer | None = None
        super().__init__(selector)
        self._ac_turns.asyncio_loop = self
        self._ac_channel = _Readiness(selector, channels, self.step)

    def step(self) -> None:
        """Have asyncio do what is ready and due, without waiting. The map's loop does this by itself."""
        self._ac_is_asked = False
        if self.is_running() or self.is_closed():  # A handler inside of a step runs asyncore.loop().
            return
        now = self.time()
        while self._ac_deadlines and self._ac_deadlines[0] <= now:
            heapq.heappop(self._ac_deadlines)
        self._ac_is_stepping = True
        try:
            super().call_soon(self.stop)
            self.run_forever()
        finally:
            self._ac_is_stepping = False
            # Signals and other threads ask without call_soon, and their wakeup may have been read by now.
            if self._ac_is_asked or self._ready:  # type: ignore[attr-defined] # asyncio's own, not in typeshed
                self._ac_ask()
            self._ac_set_timer()

    def _ac_ask(self) -> None:
        self._ac_is_asked = True
        if not self._ac_is_stepping:
            self._ac_turns.call_soon_threadsafe(self.step)

    def _ac_set_timer(self) -> None:
        """Have the map's loop take a step at the first deadline."""
        if not self._ac_deadlines:
            return
        first, timer = self._ac_deadlines[0], self._ac_timer
        if timer is None or not timer.active or timer.when > first:
            if timer is not None:
                timer.cancel()
            self._ac_timer = self._ac_turns.call_at(first, self.step)

    def call_soon(
        self,
        callback: Callable[[*_Arguments], object],
        *args: *_Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """As any asyncio loop's; a turn of the map's loop is to follow."""
        handle = super().call_soon(callback, *args, context=context)
        if not self._ac_is_asked:
            self._ac_ask()
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Arguments], object],
        *args: *_Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As any asyncio loop's; `when` is in the seconds of `time.monotonic`, as for the map's loop."""
        handle = super().call_at(when, callback, *args, context=context)
        heapq.heappush(self._ac_deadlines, when)
        if not self._ac_is_stepping:
            self._ac_set_timer()
        return handle

    def close(self) -> None:
        """Cancel the tasks, let them end, and leave the map. `asyncore.loop()` may end then. Again is fine.

        Raises:
            RuntimeError: inside of a task of this loop.
        """
        if self.is_closed():
            return
        if not self.is_running():
            self._ac_end_tasks()
            self._ac_channel.del_channel()
            self._ac_turns.asyncio_loop = None
            if self._ac_timer is not None:
                self._ac_timer.cancel()
        super().close()

    def _ac_end_tasks(self) -> None:
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        if tasks:
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())


def _nesting_selector() -> selectors.BaseSelector:
    for name in _NESTING:
        made: Callable[[], selectors.BaseSelector] | None = getattr(selectors, name, None)
        if made is not None:
            return made()
    raise RuntimeError(
        f"wanted a system with one of {', '.join(_NESTING)}, found none: start asyncio in a thread instead"
    )
