"""What a stream has to send: small pieces are put together, and who sends too much waits."""

import asyncio
from collections import deque
from typing import Final, TypeAlias

__all__ = ["ENOUGH", "MANY", "SMALL", "Data", "Outgoing"]

#: Bytes that are sent at once; less waits for the end of the turn, for more to leave with.
ENOUGH: Final = 65_536

#: Bytes below which a piece is not counted within an event, and how many pieces are sent at once.
SMALL: Final = 512
MANY: Final = 512

Data: TypeAlias = bytes | bytearray | memoryview


class Outgoing:
    """The pieces that wait for the end of a turn, and the tasks that wait for the transport.

    Attributes:
        transport: where to.
        pieces: what is to be sent.
        open: whether what is written will be sent.
        corked: likewise, and an event is being dealt with that will flush at its end.
        blocked: whether a task that drains must do more than go on.
        lost: whether the connection is.
    """

    __slots__ = (
        "_drainers", "_ended", "_error", "_loop", "_paused", "_size", "blocked", "corked", "lost", "open",
        "pieces", "transport",
    )  # fmt: skip

    blocked: bool
    corked: bool
    lost: bool
    open: bool

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.transport: asyncio.Transport
        self.pieces: list[bytes] = []
        self._size = 0
        self.corked = self.blocked = self.lost = False
        self._paused = self._ended = False
        self.open = True
        self._loop = loop
        self._drainers: deque[asyncio.Future[None]] = deque()
        self._error: Exception | None = None

    def write(self, data: Data) -> None:
        """Send `data`, as `Writer.write` says.

        Raises:
            TypeError: it is not bytes-like.
            RuntimeError: nothing more was to be sent.
        """
        if type(data) is not bytes:
            data = _as_bytes(data)
        if self._ended:
            raise RuntimeError("wanted nothing more to be written after write_eof()")
        if not self.open or not data:
            return
        pieces = self.pieces
        if len(data) >= ENOUGH:
            if pieces:
                self.flush()
            self.transport.write(data)
            self._look()
            return
        if not pieces and not self.corked:
            self._loop.call_soon(self.flush)
        pieces.append(data)
        self._size += len(data)
        if self._size >= ENOUGH or len(pieces) >= MANY:
            self.flush_early()

    def flush(self) -> None:
        """Give all pieces to the transport, in one."""
        pieces = self.pieces
        if not pieces:
            return
        if len(pieces) == 1:
            data = pieces.pop()
        else:
            data = b"".join(pieces)
            pieces.clear()
        self._size = 0
        self.transport.write(data)

    def flush_early(self) -> None:
        """Likewise, before the turn ends."""
        self.flush()
        self._look()

    def _look(self) -> None:
        """Who does nothing but write and drain must come to hear that the connection is gone."""
        if self.transport.is_closing():
            self.blocked = True

    def end(self) -> None:
        """Send what there is, and then the end; nothing once it is closed.

        Raises:
            NotImplementedError: the transport can't, as over TLS.
        """
        if not self.open:
            return
        if not self.transport.can_write_eof():
            raise NotImplementedError("wanted a connection that can end in one direction, found one over TLS")
        self.flush()
        self._ended, self.open, self.corked = True, False, False
        self.transport.write_eof()

    def shut(self) -> None:
        """Send what there is, and close."""
        self.flush()
        self._close()
        self.transport.close()

    def drop(self) -> None:
        """Close at once."""
        self._close()
        self.transport.abort()

    def _close(self) -> None:
        self.pieces.clear()
        self.open = self.corked = False
        self.blocked = True

    async def drain(self) -> None:
        """Wait until the transport takes more.

        Raises:
            ConnectionError: the connection is lost.
        """
        if self.transport.is_closing():
            await asyncio.sleep(0)  # The loop has its turn, to tell that the connection is lost.
        if self.lost:
            raise self._error or ConnectionResetError("wanted to send, found the connection lost")
        if not self._paused:
            return
        waiter = self._loop.create_future()
        self._drainers.append(waiter)
        try:
            await waiter
        finally:
            self._drainers.remove(waiter)

    def pause(self) -> None:
        """The transport has enough."""
        self._paused = self.blocked = True

    def resume(self) -> None:
        """The transport takes more."""
        self._paused = False
        self.blocked = self.transport.is_closing()
        self._release(None)

    def lose(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._close()
        self.lost = True
        self._error = error
        self._release(error or ConnectionResetError("wanted to send, found the connection lost"))

    def _release(self, error: Exception | None) -> None:
        for waiter in self._drainers:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


def _as_bytes(data: object) -> bytes:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"wanted bytes to write, found {type(data).__name__}: {data!r:.60}")
    return bytes(data)
