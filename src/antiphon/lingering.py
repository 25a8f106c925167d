"""Ending a TCP connection so that the peer gets all that was sent to it.

A socket that is closed while something that it has received is unread, or that receives more afterwards,
resets its connection (RFC 2525, 2.17; RFC 9293, 3.6.1), and what is still on its way is lost.  So whoever
wants everything to arrive ends its own direction first, and reads on until the peer has ended the other.
"""

import contextlib
import socket
import sys
from typing import Any, Final

from antiphon.direct import is_plain

__all__ = ["SECONDS", "half_close", "unacknowledged"]

#: How long a peer has to end its direction when it has everything; most do it at once.
SECONDS: Final = 1.0


def half_close(sock: Any) -> bool:
    """End our direction of a plain connection; whether that could be done, and its peer be waited for."""
    if not is_plain(sock) or sock.type != socket.SOCK_STREAM:
        return False
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return True


if sys.platform == "linux":
    import array
    import fcntl
    import termios

    def unacknowledged(sock: Any) -> int:
        """Bytes that were sent and that the peer's system has not acknowledged (SIOCOUTQ, tcp(7)).

        0 where nobody can tell: of sockets that are not TCP's.
        """
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return 0
        count = array.array("i", [0])
        with contextlib.suppress(OSError, ValueError):  # Of a closed one nothing is known.
            fcntl.ioctl(sock, termios.TIOCOUTQ, count)
        return count[0]

else:

    def unacknowledged(sock: Any) -> int:  # pragma: no cover: the tests run on Linux
        """0: this system doesn't tell."""
        return 0
