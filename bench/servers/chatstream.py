"""antiphon's streams for asyncio: a loop over the lines of each connection, read_exactly, write and drain.

`--batches` goes through all lines of a read at once.
"""

from _listening import announce, parser
from _loops import run

from antiphon.aio import ChatStream, start_server
from antiphon.aio.streams.server import Handler

CHUNK = b"\0" * 65536
LIMIT = 16 << 20


async def handle(stream: ChatStream) -> None:
    """Answer until the client goes away."""
    async for line in stream:
        size = len(line)
        if size > 4096:
            stream.write(b"LEN %d\r\n" % size)
        elif line.startswith(b"PUT "):
            body = await stream.read_exactly(int(line[4:]))
            stream.write(b"OK %d\r\n" % len(body))
        elif line.startswith(b"GET "):
            await send_zeros(stream, int(line[4:]))
        else:
            stream.write(line + b"\r\n")
        await stream.drain()


async def send_zeros(stream: ChatStream, left: int) -> None:
    """Send so many, as fast as the client takes them."""
    while left > 0:
        stream.write(CHUNK if left >= 65536 else CHUNK[:left])
        left -= 65536
        await stream.drain()


async def handle_batches(stream: ChatStream) -> None:
    """Likewise, with one write for the lines of a read."""
    async for batch in stream.batches():
        replies = []
        for used, line in enumerate(batch, 1):
            if len(line) > 4096:
                replies.append(b"LEN %d" % len(line))
            elif line[:4] == b"PUT ":
                stream.used(used)
                replies.append(b"OK %d" % len(await stream.read_exactly(int(line[4:]))))
                break
            elif line[:4] == b"GET ":
                stream.writelines([reply + b"\r\n" for reply in replies])
                replies.clear()
                await send_zeros(stream, int(line[4:]))
            else:
                replies.append(line)
        if replies:
            stream.write(b"\r\n".join([*replies, b""]))
        await stream.drain()


async def main(port: int, serve: Handler) -> None:
    """Serve for ever."""
    server = await start_server(serve, "127.0.0.1", port, max_message_size=LIMIT, backlog=4096)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


arguments = parser()
arguments.add_argument("--loop", default="asyncio")
arguments.add_argument("--batches", action="store_true")
options = arguments.parse_args()
run(main(options.port, handle_batches if options.batches else handle), options.loop)
