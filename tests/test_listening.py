"""Servers: from an address and a class of channels to answers."""

import errno
import logging
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from shutil import which
from typing import Any

import pytest

import antiphon
import loop_support
from antiphon import MessageChannel, asyncore
from antiphon.asynchat import async_chat
from antiphon.listener import PAUSE
from antiphon.listening import Listener, Server, create_server
from loop_support import Noting, Wires, is_closed, silent_map, spin

wires = loop_support.wires
each_poller = loop_support.each_poller
use_poll = loop_support.use_poll
has_ipv6 = pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
has_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")

UNIX: Any = getattr(socket, "AF_UNIX", None)
LOCAL = ("127.0.0.1", 0)


class Who(MessageChannel):
    """Answers each line with the address of who has sent it."""

    def message_received(self, message: bytes) -> None:
        self.push(repr(self.addr).encode() + b"\r\n")


Serve = Callable[..., Server]


@pytest.fixture
def channels(wires: Wires) -> Any:
    return wires.map()


@pytest.fixture
def serve(channels: Any) -> Iterator[Serve]:
    """`create_server` in the map `channels`; the servers are closed after the test."""
    with ExitStack() as stack:
        yield lambda factory=Who, address=LOCAL, **how: stack.enter_context(
            create_server(factory, address, map=channels, **how)
        )


def connected(wires: Wires, address: Any, *, source: str | None = None) -> socket.socket:
    """A client that doesn't block."""
    if isinstance(address, (str, bytes)):
        client = socket.socket(UNIX)
        client.connect(address)
    elif len(address) == 4:
        client = socket.socket(socket.AF_INET6)
        client.connect(address)
    else:
        client = socket.socket()
        if source is not None:
            client.bind((source, 0))
        client.connect(address)
    wires._opened.callback(client.close)
    client.setblocking(False)
    return client


def asked(client: socket.socket, channels: Any, data: bytes = b"who?\r\n") -> str:
    """The answer to a line."""
    client.send(data)
    spin(channels, turns=4)
    return client.recv(1000).decode().strip()


# -- addresses ---------------------------------------------------------------------------------------------


def test_a_server_makes_a_channel_of_each_connection(wires: Wires, each_poller: str, use_poll: bool) -> None:
    channels: dict[int, Any] = {}
    with create_server(Who, LOCAL, map=channels) as server:
        [address] = server.addresses
        assert address[0] == "127.0.0.1"
        assert address[1] > 0
        clients = [connected(wires, address) for _ in range(3)]
        for client in clients:
            assert asked(client, channels) == repr(client.getsockname())
        assert f"listening 127.0.0.1:{address[1]}" in repr(server.listeners[0])
        assert repr(server).startswith(f"<antiphon.listening.Server [{address!r}] at ")
    assert len(channels) == 3, "connections go on when the server is closed"
    assert asked(clients[0], channels) == repr(clients[0].getsockname())
    server.close()
    asyncore.close_all(channels)


def test_the_default_map_is_the_one_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    channels: dict[int, Any] = {}
    monkeypatch.setattr(asyncore, "socket_map", channels)
    with antiphon.create_server(Who, LOCAL) as server:
        assert list(channels.values()) == list(server.listeners)
    assert channels == {}


@has_ipv6
def test_all_addresses_of_this_host_are_served_on_one_port(wires: Wires, serve: Serve, channels: Any) -> None:
    server = serve(address=("", 0))
    port = server.addresses[0][1]
    for address in ("127.0.0.1", port), ("::1", port, 0, 0):
        client = connected(wires, address)
        assert asked(client, channels) == repr(client.getsockname())


@has_ipv6
def test_dual_stack_serves_both_on_one_socket(wires: Wires, serve: Serve, channels: Any) -> None:
    [address] = serve(address=("", 0), dual_stack=True).addresses
    assert asked(connected(wires, ("127.0.0.1", address[1])), channels).startswith("('::ffff:127.0.0.1', ")
    assert asked(connected(wires, ("::1", *address[1:])), channels).startswith("('::1', ")


@has_unix
def test_a_unix_socket_is_served_and_its_file_goes_with_the_server(
    wires: Wires, serve: Serve, channels: Any, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    server = serve(address=path, mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    assert server.addresses == [str(path)]
    assert asked(connected(wires, str(path)), channels) == "''"
    server.close()
    assert not path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_an_abstract_name_is_served(wires: Wires, serve: Serve, channels: Any) -> None:
    [address] = serve(address=f"\0antiphon-test-{os.getpid()}").addresses
    assert asked(connected(wires, address), channels) == "''"


def test_an_open_socket_is_served(wires: Wires, serve: Serve, channels: Any) -> None:
    given = socket.create_server(LOCAL)
    [address] = serve(address=given).addresses
    assert asked(connected(wires, address), channels).startswith("('127.0.0.1', ")


def test_a_list_of_addresses_is_served(wires: Wires, serve: Serve, channels: Any) -> None:
    server = serve(address=[("127.0.0.1", 0), ("127.0.0.2", 0)])
    assert [address[0] for address in server.addresses] == ["127.0.0.1", "127.0.0.2"]
    for address in server.addresses:
        assert asked(connected(wires, address), channels).startswith("('127.0.0.1', ")


def test_when_one_address_cannot_be_had_none_stays_open(tmp_path: Path, channels: Any) -> None:
    with socket.create_server(LOCAL) as taken:
        addresses: list[Any] = [LOCAL, taken.getsockname()]
        if hasattr(socket, "AF_UNIX"):
            addresses.insert(0, tmp_path / "socket")
        with pytest.raises(OSError, match="cannot listen on 127\\.0\\.0\\.1:") as caught:
            create_server(Who, addresses, map=channels)
    assert caught.value.errno == errno.EADDRINUSE
    assert (dict(channels), list(tmp_path.iterdir())) == ({}, [])


def test_a_listener_takes_as_many_arguments_as_it_needs(channels: Any) -> None:
    listener = Listener(Noting, socket.create_server(LOCAL), channels)
    assert channels[listener.socket.fileno()] is listener
    listener.close()


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ({"factory": None}, "wanted a callable factory(sock, map), found None"),
        ({"address": []}, "wanted an address to listen on, found an empty list"),
        ({"address": object}, "found <class 'object'>"),
        ({"max_connections": 0}, "wanted None or an int above 0 as max_connections, found 0"),
        ({"max_connections_per_peer": "5"}, "as max_connections_per_peer, found '5'"),
        ({"proxy_protocol": "10.0.0.0/8"}, "wanted a list of networks as proxy_protocol"),
        (
            {"proxy_protocol": ["10.0.0.0/8"], "proxy_protocol_timeout": 0},
            "proxy_protocol_timeout must be more",
        ),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_opened(
    serve: Serve, channels: Any, how: dict[str, Any], complaint: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(complaint)):
        serve(**how)
    assert dict(channels) == {}


# -- the factory -------------------------------------------------------------------------------------------


def test_any_callable_is_a_factory(wires: Wires, serve: Serve, channels: Any) -> None:
    made: list[Any] = []

    def factory(sock: Any, map: Any) -> Any:
        made.append((sock, map))
        return Who(sock, map)

    [address] = serve(factory).addresses
    client = connected(wires, address)
    assert asked(client, channels) == repr(client.getsockname())
    assert [(type(sock), map) for sock, map in made] == [(socket.socket, channels)]


def test_a_channel_of_the_old_kind_is_made_too(wires: Wires, serve: Serve, channels: Any) -> None:
    class Old(async_chat):
        def __init__(self, sock: Any, map: Any) -> None:
            async_chat.__init__(self, sock, map)
            self.set_terminator(b"\n")

        collect_incoming_data = async_chat._collect_incoming_data

        def found_terminator(self) -> None:
            self.push(self._get_data().upper())

    [address] = serve(Old).addresses
    assert asked(connected(wires, address), channels, b"hello\n") == "HELLO"


def test_a_factory_that_fails_costs_one_connection(
    wires: Wires, serve: Serve, channels: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(sock: Any, map: Any) -> Any:
        raise LookupError("not this one")

    [address] = serve(failing).addresses
    for _ in range(2):
        client = connected(wires, address)
        spin(channels)
        assert is_closed(client)
    assert caplog.text.count("LookupError: not this one") == 2


def test_a_factory_may_refuse(
    wires: Wires, serve: Serve, channels: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def refusing(sock: Any, map: Any) -> None:
        sock.close()

    [address] = serve(refusing).addresses
    client = connected(wires, address)
    spin(channels)
    assert is_closed(client)
    assert caplog.records == []


# -- limits ------------------------------------------------------------------------------------------------


def test_limits_hold_for_all_sockets_together(wires: Wires, serve: Serve, channels: Any) -> None:
    server = serve(
        address=[("127.0.0.1", 0), ("127.0.0.1", 0)], max_connections=3, max_connections_per_peer=2
    )
    one, other = server.addresses
    clients = [connected(wires, address) for address in (one, other, one)]
    spin(channels, turns=4)
    assert [is_closed(client) for client in clients] == [False, False, True]
    clients += [connected(wires, other, source="127.0.0.2")]
    spin(channels, turns=4)
    assert len(channels) - 2 == 3
    waiting = connected(wires, one, source="127.0.0.3")
    waiting.send(b"who?\r\n")
    spin(channels, turns=4)
    assert not is_closed(waiting)
    assert len(channels) - 2 == 3
    clients[1].close()
    spin(channels, turns=4)
    assert waiting.recv(100).startswith(b"('127.0.0.3', ")


# -- the PROXY protocol ------------------------------------------------------------------------------------


def line(host: str, port: int = 1234) -> bytes:
    return f"PROXY TCP4 {host} 192.0.2.99 {port} 25\r\n".encode()


def packed(host: str, port: int = 1234, command: int = 0x21) -> bytes:
    addresses = IPv4Address(host).packed * 2 + struct.pack("!HH", port, 25)
    return bytes.fromhex("0D0A0D0A000D0A515549540A") + struct.pack("!BBH", command, 0x11, 12) + addresses


TRUSTED: dict[str, Any] = {"proxy_protocol": ["127.0.0.0/8"]}


@pytest.mark.parametrize("header", [line, packed])
def test_a_channel_has_the_address_of_the_client_that_the_proxy_names(
    wires: Wires, serve: Serve, channels: Any, header: Callable[[str], bytes]
) -> None:
    [address] = serve(**TRUSTED).addresses
    client = connected(wires, address)
    assert asked(client, channels, header("192.0.2.1") + b"who?\r\n") == "('192.0.2.1', 1234)"
    assert asked(client, channels) == "('192.0.2.1', 1234)"


def test_an_ipv6_client_has_an_ipv6_address(wires: Wires, serve: Serve, channels: Any) -> None:
    [address] = serve(**TRUSTED).addresses
    client = connected(wires, address)
    header = b"PROXY TCP6 2001:db8::1 2001:db8::2 1234 25\r\n"
    assert asked(client, channels, header + b"who?\r\n") == "('2001:db8::1', 1234, 0, 0)"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", packed("192.0.2.1", command=0x20)])
def test_where_the_proxy_names_nobody_the_address_is_its_own(
    wires: Wires, serve: Serve, channels: Any, header: bytes
) -> None:
    [address] = serve(**TRUSTED).addresses
    client = connected(wires, address)
    assert asked(client, channels, header + b"who?\r\n") == repr(client.getsockname())


def test_who_is_not_listed_is_refused_with_and_without_a_header(
    wires: Wires, serve: Serve, channels: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(proxy_protocol=["127.0.0.2"])
    clients = [connected(wires, server.addresses[0]) for _ in range(2)]
    clients[0].send(line("192.0.2.1"))
    spin(channels, turns=3)
    assert len(channels) == 1
    assert is_closed(clients[1])
    backlog: Any = server.listeners[0]._ac_backlog
    assert (backlog.accepted, backlog.refused) == (0, 2)
    assert "1 from outside of proxy_protocol; the last from ('127.0.0.1', " in caplog.text
    trusted = connected(wires, server.addresses[0], source="127.0.0.2")
    assert asked(trusted, channels, line("192.0.2.1") + b"who?\r\n") == "('192.0.2.1', 1234)"


@has_unix
@pytest.mark.parametrize("listed", [True, False])
def test_proxies_on_a_unix_socket_are_believed_if_listed(
    wires: Wires, serve: Serve, channels: Any, tmp_path: Path, listed: bool
) -> None:
    path = str(tmp_path / "socket")
    serve(address=path, proxy_protocol=["unix"] if listed else ["127.0.0.1"])
    client = connected(wires, path)
    client.send(line("192.0.2.1") + b"who?\r\n")
    spin(channels, turns=4)
    if listed:
        assert client.recv(100) == b"('192.0.2.1', 1234)\r\n"
    else:
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_a_late_header_closes(wires: Wires, caplog: pytest.LogCaptureFixture) -> None:
    channels, clock, _ = silent_map(wires)
    with create_server(Who, LOCAL, map=channels, proxy_protocol_timeout=2, **TRUSTED) as server:
        client = connected(wires, server.addresses[0])
        server.listeners[0].handle_accept()
        clock.advance(1.9)
        spin(channels)
        assert not is_closed(client)
        clock.advance(0.1)
        spin(channels)
        assert is_closed(client)
    assert "1 without a PROXY header within 2 s" in caplog.text


def test_the_limit_for_a_peer_is_one_for_the_client_that_the_proxy_names(
    wires: Wires, serve: Serve, channels: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(max_connections_per_peer=1, **TRUSTED)
    clients = [connected(wires, server.addresses[0]) for _ in range(4)]
    spin(channels, turns=4)
    hosts = ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
    for client, header in zip(clients, [*map(line, hosts), b"PROXY UNKNOWN\r\n"], strict=True):
        client.send(header)
        spin(channels)
    assert [is_closed(client) for client in clients] == [False, False, True, False]
    backlog: Any = server.listeners[0]._ac_backlog
    assert (backlog.accepted, backlog.refused) == (3, 1)
    assert "above max_connections_per_peer=1; the last from ('192.0.2.1', 1234)" in caplog.text
    clients[0].close()
    spin(channels, turns=2)
    again = connected(wires, server.addresses[0])
    assert asked(again, channels, line("192.0.2.1") + b"who?\r\n") == "('192.0.2.1', 1234)"


def test_connections_without_a_header_yet_count_for_the_whole(wires: Wires) -> None:
    channels, clock, poller = silent_map(wires)
    with create_server(Who, LOCAL, map=channels, max_connections=1, **TRUSTED) as server:
        [listener] = server.listeners
        clients = [connected(wires, server.addresses[0]) for _ in range(2)]
        listener.handle_accept()
        spin(channels)
        fd = listener.socket.fileno()
        assert fd not in poller.watched
        pending = next(channel for channel in channels.values() if channel is not listener)
        clients[0].send(line("192.0.2.1"))
        pending.handle_read_event()
        clock.advance(PAUSE)
        spin(channels)
        assert fd not in poller.watched, "its channel counts on"
        next(channel for channel in channels.values() if type(channel) is Who).close()
        spin(channels)
        assert fd in poller.watched


def test_a_server_that_is_closed_leaves_the_connections_that_wait_for_their_header(
    wires: Wires, serve: Serve, channels: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(**TRUSTED)
    clients = [connected(wires, server.addresses[0]) for _ in range(2)]
    spin(channels, turns=2)
    server.close()
    assert asked(clients[0], channels, line("192.0.2.1") + b"who?\r\n") == "('192.0.2.1', 1234)"
    clients[1].send(b"no header")
    spin(channels, turns=2)
    assert len(channels) == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.skipif(which("curl") is None, reason="curl is not installed")
def test_curl_s_header_is_understood(channels: Any) -> None:
    class Http(MessageChannel):
        terminator = b"\r\n\r\n"

        def message_received(self, message: bytes) -> None:
            self.push(b"HTTP/1.0 200 OK\r\n\r\n" + repr(self.addr).encode())
            self.close_when_done()

    with create_server(Http, LOCAL, map=channels, **TRUSTED) as server:
        url = f"http://127.0.0.1:{server.addresses[0][1]}/"
        with subprocess.Popen(
            ["curl", "--silent", "--max-time", "20", "--haproxy-protocol", "--interface", "127.0.0.3", url],
            stdout=subprocess.PIPE,
            text=True,
        ) as curl:
            while curl.poll() is None:
                asyncore.loop(0.1, map=channels, count=1)
            printed = curl.communicate(timeout=20)[0]
    assert printed.startswith("('127.0.0.3', ")
