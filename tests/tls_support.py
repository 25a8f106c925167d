"""Certificates, channels that speak TLS and note it, and peers that are Python's own `ssl`."""

import contextlib
import functools
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme

from antiphon import asyncore
from antiphon.asynchat import async_chat
from antiphon.loop import Loop
from antiphon.maps import ChannelMap

NAME = "server.test"

#: Turns after which a test has gone wrong.
MOST_TURNS = 20_000


# -- certificates and contexts -------------------------------------------------------------------------------


@functools.cache
def authority() -> trustme.CA:
    """Who signs the certificates of these tests."""
    return trustme.CA()


@functools.cache
def certificate(name: str = NAME, trusted: bool = True) -> trustme.LeafCert:
    """A certificate for `name`, by the authority or by one that nobody knows."""
    return (authority() if trusted else trustme.CA()).issue_cert(name)


def server_context(name: str = NAME, *, trusted: bool = True, version: str | None = None) -> ssl.SSLContext:
    """A new context of a server, for TLS of `version` only if it is given ("TLSv1_2")."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate(name, trusted).configure_cert(context)
    return _only(context, version)


def client_context(*, version: str | None = None) -> ssl.SSLContext:
    """A new context of a client that knows the authority."""
    context = ssl.SSLContext(
        ssl.PROTOCOL_TLS_CLIENT
    )  # As the default, without reading the system's authorities.
    authority().configure_trust(context)
    return _only(context, version)


@functools.cache
def shared_context(server_side: bool, version: str | None = None) -> ssl.SSLContext:
    """One of those, the same each time: not to be changed."""
    return server_context(version=version) if server_side else client_context(version=version)


def _only(context: ssl.SSLContext, version: str | None) -> ssl.SSLContext:
    if version is not None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    return context


@contextmanager
def certificate_files() -> Iterator[tuple[str, str, str]]:
    """The files of a certificate for localhost and 127.0.0.1, of its key, and of the authority."""
    leaf = authority().issue_cert("localhost", "127.0.0.1")
    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder) / name) for name in ("chain.pem", "key.pem", "authority.pem")]
        leaf.cert_chain_pems[0].write_to_path(names[0])
        leaf.private_key_pem.write_to_path(names[1])
        authority().cert_pem.write_to_path(names[2])
        yield names[0], names[1], names[2]


# -- channels ------------------------------------------------------------------------------------------------


class Noting(asyncore.dispatcher):
    """Notes what becomes of TLS.

    Attributes:
        events: what was called, in order: "established", "stopped", the errors, "close".
    """

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        self.events: list[Any] = []
        super().__init__(sock, {} if map is None else map)

    def handle_tls_established(self) -> None:
        self.events.append("established")

    def handle_tls_stopped(self) -> None:
        self.events.append("stopped")

    def handle_tls_error(self, error: Any) -> None:
        self.events.append(error)

    def handle_error(self) -> None:
        self.events.append(sys.exc_info()[1])
        self._ac_hang_up()

    def handle_close(self) -> None:
        self.events.append("close")
        self.close()

    @property
    def error(self) -> Any:
        """The only thing that was not as it should be."""
        [error] = [event for event in self.events if isinstance(event, Exception)]
        return error


class Lines(Noting, async_chat):
    """Notes its lines, too.

    Attributes:
        lines: without their ends.
        on_line: called with each, after it was noted.
    """

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        self.lines: list[bytes] = []
        self.on_line: Callable[[bytes], object] = lambda line: None
        super().__init__(sock, map)
        self.incoming = []
        self.set_terminator(b"\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self) -> None:
        self.lines.append(self._get_data())
        self.on_line(self.lines[-1])


class Polled(Lines):
    """Asked in every turn what it waits for; wants to be read only while `reads`."""

    reads = True

    def readable(self) -> bool:
        return self.reads

    def writable(self) -> bool:
        return bool(super().writable())


class Plain(Noting, asyncore.dispatcher):
    """A dispatcher that keeps its output itself, in the way of old programs."""

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        self.received = b""
        self.output = b""
        super().__init__(sock, map)

    def writable(self) -> bool:
        return bool(self.output) or not self.connected

    def handle_read(self) -> None:
        self.received += self.recv(8192)

    def handle_write(self) -> None:
        self.output = self.output[self.send(self.output) :]

    def handle_connect(self) -> None:
        pass


class Sending(Noting, asyncore.dispatcher_with_send):
    """A dispatcher_with_send."""

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        self.received = b""
        super().__init__(sock, map)

    def handle_read(self) -> None:
        self.received += self.recv(8192)


def turn(channels: Any, times: int = 1) -> None:
    asyncore.loop(0, map=channels, count=times)


def turn_until(channels: Any, done: Callable[[], object], also: Callable[[], object] = lambda: None) -> int:
    """Turn until `done()`, calling `also()` each time; how many turns that took."""
    for turns in range(MOST_TURNS):
        also()
        if done():
            return turns
        asyncore.loop(0.001 if turns > 50 else 0, map=channels, count=1)
    raise AssertionError("it never came to that")


# -- peers ---------------------------------------------------------------------------------------------------


class Peer:
    """The other side: Python's ssl over a socket that does not block, none of our code.

    Attributes:
        sock: the socket.
        received: what was decrypted.
        wire: all that came, as it came.
        ended: how the other side ended: "" not yet, "TLS" by close_notify, "TCP" without.
        error: what OpenSSL said.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, **how: Any) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, **how)
        self.received = self.wire = b""
        self.ended = ""
        self.error: ssl.SSLError | None = None
        self.done = False
        self.kept = b""

    @classmethod
    def client(cls, sock: socket.socket, context: ssl.SSLContext | None = None, **how: Any) -> "Peer":
        return cls(sock, context or shared_context(False), **{"server_hostname": NAME, **how})

    @classmethod
    def server(cls, sock: socket.socket, context: ssl.SSLContext | None = None) -> "Peer":
        return cls(sock, context or shared_context(True), server_side=True)

    def step(self) -> None:
        """Do what can be done."""
        self.pull()
        if self.error is not None:
            return
        try:
            if not self.done:
                self.tls.do_handshake()
                self.done = True
            while data := self.tls.read(65536):
                self.received += data
            self.ended = "TLS"
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = "TLS"
        except ssl.SSLError as error:
            self.error = error
        self.flush()

    def pull(self) -> None:
        """Receive, and leave it to OpenSSL."""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while data := self.sock.recv(65536):
                self.wire += data
                self.incoming.write(data)
            self.ended = self.ended or "TCP"

    def flush(self) -> None:
        self.kept += self.outgoing.read()
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self.kept:
                self.kept = self.kept[self.sock.send(self.kept) :]

    def send(self, data: bytes) -> None:
        written = 0
        while written < len(data):
            written += self.tls.write(data[written:])
        self.flush()

    def goodbye(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self.flush()


def records(wire: bytes) -> list[tuple[int, int]]:
    """The records of a stream: (content type, length), as their headers say (RFC 8446, section 5.1)."""
    found = []
    while len(wire) >= 5:
        length = int.from_bytes(wire[3:5], "big")
        found.append((wire[0], length))
        wire = wire[5 + length :]
    return found


APPLICATION_DATA = 23


@contextmanager
def sockets(
    *, tcp: bool = False, buffers: int | None = None
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets, whose buffers have `buffers` bytes if that is given; closed in the end."""
    near, far = _tcp_pair() if tcp else socket.socketpair()
    with near, far:
        if buffers is not None:
            for sock in near, far:
                for option in socket.SO_SNDBUF, socket.SO_RCVBUF:
                    sock.setsockopt(socket.SOL_SOCKET, option, buffers)
        yield near, far


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        return listener.accept()[0], far


@contextmanager
def a_map(**how: Any) -> Iterator[Any]:
    """A map that tells its loop, which is made with the arguments of `Loop`; emptied in the end."""
    channels = ChannelMap()
    channels.loop = Loop(channels, tells=True, **how)
    try:
        yield channels
    finally:
        asyncore.close_all(channels, ignore_all=True)
        channels.loop.close()


@contextmanager
def secured(
    made: Any = Lines,
    *,
    server_side: bool = True,
    tcp: bool = False,
    buffers: int | None = None,
    now: Callable[[], float] = time.monotonic,
    **how: Any,
) -> Iterator[tuple[Any, Peer]]:
    """A channel whose TLS stands, and its peer."""
    with a_map(now=now) as channels, sockets(tcp=tcp, buffers=buffers) as (near, far):
        channel = made(near, channels)
        start(channel, server_side=server_side, **how)
        peer = Peer.client(far) if server_side else Peer.server(far)
        turn_until(channels, lambda: peer.done and "established" in channel.events, peer.step)
        yield channel, peer


def start(channel: Any, *, server_side: bool = True, context: Any = None, **how: Any) -> None:
    """Start TLS with the contexts of these tests."""
    if server_side:
        channel.start_tls(context or shared_context(True), server_side=True, **how)
    else:
        channel.start_tls(context or shared_context(False), server_side=False, server_hostname=NAME, **how)


def accepted(listener: socket.socket, channels: Any) -> socket.socket:
    """The first connection, for which the loop turns."""
    listener.settimeout(0)
    socks: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(BlockingIOError):
            socks.append(listener.accept()[0])

    turn_until(channels, lambda: socks, accept)
    return socks[0]


# -- what goes through ---------------------------------------------------------------------------------------


def give(channel: Any, data: bytes) -> None:
    """Have a channel of any of the classes send."""
    if hasattr(channel, "push"):
        channel.push(data)
    elif isinstance(channel, asyncore.dispatcher_with_send):
        channel.send(data)
    else:
        channel.output += data


def received(channel: Any) -> bytes:
    """What it has got so far."""
    if hasattr(channel, "lines"):
        return b"".join(line + b"\n" for line in channel.lines)
    data: bytes = channel.received
    return data


def drained(sock: socket.socket) -> bytes:
    """What has arrived at a socket that does not block."""
    data = b""
    with contextlib.suppress(BlockingIOError, ConnectionResetError):
        while piece := sock.recv(1 << 16):
            data += piece
    return data


def waits_for(channel: Any) -> int:
    """The bits that the loop waits for on its behalf."""
    bits: int = asyncore.get_loop(channel._map).waits_for(channel._fileno)
    return bits
