"""Streams to test: between real sockets, or on a transport that notes what is asked of it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from antiphon.aio import ChatStream, open_connection
from antiphon.aio.streams.incoming import Incoming
from antiphon.aio.streams.protocol import Limits

#: Seconds after which what should have happened is taken to hang.
SECONDS = 20

#: Runs a coroutine on a loop of its own, for so many at most.
Run = Callable[[Coroutine[Any, Any, Any]], Any]

READ_AHEAD = 65_536


class WithoutReaders(asyncio.SelectorEventLoop):
    """Cannot wait for descriptors on a program's behalf, as Windows' Proactor loop can't."""

    add_reader = asyncio.AbstractEventLoop.add_reader
    remove_reader = asyncio.AbstractEventLoop.remove_reader


#: What makes a loop for channels; the fixture `each_loop` sets it.
make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop of the kind that is being tested."""
    return make_loop()


def run_on_new_loop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on such a loop, for a bounded time."""

    async def bounded() -> None:
        await asyncio.wait_for(main(), SECONDS)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(bounded())


class Contexts(NamedTuple):
    """Of both sides of TLS."""

    server: ssl.SSLContext
    client: ssl.SSLContext


class FakeTransport(asyncio.Transport):
    """Notes what it is told."""

    def __init__(self, **extra: Any) -> None:
        super().__init__(extra)
        self.sent: list[bytes] = []
        self.calls: list[str] = []
        self.closing = False

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def write_eof(self) -> None:
        self.calls.append("write_eof")

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.calls.append("close")
        self.closing = True

    def abort(self) -> None:
        self.calls.append("abort")
        self.closing = True

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


class Fake(NamedTuple):
    """A stream without a socket."""

    stream: ChatStream
    incoming: Incoming
    transport: FakeTransport

    def arrive(self, *pieces: bytes) -> None:
        """Have each of these arrive in an event."""
        for piece in pieces:
            view = self.incoming.get_buffer(-1)
            view[: len(piece)] = piece
            self.incoming.buffer_updated(len(piece))

    def arrive_by_the_loop(self, *pieces: bytes) -> None:
        """Likewise, when no task is running."""
        asyncio.get_running_loop().call_soon(self.arrive, *pieces)

    def lose(self, error: Exception | None = None) -> None:
        """Have the connection lost."""
        self.transport.closing = True
        self.incoming.connection_lost(error)


def fake(
    terminator: Any = b"\r\n", limit: int = 1_048_576, discards: bool = False, read_ahead: int = READ_AHEAD
) -> Fake:
    """A stream to which anything may happen. Must be lost in the end."""
    incoming = Incoming(Limits(limit, discards, read_ahead), terminator)
    transport = FakeTransport(peername="peer")
    incoming.connection_made(transport)
    return Fake(ChatStream(incoming), incoming, transport)


async def turns(count: int = 3) -> None:
    """Let the loop go on."""
    for _ in range(count):
        await asyncio.sleep(0)


class Connected(NamedTuple):
    """A client's stream, and asyncio's own streams at the other end."""

    stream: ChatStream
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@asynccontextmanager
async def connected(**settings: Any) -> AsyncIterator[Connected]:
    """A connection over a real socket, closed in the end."""
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(lambda *streams: accepted.put_nowait(streams), "127.0.0.1", 0)
    stream = await open_connection(*server.sockets[0].getsockname()[:2], **settings)
    reader, writer = await accepted.get()
    server.close()
    try:
        async with stream:
            yield Connected(stream, reader, writer)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        await server.wait_closed()
