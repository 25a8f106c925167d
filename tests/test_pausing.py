"""Channels that read nothing for a while: what the loop does with them, and what it costs."""

import socket
import struct
import threading
from typing import Any

import pytest

import loop_support
from antiphon import asynchat, asyncore, pollers
from antiphon.datagrams import DatagramChannel
from antiphon.loop import Loop
from antiphon.maps import ChannelMap
from antiphon.pausing import BY_OUTPUT, BY_PROGRAM
from antiphon.pollers.base import READ
from chat_support import transferred
from loop_support import CountingPoller, Noting, Wires, silent_map, spin

wires = loop_support.wires
each_poller = loop_support.each_poller
use_poll = loop_support.use_poll


class Asked(Noting):
    """A polled channel."""

    def readable(self) -> bool:
        return True


class AskedAbove(Noting):
    """One that asks the class above."""

    def readable(self) -> bool:
        return bool(super().readable())


class Sending(asyncore.dispatcher_with_send):
    """Has output of its own; notes how often it is told of the end."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.closes, self.received = 0, b""

    def handle_read(self) -> None:
        self.received += self.recv(4096)

    def handle_close(self) -> None:
        self.closes += 1
        self.close()


class WatchedPoller(CountingPoller):
    """Counts the events that it reports."""

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        ready = super().wait(timeout)
        self.calls["event"] += len(ready)
        return ready


def watched_map(wires: Wires, kind: str = "ChannelMap") -> tuple[Any, WatchedPoller]:
    poller = WatchedPoller(pollers.make())
    if kind == "ChannelMap":
        return wires.map(make_poller=lambda: poller), poller
    channels: dict[int, Any] = {}
    loop = asyncore.get_loop(channels)
    loop._make_poller = lambda: poller
    return channels, poller


@pytest.mark.parametrize("made", [Noting, Asked, AskedAbove, asyncore.dispatcher_with_send])
@pytest.mark.parametrize("kind", ["ChannelMap", "dict"])
def test_a_paused_channel_is_not_read_until_it_is_resumed(
    wires: Wires, each_poller: str, use_poll: bool, made: Any, kind: str
) -> None:
    channels: Any = wires.map() if kind == "ChannelMap" else {}
    channel, far = wires.channel(made, channels)
    got: list[bytes] = []
    channel.handle_read = lambda: got.append(channel.recv(100))
    channel.pause_reading()
    channel.pause_reading()
    assert channel.reading_paused
    far.send(b"early")
    spin(channels, 3, use_poll=use_poll)
    assert got == []
    channel.resume_reading()
    channel.resume_reading()
    assert not channel.reading_paused
    spin(channels, 1, use_poll=use_poll)
    assert got == [b"early"]


def test_what_a_paused_channel_says_of_itself(wires: Wires) -> None:
    for made in Noting, asyncore.dispatcher_with_send, asynchat.async_chat:
        channel, _ = wires.channel(made, {})
        assert channel.readable()
        channel.pause_reading()
        assert not channel.readable()


def test_output_and_timers_go_on_while_reading_is_paused(wires: Wires, each_poller: str) -> None:
    channels = wires.map()
    channel, far = wires.channel(asynchat.async_chat, channels)
    channel.pause_reading()
    channel.call_later(0, channel.push, b"x" * 1_000_000)
    assert transferred(channel, far, 1_000_000) == b"x" * 1_000_000
    assert channel.reading_paused


def test_pausing_inside_of_another_handler_of_the_same_turn_holds(wires: Wires, use_poll: bool) -> None:
    channels, _, poller = silent_map(wires)
    first, far_of_first = wires.channel(Noting, channels)
    second, far_of_second = wires.channel(Noting, channels)
    first.handle_read = lambda: (first.recv(1), second.pause_reading())
    far_of_first.send(b"x")
    far_of_second.send(b"y")
    poller.deliver((first._fileno, READ), (second._fileno, READ))
    spin(channels, 2, use_poll=use_poll)
    assert second.events == []
    assert second._fileno not in poller.watched
    second.resume_reading()
    poller.deliver((second._fileno, READ))
    spin(channels, use_poll=use_poll)
    assert second.received == b"y"


# -- the end of the connection -------------------------------------------------------------------------------


def reset(sock: socket.socket) -> None:
    """End a TCP connection at once (SO_LINGER of 0 seconds, socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("family", [None, socket.AF_INET], ids=["pair", "TCP"])
@pytest.mark.parametrize("kind", ["ChannelMap", "dict"])
def test_the_end_costs_no_turn_while_paused_and_is_found_behind_the_data(
    wires: Wires, each_poller: str, use_poll: bool, family: Any, kind: str
) -> None:
    channels, poller = watched_map(wires, kind)
    near, far = wires.pair(family)
    channel = wires.keep(Noting(near, channels))
    channel.pause_reading()
    far.send(b"last words")
    far.close()
    spin(channels, 20, use_poll=use_poll)
    assert poller.calls["event"] == 0
    assert channel.events == []
    channel.resume_reading()
    spin(channels, 5, use_poll=use_poll)
    assert channel.received == b"last words"
    assert channel.events[-1] == "close"
    assert channel.events.count("close") == 1


def test_a_reset_costs_no_turn_while_paused_and_is_found_after_it(
    wires: Wires, each_poller: str, use_poll: bool
) -> None:
    channels, poller = watched_map(wires)
    near, far = wires.pair(socket.AF_INET)
    channel = wires.keep(Noting(near, channels))
    channel.pause_reading()
    reset(far)
    spin(channels, 20, use_poll=use_poll)
    assert poller.calls["event"] == 0
    channel.resume_reading()
    spin(channels, 5, use_poll=use_poll)
    assert channel.events.count("close") == 1


@pytest.mark.parametrize("family", [None, socket.AF_INET], ids=["pair", "TCP"])
def test_a_paused_channel_with_output_learns_that_nobody_takes_it(
    wires: Wires, each_poller: str, use_poll: bool, family: Any
) -> None:
    channels, poller = watched_map(wires)
    near, far = wires.pair(family)
    channel = wires.keep(Sending(near, channels))
    channel.pause_reading()
    channel.send(b"x" * 10_000_000)
    spin(channels, 20, use_poll=use_poll)
    before = poller.calls["event"]
    (reset if family else socket.socket.close)(far)
    spin(channels, 20, use_poll=use_poll)
    assert channel.closes == 1
    assert poller.calls["event"] - before <= 2
    assert len(channels) == 0


def test_a_peer_that_only_stops_sending_costs_no_turn_while_output_waits(
    wires: Wires, each_poller: str, use_poll: bool
) -> None:
    channels, poller = watched_map(wires)
    channel, far = wires.channel(Sending, channels)
    channel.pause_reading()
    channel.send(b"x" * 10_000_000)
    spin(channels, 20, use_poll=use_poll)
    before = poller.calls["event"]
    far.shutdown(socket.SHUT_WR)
    spin(channels, 20, use_poll=use_poll)
    assert channel.closes == 0
    assert poller.calls["event"] == before


# -- channels that don't read yet, or listen -----------------------------------------------------------------


class Server(Noting):
    """Notes its connections."""

    def __init__(self, map: Any) -> None:
        super().__init__(map=map)
        self.accepted: list[Any] = []

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        self.accepted.append(addr)
        sock.close()


def test_a_paused_listener_accepts_nothing_until_it_is_resumed(
    wires: Wires, each_poller: str, use_poll: bool
) -> None:
    channels = wires.map()
    listener = wires.listener(Server, channels)
    listener.pause_reading()
    wires.client(listener.socket.getsockname())
    spin(channels, 5, use_poll=use_poll)
    assert listener.accepted == []
    listener.handle_read_event()  # As an event of the turn in which it was paused would.
    assert listener.accepted == []
    listener.resume_reading()
    spin(channels, 1, use_poll=use_poll)
    assert len(listener.accepted) == 1


def test_a_listener_that_pauses_accepts_no_more_of_its_batch(wires: Wires) -> None:
    class Pausing(Server):
        def handle_accepted(self, sock: Any, addr: Any) -> None:
            super().handle_accepted(sock, addr)
            if len(self.accepted) > 3:
                self.pause_reading()

    channels = wires.map()
    listener = wires.listener(Pausing, channels)
    for _ in range(10):
        wires.client(listener.socket.getsockname())
    spin(channels, 10)
    assert len(listener.accepted) == 4
    listener.resume_reading()
    spin(channels, 10)
    assert len(listener.accepted) == 5


def test_a_datagram_channel_that_pauses_gets_the_others_later(wires: Wires, each_poller: str) -> None:
    class Pausing(DatagramChannel):
        def datagram_received(self, data: bytes, address: Any) -> None:
            got.append(data)
            self.pause_reading()

    got: list[bytes] = []
    channels = wires.map()
    channel = wires.keep(Pausing(map=channels))
    channel.create_socket()
    channel.bind(("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for number in range(3):
            peer.sendto(b"%d" % number, channel.socket.getsockname())
    for number in range(3):
        assert channel.readable()
        spin(channels, 3)
        assert got == [b"%d" % earlier for earlier in range(number + 1)]
        assert not channel.readable()
        channel.resume_reading()


def test_a_listener_that_rested_stays_paused_if_the_program_has_paused_it(wires: Wires) -> None:
    channels, clock, poller = silent_map(wires)
    listener = wires.listener(Server, channels)
    listener._ac_queue().pause(OSError(24, "too many open files"))
    listener.pause_reading()
    spin(channels)
    clock.advance(10)
    spin(channels, 2)
    assert poller.watched.get(listener._fileno) is None
    listener.resume_reading()
    spin(channels)
    assert poller.watched[listener._fileno] & READ


def test_a_channel_that_is_paused_before_it_connects_connects(wires: Wires, each_poller: str) -> None:
    channels = wires.map()
    listener = wires.listener(Server, channels)
    accepted: list[socket.socket] = []

    def greet(sock: socket.socket, addr: Any) -> None:
        sock.send(b"hello")
        accepted.append(sock)

    listener.handle_accepted = greet
    client = wires.keep(Noting(map=channels))
    client.pause_reading()
    client.create_socket()
    client.connect(listener.socket.getsockname())
    spin(channels, 5)
    assert client.events == ["connect"]
    client.resume_reading()
    spin(channels, 2)
    assert client.received == b"hello"
    accepted[0].close()


def test_a_new_connection_of_a_channel_that_was_closed_is_not_paused(wires: Wires) -> None:
    channels = wires.map()
    channel, _ = wires.channel(Noting, channels)
    channel.pause_reading()
    channel.close()
    near, far = wires.pair()
    channel.set_socket(near)
    channel.connected = True
    assert not channel.reading_paused
    far.send(b"x")
    spin(channels)
    assert channel.received == b"x"


def test_another_socket_of_a_paused_channel_is_not_read(wires: Wires) -> None:
    channels = wires.map()
    channel, _ = wires.channel(Noting, channels)
    channel.pause_reading()
    near, far = wires.pair()
    before = channel.socket
    channel.del_channel()
    channel.set_socket(near)
    before.close()
    far.send(b"x")
    spin(channels)
    assert channel.received == b""
    channel.resume_reading()
    spin(channels)
    assert channel.received == b"x"


# -- reasons, names, threads ---------------------------------------------------------------------------------


def test_of_two_reasons_to_pause_the_last_one_that_goes_ends_it(wires: Wires) -> None:
    channel, _ = wires.channel(Noting, {})
    channel._ac_resume_reading(BY_OUTPUT)
    channel._ac_pause_reading(BY_OUTPUT)
    channel._ac_pause_reading(BY_PROGRAM)
    channel.resume_reading()
    assert channel.reading_paused
    channel._ac_resume_reading(BY_OUTPUT)
    assert not channel.reading_paused


def test_a_program_s_own_attributes_of_these_names_pause_nothing(wires: Wires) -> None:
    class Old(Noting):
        reading_paused = True

    channels = wires.map()
    channel, far = wires.channel(Old, channels)
    channel.reading_paused = 1
    far.send(b"x")
    spin(channels)
    assert channel.received == b"x"


def test_another_thread_pauses_and_resumes_while_the_loop_waits(wires: Wires, each_poller: str) -> None:
    channels = ChannelMap()
    channels.loop = Loop(channels, tells=True)
    channel, far = wires.channel(Noting, channels)
    looping = threading.Thread(target=asyncore.loop, args=(30, False, channels))
    looping.start()
    try:
        paused, resumed = threading.Event(), threading.Event()
        channel.pause_reading()
        channel.call_soon_threadsafe(paused.set)
        assert paused.wait(10)
        assert channel.reading_paused
        far.send(b"x")
        channel.call_soon_threadsafe(resumed.set)
        assert resumed.wait(10)
        assert channel.events == []
        read = threading.Event()

        def handle_read() -> None:
            channel.recv(10)
            read.set()

        channel.handle_read = handle_read
        channel.resume_reading()
        assert read.wait(10)
    finally:
        channel.close()
        looping.join(10)
        channels.loop.close()
    assert not looping.is_alive()
