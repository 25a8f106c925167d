"""Connections that come through a proxy, which says first where they come from (PROXY protocol)."""

import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from antiphon.admission import network_of
from antiphon.asyncore import dispatcher
from antiphon.errors import ProxyHeaderError
from antiphon.framing.proxy_protocol import LONGEST, Header, HeaderReader
from antiphon.listener import Backlog

__all__ = ["Announced", "Proxies"]

_log: Final = logging.getLogger("antiphon.listener")


class Proxies:
    """The proxies that are believed.

    Args:
        networks: IP networks or addresses, as text or of the module `ipaddress`; "unix" for whoever may
            connect to a Unix socket.

    Raises:
        TypeError: a single text.
        ValueError: none, or one that is no network.
    """

    def __init__(self, networks: Iterable[Any]) -> None:
        if isinstance(networks, (str, bytes)):
            raise TypeError(f"wanted a list of networks as proxy_protocol, found {networks!r:.60}")
        listed = list(networks)
        if not listed:
            raise ValueError("wanted the networks of the proxies as proxy_protocol, found an empty list")
        self._unix = "unix" in listed
        self._networks = [ipaddress.ip_network(network) for network in listed if network != "unix"]

    def include(self, address: Any) -> bool:
        """Whether a connection from `address`, as accept(2) gives it, is from one of them."""
        if not isinstance(address, tuple):
            return self._unix
        found: Any = ipaddress.ip_address(address[0].partition("%")[0])
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in network for network in self._networks)


class Announced(dispatcher):
    """An accepted connection until its header is read; then its socket is somebody else's.

    Args:
        sock: the connection.
        map: where it lives meanwhile.
        backlog: the listener's, which counts it if it is refused.
        limit: of connections from one peer; None for any number.
        seconds: that the header may take.
        accepted: called with the socket and the client's address.
    """

    def __init__(
        self,
        sock: Any,
        map: Any,
        *,
        backlog: Backlog,
        limit: int | None,
        seconds: float,
        accepted: Callable[[Any, Any], None],
    ) -> None:
        super().__init__(sock, map)
        self._ac_backlog_of_listener = backlog
        self._ac_limit, self._ac_accepted = limit, accepted
        self._ac_reader = HeaderReader()
        self.call_later(seconds, self._ac_refuse, f"without a PROXY header within {seconds:g} s")

    def handle_read(self) -> None:
        """Look at what has arrived, and take what belongs to the header."""
        seen = self._ac_peek()
        if not seen:
            return
        try:
            used = self._ac_reader.feed(seen)
        except ProxyHeaderError as error:
            _log.debug("%r: %s", self, error)
            self._ac_refuse("with a malformed PROXY header")
            return
        self.socket.recv(used)
        if self._ac_reader.header is not None:
            self._ac_arrived(self._ac_reader.header)

    def _ac_peek(self) -> bytes:
        """What has arrived; none after the end, which closes the channel: that is how proxies look for us."""
        try:
            seen: bytes = self.socket.recv(LONGEST, socket.MSG_PEEK)
        except BlockingIOError:
            return b""
        except OSError as error:
            _log.debug("%r: %s before its PROXY header", self, error)
            seen = b""
        if not seen:
            self.close()
        return seen

    def _ac_arrived(self, header: Header) -> None:
        """Leave the connection to the program, if its client may have another one."""
        place, limit = self._ac_place, self._ac_limit
        address = self.addr if header.source is None else header.source
        peer = network_of(header.source)
        if place is not None and limit is not None and peer is not None and not place.move(peer, limit):
            self.addr = address
            self._ac_refuse(f"above max_connections_per_peer={limit}")
            return
        sock = self._ac_give_away()
        if place is not None:
            place.wait_for_channel()
        self._ac_backlog_of_listener.hand_over(self._ac_accepted, sock, address)

    def _ac_give_away(self) -> Any:
        """End without closing the socket."""
        sock, self.socket, self._ac_place = self.socket, None, None
        self.close()
        return sock

    def _ac_refuse(self, reason: str) -> None:
        sock = self.socket
        self._ac_backlog_of_listener.refuse(sock, self.addr, reason)
        self.close()

    def handle_close(self) -> None:
        """Close: there is nobody to tell."""
        self.close()
