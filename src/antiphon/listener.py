"""Accepting connections: how many at a time, and what to do when the system or a peer is in trouble."""

import errno
import logging
import socket
from collections.abc import Callable
from typing import Any, Final

from antiphon.failures import ESCAPING

__all__ = ["EXHAUSTED", "LARGEST_BATCH", "PAUSE", "PEER_GONE", "Backlog"]

_log = logging.getLogger("antiphon")

#: The process or the system has no descriptor or memory left for one more connection.
EXHAUSTED: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, getattr(errno, "ENOSR", errno.ENOBUFS)}
)

#: The connection died before it was accepted, or its network did: accept(2) says to try again.
PEER_GONE: Final = frozenset(
    number
    for name in [
        "EAGAIN",
        "EWOULDBLOCK",
        "EINTR",
        "ECONNABORTED",
        "EPROTO",
        "EPERM",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "EOPNOTSUPP",
        "ENETUNREACH",
        "ETIMEDOUT",
        "ESOCKTNOSUPPORT",
        "EPROTONOSUPPORT",
    ]
    if (number := getattr(errno, name, None)) is not None
)

#: Connections taken from one listener in one turn at most, so that the accepted ones have their turn too.
LARGEST_BATCH: Final = 64
#: Seconds that a listener rests when the system is exhausted.
PAUSE: Final = 1.0


#: The connection that is being handed over, and the address that accept(2) gave: getpeername(2) need not.
_latest: tuple[Any, Any] = (None, None)


def peer_of(connection: Any) -> Any:
    """The address of the other side.

    Raises:
        OSError: there is none (ENOTCONN).
    """
    accepted, address = _latest
    return address if accepted is connection else connection.getpeername()


def _made_of(listening: Any) -> tuple[int, int, int] | None:
    """What makes a socket like this one; None for a stand-in, and where `accept()` has more to do."""
    if type(listening) is not socket.socket or listening.gettimeout() or not hasattr(listening, "_accept"):
        return None
    return int(listening.family), int(listening.type), listening.proto


class Backlog:
    """How one listening channel takes connections.

    A listener that is ready in turn after turn has a long queue: each time twice as many are taken.  One that
    is ready for a single connection now and then costs a single accept(2) for each.

    Args:
        channel: the listener; has `accept()`, `call_later()`, and `_ac_paused`, which stops its watching.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._batch = 1
        self._turn = 0
        self._exhausted = False
        #: The socket that was last accepted from, and what its connections are made of.
        self._listening: Any = None
        self._made_of: tuple[int, int, int] | None = None

    def accept(self, listening: Any) -> tuple[Any, Any]:
        """As `listening.accept()`, which makes enums of the socket's family and type for each connection."""
        if listening is not self._listening:
            self._listening, self._made_of = listening, _made_of(listening)
        if self._made_of is None:
            connection, address = listening.accept()
            return connection, address
        family, kind, protocol = self._made_of
        fd, address = listening._accept()
        return socket.socket(family, kind, protocol, fd), address

    def take(self, accepted: Callable[..., None]) -> None:
        """Accept a batch and call `accepted(connection, address)` for each; its errors concern that one."""
        global _latest  # noqa: PLW0603 (one slot of memory)
        channel = self._channel
        loop = channel._ac_loop
        turn = self._turn + 1 if loop is None else loop.turns
        if turn != self._turn + 1:
            self._batch = 1
        self._turn = turn
        for _ in range(self._batch):
            pair = channel.accept()
            if pair is None:
                self._batch = 1
                return
            self._exhausted = False
            _latest = pair
            try:
                connection, address = pair
                accepted(connection, address)
            except ESCAPING:
                raise
            except Exception:
                self._abandon(pair[0])
                channel.handle_error()
            finally:
                _latest = None, None
            if channel._fileno is None or not (channel._ac_accepting or channel.accepting):
                return
        self._batch = min(2 * self._batch, LARGEST_BATCH)

    def _abandon(self, connection: Any) -> None:
        """Close a connection that nobody took over, with the half-made channel it may have got."""
        fd = connection.fileno()
        channel = self._channel._map.get(fd) if self._channel._map else None
        if channel is not None and getattr(channel, "_ac_socket", None) is connection:
            channel.close()
        else:
            connection.close()

    def pause(self, error: OSError) -> None:
        """Rest for PAUSE seconds; says so once until connections are accepted again."""
        channel = self._channel
        if not self._exhausted:
            self._exhausted = True
            _log.error("%r cannot accept: %s; trying again every %g s", channel, error, PAUSE)
        channel._ac_paused = True
        channel._ac_state_changed()
        channel.call_later(PAUSE, self._resume)

    def _resume(self) -> None:
        self._channel._ac_paused = False
        self._channel._ac_state_changed()
