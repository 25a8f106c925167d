"""The attackers: `python -m robustness.loris PORT`.  Holds as many connections as a line on its input says.

Each sends the head of a request, a byte every ten seconds, and comes again when it is thrown out.  It answers
with the number of connections that stand.
"""

import os
import selectors
import socket
import sys
import time
from collections import deque
from typing import Final

from robustness.processes import raise_file_limit

__all__ = ["Loris", "main"]

#: Seconds between two bytes of one connection.
_PAUSE: Final = 10.0
#: Connections that are made in a row, before anybody else has a turn.
_BATCH: Final = 50

_BEGINNING: Final = b"GET / HTTP/1.1\r\nHost: a\r\nX: "


class Loris:
    """Connections that are kept busy with nothing.

    Args:
        port: where to.

    Attributes:
        wanted: how many there are to be.
        thrown_out: how often the server has closed one.
    """

    def __init__(self, port: int) -> None:
        self.wanted = 0
        self.thrown_out = 0
        self._port = port
        self._selector = selectors.DefaultSelector()
        #: In the order in which they send next.
        self._connections: deque[socket.socket] = deque()
        self._sent = 0
        self._began = time.monotonic()

    @property
    def count(self) -> int:
        """How many connections stand."""
        return len(self._connections)

    def close(self) -> None:
        """Close all connections."""
        for sock in self._connections:
            sock.close()
        self._selector.close()

    def turn(self) -> None:
        """Do a little of everything."""
        for _ in range(min(_BATCH, self.wanted - self.count)):
            self._connect()
        while self.count > self.wanted:
            self._drop(self._connections[0])
        self._dribble()
        for key, _ in self._selector.select(0.01):
            self._look_at(key.fileobj)  # type: ignore[arg-type] # sockets are all that is registered

    def _connect(self) -> None:
        try:
            sock = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            sock.setblocking(False)
            sock.send(_BEGINNING)
        except OSError:
            return
        self._selector.register(sock, selectors.EVENT_READ)
        self._connections.append(sock)

    def _drop(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        self._connections.remove(sock)
        sock.close()

    def _dribble(self) -> None:
        """Send what is due: so many bytes, of all connections in turn."""
        now = time.monotonic()
        due = int((now - self._began) * self.count / _PAUSE)
        if not due:
            return
        self._began = now
        for _ in range(min(due, self.count)):
            sock = self._connections[0]
            self._connections.rotate(-1)
            try:
                sock.send(b"a")
            except OSError:
                self.thrown_out += 1
                self._drop(sock)

    def _look_at(self, sock: socket.socket) -> None:
        """The server has said something, which is not read, or closed."""
        try:
            data = sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.thrown_out += 1
            self._drop(sock)


def main() -> None:
    """Attack until the standard input ends."""
    if sys.platform == "win32":
        raise OSError("wanted a POSIX system, found Windows")
    raise_file_limit()
    loris, told, asked = Loris(int(sys.argv[1])), b"", False
    os.set_blocking(0, False)
    while True:
        try:
            data = os.read(0, 1000)
            if not data:
                return
            told += data
        except BlockingIOError:
            pass
        if b"\n" in told:
            line, _, told = told.partition(b"\n")
            loris.wanted, asked = int(line), True
        loris.turn()
        if asked and loris.count == loris.wanted:
            asked = False
            print(loris.count, flush=True)


if __name__ == "__main__":
    main()
