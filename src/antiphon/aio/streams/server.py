"""ChatServer: the listeners of `start_server`, and the handlers that are running."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

from antiphon.aio.streams.errors import IncompleteRead
from antiphon.aio.streams.incoming import Incoming
from antiphon.aio.streams.stream import ChatStream
from antiphon.errors import is_network_error

__all__ = ["ChatServer", "Handler"]

#: What serves a connection: `async def handle(stream)`.
Handler: TypeAlias = Callable[[ChatStream], Awaitable[object]]

_log = logging.getLogger("antiphon.aio")


class ChatServer:
    """What `start_server` returns: an `asyncio.Server` that knows its handlers.

    As an asynchronous context manager it closes, and waits for its handlers to end.
    """

    _server: asyncio.Server

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._loop = asyncio.get_running_loop()
        self._running: dict[asyncio.Task[None], Incoming] = {}
        self._finishing = self._serves_forever = False
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        state = "closed" if self._closed.is_set() else "serving" if self.is_serving() else "idle"
        return f"<{type(self).__name__} {state} handlers={len(self._running)} sockets={self.sockets!r}>"

    # -- as asyncio.Server -----------------------------------------------------------------------------

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """Where it listens; nothing once it is closed."""
        return self._server.sockets

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it runs on."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self._server.is_serving()

    async def start_serving(self) -> None:
        """Accept connections, if it was started with `start_serving=False`.

        Raises:
            RuntimeError: it is closed.
        """
        if self._closed.is_set():
            raise RuntimeError(f"wanted a server that is open, found {self!r}")
        await self._server.start_serving()

    async def serve_forever(self) -> None:
        """Accept connections until the server is closed, or this is cancelled.

        Closed, it waits for the handlers to end; cancelled, it closes the server and cancels them.

        Raises:
            CancelledError: in either case, as with asyncio.
            RuntimeError: the server is closed already, or served for ever.
        """
        if self._serves_forever:
            raise RuntimeError(f"wanted to serve for ever once, found {self!r} served for ever already")
        await self.start_serving()
        self._serves_forever = True
        try:
            await self.wait_closed()
        finally:
            self._serves_forever = False
            await self.shutdown(0)
        raise asyncio.CancelledError("the server was closed")

    def close(self) -> None:
        """Accept no more connections. The handlers go on."""
        self._server.close()
        self._closed.set()

    def close_clients(self) -> None:
        """Close all connections, once what was written is sent. Their handlers find the end."""
        for incoming in self._running.values():
            incoming.outgoing.shut()

    def abort_clients(self) -> None:
        """Close all connections at once."""
        for incoming in self._running.values():
            incoming.outgoing.drop()

    async def wait_closed(self) -> None:
        """Wait until it is closed, all handlers have ended, and what they have written is sent."""
        await self._closed.wait()
        while self._others():
            await self._wait(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        await self.wait_closed()

    # -- more than that --------------------------------------------------------------------------------

    async def shutdown(self, timeout: float | None = None) -> None:
        """Close with grace: nothing that was begun is broken off.

        No connection is accepted any more. A handler that waits for a message of which nothing has arrived
        finds the end of the stream; the others do when they come to wait for one. What is left after
        `timeout` is cancelled, and its connections are closed.

        Args:
            timeout: seconds; None for as long as it takes.
        """
        self.close()
        self._finishing = True
        for incoming in [*self._running.values()]:
            incoming.finish()
        await self._wait(timeout)
        left = self._others()
        for task in left:
            task.cancel()
        await self._wait(None)
        for incoming in left.values():
            if not incoming.outgoing.lost:
                incoming.outgoing.drop()
        await self.wait_closed()

    def _others(self) -> dict[asyncio.Task[None], Incoming]:
        """The handlers, but for the one that asks."""
        current = asyncio.current_task()
        return {task: incoming for task, incoming in self._running.items() if task is not current}

    async def _wait(self, timeout: float | None) -> None:
        tasks = self._others()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)

    async def listen(self, protocol: Callable[[], Incoming], *where: Any, **named: Any) -> Self:
        """Begin, with what `loop.create_server` takes."""
        self._server = await self._loop.create_server(protocol, *where, **named)
        return self

    async def listen_unix(self, protocol: Callable[[], Incoming], path: Any, **named: Any) -> Self:
        """Begin, with what `loop.create_unix_server` takes."""
        self._server = await self._loop.create_unix_server(protocol, path, **named)
        return self

    # -- connections -----------------------------------------------------------------------------------

    def connected(self, incoming: Incoming) -> None:
        """Have a new connection served."""
        task = self._loop.create_task(self._serve(ChatStream(incoming)))
        self._running[task] = incoming
        task.add_done_callback(self._running.pop)
        if self._finishing:
            incoming.finish()

    async def _serve(self, stream: ChatStream) -> None:
        told: Exception | None = None
        try:
            await self._handle(stream)
        except Exception as error:
            told = error
            self._report(error, stream)
        finally:
            stream.close()
        try:
            await stream.wait_closed()
        except OSError as error:
            if error is not told:
                self._report(error, stream)

    def _report(self, error: Exception, stream: ChatStream) -> None:
        """Note what a peer does to its connection; all else is the program's."""
        if isinstance(error, IncompleteRead) or is_network_error(error):
            _log.info("%r: %s: %s", stream, type(error).__name__, error)
            return
        self._loop.call_soon(  # Not from within the task, whose context it may enter.
            self._loop.call_exception_handler,
            {
                "message": f"Unhandled exception in the handler of {stream!r}",
                "exception": error,
                "transport": stream.transport,
                "task": asyncio.current_task(),
            },
        )
