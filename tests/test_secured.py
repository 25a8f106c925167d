"""The phases of TLS: whose the events are in the handshake, and behind another socket or channel."""

import contextlib
import socket
import ssl
from typing import Any

import pytest

import loop_support
from antiphon.errors import WouldBlock
from antiphon.pollers.base import READ, WRITE
from antiphon.testing import FakeClock
from tls_support import (
    Lines,
    Noting,
    Peer,
    Plain,
    Polled,
    a_map,
    secured,
    sockets,
    start,
    turn,
    turn_until,
    waits_for,
)

each_poller = loop_support.each_poller
each_engine = loop_support.each_engine
use_poll = loop_support.use_poll


class Greedy(Plain):
    """Always wants to write."""

    def writable(self) -> bool:
        return True

    def handle_write(self) -> None:
        self.events.append("write")


# -- the handshake -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [Lines, Plain, Polled, Greedy])
@pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])
def test_while_it_waits_for_the_peers_handshake_the_loop_waits(
    each_engine: str, made: Any, server_side: bool
) -> None:
    """Also with output queued, which a socket that takes it would have the loop spin for."""
    with a_map() as channels, sockets() as (near, _far):
        channel = made(near, channels)
        start(channel, server_side=server_side)
        if isinstance(channel, Lines):
            channel.push(b"queued\n")
        turn(channels, 3)
        assert waits_for(channel) & (READ | WRITE) == READ
        assert channel.events == []


def test_events_are_not_the_programs_until_tls_stands() -> None:
    class Naive(Noting):
        def handle_read(self) -> None:
            self.events.append("read")
            self.recv(100)

        def handle_write(self) -> None:
            self.events.append("write")

    with a_map() as channels, sockets() as (near, far):
        channel = Naive(near, channels)
        start(channel)
        peer = Peer.client(far)
        turn_until(channels, lambda: channel.events, peer.step)
        assert channel.events[0] == "established"


@pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])
def test_a_handle_read_event_of_ones_own_ends_in_recv_which_does_it_too(server_side: bool) -> None:
    """pyftpdlib's data channels: `handle_read_event = handle_read`."""

    class Direct(Plain):
        handle_read_event = Plain.handle_read

        def handle_write_event(self) -> None:
            if self.output:
                self.handle_write()

    with secured(Direct, server_side=server_side) as (channel, peer):
        peer.send(b"hello")
        channel.output = b"answer"
        turn_until(channel._map, lambda: channel.received and peer.received, peer.step)
        assert (channel.received, peer.received) == (b"hello", b"answer")


def test_a_handle_connect_event_of_ones_own_is_enough() -> None:
    class Own(Lines):
        def handle_connect_event(self) -> None:
            self.connecting = False
            self.connected = True

    with a_map() as channels, socket.create_server(("127.0.0.1", 0)) as listener:
        channel = Own(map=channels)
        channel.create_socket()
        start(channel, server_side=False)
        channel.connect(listener.getsockname())
        with listener.accept()[0] as accepted:
            peer = Peer.server(accepted)
            turn_until(channels, lambda: channel.events, peer.step)
            assert channel.events == ["established"]


def test_a_connection_that_is_refused_is_no_failure_of_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with a_map() as channels:
        channel = Lines(map=channels)
        channel.create_socket()
        start(channel, server_side=False)
        channel.connect(address)
        turn_until(channels, lambda: channel.closing)
        assert isinstance(channel.error, ConnectionRefusedError)


@pytest.mark.parametrize("pushed", [False, True])
def test_a_handshake_that_takes_too_long_fails(pushed: bool) -> None:
    clock = FakeClock()
    with a_map(now=clock) as channels, sockets(buffers=4096) as (near, _far):
        channel = Lines(near, channels)
        if pushed:
            channel.push(bytes(100_000))
        channel.handshake_timeout = 5
        start(channel)
        turn(channels)
        clock.advance(4.9)
        turn(channels)
        assert channel.events == []
        clock.advance(0.2)
        turn(channels)
        assert isinstance(channel.error, TimeoutError)
        assert "wanted the handshake to be done within 5 s" in str(channel.error)
        assert channel.events[1:] == ["close"]


def test_a_handshake_may_take_for_ever_if_the_program_says_so() -> None:
    clock = FakeClock()
    with a_map(now=clock) as channels, sockets() as (near, _far):
        channel = Lines(near, channels)
        channel.handshake_timeout = None
        start(channel)
        clock.advance(1e6)
        turn(channels)
        assert channel.events == []
        assert not channels.loop.busy


def test_when_tls_stands_no_timer_is_left() -> None:
    with secured() as (channel, _):
        assert channel._ac_timers is None
        assert not channel._map.loop.busy


def test_a_timer_of_the_programs_own_outlives_the_handshake() -> None:
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(near, channels)
        timer = channel.call_later(60, print)
        start(channel)
        peer = Peer.client(far)
        turn_until(channels, lambda: channel.events, peer.step)
        assert timer.active


# -- another socket, another channel -------------------------------------------------------------------------


def test_a_connection_is_handed_over_with_its_tls() -> None:
    with secured() as (channel, peer):
        channel.ac_in_buffer_size = 4
        peer.send(b"one\n" * 20)
        turn(channel._map)
        assert len(channel.lines) < 20
        sock = channel.socket
        channel.del_channel()
        channel.socket = None
        channel.close()
        other = Lines(sock, channel._map)
        turn_until(other._map, lambda: len(channel.lines) + len(other.lines) == 20)
        other.push(b"answer\n")
        turn_until(other._map, lambda: peer.received, peer.step)
        assert peer.received == b"answer\n"
        peer.sock.close()
        turn_until(other._map, lambda: other.closing)
        assert isinstance(other.error, ssl.SSLEOFError)
        assert channel.events == ["established"]


def test_a_connection_is_handed_over_in_its_handshake() -> None:
    clock = FakeClock()
    with a_map(now=clock) as channels, sockets() as (near, far), sockets() as (silent, _):
        for sock in near, silent:
            channel = Lines(sock, channels)
            start(channel)
            secure = channel.socket
            channel.del_channel()
            channel.socket = None
            channel.close()
            other = Lines(secure, channels)
            if sock is near:
                peer = Peer.client(far)
                turn_until(channels, lambda: peer.done and other.events, peer.step)  # noqa: B023
                assert other.events == ["established"]
        clock.advance(61)
        turn(channels)
        assert isinstance(other.error, TimeoutError)


def test_a_socket_that_a_program_puts_in_its_place_is_plain() -> None:
    with secured() as (channel, _peer), sockets() as (near, far):
        near.setblocking(False)
        secure = channel.socket
        channel.del_channel()
        channel.socket = near
        channel._fileno = near.fileno()
        channel.add_channel()
        far.send(b"plain\n")
        turn_until(channel._map, lambda: channel.lines)
        channel.push(b"answer\n")
        assert far.recv(100) == b"answer\n"
        channel.close_when_done()
        turn_until(channel._map, lambda: channel.closing)
        secure.close()


def test_the_same_socket_may_be_set_again() -> None:
    with secured() as (channel, peer):
        channel.del_channel()
        channel.set_socket(channel.socket)
        channel.connected = True
        channel.push(b"still secret\n")
        turn_until(channel._map, lambda: peer.received, peer.step)
        assert peer.received == b"still secret\n"


def test_a_channel_that_is_gone_has_no_events() -> None:
    """Nothing but the map owns a channel."""
    with sockets() as (near, far):
        channels: dict[int, Any] = {}
        channel = Lines(near, channels)
        channel.handshake_timeout = None
        start(channel)
        secure = channel.socket
        channels.clear()
        del channel
        peer = Peer.client(far)
        with contextlib.suppress(WouldBlock):
            for _ in range(10):
                peer.step()
                secure._go_on_reading(None) if secure._channel() else secure.recv(100)
        secure.close()
