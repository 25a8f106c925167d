"""asyncio's streams: readuntil, readexactly, write and drain."""

import asyncio

from _listening import announce, parser
from _loops import run

CHUNK = b"\0" * 65536
LIMIT = 16 << 20


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read and answer one command."""
    line = await reader.readuntil(b"\r\n")
    size = len(line) - 2
    if size > 4096:
        writer.write(b"LEN %d\r\n" % size)
    elif line.startswith(b"PUT "):
        body = await reader.readexactly(int(line[4:]))
        writer.write(b"OK %d\r\n" % len(body))
    elif line.startswith(b"GET "):
        left = int(line[4:])
        while left > 0:
            writer.write(CHUNK if left >= 65536 else CHUNK[:left])
            left -= 65536
            await writer.drain()
    else:
        writer.write(line)
    await writer.drain()


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer until the client goes away."""
    try:
        while True:
            await answer(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    """Serve for ever."""
    server = await asyncio.start_server(handle, "127.0.0.1", port, limit=LIMIT, backlog=4096)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


arguments = parser()
arguments.add_argument("--loop", default="asyncio")
options = arguments.parse_args()
run(main(options.port), options.loop)
