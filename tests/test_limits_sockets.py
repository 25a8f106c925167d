"""Hostile peers on real connections. The clock moves when told; the sockets are the system's."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import loop_support
from antiphon import MessageChannel
from antiphon.asynchat import async_chat
from antiphon.testing import FakeClock
from chat_support import received
from loop_support import Wires, is_closed, spin

wires = loop_support.wires
each_poller = loop_support.each_poller
use_poll = loop_support.use_poll


class Measured(async_chat):
    """Notes how much waits at most."""

    most = 0

    def _ac_note_output(self) -> None:
        super()._ac_note_output()
        self.most = max(self.most, self.outgoing)


class Echo(Measured, MessageChannel):
    """Sends each message back, ten times as long."""

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        super().__init__(sock, map)
        self.count = 0

    def message_received(self, message: bytes) -> None:
        self.count += 1
        self.push(message * 10 + b"\r\n")


class OldEcho(Measured):
    """A program for the old modules, which two attributes protect."""

    backpressure = True
    high_water = 262_144

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.set_terminator(b"\r\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self._collect_incoming_data(data)

    def found_terminator(self) -> None:
        self.push(self._get_data() * 10 + b"\r\n")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def channels(wires: Wires, clock: FakeClock) -> Any:
    return wires.map(now=clock)


def sent_as_far_as_possible(peer: socket.socket, data: memoryview) -> memoryview:
    with contextlib.suppress(BlockingIOError):
        while data:
            data = data[peer.send(data) :]
    return data


REQUESTS = 100_000
REQUEST = b"%06d\r\n"


def requests() -> Iterator[bytes]:
    return (REQUEST % number for number in range(REQUESTS))


@pytest.mark.parametrize("made", [Echo, OldEcho])
@pytest.mark.parametrize("family", [None, socket.AF_INET], ids=["socketpair", "tcp"])
def test_a_hundred_thousand_requests_of_who_does_not_read_fill_no_memory(
    wires: Wires, channels: Any, use_poll: bool, made: Any, family: int | None
) -> None:
    near, peer = wires.pair(family=family)
    channel = made(near, channels)
    wanted = b"".join(request[:6] * 10 + b"\r\n" for request in requests())
    data = memoryview(b"".join(requests()))
    quiet = 0
    while quiet < 20:
        left = sent_as_far_as_possible(peer, data)
        quiet = quiet + 1 if len(left) == len(data) else 0
        data = left
        spin(channels, use_poll=use_poll)
    assert not channel.closing
    assert 262_144 < channel.most <= 262_144 + 65_536 // 8 * 62, "the mark, and the answers to one read"
    answers = bytearray()
    for _ in range(100_000):
        data = sent_as_far_as_possible(peer, data)
        spin(channels, use_poll=use_poll)
        answers += received(peer)
        if len(answers) >= len(wanted):
            break
    assert answers == wanted
    assert channel.outgoing == 0


def test_a_slow_loris_is_cut_off_and_a_quick_peer_beside_it_is_not(
    wires: Wires, channels: Any, clock: FakeClock, each_poller: str
) -> None:
    pairs = [wires.channel(Echo, channels) for _ in range(20)]
    quick, client = wires.channel(Echo, channels)
    for second in range(130):
        for channel, peer in pairs:
            if not channel.closing:
                peer.send(b"x")
        client.send(b"y\r\n")
        spin(channels)
        assert received(client) == b"y" * 10 + b"\r\n"
        assert all(channel.closing for channel, _ in pairs) == (second >= 120)
        clock.advance(1)
    assert all(is_closed(peer) for _, peer in pairs)
    assert not quick.closing


def test_a_peer_that_takes_nothing_is_left_and_one_that_takes_something_is_not(
    wires: Wires, channels: Any, clock: FakeClock, each_poller: str
) -> None:
    (stuck, _), (slow, reader) = (wires.channel(Echo, channels) for _ in range(2))
    for channel in stuck, slow:
        channel.push(bytes(8_000_000))
    for second in range(0, 300, 10):
        if not slow.closing:
            reader.recv(100_000)
        spin(channels)
        assert stuck.closing == (second >= 120)
        clock.advance(10)
    assert not slow.closing
    assert stuck.outgoing == 0


def test_a_peer_that_says_nothing_is_left(
    wires: Wires, channels: Any, clock: FakeClock, each_poller: str
) -> None:
    channel, peer = wires.channel(Echo, channels)
    spin(channels)
    clock.advance(1799)
    spin(channels)
    assert not channel.closing
    clock.advance(2)
    spin(channels, 2)
    assert is_closed(peer)
    assert not channels


@pytest.mark.skipif(sys.platform != "linux", reason="what a full queue does is the system's business")
def test_a_connection_that_nobody_answers_is_given_up(wires: Wires, channels: Any, clock: FakeClock) -> None:
    """The queue of the listener is full: the system drops what would make another connection."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = []
        for _ in range(64):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(address)
            waiting.append(sock)
        told: list[str] = []

        class Client(Echo):
            def handle_connect(self) -> None:
                told.append("connected")

            def handle_timeout(self, which: str) -> None:
                told.append(which)
                super().handle_timeout(which)

        client = wires.keep(Client(map=channels))
        client.create_socket()
        client.connect(address)
        spin(channels)
        clock.advance(61)
        spin(channels, 2)
        for sock in waiting:
            sock.close()
    assert told == ["connect"]
    assert client.closing


def test_a_rate_holds_on_a_real_connection(wires: Wires, channels: Any, clock: FakeClock) -> None:
    channel, peer = wires.channel(Echo, channels)
    channel.rate_out = 1000
    channel.push(bytes(5000))
    got = 0
    for tick in range(1, 100):
        spin(channels, 3)
        got += len(received(peer))
        assert got <= 1000 + 100 * tick
        clock.advance(0.1)
    assert got == 5000


def test_a_connection_that_is_flooded_takes_no_more_than_its_rate(
    wires: Wires, channels: Any, clock: FakeClock
) -> None:
    channel, peer = wires.channel(Echo, channels)
    channel.rate_in = 8000
    channel.high_water = None
    data = memoryview(b"".join(requests()))
    for tick in range(100):
        data = sent_as_far_as_possible(peer, data)
        spin(channels, 3)
        received(peer)
        assert channel.count * len(REQUEST % 0) <= 8000 + 800 * tick
        clock.advance(0.1)
    assert channel.count > 10_000
