"""Two real sockets that are connected, with buffers of a known size."""

import contextlib
import socket
from types import TracebackType
from typing import Any, Self

__all__ = ["SocketPair", "socket_pair"]

#: Bytes that one send offers to fill a pair.
_MUCH = 1 << 22


class SocketPair:
    """Both ends of a connection within this process; see `socket_pair`.

    Attributes:
        near: the end for the channel to be tested.
        far: the end of its peer.
        capacity: bytes that the system takes of one large `near.send()`, while nothing is under way.
    """

    near: socket.socket
    far: socket.socket

    def __init__(self, buffer_size: int | None = None) -> None:
        self.near, self.far = socket.socketpair()
        for end in self.near, self.far:
            end.setblocking(False)
            if buffer_size is not None:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_size)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_size)
        self.capacity: int = self.near.send(bytes(_MUCH))
        self.drain()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Any:
        """`near, far = pair`."""
        return iter((self.near, self.far))

    def fill(self) -> int:
        """Send from the near end until the system takes no more; the bytes that it took."""
        filled = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += self.near.send(bytes(_MUCH))
        return filled

    def drain(self) -> bytes:
        """Receive at the far end all that has arrived."""
        pieces = []
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while piece := self.far.recv(_MUCH):
                pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Close both ends."""
        self.near.close()
        self.far.close()


def socket_pair(buffer_size: int | None = None) -> SocketPair:
    """Two connected sockets that do not block, for a `with` statement, which closes both.

    Args:
        buffer_size: bytes, for SO_SNDBUF and SO_RCVBUF of both ends. The system rounds it, and counts its own
            overhead in: `capacity` is what it amounts to. Small ones make a connection full after few bytes.
            None leaves the system's sizes.
    """
    return SocketPair(buffer_size)
