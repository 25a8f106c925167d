"""asyncio.Protocol with framing by hand: what somebody who tunes would ship.

A read is split once, the replies to it leave in one write, and what there is of a line is kept in a list, so
that nothing is quadratic.  The line handler is inlined: no library's API, and the strictest comparison.
`--callback` calls a method per line instead, as a base class for protocols must.

`--coroutine` does the same in a coroutine, which awaits each read and goes on within the event, with nothing
around it: no limit, no cancelling, no second reader. Streams can't be cheaper than that.
"""

import asyncio
import ssl
from collections.abc import Callable, Generator
from contextvars import Context
from weakref import ref

from _listening import announce, parser, tls_context
from _loops import run

CHUNK = b"\0" * 65536


class Inlined(asyncio.Protocol):
    """One method for all."""

    __slots__ = ("missing", "out", "parts", "paused", "transport", "zeros_left")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.missing = 0
        self.zeros_left = 0
        self.paused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Buffer as much as the others do before pausing."""
        self.transport = transport
        transport.set_write_buffer_limits(high=262144)

    def data_received(self, data: bytes) -> None:  # noqa: C901 (inlined on purpose)
        """Answer all that is complete."""
        out = []
        while data:
            if self.missing:
                size = len(data)
                if size < self.missing:
                    self.parts.append(data)
                    self.missing -= size
                    break
                self.parts.append(data[: self.missing])
                data = data[self.missing :]
                body = b"".join(self.parts)
                self.parts.clear()
                self.missing = 0
                out.append(b"OK %d\r\n" % len(body))
                continue
            parts = self.parts
            if parts:
                if data[0] == 10 and parts[-1][-1] == 13:
                    parts[-1] = parts[-1][:-1]
                    data = b"\r" + data
                if b"\r\n" not in data:
                    parts.append(data)
                    break
                parts.append(data)
                data = b"".join(parts)
                parts.clear()
            if data[:4] == b"PUT ":  # A body is not split.
                end = data.find(b"\r\n")
                if end >= 0:
                    self.missing = int(data[4:end])
                    data = data[end + 2 :]
                    continue
            lines = data.split(b"\r\n")
            tail = lines.pop()
            position = 0
            for line in lines:
                size = len(line)
                position += size + 2
                if size > 4096:
                    out.append(b"LEN %d\r\n" % size)
                    continue
                command = line[:4]
                if command == b"PUT ":
                    self.missing = int(line[4:])
                    break
                if command == b"GET ":
                    self.zeros_left += int(line[4:])
                    if out:
                        self.transport.write(b"".join(out))
                        out.clear()
                    if not self.paused:
                        self.send_zeros()
                else:
                    out.append(line + b"\r\n")
            else:
                if tail:
                    parts.append(tail)
                break
            data = data[position:]
        if out:
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def send_zeros(self) -> None:
        """Write until the transport says that it has enough."""
        write = self.transport.write
        while self.zeros_left and not self.paused and not self.transport.is_closing():
            left = self.zeros_left
            if left >= 65536:
                self.zeros_left = left - 65536
                write(CHUNK)
            else:
                self.zeros_left = 0
                write(CHUNK[:left])

    def pause_writing(self) -> None:
        """The transport has enough."""
        self.paused = True

    def resume_writing(self) -> None:
        """The transport takes more."""
        self.paused = False
        if self.zeros_left:
            self.send_zeros()

    def connection_lost(self, exc: Exception | None) -> None:
        """Send no more."""
        self.zeros_left = 0
        self.paused = True


class Callback(Inlined):
    """The same framing with a method call per line; what is rare is left to the other."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Call `line_received` for each line."""
        if self.missing or self.parts or data[:4] in (b"PUT ", b"GET "):
            return Inlined.data_received(self, data)
        self.out: list[bytes] = []
        lines = data.split(b"\r\n")
        tail = lines.pop()
        for line in lines:
            if len(line) > 4096 or line[:4] in (b"PUT ", b"GET "):
                return Inlined.data_received(self, data)
        for line in lines:
            self.line_received(line)
        if tail:
            self.parts.append(tail)
        out = self.out
        if out:
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))
        return None

    def line_received(self, line: bytes) -> None:
        """Echo a line."""
        self.send(line + b"\r\n")

    def send(self, data: bytes) -> None:
        """Keep a reply until the read was dealt with."""
        self.out.append(data)


class Arrival:
    """What the coroutine awaits, as a task takes it for a future (`asyncio.isfuture`)."""

    __slots__ = ("_asyncio_future_blocking", "callback", "context", "data", "get_loop", "result")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self.get_loop = ref(loop)
        self.result = bytes
        self.data = b""

    def add_done_callback(self, callback: Callable[["Arrival"], None], *, context: Context) -> None:
        """Keep what makes the task go on."""
        self.callback = callback
        self.context = context

    def __await__(self) -> Generator["Arrival", None, bytes]:
        self._asyncio_future_blocking = True
        yield self
        return self.data


class Awaiting(Inlined):
    """The same framing, in a coroutine that awaits each read."""

    __slots__ = ("arrival", "task")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Have the coroutine wait before anything arrives."""
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self.arrival = Arrival(loop)
        self.task: asyncio.Task[None] = asyncio.Task(self.serve(), loop=loop, eager_start=True)

    def data_received(self, data: bytes) -> None:
        """Have it go on."""
        arrival = self.arrival
        arrival.data = data
        arrival.context.run(arrival.callback, arrival)

    async def serve(self) -> None:
        """Answer until nobody is left to resume this."""
        while True:
            Inlined.data_received(self, await self.arrival)


async def main(port: int, protocol: type[Inlined], tls: ssl.SSLContext | None) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", port, backlog=4096, ssl=tls)
    announce(server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


arguments = parser()
arguments.add_argument("--loop", default="asyncio")
arguments.add_argument("--callback", action="store_true")
arguments.add_argument("--coroutine", action="store_true")
options = arguments.parse_args()
protocol = Awaiting if options.coroutine else Callback if options.callback else Inlined
run(main(options.port, protocol, tls_context(options.tls)), options.loop)
