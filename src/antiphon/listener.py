"""Accepting connections: how many at a time, and what to do when the system or a peer is in trouble."""

import errno
import logging
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from antiphon.admission import Census, unadopted
from antiphon.early import NOTHING, Early, arrival
from antiphon.endings import ERROR, because
from antiphon.failures import ESCAPING, contain
from antiphon.refusals import Refusals
from antiphon.reserve import reserve

__all__ = ["EXHAUSTED", "LARGEST_BATCH", "PAUSE", "PEER_GONE", "Backlog", "checked_limit"]

_log = logging.getLogger("antiphon.listener")

#: The process or the system has no descriptor or memory left for one more connection.
EXHAUSTED: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, getattr(errno, "ENOSR", errno.ENOBUFS)}
)

#: Of these, what one descriptor more would change.
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})

#: The connection died before it was accepted, or its network did: accept(2) says to try again.
PEER_GONE: Final = frozenset(
    _number
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
    if (_number := getattr(errno, name, None)) is not None
)

#: Connections taken from one listener in one turn at most, so that the accepted ones have their turn too.
LARGEST_BATCH: Final = 64
#: Whether a connection has the options of TCP that its listener had when the connection was made.
_INHERITED: Final = sys.platform == "linux"
#: Seconds that a listener rests when the system is exhausted.
PAUSE: Final = 1.0


def checked_limit(name: str, value: Any) -> None:
    """Refuse what is no limit on connections.

    Raises:
        ValueError: it is neither None nor an int above 0.
    """
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"wanted None or an int above 0 as {name}, found {value!r:.60}")


def _made_of(listening: Any) -> tuple[int, int, int] | None:
    """What makes a socket like this one; None for a stand-in, and where `accept()` has more to do."""
    if type(listening) is not socket.socket or listening.gettimeout() or not hasattr(listening, "_accept"):
        return None
    return int(listening.family), int(listening.type), listening.proto


class Backlog:
    """How one listening channel takes connections, and which of them.

    A listener that is ready in turn after turn has a long queue: each time twice as many are taken.  One that
    is ready for a single connection now and then costs a single accept(2) for each.

    Args:
        channel: the listener; has `accept()`, `call_later()`, the limits, and `_ac_paused`, which stops its
            watching.

    Attributes:
        accepted: connections that were accepted and not refused.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._batch = 1
        self._turn = 0
        #: Whether the listening socket has TCP_NODELAY, and whether all that is accepted came with it.
        self._has_no_delay = self._gives_no_delay = False
        self._exhausted = self._rests = self._is_full = self._told_full = False
        #: The socket that was last accepted from, and what its connections are made of.
        self._listening: Any = None
        self._made_of: tuple[int, int, int] | None = None
        self.accepted: int = 0
        self._refusals = Refusals(channel)
        #: What has waited in a long queue is read from at once.
        self.early: Early = Early(channel)
        #: Refusals that this turn has left, and the turn.
        self._left, self._refusing_in = LARGEST_BATCH, -1
        if isinstance(channel._ac_socket, socket.socket):  # Stand-ins need no descriptors.
            reserve.keep_for(self)

    @property
    def refused(self) -> int:
        """Connections that were closed instead of given to the program."""
        return self._refusals.total

    def accept(self, listening: Any) -> tuple[Any, Any] | None:
        """The next connection, whatever the limits are, and its address; None if a stand-in has none.

        As `listening.accept()`, which makes enums of the socket's family and type for each connection.

        Raises:
            OSError: what accept(2) says.
        """
        if listening is not self._listening:
            self._listening, self._made_of = listening, _made_of(listening)
            self._has_no_delay = self._gives_no_delay = False
        if self._made_of is None:
            try:
                connection, address = listening.accept()
            except TypeError:  # A socket's stand-in had none.
                return None
        else:
            family, kind, protocol = self._made_of
            try:
                fd, address = listening._accept()
            except BlockingIOError:  # Whoever is in the queue from now on has come after it got the option.
                self._gives_no_delay = self._has_no_delay
                raise
            connection = socket.socket(family, kind, protocol, fd)
        self.accepted += 1
        loop = self._channel._ac_loop
        if loop is not None:
            loop.counts.accepted += 1
        self._exhausted = False
        return connection, address

    def take(self, accepted: Callable[..., None]) -> None:
        """Accept a batch and call `accepted(connection, address)` for each; its errors concern that one."""
        channel = self._channel
        loop = channel._ac_loop
        turn = self._turn + 1 if loop is None else loop.turns
        if turn != self._turn + 1:
            self._batch = 1
        self._turn = turn
        reads_early = self.early.begins(loop, self._batch)
        for _ in range(self._batch):
            pair = channel.accept()
            if pair is None:
                self._batch = 1
                return
            connection, address = pair
            arrival.latest = connection, address, self._gives_no_delay, self
            try:  # As hand_over, without the call.
                accepted(connection, address)
                if reads_early:
                    self.early.read(loop)
            except ESCAPING:
                raise
            except Exception:
                self._abandon(connection)
            finally:
                arrival.latest, arrival.channel = NOTHING, None
            is_open = channel._fileno is not None and (channel._ac_accepting or channel.accepting)
            if not is_open or channel._ac_reading_paused:
                return
        self._batch = min(2 * self._batch, LARGEST_BATCH)

    def give_no_delay(self) -> None:
        """Have connections come with TCP_NODELAY from now on, so that it need not be given to each."""
        if _INHERITED and not self._has_no_delay:
            with suppress(OSError, AttributeError):
                self._listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                self._has_no_delay = True

    def hand_over(self, accepted: Callable[..., None], connection: Any, address: Any) -> None:
        """Call `accepted(connection, address)`; a channel that it makes finds `address` in its `addr`."""
        arrival.latest = connection, address, self._gives_no_delay, self
        try:
            accepted(connection, address)
        except ESCAPING:
            raise
        except Exception:
            self._abandon(connection)
        finally:
            arrival.latest, arrival.channel = NOTHING, None

    def _abandon(self, connection: Any) -> None:
        """Close a connection that nobody took over, with the half-made channel it may have got.

        To be called while the exception is being handled that is the reason; the listener is told of it.
        """
        fd = connection.fileno()
        place = unadopted.get(fd)
        channel = self._channel._map.get(fd) if self._channel._map else None
        if channel is not None and getattr(channel, "_ac_socket", None) is connection:
            because(ERROR, channel, channel.close)
        else:
            connection.close()
        if place is not None and not place.is_held:
            place.leave()
        contain(self._channel)

    # -- limits --------------------------------------------------------------------------------------

    def _census(self) -> Census:
        """The connections that count, those of the socket that the channel had before among them."""
        channel = self._channel
        if channel._ac_census is None:
            channel._ac_census = Census()
        census: Census = channel._ac_census
        return census

    def accept_within_limits(self, listening: Any) -> tuple[Any, Any] | None:
        """The next connection that the limits allow, and its address; None if there is none now.

        Raises:
            OSError: what accept(2) says.
        """
        census, limit = self._census(), self._channel.max_connections_per_peer
        for name, value in (
            ("max_connections", self._channel.max_connections),
            ("max_connections_per_peer", limit),
        ):
            if value is not None and type(value) is not int:
                checked_limit(name, value)
        self._bound_refusals()
        while self._left > 0 and not self._has_no_room(census):
            pair = self.accept(listening)
            if pair is None:
                return None
            connection, address = pair
            peer = None if limit is None else self._channel._ac_counts_for(address)
            if peer is not None and census.is_above(peer, limit):
                self.refuse(connection, address, f"above max_connections_per_peer={limit}")
                continue
            census.enter(connection, address, peer)
            self._has_no_room(census)  # Not to be woken for the next one.
            return pair
        return None

    def _bound_refusals(self) -> None:
        """Refuse as many as a batch in one turn at most, so that the accepted ones have their turn too."""
        loop = self._channel._ac_loop
        if loop is None or loop.turns != self._refusing_in:
            self._left, self._refusing_in = LARGEST_BATCH, -1 if loop is None else loop.turns

    def refuse(self, connection: Any, address: Any, reason: str) -> None:
        """Close a connection that the program is not given, and count it as refused instead of accepted.

        Args:
            connection: its socket.
            address: where it comes from.
            reason: why, for the log.
        """
        self._left -= 1
        self.accepted -= 1
        loop = self._channel._ac_loop
        if loop is not None:
            loop.counts.accepted -= 1
            loop.counts.refused += 1
        connection.close()
        self._refusals.note(reason, address)

    def _has_no_room(self, census: Census) -> bool:
        """Whether there are `max_connections`; if so, the others wait in the system's queue from now on."""
        limit = self._channel.max_connections
        if limit is None or len(census) < limit:
            if self._told_full and (limit is None or 4 * len(census) < 3 * limit):
                self._told_full = False
            return False
        census.look_again()
        if len(census) >= limit and not self._is_full:
            self._is_full = True
            census.waiting.add(self._room)
            self._watch_or_not()
            self._channel.call_later(PAUSE, self._look_for_room)
            self._tell_full(limit)
        if len(census) < limit:  # Another thread may have made room meanwhile.
            self._room()
            return False
        return True

    def _tell_full(self, limit: int) -> None:
        if not self._told_full:
            self._told_full = True
            _log.warning("%r has max_connections=%d: the next ones wait", self._channel, limit)

    def _room(self) -> None:
        """Accept again.  Any thread may call it, in the middle of anything."""
        self._channel._ac_census.waiting.discard(self._room)
        if self._is_full:
            self._is_full = False
            self._watch_or_not()

    def _look_for_room(self) -> None:
        """Find connections that ended without telling, and a limit that was raised."""
        if self._is_full:
            census, limit = self._census(), self._channel.max_connections
            census.sweep()
            if limit is None or len(census) < limit:
                self._room()
            else:
                self._channel.call_later(PAUSE, self._look_for_room)

    # -- exhaustion ----------------------------------------------------------------------------------

    def pause(self, error: OSError) -> None:
        """Rest for PAUSE seconds; says so once until connections are accepted again.

        Those that wait are left in the system's queue.  When nothing is better after the rest, they are
        accepted by means of the reserve, and closed: a shortage that passes costs nobody the connection, and
        in one that doesn't, nobody waits for long without knowing.
        """
        channel = self._channel
        if not self._exhausted:
            self._exhausted = True
            _log.error("%r cannot accept: %s; trying again every %g s", channel, error, PAUSE)
        elif error.errno in _NO_DESCRIPTOR and self._refuse_waiting():
            return
        self._rests = True
        self._watch_or_not()
        channel.call_later(PAUSE, self._resume)

    def _resume(self) -> None:
        self._rests = False
        self._watch_or_not()

    def _refuse_waiting(self) -> bool:
        """Close what waits, as far as a turn may; whether there may be more."""
        self._bound_refusals()
        while self._left > 0:
            with reserve.spent() as there_was_one:
                try:
                    pair = self.accept(self._listening) if there_was_one else None
                except OSError:
                    return False
                if pair is None:
                    return False
                self._exhausted = True
                self.refuse(*pair, "for want of a descriptor")
        return True

    def _watch_or_not(self) -> None:
        self._channel._ac_paused = self._rests or self._is_full
        self._channel._ac_state_changed()

    def closed(self) -> None:
        """The listener is closed."""
        if self._channel._ac_census is not None:
            self._channel._ac_census.waiting.discard(self._room)
        reserve.give_up(self)
        self._refusals.tell()
