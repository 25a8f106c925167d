"""Connections whose proxy says where they come from, up to the moment when it has said so."""

import errno
import ipaddress
import logging
import os
import socket
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.framing.proxy_protocol import LONGEST
from antiphon.listener import Backlog
from antiphon.proxied import Announced, Proxies
from loop_support import Noting, Wires, is_closed, silent_map, spin

wires = loop_support.wires
each_poller = loop_support.each_poller
use_poll = loop_support.use_poll

HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.9 1234 25\r\n"


@pytest.mark.parametrize(
    ("networks", "address", "included"),
    [
        (["192.0.2.0/24"], ("192.0.2.7", 1), True),
        (["192.0.2.0/24"], ("192.0.3.7", 1), False),
        (["192.0.2.0/24"], ("::ffff:192.0.2.7", 1, 0, 0), True),
        (["192.0.2.7"], ("192.0.2.7", 1), True),
        ([ipaddress.ip_network("2001:db8::/32"), "10.0.0.0/8"], ("2001:db8::1", 1, 0, 0), True),
        (["2001:db8::/32"], ("2001:db9::1", 1, 0, 0), False),
        (["fe80::/10"], ("fe80::1%lo", 1, 0, 1), True),
        (["::/0"], ("192.0.2.7", 1), False),
        (["0.0.0.0/0"], "", False),
        (["unix"], "", True),
        (["unix"], b"\0name", True),
        (["unix"], ("192.0.2.7", 1), False),
    ],
)
def test_who_is_believed(networks: list[Any], address: Any, included: bool) -> None:
    assert Proxies(networks).include(address) is included


@pytest.mark.parametrize(
    ("networks", "complaint"),
    [
        ("10.0.0.0/8", "wanted a list of networks as proxy_protocol, found '10.0.0.0/8'"),
        ([], "wanted the networks of the proxies as proxy_protocol, found an empty list"),
        (["10.0.0.1/8"], "10.0.0.1/8 has host bits set"),
        (["anybody"], "'anybody' does not appear to be"),
    ],
)
def test_what_is_no_list_of_networks_is_named(networks: Any, complaint: str) -> None:
    with pytest.raises((TypeError, ValueError), match=complaint.replace(".", "\\.")):
        Proxies(networks)


WITH_A_WRONG_CHECKSUM = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13" + bytes(12) + b"\x03\0\x04" + bytes(4)


class Scene:
    """A connection that has been accepted, the other end of it, and what became of it."""

    def __init__(self, wires: Wires, channels: Any) -> None:
        self.channels = channels
        self.listener = wires.keep(asyncore.dispatcher(map=channels))
        self.backlog = Backlog(self.listener)
        self.backlog.accepted = 1
        self.sock, self.proxy = wires.pair(socket.AF_INET)
        self.arrived: list[Any] = []
        self.pending = wires.keep(
            Announced(
                self.sock, channels, backlog=self.backlog, limit=None, seconds=5.0, accepted=self.accepted
            )
        )
        spin(channels)

    def accepted(self, sock: Any, address: Any) -> None:
        self.arrived.append((Noting(sock, self.channels), address))

    @property
    def state(self) -> str:
        """What the proxy sees of it."""
        if self.arrived:
            return "arrived"
        return "closed" if is_closed(self.proxy) else "waits"


@pytest.mark.parametrize("behind", [b"", b"EHLO\r\n"])
def test_a_connection_arrives_with_the_client_s_address_and_every_byte_behind_the_header(
    wires: Wires, each_poller: str, use_poll: bool, behind: bytes
) -> None:
    scene = Scene(wires, {})
    scene.proxy.send(HEADER + behind)
    spin(scene.channels, use_poll=use_poll)
    [(channel, address)] = scene.arrived
    assert address == channel.addr == ("192.0.2.1", 1234)
    if behind:
        spin(scene.channels, use_poll=use_poll)
    assert channel.received == behind
    assert list(scene.channels.values()) == [channel]
    scene.proxy.send(b"more")
    spin(scene.channels, use_poll=use_poll)
    assert channel.received == behind + b"more"


def test_a_header_may_come_byte_by_byte_and_is_not_looked_at_twice(wires: Wires) -> None:
    scene = Scene(wires, wires.map())
    for byte in HEADER:
        assert scene.state == "waits"
        scene.proxy.send(bytes([byte]))
        spin(scene.channels, turns=3)
    assert scene.state == "arrived"
    assert scene.arrived[0][0].received == b""


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"])
def test_where_the_proxy_does_not_say_the_connection_has_its_own_address(wires: Wires, header: bytes) -> None:
    scene = Scene(wires, {})
    scene.proxy.send(header)
    spin(scene.channels)
    assert scene.arrived[0][1] == scene.proxy.getsockname()


@pytest.mark.parametrize(
    "data",
    [b"EHLO me\r\n", b"PROXY TCP4 1 2 3 4\r\n", b"PROXY " + b"x" * LONGEST, WITH_A_WRONG_CHECKSUM + b"hello"],
    ids=["none", "malformed", "long", "checksum"],
)
def test_without_a_valid_header_the_connection_is_closed(
    wires: Wires, each_poller: str, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    scene = Scene(wires, wires.map())
    scene.proxy.send(data)
    spin(scene.channels)
    assert len(scene.channels) == 0
    with pytest.raises(ConnectionResetError):  # Since nobody has read what it has sent.
        scene.proxy.recv(1)
    assert (scene.backlog.accepted, scene.backlog.refused) == (0, 1)
    warning = next(record for record in caplog.records if record.levelno == logging.WARNING)
    assert "1 with a malformed PROXY header; the last from" in warning.getMessage()
    assert "wanted" in caplog.text


def test_a_header_that_is_not_complete_in_time_closes(wires: Wires, caplog: pytest.LogCaptureFixture) -> None:
    channels, clock, _ = silent_map(wires)
    scene = Scene(wires, channels)
    scene.proxy.send(HEADER[:-1])
    scene.pending.handle_read_event()
    clock.advance(4.9)
    spin(channels)
    assert scene.state == "waits"
    clock.advance(0.1)
    spin(channels)
    assert scene.state == "closed"
    assert "1 without a PROXY header within 5 s" in caplog.text


def test_a_header_in_time_leaves_no_timer(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    scene = Scene(wires, channels)
    scene.proxy.send(HEADER)
    scene.pending.handle_read_event()
    assert scene.state == "arrived"
    clock.advance(10)
    spin(channels)
    assert not is_closed(scene.proxy)
    assert not channels.loop.busy


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_connection_that_ends_before_its_header_is_no_refusal(
    wires: Wires, each_poller: str, use_poll: bool, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """That is how proxies look whether somebody is there."""
    scene = Scene(wires, {})
    scene.proxy.send(HEADER[:10])
    spin(scene.channels, use_poll=use_poll)
    if how == "reset":
        scene.proxy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    scene.proxy.close()
    spin(scene.channels, turns=2, use_poll=use_poll)
    assert (scene.arrived, scene.channels, scene.backlog.refused) == ([], {}, 0)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_nothing_there_yet_is_no_trouble(wires: Wires) -> None:
    scene = Scene(wires, {})
    scene.pending.handle_read_event()
    assert scene.state == "waits"


def test_any_other_error_closes(wires: Wires) -> None:
    class Failing:
        def recv(self, size: int, flags: int) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def close(self) -> None:
            """It has no kernel."""

    scene = Scene(wires, {})
    scene.pending.socket = Failing()
    scene.pending.handle_read_event()
    assert scene.pending.closing


def test_an_error_of_ours_closes(wires: Wires, caplog: pytest.LogCaptureFixture) -> None:
    class Lazy:
        def recv(self, size: int, flags: int = 0) -> bytes:
            if not flags:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return HEADER

        def close(self) -> None:
            """It has no kernel."""

    scene = Scene(wires, {})
    scene.pending.socket = Lazy()
    asyncore.read(scene.pending)
    assert scene.pending.closing
    assert scene.arrived == []
    assert "Input/output error" in caplog.text


def test_what_is_raised_to_leave_the_loop_passes(wires: Wires) -> None:
    def leaving(sock: Any, address: Any) -> None:
        sock.close()
        raise asyncore.ExitNow("enough")

    scene = Scene(wires, {})
    scene.pending._ac_accepted = leaving
    scene.proxy.send(HEADER)
    with pytest.raises(asyncore.ExitNow, match="enough"):
        spin(scene.channels)


def test_a_program_that_fails_on_it_has_it_closed(wires: Wires, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(wires, {})
    scene.listener.accepting = True

    def failing(sock: Any, address: Any) -> None:
        raise LookupError("not this one")

    scene.pending._ac_accepted = failing
    scene.proxy.send(HEADER)
    spin(scene.channels)
    assert scene.state == "closed"
    assert "LookupError: not this one" in caplog.text
