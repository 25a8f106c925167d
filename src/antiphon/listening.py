"""Servers: `create_server(factory, address)` listens, and makes a channel of each connection."""

import socket
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from antiphon import asyncore
from antiphon.admission import Census, wrapped
from antiphon.binding import Address, inherited_sockets, open_sockets
from antiphon.listener import checked_limit
from antiphon.proxied import Announced, Proxies
from antiphon.socket_file import SocketFile
from antiphon.timers import seconds

if TYPE_CHECKING:
    import ssl

__all__ = ["Address", "Factory", "Listener", "Server", "create_server", "inherited_sockets"]

#: Called with the socket of a connection and the map: makes its channel. A class of channels is one.
Factory: TypeAlias = Callable[[Any, Any], Any]


class Listener(asyncore.dispatcher):
    """A listening channel that makes a channel of each connection. `create_server` makes them.

    Args:
        factory: makes the channel; see `create_server`.
        sock: listens already.
        map: where the listener and its channels live; `asyncore.socket_map` if None.
        tls: what each connection speaks TLS with, from its first byte on.
        proxies: who says where a connection comes from, if that is not asked of the system.
        proxy_protocol_timeout: seconds that it may take to say so.
        file: by which the socket is found; removed when it is closed.
    """

    def __init__(
        self,
        factory: Factory,
        sock: socket.socket,
        map: Any = None,
        *,
        tls: "ssl.SSLContext | None" = None,
        proxies: Proxies | None = None,
        proxy_protocol_timeout: float = 5.0,
        file: SocketFile | None = None,
    ) -> None:
        super().__init__(map=map)
        self.addr: Any
        self.factory: Factory = factory
        self.tls: ssl.SSLContext | None = tls
        self._ac_proxies, self._ac_header_timeout = proxies, proxy_protocol_timeout
        self._ac_file = file
        sock.setblocking(False)
        self.set_socket(sock, map)
        self.addr = sock.getsockname()
        self.accepting = True
        self._ac_queue()

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        """Make a channel of a connection, or first ask the proxy where it comes from."""
        proxies = self._ac_proxies
        if proxies is None:
            self._ac_make_channel(sock, addr)
        elif not proxies.include(addr):
            self._ac_queue().refuse(sock, addr, "from outside of proxy_protocol")
        else:
            Announced(
                sock,
                self._map,
                backlog=self._ac_queue(),
                limit=self.max_connections_per_peer,
                seconds=self._ac_header_timeout,
                accepted=self._ac_make_channel,
            )

    def _ac_make_channel(self, sock: Any, addr: Any) -> None:
        """Make a channel; with TLS, of a socket by which nothing leaves before the handshake."""
        if self.tls is None:
            self.factory(sock, self._map)
            return
        from antiphon.secured import Secured

        tls = Secured(None, sock, _of_server(self.tls), server_side=True)
        wrapped(sock, tls)
        self._ac_queue().hand_over(self._ac_make_secured, tls, addr)

    def _ac_make_secured(self, tls: Any, addr: Any) -> None:
        made = self.factory(tls, self._map)
        if not tls.begin_for(made) and made is not None:
            if hasattr(made, "close"):
                made.close()
            raise TypeError(
                f"wanted a channel of the socket that it was given from the factory, found {made!r:.200}"
            )

    def _ac_counts_for(self, address: Any) -> Any:
        """Nobody, as long as only the proxy is known."""
        return None if self._ac_proxies is not None else super()._ac_counts_for(address)

    def _ac_close(self) -> None:
        file, self._ac_file = self._ac_file, None
        if file is not None:
            file.remove()
        super()._ac_close()


class Server:
    """The listeners of one `create_server`. As a context manager, closes them at the end.

    Attributes:
        listeners: one for each socket.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners: tuple[Listener, ...] = tuple(listeners)

    @property
    def addresses(self) -> list[Any]:
        """Where it listens, as getsockname(2) has it: with the port that the system chose for port 0."""
        return [listener.addr for listener in self.listeners]

    def close(self) -> None:
        """Listen no more; connections go on. Again is fine."""
        for listener in self.listeners:
            listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<antiphon.listening.Server {self.addresses!r} at {id(self):#x}>"


def create_server(
    factory: Factory,
    address: "Address | list[Address]",
    *,
    backlog: int = 1024,
    reuse_port: bool = False,
    dual_stack: bool = False,
    mode: int | None = None,
    tls: "ssl.SSLContext | None" = None,
    proxy_protocol: Iterable[Any] | None = None,
    proxy_protocol_timeout: float = 5.0,
    max_connections: int | None = None,
    max_connections_per_peer: int | None = None,
    map: Any = None,
) -> Server:
    """Listen, and make a channel of each connection.

    Args:
        factory: called as `factory(sock, map)` for each connection, returns its channel: a class derived
            from `async_chat`, `MessageChannel` or `dispatcher`, or a function that makes one. The channel
            finds the client's address in its `addr`. What it raises is logged and closes this one connection;
            to refuse a connection, close the socket and return None.
        address: where to listen, or a list of such.

            - `(host, port)`: a name (all its addresses), an IPv4 or IPv6 address, or "" for every address
              of this host. Port 0 lets the system choose; all sockets get the same one, and
              `Server.addresses` tells.
            - `(host, port, flow, scope)`: an IPv6 address.
            - A text, bytes or a path: a Unix socket. The file of one that nobody listens on any more is
              replaced; it is removed when the server closes. What begins with NUL is an abstract name
              (Linux).
            - A socket, or its descriptor, which becomes the server's: see `inherited_sockets`.
        backlog: connections that the system keeps waiting, about; it may have a smaller bound of its own.
        reuse_port: whether other processes may listen on the same port and share the connections
            (SO_REUSEPORT).
        dual_stack: whether IPv6 sockets take IPv4 connections too, whose addresses look like
            "::ffff:192.0.2.1". Without it, "" is two sockets, and "::" is for IPv6 alone.
        mode: permission bits of a Unix socket's file; None leaves them to the umask.
        tls: every connection speaks TLS from its first byte on, with this. What a channel pushes or sends
            leaves after the handshake, also in its constructor: the `sock` that the factory is given has no
            way around TLS, and is no `socket.socket`.
        proxy_protocol: the networks whose connections begin with a header of the PROXY protocol, version 1 or
            2, which says where they come from; "unix" for Unix sockets. Any other connection is refused.
        proxy_protocol_timeout: seconds that this header may take.
        max_connections: connections that may be open at a time, of all sockets together; the next ones wait.
        max_connections_per_peer: of one peer; more are closed. With `proxy_protocol`, the peer is the client
            that the proxy names.
        map: where listeners and channels live; `asyncore.socket_map` if None.

    Raises:
        OSError: the system refuses to listen; nothing is left open then.
        ValueError, TypeError: an argument is not what was wanted, or two don't go together.
    """
    if not callable(factory):
        raise TypeError(f"wanted a callable factory(sock, map), found {factory!r:.60}")
    checked_limit("max_connections", max_connections)
    checked_limit("max_connections_per_peer", max_connections_per_peer)
    if tls is not None:
        _of_server(tls)
    proxies = None if proxy_protocol is None else Proxies(proxy_protocol)
    patience = seconds("proxy_protocol_timeout", proxy_protocol_timeout, above=0)
    opened = _open(address, backlog, reuse_port, dual_stack, mode)
    census = Census()
    listeners = []
    for sock, file in opened:
        listener = Listener(
            factory, sock, map, tls=tls, proxies=proxies, proxy_protocol_timeout=patience, file=file
        )
        listener.max_connections = max_connections
        listener.max_connections_per_peer = max_connections_per_peer
        listener._ac_census = census
        listeners.append(listener)
    return Server(listeners)


def _of_server(context: Any) -> "ssl.SSLContext":
    from antiphon.tls_contexts import checked_context

    return checked_context(context, server_side=True, server_hostname=None)


def _open(address: Any, backlog: int, reuse_port: bool, dual_stack: bool, mode: int | None) -> list[Any]:
    opened: list[Any] = []
    try:
        for place in address if isinstance(address, list) else [address]:
            opened += open_sockets(
                place, backlog=backlog, reuse_port=reuse_port, dual_stack=dual_stack, mode=mode
            )
    except BaseException:
        for sock, file in opened:
            if file is not None:
                file.remove()
            sock.close()
        raise
    if not opened:
        raise ValueError("wanted an address to listen on, found an empty list")
    return opened
