"""An asyncio loop in a thread of its own, for coroutines of programs whose loop is antiphon's."""

import atexit
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

__all__ = ["GRACE", "background_loop"]

#: Seconds that coroutines get to end in, when they are cancelled because the interpreter ends.
GRACE: Final = 1.0

_lock = threading.Lock()
_running: "Background | None" = None


class Background:
    """A thread that runs an asyncio loop until the interpreter ends."""

    def __init__(self) -> None:
        import asyncio  # Takes as long as all the rest of antiphon, and few need it.

        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="antiphon.background", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending:
            with suppress(KeyboardInterrupt, SystemExit):  # A coroutine's: its channel's loop raises it.
                self.loop.run_forever()

    def end(self) -> None:
        """Stop the loop, cancel what runs in it, which may take GRACE seconds to end, and close it."""
        self._ending = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self._cancel_tasks()
        self.loop.close()

    def _cancel_tasks(self) -> None:
        import asyncio

        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            waiting = self.loop.create_task(asyncio.wait(tasks, timeout=GRACE))
            while not waiting.done():
                with suppress(KeyboardInterrupt, SystemExit):  # A coroutine's, instead of ending.
                    self.loop.run_until_complete(waiting)
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())


def background_loop() -> "asyncio.AbstractEventLoop":
    """The asyncio loop of the process's background thread, which is started when it is first asked for."""
    global _running  # noqa: PLW0603 (one for the process)
    with _lock:
        if _running is None:
            _running = Background()
            atexit.register(_end)
        return _running.loop


def _end() -> None:
    global _running
    atexit.unregister(_end)
    running, _running = _running, None
    if running is not None:
        running.end()


def _start_over() -> None:
    """In a forked child: the thread is the parent's, and another thread of it may have held the lock."""
    global _lock, _running
    _lock, _running = threading.Lock(), None
    atexit.unregister(_end)


if sys.platform != "win32":  # pragma: no branch: Windows has no fork
    os.register_at_fork(after_in_child=_start_over)
