"""Channels served by an asyncio loop: their poller's descriptor is one that asyncio waits for.

epoll(7) and kqueue(2) objects are readable while something that they watch is ready, so asyncio needs to know
of one descriptor however many channels there are, and one event of it is a turn of ours.  Where asyncio has
no `add_reader` (Windows' Proactor loop), or the poller no descriptor, a thread waits in its place.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from antiphon import asyncore, pollers
from antiphon.draining import Drained
from antiphon.failures import ExitNow
from antiphon.loop import Loop
from antiphon.pollers.base import Poller

__all__ = ["ASKED_EVERY", "Attachment", "attach", "running"]

#: Seconds between two turns at most when there are channels with a `readable()` or `writable()` of their own:
#: what these say may have changed by something that the loop does not see.
ASKED_EVERY: Final = 0.1

#: Best first. Others have no descriptor that asyncio could wait for.
_WITH_DESCRIPTOR: Final = ("epoll", "kqueue")


def attach(
    map: Any = None,
    loop: asyncio.AbstractEventLoop | None = None,
    *,
    use_poll: bool = False,
    in_thread: bool = False,
) -> "Attachment":
    """Have an asyncio loop serve the channels of a map, those that join it later too.

    The channels' code stays what it is: its handlers run in the asyncio loop's thread, between the callbacks
    of asyncio.  Timers and `call_soon_threadsafe` work; `asyncore.loop()` and `asyncore.poll()` of this map
    raise RuntimeError, except `poll()` inside of a handler.

    Channels with a `readable()` or `writable()` of their own are asked after each turn, and every 0.1 s.

    Args:
        map: descriptor -> channel; `asyncore.socket_map` if None.
        loop: the asyncio loop, which need not run yet; the running one if None.
        use_poll: whether a turn is one of `asyncore.poll2`, as with `asyncore.loop(use_poll=True)`.
        in_thread: whether a thread waits for the channels, also where asyncio could.

    Raises:
        RuntimeError: the map is served by an asyncio loop already; there is none that runs; or `loop` runs in
            another thread.
    """
    channels = asyncore.socket_map if map is None else map
    host = asyncio.get_running_loop() if loop is None else loop
    return Attachment(channels, host, asyncore.poll2 if use_poll else asyncore.poll, in_thread=in_thread)


@asynccontextmanager
async def running(map: Any = None, *, use_poll: bool = False) -> AsyncIterator["Attachment"]:
    """Serve the channels of a map as long as the block runs; see `attach`.

    The channels are still open after it.
    """
    attachment = attach(map, use_poll=use_poll)
    try:
        yield attachment
    finally:
        attachment.detach()


class Attachment:
    """What serves the channels of one map. Made by `attach`."""

    def __init__(
        self,
        channels: Any,
        host: asyncio.AbstractEventLoop,
        poll: Callable[[float, Any], None],
        *,
        in_thread: bool,
    ) -> None:
        self._channels, self._host, self._poll = channels, host, poll
        self._check_thread("attach", "have its call_soon_threadsafe() call aio.attach")
        self._loop: Loop = asyncore.get_loop(channels)
        if self._loop.host is not None:
            self._loop.host.check_turn()  # It raises, unless its asyncio loop was closed.
        self._attached = True
        self._in_turn = False
        #: The callback that is to come in any case.
        self._due: asyncio.Handle | None = None
        self._waiting: list[asyncio.Future[None]] = []
        #: Told when the next turn has ended.
        self._turning: asyncio.Future[None] | None = None
        self._ended_by: Exception | None = None
        self._before = self._loop._make_poller
        readers = None if in_thread else _poller_with_descriptor()
        self._wait: _Descriptor | _Thread
        if readers is not None and _has_readers(host):
            self._wait = _Descriptor(host, self._serve)
            self._loop.use(readers, self)
        else:
            self._wait = _Thread(host, self._serve, self._loop.wake)
            self._loop.use(_poller_without_descriptor, self)
        self._loop.asyncio_loop = host
        self._due = host.call_soon(self._serve)

    def __repr__(self) -> str:
        state = "attached" if self.attached else "detached"
        return f"<antiphon.aio.Attachment {state} channels={len(self._channels)} of {self._host!r}>"

    @property
    def attached(self) -> bool:
        """Whether the asyncio loop serves the channels: it is not closed, and `detach` was not called."""
        return self._attached and not self._host.is_closed()

    def check_turn(self) -> None:
        """Raise RuntimeError if `asyncore.loop()` or `poll()` wants a turn of its own; see `Host`."""
        if not self.attached:
            self.detach()
        elif not self._in_turn:
            raise RuntimeError(
                "the channels of this map are served by an asyncio loop already, which is running the turns; "
                "detach() the attachment first, or await its finished() or its drain()"
            )

    def detach(self) -> None:
        """Leave the channels to `asyncore.loop()` again. They stay open. Again is fine.

        Raises:
            RuntimeError: the asyncio loop runs in another thread.
        """
        if not self._attached:
            return
        self._check_thread("detach", "have its call_soon_threadsafe() call this")
        self._attached = False
        self._loop.wake()
        self._wait.end()
        if self._due is not None:
            self._due.cancel()
        self._loop.use(self._before, None)
        self._loop.asyncio_loop = None
        self._tell_finished()
        self._tell_turned()

    async def finished(self) -> None:
        """Wait until the map has no channel and nothing is due, as `asyncore.loop()` does, or for `detach`.

        Raises:
            Exception: what a turn has ended with: `ExitNow` that a handler raised, for example. The channels
                are detached then.
            RuntimeError: asyncio runs another loop here.
        """
        self._check_host()
        if self._attached and self._is_busy():
            future = self._host.create_future()
            self._waiting.append(future)
            try:
                await future
            finally:
                self._waiting.remove(future)
        if self._ended_by is not None:
            raise self._ended_by

    async def drain(self, deadline: float) -> Drained:
        """End all channels of the map, as soon as they have sent what they have to send.

        What `antiphon.drain()` does where `asyncore.loop()` runs the turns; asyncio's own tasks go on
        meanwhile. The map stays attached. Cancelled, it leaves those channels open that still are.

        Args:
            deadline: seconds that it takes at most, 0 or more. `antiphon.stop()` cuts them short.

        Returns:
            How many channels ended in which way.

        Raises:
            Exception: what a turn has ended with, as in `finished`.
            RuntimeError: the channels are not attached, or no longer; they are being drained already; or
                asyncio runs another loop here.
            ValueError: the deadline is negative or not finite.
        """
        self._check_host()
        if not self._attached:
            raise RuntimeError(
                "wanted channels that asyncio serves, found them detached: see antiphon.drain()"
            )
        loop = self._loop
        with loop.draining_for(deadline) as draining:
            loop.do(draining.look)
            patience: float | None = None
            while self._channels:
                await self._turned(patience)
                loop.do(draining.look)
                if draining.is_over:
                    break
                patience = draining.patience()
            loop.do(draining.abort)
            loop.heed_stop()
        return draining.drained

    async def _turned(self, patience: float | None) -> None:
        """Wait until a turn has ended, or so many seconds; with None for them, have a turn come at once."""
        if patience is None:
            self._host.call_soon(self._wait.interrupt)
        self._turning = self._host.create_future()
        try:
            await asyncio.wait([self._turning], timeout=patience)
        finally:
            self._turning = None
        if self._ended_by is not None:
            raise self._ended_by
        if not self._attached:
            left = f"{len(self._channels)} channel{'s' if len(self._channels) > 1 else ''}"
            raise RuntimeError(f"the map was detached before it was drained, with {left} left")

    def _tell_turned(self) -> None:
        if self._turning is not None and not self._turning.done() and not self._host.is_closed():
            self._turning.set_result(None)

    def _check_thread(self, wanted: str, instead: str) -> None:
        host = self._host
        if host.is_running() and asyncio._get_running_loop() is not host:
            raise RuntimeError(f"wanted to {wanted} in the thread of {host!r}, found another: {instead}")

    def _check_host(self) -> None:
        if asyncio.get_running_loop() is not self._host:
            raise RuntimeError(f"wanted to be awaited in {self._host!r}, which serves the channels")

    def _is_busy(self) -> bool:
        return bool(self._channels) or self._loop.busy

    def _tell_finished(self) -> None:
        for future in self._waiting:
            if not future.done() and not self._host.is_closed():
                future.set_result(None)

    def _serve(self) -> None:
        """Run a turn, and have the next one come when there is something to do."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if not self._attached:  # The thread had one more to tell of.
            return
        self._in_turn = True
        try:
            self._poll(0.0, self._channels)
            if self._attached:
                self._park()
        except Exception as error:
            self._ended_by, is_awaited = error, bool(self._waiting) or self._loop.draining is not None
            self.detach()
            if not is_awaited and not isinstance(error, ExitNow):
                raise  # asyncio's exception handler tells of it.
        except BaseException:  # KeyboardInterrupt and SystemExit end asyncio's run; another may begin.
            if self._attached:
                self._due = self._host.call_soon(self._serve)
            raise
        finally:
            self._in_turn = False
            if self._turning is not None:
                self._tell_turned()

    def _park(self) -> None:
        poller, patience = self._loop.park()
        if not self._is_busy():
            self._tell_finished()
        if self._loop.asks:
            patience = ASKED_EVERY if patience is None else min(patience, ASKED_EVERY)
        if getattr(poller, "never_sleeps", False):
            patience = 0.0
        if patience is not None and patience <= 0:
            self._due = self._host.call_soon(self._serve)
        else:
            self._wait.begin(poller)
            if patience is not None:
                self._due = self._host.call_later(patience, self._wait.interrupt)


class _Descriptor:
    """Waits for a poller's descriptor."""

    def __init__(self, host: asyncio.AbstractEventLoop, ready: Callable[[], None]) -> None:
        self._host, self._ready = host, ready
        self.interrupt = ready
        self._fd = -1
        self._watched: tuple[Poller | None, int] = None, 0
        self._again: asyncio.Handle | None = None

    def begin(self, poller: Any) -> None:
        """Call `ready` whenever the poller has something."""
        watched = poller, getattr(poller, "generation", 0)
        if watched != self._watched:
            self.end()
            if not hasattr(poller, "fileno"):  # Descriptors have run out: this one is for a turn.
                self._again = self._host.call_later(ASKED_EVERY, self._ready)
                return
            self._fd, self._watched = poller.fileno(), watched
            self._host.add_reader(self._fd, self._ready)

    def end(self) -> None:
        """Wait no more."""
        if self._fd >= 0 and not self._host.is_closed():
            self._host.remove_reader(self._fd)
        self._fd, self._watched = -1, (None, 0)
        if self._again is not None:
            self._again.cancel()
            self._again = None


class _Thread:
    """Waits with a poller in a thread of its own."""

    def __init__(
        self, host: asyncio.AbstractEventLoop, ready: Callable[[], None], wake: Callable[[], None]
    ) -> None:
        self._host, self._ready = host, ready
        #: What is to be called when a turn is due before the poller has something.
        self.interrupt = wake
        self._pollers: queue.SimpleQueue[Poller | None] = queue.SimpleQueue()
        self._poller: Poller | None = None
        self._thread = threading.Thread(target=self._run, name="antiphon.aio", daemon=True)
        self._thread.start()

    def begin(self, poller: Poller) -> None:
        """Call `ready` once, when the poller has something."""
        self._pollers.put(poller)

    def end(self) -> None:
        """Wait no more; what is being waited for was woken."""
        self._pollers.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (poller := self._pollers.get()) is not None:
            with suppress(OSError, ValueError):  # A turn meets the same, and deals with it.
                poller.wait(None)
            with suppress(RuntimeError):  # The asyncio loop was closed.
                self._host.call_soon_threadsafe(self._ready)


def _poller_with_descriptor() -> Callable[[], Poller] | None:
    name = next((name for name in _WITH_DESCRIPTOR if name in pollers.offered()), None)
    return None if name is None else pollers.maker(name)


def _poller_without_descriptor() -> Poller:
    return pollers.make("poll" if "poll" in pollers.offered() else "select")


def _has_readers(host: asyncio.AbstractEventLoop) -> bool:
    return type(host).add_reader is not asyncio.AbstractEventLoop.add_reader
