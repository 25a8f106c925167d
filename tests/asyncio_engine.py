"""`asyncore.poll` and `poll2` with the turns of an asyncio loop: what runs on the pollers runs on it too.

The map stays attached from one call to the next, as it is in a program.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

from antiphon import asyncore
from antiphon.aio import Attachment
from antiphon.loop import Loop

#: Iterations of an asyncio loop after which what was ready at the beginning has been dealt with.
_LOOKS = 3

#: Whether the asyncio loop is uvloop's: ANTIPHON_TEST_ASYNCIO says so.
ON_UVLOOP = os.environ.get("ANTIPHON_TEST_ASYNCIO") == "uvloop"
_new_event_loop: Callable[[], asyncio.AbstractEventLoop] = (
    import_module("uvloop").new_event_loop if ON_UVLOOP else asyncio.new_event_loop
)

Poll = Callable[[float | None, Any], None]


class Engine:
    """An asyncio loop, and what it serves."""

    def __init__(self, *, in_thread: bool = False) -> None:
        self.host = _new_event_loop()
        self._in_thread = in_thread
        self._served: WeakKeyDictionary[Loop, Serving] = WeakKeyDictionary()

    def turn(self, poll: Poll, timeout: float | None, map: Any) -> None:
        """A turn of the map, in the asyncio loop unless that one is in the middle of another."""
        channels = asyncore.socket_map if map is None else map
        if self.host.is_running():
            poll(timeout, channels)
            return
        loop = asyncore.get_loop(channels)
        serving = self._served.get(loop)
        if serving is None or serving.poll is not poll or not serving.attachment.attached:
            if serving is not None:
                serving.attachment.detach()
            self._served[loop] = serving = Serving(channels, self.host, poll, self._in_thread)
        if channels or loop.busy:
            self.host.run_until_complete(serving.turn(timeout))

    def instead_of(self, original: Poll) -> Poll:
        """What is called in the place of `asyncore.poll` or `poll2`."""

        def poll(timeout: float | None = 0.0, map: Any = None) -> None:
            self.turn(original, timeout, map)

        return poll

    def close(self) -> None:
        """Detach everything."""
        for serving in list(self._served.values()):
            serving.attachment.detach()
        self.host.close()


class Serving:
    """An attachment that makes a turn when told to."""

    def __init__(self, channels: Any, host: asyncio.AbstractEventLoop, poll: Poll, in_thread: bool) -> None:
        self.poll = poll
        self._left = 0
        self._turned = asyncio.Event()
        self.attachment = Attachment(channels, host, self._poll, in_thread=in_thread)

    def _poll(self, timeout: float, channels: Any) -> None:
        if self._left:
            self._left -= 1
            try:
                self.poll(timeout, channels)
            finally:
                self._turned.set()

    async def turn(self, timeout: float | None) -> None:
        self._left = 1
        self._turned.clear()
        finished = asyncio.ensure_future(self.attachment.finished())
        turned = asyncio.ensure_future(self._turned.wait())
        for _ in range(_LOOKS):
            await asyncio.sleep(0)
        if timeout is None or timeout > 0:
            await asyncio.wait({finished, turned}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._left and self.attachment.attached:
            self.attachment._serve()  # Nothing is ready: the turn finds that out.
        self._left = 0
        turned.cancel()
        if finished.done():
            finished.result()
        finished.cancel()
        await asyncio.sleep(0)


@contextmanager
def turns_of_asyncio(*, in_thread: bool = False) -> Iterator[Engine]:
    """Have `asyncore.poll` and `poll2`, and with them `asyncore.loop`, use an asyncio loop."""
    engine = Engine(in_thread=in_thread)
    originals = asyncore.poll, asyncore.poll2
    asyncore.poll, asyncore.poll2 = map(engine.instead_of, originals)  # type: ignore[assignment]
    try:
        yield engine
    finally:
        asyncore.poll, asyncore.poll2 = originals
        engine.close()
