"""The connections that a listener counts, and the peers that it counts them for.

A connection has a `Place` from the moment it is accepted until its socket is closed or garbage; or until that
of its channel is, which may be another one by then: that is how TLS is done by hand.
"""

import socket
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final
from weakref import ref

__all__ = ["Census", "Place", "adopt", "network_of", "unadopted", "wrapped"]

#: By descriptor: the places of connections that no channel has yet.
unadopted: "dict[int, Place]" = {}

#: Of the places of a census, the part that is looked through for each connection that finds no room.
_SWEEP: Final = 16

_MAPPED: Final = bytes(10) + b"\xff\xff"  # RFC 4291, section 2.5.5.2
_TRANSLATED: Final = bytes.fromhex("0064ff9b") + bytes(8)  # RFC 6052, section 2.1


def network_of(address: Any) -> Hashable | None:
    """What counts as one peer.

    >>> network_of(("192.0.2.1", 1)) == network_of(("::ffff:192.0.2.1", 2, 0, 0))
    True
    >>> network_of(("2001:db8::1", 1, 0, 0)) == network_of(("2001:db8::2", 1, 0, 0))
    True

    Args:
        address: as accept(2) gives it.

    Returns:
        An IPv4 address, also where IPv6 carries it. Of an IPv6 address its first 64 bits, since a single
        host has as many to choose from at least (RFC 4291, section 2.5.1; RFC 6177); of one that is valid on
        its link alone (fe80::/10), all of it and the link. None for what has no such address.
    """
    if not isinstance(address, tuple) or len(address) not in (2, 4) or not isinstance(address[0], str):
        return None
    if len(address) == 2:
        return address[0]
    packed = socket.inet_pton(socket.AF_INET6, address[0].partition("%")[0])
    if packed.startswith((_MAPPED, _TRANSLATED)):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    if packed[0] == 0xFE and packed[1] & 0xC0 == 0x80:
        return packed, address[3]
    return packed[:8]


class _Watch(ref[Any]):
    """A weak reference that tells a place of its object's end."""

    __slots__ = ("place",)

    place: "Place"

    def __new__(cls, watched: Any, place: "Place") -> "_Watch":
        watch = super().__new__(cls, watched, _ended)
        watch.place = place
        return watch


def _ended(watch: Any) -> None:
    if not watch.place.is_held:
        watch.place.leave()


def _is_open(sock: Any) -> bool:
    return sock is not None and sock.fileno() >= 0


class Place:
    """One connection among those that are counted.

    Attributes:
        peer: whom it is counted for, as `network_of` tells; None for nobody.
    """

    __slots__ = ("_census", "_channel", "_fd", "_sock", "address", "peer")

    def __init__(self, census: "Census", sock: Any, address: Any, peer: Hashable | None) -> None:
        self._census = census
        self._fd = sock.fileno()
        self._sock: _Watch | None = _Watch(sock, self)
        self._channel: _Watch | None = None
        self.address: Any = address
        self.peer: Hashable | None = peer
        self.wait_for_channel()

    @property
    def is_held(self) -> bool:
        """Whether its connection is still open, as far as can be told from its channel and its socket."""
        channel = None if self._channel is None else self._channel()
        if channel is not None and _is_open(channel._ac_socket):
            return True
        return self._sock is not None and _is_open(self._sock())

    def is_of(self, sock: Any) -> bool:
        """Whether `sock`, which has the same descriptor, is its connection."""
        mine = None if self._sock is None else self._sock()
        if mine is sock or mine is None or _is_open(mine):
            return mine is sock
        try:  # It was closed, or it is what `sock` was made of: `SSLContext.wrap_socket` detaches it.
            return bool(sock.getpeername() == self.address)
        except (OSError, AttributeError):
            return False

    def is_wrapped(self, wrapper: Any) -> None:
        """Be found by `wrapper` instead of its socket."""
        self._sock = _Watch(wrapper, self)

    def belongs_to(self, channel: Any) -> None:
        """Last as long as the socket of `channel`, whichever that is."""
        unadopted.pop(self._fd, None)
        self._channel = _Watch(channel, self)

    def move(self, peer: Hashable, limit: int) -> bool:
        """Count for `peer`, of whom more is known now, unless it has `limit` already; whether it hasn't."""
        if self._census.is_above(peer, limit):
            return False
        self._census.move(self, peer)
        return True

    def wait_for_channel(self) -> None:
        """Be adopted by the next channel that gets the connection's socket."""
        self._channel = None
        unadopted[self._fd] = self

    def leave(self) -> None:
        """Count no more.  Any thread may say so, in the middle of anything."""
        self._sock = self._channel = None
        if unadopted.get(self._fd) is self:
            unadopted.pop(self._fd, None)
        self._census.left(self)


def adopt(channel: Any, sock: Any) -> None:
    """Have the place of `sock`, if it has one, last as long as its channel."""
    place = unadopted.get(channel._fileno)
    if place is not None and place.is_of(sock):
        place.belongs_to(channel)
        channel._ac_place = place


def wrapped(sock: Any, wrapper: Any) -> None:
    """Have the place of `sock`, if it has one, be adopted by the channel that gets `wrapper` for it."""
    place = unadopted.get(sock.fileno())
    if place is not None and place.is_of(sock):
        place.is_wrapped(wrapper)


class Census:
    """The connections of a listener, or of several that share a limit; for one loop's thread."""

    def __init__(self) -> None:
        self._places: set[Place] = set()
        self._peers: dict[Hashable, int] = {}
        #: Those that have left and are not taken out yet: a garbage collection tells, in any thread.
        self._left: deque[Place] = deque()
        self._looks = 0
        #: Called, in any thread, when a place becomes free.
        self.waiting: set[Callable[[], None]] = set()

    def __len__(self) -> int:
        self._settle()
        return len(self._places)

    def of(self, peer: Hashable) -> int:
        """How many connections a peer has."""
        self._settle()
        return self._peers.get(peer, 0)

    def is_above(self, peer: Hashable, limit: int) -> bool:
        """Whether one more connection of `peer` would be more than `limit`."""
        if self.of(peer) < limit:
            return False
        self.look_again()
        return self.of(peer) >= limit

    def enter(self, sock: Any, address: Any, peer: Hashable | None) -> Place:
        """Count a connection."""
        place = Place(self, sock, address, None)
        self._places.add(place)
        self.move(place, peer)
        return place

    def move(self, place: Place, peer: Hashable | None) -> None:
        """Count a connection for `peer`: more is known of where it comes from."""
        self._count(place.peer, -1)
        place.peer = peer
        self._count(peer, 1)

    def left(self, place: Place) -> None:
        """Note that `place` is free."""
        self._left.append(place)
        for tell in tuple(self.waiting):
            tell()

    def look_again(self) -> None:
        """Find those that were closed in a way that nobody tells of, now and then.

        That is a socket that was closed and is still referenced, and that of a channel whose `close()` is
        the program's own.  All places are looked at in one of `len() / 16` calls: a call costs the same on
        average, however many places there are.
        """
        self._looks += 1
        if self._looks * _SWEEP >= len(self._places):
            self._looks = 0
            self.sweep()

    def sweep(self) -> None:
        """Look at all of them."""
        for place in tuple(self._places):
            if not place.is_held:
                place.leave()

    def _settle(self) -> None:
        while self._left:
            place = self._left.popleft()
            if place in self._places:
                self._places.discard(place)
                self._count(place.peer, -1)

    def _count(self, peer: Hashable | None, change: int) -> None:
        if peer is None:
            return
        number = self._peers.get(peer, 0) + change
        if number:
            self._peers[peer] = number
        else:
            del self._peers[peer]
