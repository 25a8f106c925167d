"""A peer's side of a connection: plain sockets on asyncio, as slow and as rude as they are told to be.

Nothing here is antiphon's: what tests it must not have its faults.
"""

import asyncio
import math
import socket
import struct
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Final, Self

__all__ = ["Connection", "Lost", "meanwhile"]

#: Seconds for which a byte is sent at a time.
_PATIENCE: Final = 20.0
#: Bytes read at once by a peer that takes what there is.
_ALL: Final = 262_144


class Lost(ConnectionError):  # noqa: N818 - it is the connection that is.
    """The connection has ended before all that was owed had come."""


@asynccontextmanager
async def meanwhile(doing: Coroutine[object, object, object]) -> AsyncIterator[None]:
    """Do this besides, and give it up at the end."""
    task = asyncio.ensure_future(doing)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Connection:
    """A connection to a server on 127.0.0.1.

    Args:
        sock: connected.
        piece: bytes that are read at once.
        pause: seconds between two reads.
        until: when to stop being slow, by the event loop's clock.
    """

    def __init__(
        self, sock: socket.socket, piece: int = _ALL, pause: float = 0.0, until: float = math.inf
    ) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._piece = piece
        self._pause = pause
        self._until = until
        self._data = b""

    @classmethod
    async def open(
        cls, port: int, piece: int = _ALL, pause: float = 0.0, buffer: int = 0, until: float = math.inf
    ) -> Self:
        """Connect.

        Args:
            port: where to.
            piece: bytes that are read at once.
            pause: seconds between two reads.
            buffer: bytes that the system is to keep of what was not read; 0 for what it finds right.
            until: when to stop being slow, by the event loop's clock.
        """
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except BaseException:
            sock.close()
            raise
        return cls(sock, piece, pause, until)

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        await self._loop.sock_sendall(self._sock, data)

    async def dribble(self, data: bytes, pause: float) -> None:
        """Send `data` one byte at a time, with a pause of so many seconds behind each.

        The rest goes at once when that has taken long: on a busy machine, pauses are longer than they should
        be, and a server may leave a peer that never comes to the end of what it says. So it does when it is
        time to stop being slow.
        """
        until = min(self._until, self._loop.time() + _PATIENCE)
        for at in range(len(data)):
            if self._loop.time() > until:
                await self.send(data[at:])
                return
            await self.send(data[at : at + 1])
            await asyncio.sleep(pause)

    async def receive(self) -> bytes:
        """What comes next; b"" at the end."""
        if self._pause and self._loop.time() < self._until:
            await asyncio.sleep(self._pause)
        return await self._loop.sock_recv(self._sock, self._piece)

    async def _more(self) -> None:
        data = await self.receive()
        if not data:
            raise Lost(f"the connection has ended after {self._data[-80:]!r}")
        self._data += data

    async def read_until(self, end: bytes) -> bytes:
        """All up to `end`, which is included."""
        while end not in self._data:
            await self._more()
        found, _, self._data = self._data.partition(end)
        return found + end

    async def read(self, size: int) -> bytes:
        """The next `size` bytes."""
        pieces, missing = [self._data], size - len(self._data)
        while missing > 0:
            data = await self.receive()
            if not data:
                raise Lost(f"the connection has ended {missing} bytes before the end of {size}")
            pieces.append(data)
            missing -= len(data)
        together = b"".join(pieces)
        found, self._data = together[:size], together[size:]
        return found

    async def read_to_end(self) -> bytes:
        """All that still comes."""
        pieces = [self._data]
        while data := await self.receive():
            pieces.append(data)
        self._data = b""
        return b"".join(pieces)

    def finish_sending(self) -> None:
        """Tell that nothing more will come from here."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off; whatever is under way is lost (SO_LINGER in socket(7))."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def close(self) -> None:
        """Close it. A second call does nothing."""
        self._sock.close()
