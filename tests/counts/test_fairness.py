"""What one connection may take of a turn: one read, a bounded number of sends, a bounded batch of accepts."""

import contextlib
import socket
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from chat_support import ScriptedSocket
from counts.dialogues import LINE, Echo, Listener
from loop_support import Wires, spin

wires = loop_support.wires
each_engine = loop_support.each_engine
use_poll = loop_support.use_poll


class Busy(Echo):
    """Says nothing, and notes how much each `recv` gave and how much each `send` took."""

    def __init__(self, sock: Any, map: Any) -> None:
        self.reads: list[int] = []
        self.sends: list[int] = []
        super().__init__(sock, map)

    def recv(self, buffer_size: int) -> bytes:
        data = super().recv(buffer_size)
        self.reads.append(len(data))
        return data

    def send(self, data: Any) -> int:
        self.sends.append(super().send(data))
        return self.sends[-1]

    def answer(self, message: bytes) -> None:
        """Nothing."""


class Endless:
    """A producer without an end."""

    def __init__(self, size: int) -> None:
        self.chunk = bytes(size)

    def more(self) -> bytes:
        return self.chunk


def flood(client: socket.socket) -> None:
    """Send until no more is taken."""
    with contextlib.suppress(BlockingIOError):
        while client.send(b"flood\r\n" * 10_000):
            pass


def drained(client: socket.socket) -> None:
    """Receive until nothing more is there."""
    with contextlib.suppress(BlockingIOError):
        while client.recv(1 << 20):
            pass


@pytest.mark.parametrize("kind", ["ChannelMap", "dict"])
def test_beside_peers_that_flood_a_quiet_one_is_answered_in_the_turn_of_its_request(
    wires: Wires, each_engine: str, use_poll: bool, kind: str
) -> None:
    channels: Any = wires.map() if kind == "ChannelMap" else {}
    before = [wires.channel(Busy, channels) for _ in range(3)]
    _, quiet = wires.channel(Echo, channels)
    after = [wires.channel(Busy, channels) for _ in range(3)]
    spin(channels)
    for turn in range(1, 9):
        for _, client in before + after:
            flood(client)
        quiet.send(LINE)
        spin(channels, use_poll=use_poll)
        assert quiet.recv(100) == LINE
        assert [len(channel.reads) for channel, _ in before + after] == [turn] * 6, "one read each"


def test_a_turn_takes_256_kib_of_a_peer_at_most() -> None:
    """Of a system that has always more."""
    flooded = Busy(ScriptedSocket(b"flood\r\n" * 200_000), {})
    for _ in range(8):
        flooded.handle_read_event()
    assert flooded.reads == [4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144, 262_144]
    assert flooded.socket.sizes == flooded.reads


#: Bytes: what one event may send, and what the last of its sends may be more.
ENOUGH = 262_144
LAST = 262_144


@pytest.mark.parametrize("size", [64, 512, 65_536, 1 << 20])
def test_beside_an_endless_download_a_quiet_peer_is_answered_in_the_turn_of_its_request(
    wires: Wires, size: int
) -> None:
    channels = wires.map()
    busy, reader = wires.channel(Busy, channels)
    _, quiet = wires.channel(Echo, channels)
    busy.push_with_producer(Endless(size))
    for _ in range(8):
        drained(reader)
        quiet.send(LINE)
        spin(channels)
        assert quiet.recv(100) == LINE


@pytest.mark.parametrize("size", [64, 512, 65_536, 1 << 20])
@pytest.mark.parametrize("buffer_size", [None, 512])
def test_an_event_makes_16_sends_at_most_and_of_256_kib_until_there_is_enough(
    size: int, buffer_size: int | None
) -> None:
    """Of a system that takes whatever it is offered."""
    busy = Busy(ScriptedSocket(), {})
    if buffer_size is not None:
        busy.ac_out_buffer_size = buffer_size
    busy.push_with_producer(Endless(size))
    for _ in range(8):
        busy.sends.clear()
        busy.handle_write_event()
        assert 1 <= len(busy.sends) <= 16
        assert sum(busy.sends) <= ENOUGH + max(LAST, size)
        assert sum(busy.sends[:-1]) < ENOUGH


def test_beside_a_long_queue_of_connections_a_quiet_peer_is_answered_in_the_turn_of_its_request(
    wires: Wires,
) -> None:
    class Endlessly(Listener):
        """Whatever is accepted, another one waits."""

        def handle_accepted(self, sock: Any, addr: Any) -> None:
            super().handle_accepted(sock, addr)
            waiting.append(wires.client(address))

    waiting: list[Any] = []
    channels = wires.map()
    listener = wires.listener(Endlessly, channels)
    address = listener.socket.getsockname()
    _, quiet = wires.channel(Echo, channels)
    waiting.append(wires.client(address))
    spin(channels)
    for _ in range(8):
        accepted = len(listener.accepted)
        quiet.send(LINE)
        spin(channels)
        assert quiet.recv(100) == LINE
        assert len(listener.accepted) - accepted <= 64


class Crowded(Listener):
    """Takes three connections of a peer."""

    makes = Busy
    max_connections_per_peer = 3


def test_beside_one_peer_that_floods_with_connections_and_requests_a_quiet_one_is_not_starved(
    wires: Wires, each_engine: str, use_poll: bool
) -> None:
    """From its connection to its channel, and from its request to its answer."""
    channels = wires.map()
    listener = wires.listener(Crowded, channels)
    address = listener.socket.getsockname()
    flooding: list[socket.socket] = []
    waited = []
    for _ in range(8):
        flooding += [wires.client(address) for _ in range(20)]
        for client in flooding:
            client.setblocking(False)
            with contextlib.suppress(ConnectionError):
                flood(client)
        listener.makes = Echo
        quiet = socket.socket()
        with quiet:
            quiet.bind(("127.0.0.2", 0))
            quiet.connect(address)
            quiet.setblocking(False)
            waited.append(turns_until_answered(quiet, channels, use_poll=use_poll))
        listener.makes = Busy
        spin(channels)
    # One turn accepts it and one answers it. The first time, two take the three that the other peer may have,
    # and the third accepts and answers it, since the queue is long.
    assert waited == [2 + 1] + [2] * 7
    assert listener._ac_backlog.accepted == 3 + 8
    assert listener._ac_backlog.refused == 8 * 20 - 3


def turns_until_answered(client: socket.socket, channels: Any, *, use_poll: bool) -> int:
    """How often the loop turns before `client`, whose connection waits, has the answer to its request."""
    client.send(LINE)
    for turns in range(1, 100):
        spin(channels, use_poll=use_poll)
        with contextlib.suppress(BlockingIOError):
            assert client.recv(100) == LINE
            return turns
    raise AssertionError("it has had no answer in 99 turns")


def test_a_flood_of_connections_that_are_refused_costs_a_turn_64_of_them(wires: Wires) -> None:
    channels = wires.map()
    listener = wires.listener(Crowded, channels)
    listener.socket.listen(1000)
    address = listener.socket.getsockname()
    _, quiet = wires.channel(Echo, channels)
    _clients = [wires.client(address) for _ in range(300)]
    for turn in range(1, 9):
        quiet.send(LINE)
        spin(channels)
        assert quiet.recv(100) == LINE
        assert listener._ac_backlog.refused <= turn * 64
    assert listener._ac_backlog.refused == 297


def test_a_channel_that_asks_for_calls_again_and_again_leaves_the_others_their_turn(wires: Wires) -> None:
    channels = wires.map()
    busy, _ = wires.channel(Busy, channels)
    _, quiet = wires.channel(Echo, channels)
    calls = 0

    def again() -> None:
        nonlocal calls
        calls += 1
        busy.call_soon_threadsafe(again)

    again()
    for turn in range(1, 9):
        quiet.send(LINE)
        asyncore.loop(10, map=channels, count=1)
        assert quiet.recv(100) == LINE
        assert calls <= 1 + 2 * turn
