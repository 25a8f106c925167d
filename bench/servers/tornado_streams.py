"""Tornado's TCPServer and IOStream: read_until, read_bytes, write."""

import asyncio

from _listening import announce, parser
from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import bind_sockets
from tornado.tcpserver import TCPServer

CHUNK = b"\0" * 65536


async def answer(stream: IOStream) -> None:
    """Read and answer one command."""
    line = await stream.read_until(b"\r\n")
    size = len(line) - 2
    if size > 4096:
        await stream.write(b"LEN %d\r\n" % size)
    elif line.startswith(b"PUT "):
        body = await stream.read_bytes(int(line[4:]))
        await stream.write(b"OK %d\r\n" % len(body))
    elif line.startswith(b"GET "):
        left = int(line[4:])
        while left > 0:
            await stream.write(CHUNK if left >= 65536 else CHUNK[:left])
            left -= 65536
    else:
        await stream.write(line)


class Server(TCPServer):
    """Answers until the client goes away."""

    async def handle_stream(self, stream: IOStream, address: object) -> None:
        """Called for each connection."""
        stream.set_nodelay(True)
        try:
            while True:
                await answer(stream)
        except StreamClosedError:
            pass


async def main(port: int) -> None:
    """Serve for ever."""
    server = Server()
    sockets = bind_sockets(port, "127.0.0.1", backlog=4096)
    server.add_sockets(sockets)
    announce(sockets[0].getsockname()[1])
    await asyncio.Event().wait()


asyncio.run(main(parser().parse_args().port))
