"""Coroutines of a channel, and coroutines that wait for it."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, TypeVar

from antiphon.background import background_loop
from antiphon.maps import loop_of
from antiphon.pausing import BY_COROUTINE, BY_DRAIN, BY_PROGRAM

if TYPE_CHECKING:
    import asyncio

__all__ = ["Spawned", "Spawning", "Waiter"]

_Result = TypeVar("_Result")


class Spawning:
    """What a channel has to do with asyncio."""

    _map: Any
    _ac_loop: Any
    _fileno: Any
    closing: bool
    _ac_timers: set[Any] | None
    #: Those that keep the channel from reading.
    _ac_spawned: "set[Spawned] | None" = None

    if TYPE_CHECKING:

        def _ac_timer_group(self) -> set[Any]: ...
        def _ac_pause_reading(self, reason: int = BY_PROGRAM) -> None: ...
        def _ac_resume_reading(self, reason: int = BY_PROGRAM) -> None: ...

    def spawn(
        self,
        coroutine: Coroutine[Any, Any, _Result],
        then: Callable[[_Result], object] | None = None,
        *,
        failed: Callable[[Exception], object] | None = None,
        keep_reading: bool = False,
    ) -> "Spawned":
        """Run a coroutine of asyncio's, and come back to the channel with its result.

        It runs in the asyncio loop that serves the map (`aio.attach`) or that the map's loop runs
        (`aio.run_in`), in the same thread; otherwise in an asyncio loop in a thread of its own. What it is
        called back by runs in the channel's own loop, as all of its handlers do.

        Until it is done the channel reads nothing, so that its answers keep the order of the questions. It is
        cancelled when the channel is closed.

        Args:
            coroutine: what is to be run.
            then: called with its result.
            failed: called with its exception; by default that goes to the channel's `handle_error`.
            keep_reading: whether the channel goes on reading meanwhile.

        Raises:
            TypeError: `coroutine` is something else.
            RuntimeError: the channel is closed.
        """
        if not iscoroutine(coroutine):
            raise TypeError(f"wanted a coroutine, found {type(coroutine).__name__}: {coroutine!r:.60}")
        if self.closing:
            coroutine.close()
            raise RuntimeError(f"wanted a channel that is open, found {self!r} closed")
        spawned = Spawned(self, then, failed)
        self._ac_timer_group().add(spawned)  # Whatever is in it is cancelled when the channel is closed.
        if not keep_reading:
            if self._ac_spawned is None:
                self._ac_spawned = set()
            self._ac_spawned.add(spawned)
            self._ac_pause_reading(BY_COROUTINE)
        try:
            spawned.begin(coroutine, (self._ac_loop or loop_of(self._map)).asyncio_loop)
        except BaseException:
            coroutine.close()
            spawned.leave()
            raise
        return spawned

    def _ac_end_answering(self) -> bool:
        """Whether no coroutine will have anything to say. Until then, nothing is read."""
        if any(isinstance(pending, Spawned) for pending in self._ac_timers or ()):
            self._ac_pause_reading(BY_DRAIN)
            return False
        self._ac_resume_reading(BY_DRAIN)
        return True

    async def wait_closed(self) -> None:
        """Wait, in asyncio code, until the channel is closed. At once if it is."""
        import asyncio

        loop = asyncio.get_running_loop()
        waiter = Waiter(loop)
        group = self._ac_timer_group()
        group.add(waiter)
        try:
            if not self.closing:
                await waiter.future
        finally:
            group.discard(waiter)


class Spawned:
    """A coroutine that a channel runs. Made by `spawn`."""

    _future: Any

    def __init__(
        self,
        channel: Any,
        then: Callable[[Any], object] | None,
        failed: Callable[[Exception], object] | None,
    ) -> None:
        self._channel, self._then, self._failed = channel, then, failed

    def begin(self, coroutine: Coroutine[Any, Any, Any], loop: "asyncio.AbstractEventLoop | None") -> None:
        """Run the coroutine in `loop`; in the background for None, or if that was closed."""
        if loop is None or loop.is_closed():
            import asyncio

            self._future = asyncio.run_coroutine_threadsafe(coroutine, background_loop())
        else:
            self._future = loop.create_task(coroutine)
        self._future.add_done_callback(self._tell)

    @property
    def done(self) -> bool:
        """Whether the coroutine has ended, in whatever way."""
        done: bool = self._future.done()
        return done

    def cancel(self) -> None:
        """Cancel the coroutine; nothing is called then. Reading goes on."""
        self._future.cancel()

    def _tell(self, future: Any) -> None:
        self._channel.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        """Come back to the channel, in its loop."""
        channel, future = self._channel, self._future
        channel._ac_timer_group().discard(self)
        if channel.closing:
            if not future.cancelled():
                future.exception()  # It is nobody's any more.
            return
        try:
            if not future.cancelled():
                self._call_back(future)
        finally:
            self.leave()

    def leave(self) -> None:
        """Be none of the channel's coroutines any more, for which it may have to wait."""
        channel = self._channel
        channel._ac_timer_group().discard(self)
        holding = channel._ac_spawned
        if holding is not None and self in holding:
            holding.discard(self)
            if not holding:
                channel._ac_resume_reading(BY_COROUTINE)

    def _call_back(self, future: Any) -> None:
        error = future.exception()
        try:
            if error is None:
                if self._then is not None:
                    self._then(future.result())
            elif self._failed is not None and isinstance(error, Exception):
                self._failed(error)
            else:
                raise error
        finally:
            del error  # Its traceback has this frame.


class Waiter:
    """Somebody in an asyncio loop who waits for something of a channel."""

    def __init__(self, loop: "asyncio.AbstractEventLoop") -> None:
        self._loop = loop
        #: Whether it will not come to be.
        self.in_vain = False
        self.future: asyncio.Future[None] = loop.create_future()

    def cancel(self) -> None:
        """It has happened. Any thread may say so."""
        with suppress(RuntimeError):  # The asyncio loop was closed.
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        if not self.future.done():
            self.future.set_result(None)
