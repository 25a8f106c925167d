"""Servers with `tls=`: nothing of a connection leaves in plain, whatever its channel does and when."""

import gc
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import loop_support
from antiphon import MessageChannel, create_server
from antiphon.listening import Listener
from antiphon.producers import IterableProducer
from tls_support import Lines, Peer, Sending, a_map, shared_context, turn, turn_until

each_engine = loop_support.each_engine

LOCAL = ("127.0.0.1", 0)
HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.99 1234 25\r\n"
TRUSTED: dict[str, Any] = {"proxy_protocol": ["127.0.0.0/8"]}


@contextmanager
def served(factory: Any, **how: Any) -> Iterator[tuple[Any, Any]]:
    """A map, and a server in it that has `tls=`."""
    with a_map() as channels:
        yield channels, create_server(factory, LOCAL, map=channels, **{"tls": shared_context(True), **how})


def client_of(server: Any) -> socket.socket:
    return socket.create_connection(server.addresses[0], timeout=20)


def greeting(channels: Any, sock: socket.socket, before: bytes = b"") -> bytes:
    """What a client of TLS receives first; `before` leaves in the packet of its handshake."""
    peer = Peer.client(sock)
    peer.kept = before
    turn_until(channels, lambda: peer.received or peer.error or peer.ended, peer.step)
    assert peer.error is None
    return peer.received


class Chat(Lines):
    """Greets in its constructor."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.push(b"welcome\n")


class Messages(MessageChannel):
    """Likewise."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.push(b"welcome\n")

    def message_received(self, message: bytes) -> None:
        self.push(message + b"\r\n")


class Sends(Sending):
    """Likewise."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.send(b"welcome\n")


class BeforeItsSocket(Lines):
    """Greets before it has a socket."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(None, map)
        self.push(b"welcome\n")
        self.set_socket(sock)
        self.connected = True


class SaysSoLater(Lines):
    """Is not connected until it says so."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(None, map)
        self.set_socket(sock)
        self.push(b"welcome\n")
        self.call_later(0, setattr, self, "connected", True)


class ByAssignment(Lines):
    """Takes its socket as the oldest programs do."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(None, map)
        self.socket = sock
        self._fileno = sock.fileno()
        self.add_channel()
        self.connected = True
        self.push(b"welcome\n")


class Producing(Lines):
    """Greets by a producer, and by send() directly."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        assert self.send(b"direct\n") == 0
        self.push_with_producer(IterableProducer([b"wel", b"come\n"]))


def greeted(sock: Any, map: Any) -> Any:
    """Has a channel of no class of its own greet."""
    channel = Lines(sock, map)
    channel.push(b"welcome\n")
    return channel


def kept_elsewhere(sock: Any, map: Any) -> None:
    """Returns None, though it has made one."""
    Chat(sock, map)


FACTORIES = [
    Chat,
    Messages,
    Sends,
    BeforeItsSocket,
    SaysSoLater,
    ByAssignment,
    Producing,
    greeted,
    kept_elsewhere,
]


@pytest.mark.parametrize("announced", [False, True], ids=["", "PROXY"])
@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__name__)
def test_what_a_channel_sends_at_once_leaves_by_tls(
    each_engine: str, factory: Callable[[Any, Any], Any], announced: bool
) -> None:
    with served(factory, **(TRUSTED if announced else {})) as (channels, server), client_of(server) as sock:
        if announced:
            sock.send(HEADER)
        assert greeting(channels, sock) == b"welcome\n"


def test_the_handshake_may_come_in_the_packet_of_the_proxy_s_header(each_engine: str) -> None:
    with served(Chat, **TRUSTED) as (channels, server), client_of(server) as sock:
        assert greeting(channels, sock, HEADER) == b"welcome\n"
        [channel] = [found for found in channels.values() if isinstance(found, Chat)]
        assert channel.addr == ("192.0.2.1", 1234)
        assert channel.socket.getpeername() == sock.getsockname()


def test_the_proxy_s_header_may_come_byte_by_byte() -> None:
    with served(Chat, **TRUSTED) as (channels, server), client_of(server) as sock:
        for byte in HEADER:
            sock.send(bytes([byte]))
            turn(channels, 2)
        assert greeting(channels, sock) == b"welcome\n"


def test_a_channel_is_connected_and_knows_its_client_in_its_constructor() -> None:
    found: list[Any] = []

    class Noticing(Lines):
        def __init__(self, sock: Any, map: Any) -> None:
            super().__init__(sock, map)
            no_delay = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            found.append((self.addr, self.connected, sock.getpeername(), bool(no_delay)))

    with served(Noticing) as (channels, server), client_of(server) as sock:
        turn_until(channels, lambda: found)
        assert found == [(sock.getsockname(), True, sock.getsockname(), True)]


def test_who_is_sent_away_is_told_by_tls(each_engine: str) -> None:
    class Busy(Lines):
        def __init__(self, sock: Any, map: Any) -> None:
            super().__init__(sock, map)
            self.push(b"too many\n")
            self.close_when_done()

    with served(Busy) as (channels, server), client_of(server) as sock:
        peer = Peer.client(sock)
        turn_until(channels, lambda: peer.ended, peer.step)
        assert (peer.error, peer.received, peer.ended) == (None, b"too many\n", "TLS")


def test_a_channel_may_be_made_later() -> None:
    kept: list[Any] = []
    with served(lambda sock, map: kept.append(sock)) as (channels, server), client_of(server) as sock:
        turn_until(channels, lambda: kept)
        turn(channels, 3)
        Chat(kept.pop(), channels)
        assert greeting(channels, sock) == b"welcome\n"


def test_the_socket_that_a_factory_gets_sends_nothing_in_plain() -> None:
    errors: list[Exception] = []

    def direct(sock: Any, map: Any) -> Any:
        for send in "send", "sendall":
            try:
                getattr(sock, send)(b"welcome\n")
            except (BlockingIOError, AttributeError) as error:
                errors.append(error)
        return Lines(sock, map)

    with served(direct) as (channels, server), client_of(server) as sock:
        turn_until(channels, lambda: errors)
        turn(channels, 3)
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(100)
    assert [type(error) for error in errors] == [BlockingIOError, AttributeError]


def test_a_handshake_timeout_of_the_constructor_s_counts() -> None:
    class Hasty(Lines):
        def __init__(self, sock: Any, map: Any) -> None:
            super().__init__(sock, map)
            self.handshake_timeout = 0.001

    made: list[Any] = []

    def factory(sock: Any, map: Any) -> Any:
        made.append(Hasty(sock, map))
        return made[-1]

    with served(factory) as (channels, server), client_of(server):
        turn_until(channels, lambda: made and made[0].closing)
        assert isinstance(made[0].error, TimeoutError)


# -- what is refused -----------------------------------------------------------------------------------------


def test_a_context_that_can_not_be_used_is_named_before_anything_is_opened() -> None:
    for wrong in "a broken context", True:
        with pytest.raises((TypeError, ValueError), match=r"wanted an ssl\.SSLContext"):
            create_server(Lines, LOCAL, tls=wrong, map={})  # type: ignore[arg-type]


def test_a_context_that_is_broken_later_costs_the_connections(caplog: pytest.LogCaptureFixture) -> None:
    with served(Lines) as (channels, server), client_of(server) as sock:
        server.listeners[0].tls = "a broken context"
        turn(channels, 3)
        assert sock.recv(100) == b""
        assert len(channels) == 1
    assert "wanted an ssl.SSLContext, found str: 'a broken context'" in caplog.text


@pytest.mark.parametrize("closes", [False, True])
def test_a_factory_s_channel_that_has_no_tls_is_named(closes: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Without:
        def __init__(self, sock: Any, map: Any) -> None:
            if closes:
                self.close = sock.close

        def __repr__(self) -> str:
            return "<without>"

    with served(Without) as (channels, server), client_of(server) as sock:
        turn(channels, 3)
        assert sock.recv(100) == b""
    assert "wanted a channel of the socket that it was given from the factory, found <without>" in caplog.text


def test_a_factory_that_fails_costs_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Chat):
        def __init__(self, sock: Any, map: Any) -> None:
            super().__init__(sock, map)
            raise LookupError("not this one")

    with served(Failing) as (channels, server), client_of(server) as sock:
        turn(channels, 3)
        assert sock.recv(100) == b""
        assert len(channels) == 1
    assert "LookupError: not this one" in caplog.text


@pytest.mark.parametrize("result", [None, "something"])
def test_a_factory_may_refuse(result: Any, caplog: pytest.LogCaptureFixture) -> None:
    def refusing(sock: Any, map: Any) -> Any:
        sock.close()
        return result

    with served(refusing) as (channels, server), client_of(server) as sock:
        turn(channels, 3)
        assert sock.recv(100) == b""
    assert caplog.records == []


# -- what a listener counts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [False, True], ids=["", "PROXY"])
def test_connections_count_until_they_are_closed(announced: bool) -> None:
    def connect() -> Any:
        sock = client_of(server)
        if announced:
            sock.send(HEADER)
        return sock

    made: weakref.WeakSet[Any] = weakref.WeakSet()

    def factory(sock: Any, map: Any) -> Any:
        channel = Chat(sock, map)
        made.add(channel)
        return channel

    how: dict[str, Any] = {**(TRUSTED if announced else {}), "max_connections_per_peer": 2}
    with served(factory, **how) as (channels, server):
        peers = [Peer.client(connect()) for _ in range(2)]
        for peer in peers:
            turn_until(channels, lambda peer=peer: peer.received, peer.step)  # type: ignore[misc]
        with connect() as refused:
            turn(channels, 3)
            assert refused.recv(100) == b""
        census: Any = server.listeners[0]._ac_census
        assert len(census) == 2
        gc.collect()
        census.sweep()
        assert len(census) == 2, "a sweep finds that they are open"
        peers[0].sock.close()
        turn_until(channels, lambda: len(census) == 1)
        with connect() as another:
            assert greeting(channels, another) == b"welcome\n"
        peers[1].sock.close()
        turn_until(channels, lambda: len(census) == 0)
        assert not made


def test_a_listener_takes_a_context_too() -> None:
    with a_map() as channels:
        listener = Listener(Chat, socket.create_server(LOCAL), channels, tls=shared_context(True))
        with socket.create_connection(listener.addr) as sock:
            assert greeting(channels, sock) == b"welcome\n"
