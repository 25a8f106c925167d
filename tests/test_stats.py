"""What a loop tells of itself."""

import json
import select
import socket
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.asynchat import async_chat, simple_producer
from antiphon.counting import OBSERVED
from antiphon.datagrams import DatagramChannel
from antiphon.stats import STATES, Stats, queued_in, state_of
from loop_support import Foreign, Noting, Wires, silent_map, spin

wires = loop_support.wires


@pytest.fixture(autouse=True)
def nobody_counts_after_a_test() -> Iterator[None]:
    yield
    for counts in list(OBSERVED):
        counts.stop()


class Chat(async_chat):
    """Says nothing."""

    def collect_incoming_data(self, data: bytes) -> None:
        """Nothing."""


NAME = f"{Chat.__module__}.Chat"


def states(channels: Any) -> dict[str, dict[str, int]]:
    stats: Stats = asyncore.get_loop(channels).stats()
    return stats.channels


# -- states ------------------------------------------------------------------------------------------------


def test_channels_are_told_by_class_and_state(wires: Wires) -> None:
    channels = wires.map()
    for _ in range(3):
        wires.channel(Chat, channels)
    listener = wires.listener(Noting, channels)
    wires.channel(Noting, channels)
    near, _ = wires.pair()
    channels[near.fileno()] = Foreign(near)
    assert states(channels) == {
        f"{Foreign.__module__}.Foreign": {"open": 1},
        f"{Noting.__module__}.Noting": {"listening": 1, "connected": 1},
        NAME: {"connected": 3},
    }
    listener._ac_paused = True
    assert state_of(listener) == "paused"
    listener._ac_paused = False
    listener.pause_reading()
    assert state_of(listener) == "paused"
    listener.resume_reading()
    assert state_of(listener) == "listening"


def test_a_channel_goes_through_its_states(wires: Wires) -> None:
    channels = wires.map()
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = wires.keep(Chat(map=channels))
        channel.create_socket()
        assert state_of(channel) == "open"
        channel.connecting = True
        assert state_of(channel) == "connecting"
        channel.connect(server.getsockname())
        asyncore.loop(10, map=channels, count=1)
        assert state_of(channel) == "connected"
    channel.push_with_producer(simple_producer(b"x" * 10_000_000, 100_000))
    channel.close_when_done()
    assert state_of(channel) == "closing"
    channel.close()
    assert state_of(channel) == "closing"


def test_a_channel_whose_peer_has_gone_is_closing(wires: Wires) -> None:
    class Lasting(Chat):
        def handle_close(self) -> None:
            """Later."""

    channels = wires.map()
    channel, far = wires.channel(Lasting, channels)
    far.close()
    spin(channels)
    assert state_of(channel) == "closing"


# -- queues ------------------------------------------------------------------------------------------------


def test_what_waits_to_be_sent_is_told(wires: Wires) -> None:
    channels = wires.map()
    pushing, _ = wires.channel(Chat, channels)
    producing, _ = wires.channel(Chat, channels)
    foreign, _ = wires.channel(Chat, channels)
    for channel in pushing, producing, foreign:
        channel.connected = False  # Nothing leaves.
    pushing.push(b"12345")
    producing.push(b"1")
    producing.producer_fifo.extend([memoryview(b"12"), bytearray(b"123"), "1234", None])
    producing.push_with_producer(simple_producer(b"many"))
    foreign.producer_fifo = deque([b"12", simple_producer(b"many")])
    assert [queued_in(channel) for channel in (pushing, producing, foreign)] == [(5, 0), (10, 1), (2, 1)]
    stats = channels.loop.stats()
    assert (stats.queued, stats.producers) == (17, 2)


def test_what_a_handler_has_just_pushed_waits_too(wires: Wires) -> None:
    class Asking(Chat):
        def collect_incoming_data(self, data: bytes) -> None:
            self.push(data)
            self.queued = self._map.loop.stats().queued

    channels = wires.map()
    channel, far = wires.channel(Asking, channels)
    far.send(b"12345")
    spin(channels)
    assert channel.queued == 5
    assert channels.loop.stats().queued == 0


def test_datagrams_that_wait_are_told(wires: Wires) -> None:
    channel = wires.keep(DatagramChannel(map=wires.map()))
    channel.create_socket()
    channel._ac_queue_out.append((b"12345", None))
    channel._ac_queued = 5
    assert channel._map.loop.stats().queued == 5


def test_a_queue_that_can_t_be_looked_into_counts_for_nothing(wires: Wires) -> None:
    class Closed:
        def __len__(self) -> int:
            return 7

    channel, _ = wires.channel(Chat, wires.map())
    channel._ac_foreign_fifo = Closed()
    assert queued_in(channel) == (0, 0)
    channel._ac_foreign_fifo = None


# -- numbers -----------------------------------------------------------------------------------------------


def test_connections_and_turns_are_counted(wires: Wires) -> None:
    channels = wires.map()

    class Listening(Noting):
        def handle_accepted(self, sock: Any, addr: Any) -> None:
            Noting(sock, self._map)

    listener = wires.listener(Listening, channels)
    for _ in range(3):
        wires.client(listener.socket.getsockname())
        asyncore.loop(10, map=channels, count=1)
    stats = channels.loop.stats()
    assert (stats.accepted, stats.refused, stats.turns) == (3, 0, 3)


def test_refused_connections_are_not_accepted_ones(wires: Wires) -> None:
    class Listening(Noting):
        max_connections_per_peer = 2

        def handle_accepted(self, sock: Any, addr: Any) -> None:
            Noting(sock, self._map)

    channels = wires.map()
    listener = wires.listener(Listening, channels)
    for _ in range(5):
        wires.client(listener.socket.getsockname())
        asyncore.loop(10, map=channels, count=1)
    stats = channels.loop.stats()
    assert (stats.accepted, stats.refused) == (2, 3)


def test_a_listener_without_a_loop_is_counted_by_itself(wires: Wires) -> None:
    listener = wires.listener(Noting, wires.map())
    listener.del_channel()
    wires.client(listener.socket.getsockname())
    select.select([listener.socket], [], [], 10)
    connection, address = listener.accept()
    listener._ac_queue().refuse(connection, address, "for the test")
    assert (listener._ac_queue().accepted, listener._ac_queue().refused) == (0, 1)


def test_time_is_told_by_the_clock_of_the_loop(wires: Wires) -> None:
    channels, clock, poller = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    channels.loop.collect_stats()

    def turn(*seconds: float) -> None:
        """One in which a handler takes so long, each time that it is called."""
        channel.handle_read = lambda: clock.advance(seconds[0])
        poller.deliver((channel._fileno, 1))
        asyncore.loop(5, map=channels, count=1)

    for seconds in 0.5, 2.0, 0.5:
        turn(seconds)
    asyncore.loop(7, map=channels, count=1)  # Waits for nothing.
    channels.loop.call_later(10, clock.advance, 1)
    asyncore.loop(20, map=channels, count=1)
    stats = channels.loop.stats()
    assert (stats.seconds, stats.busy, stats.worst_turn, stats.mean_turn) == (21, 4, 2, 1)
    assert stats.timers == 0


def test_the_time_of_a_turn_inside_of_a_handler_is_counted_once(wires: Wires) -> None:
    channels, clock, poller = silent_map(wires)
    outer, _ = wires.channel(Noting, channels)
    inner, _ = wires.channel(Noting, channels)
    channels.loop.collect_stats()

    def nested() -> None:
        poller.deliver((inner._fileno, 1))
        asyncore.loop(0, map=channels, count=1)

    outer.handle_read = nested
    inner.handle_read = lambda: clock.advance(3)
    poller.deliver((outer._fileno, 1))
    asyncore.loop(0, map=channels, count=1)
    assert channels.loop.counts.turns == 1
    assert channels.loop.stats().busy == 3


def test_before_there_was_a_turn_its_mean_is_nothing(wires: Wires) -> None:
    channels = wires.map()
    channels.loop.collect_stats()
    assert channels.loop.stats().mean_turn == 0


def test_pending_timers_are_told(wires: Wires) -> None:
    channels = wires.map()
    for _ in range(3):
        channels.loop.call_later(100, print)
    assert channels.loop.stats().timers == 3


# -- as something else -------------------------------------------------------------------------------------


@pytest.mark.parametrize("traffic", [False, True])
def test_it_can_be_exported(wires: Wires, traffic: bool) -> None:
    channels = wires.map()
    wires.channel(Chat, channels)
    channels.loop.collect_stats(traffic)
    stats = channels.loop.stats()
    exported = json.loads(json.dumps(stats.as_dict()))
    assert exported["channels"] == {NAME: {"connected": 1}}
    assert exported["closed"] == {"peer": 0, "timeout": 0, "overflow": 0, "error": 0, "own": 0}
    assert (exported["messages"] == 0) is traffic
    stats.as_dict()["channels"].clear()
    stats.as_dict()["closed"].clear()
    assert stats.channels
    assert stats.closed


def test_it_can_be_read(wires: Wires) -> None:
    channels = wires.map()
    for _ in range(2):
        wires.channel(Chat, channels)
    wires.channel(Noting, channels)[0].close()
    text = str(channels.loop.stats())
    assert f"channels: 2\n  {NAME}: 2 connected\n" in text
    assert "closed: 0 peer, 0 timeout, 0 overflow, 0 error, 1 own\n" in text
    assert "worst turn" not in text
    channels.loop.collect_stats()
    assert "worst turn: 0.000000 s" in str(channels.loop.stats())
    assert "channels: 0\n" in str(asyncore.get_loop({}).stats())


def test_nothing_of_it_can_be_changed(wires: Wires) -> None:
    stats: Any = wires.map().loop.stats()
    with pytest.raises(AttributeError):
        stats.accepted = 7


def test_another_thread_may_ask_while_the_loop_turns(wires: Wires) -> None:
    channels = wires.map()
    taken: list[Stats] = []
    asked = threading.Event()

    def ask() -> None:
        taken.extend(channels.loop.stats() for _ in range(200))
        asked.set()

    thread = threading.Thread(target=ask)
    thread.start()
    while not asked.is_set():
        channel, _ = wires.channel(Chat, channels)
        channel.push(b"x")
        spin(channels)
        channel.close()
    thread.join()
    assert len(taken) == 200


def test_each_state_has_its_place() -> None:
    assert len(set(STATES)) == 6
