"""Peers that have sent all and still read, and channels that do so."""

import errno
import socket
from typing import Any

import pytest

import loop_support
from antiphon import asynchat, asyncore
from antiphon.testing import FakeNetwork, error
from loop_support import Noting, Wires, spin

wires = loop_support.wires
each_engine = loop_support.each_engine
use_poll = loop_support.use_poll


class Answering(asynchat.async_chat):
    """Answers when its peer has sent all."""

    def __init__(self, sock: Any, map: Any = None) -> None:
        self.events: list[str] = []
        super().__init__(sock, map)
        self.set_terminator(None)

    collect_incoming_data = asynchat.async_chat._collect_incoming_data

    def handle_eof(self) -> None:
        self.events.append("eof")

    def handle_close(self) -> None:
        self.events.append("close")
        self.close()


class Feeding(asyncore.dispatcher_with_send):
    """Sends and ends its output."""

    def __init__(self, sock: Any, map: Any = None) -> None:
        self.events: list[str] = []
        super().__init__(sock, map)

    def handle_read(self) -> None:
        self.events.append(repr(self.recv(100)))

    def handle_close(self) -> None:
        self.events.append("close")
        self.close()


def test_a_peer_that_has_sent_all_can_be_answered(wires: Wires, each_engine: str, use_poll: bool) -> None:
    channels = wires.map()
    channel, far = wires.channel(Answering, channels)
    far.send(b"question")
    far.shutdown(socket.SHUT_WR)
    spin(channels, turns=3, use_poll=use_poll)
    assert (channel.events, channel.incoming) == (["eof"], [b"question"])
    before = asyncore.get_loop(channels).turns
    asyncore.loop(0.01, use_poll, channels, 1)
    assert asyncore.get_loop(channels).turns == before + 1
    channel.push(b"answer")
    channel.close_when_done()
    spin(channels, turns=2, use_poll=use_poll)
    assert (far.recv(100), far.recv(100)) == (b"answer", b"")
    assert channel.events == ["eof", "close"]


def test_the_end_of_the_input_is_no_event_any_more(wires: Wires, each_engine: str, use_poll: bool) -> None:
    channels = wires.map()
    channel, far = wires.channel(Answering, channels)
    far.shutdown(socket.SHUT_WR)
    spin(channels, turns=5, use_poll=use_poll)
    assert asyncore.get_loop(channels).waits_for(channel.socket.fileno()) == 0
    assert channel.events == ["eof"]


@pytest.mark.parametrize("made", [Answering, Feeding])
def test_a_peer_that_does_not_even_read_is_lost_when_it_is_sent_to(
    wires: Wires, made: Any, use_poll: bool
) -> None:
    channels = wires.map()
    channel, far = wires.channel(made, channels)
    channel.handle_eof = lambda: channel.events.append("eof")
    far.close()
    spin(channels, turns=2, use_poll=use_poll)
    assert channel.events[0] == "eof"
    channel.push(b"x") if made is Answering else channel.send(b"x")
    spin(channels, turns=2, use_poll=use_poll)
    assert "close" in channel.events
    assert not channels


def test_by_default_the_end_of_the_input_is_the_end(wires: Wires) -> None:
    channels = wires.map()
    channel, far = wires.channel(Noting, channels)
    far.shutdown(socket.SHUT_WR)
    spin(channels)
    assert channel.events == ["read", "close"]
    assert not channels


def test_a_handler_may_close_at_the_end_of_the_input(wires: Wires) -> None:
    class Closing(Answering):
        def handle_eof(self) -> None:
            super().handle_eof()
            self.close()

    channels = wires.map()
    channel, far = wires.channel(Closing, channels)
    far.shutdown(socket.SHUT_WR)
    spin(channels, turns=2)
    assert channel.events == ["eof"]
    assert not channels


def test_a_handler_that_reads_on_is_told_once(wires: Wires) -> None:
    channels = wires.map()
    channel, far = wires.channel(Answering, channels)
    far.shutdown(socket.SHUT_WR)
    spin(channels)
    assert channel.recv(10) == b""
    assert channel.events == ["eof"]


@pytest.mark.parametrize("made", [Answering, Feeding])
@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_the_output_ends_behind_all_that_was_sent(
    wires: Wires, made: Any, size: int, each_engine: str, use_poll: bool
) -> None:
    channels = wires.map()
    channel, far = wires.channel(made, channels)
    spin(channels)
    if size:
        channel.push(bytes(size)) if made is Answering else channel.send(bytes(size))
    channel.shutdown_write()
    channel.shutdown_write()
    received = 0
    far.setblocking(False)
    while True:
        spin(channels, use_poll=use_poll)
        try:
            data = far.recv(1_000_000)
        except BlockingIOError:
            continue
        if not data:
            break
        received += len(data)
    assert received == size
    far.send(b"and you?")
    spin(channels, use_poll=use_poll)
    assert channel.events in ([], ["b'and you?'"])
    far.close()
    spin(channels, turns=2, use_poll=use_poll)
    ends = [event for event in channel.events if event in ("eof", "close")]
    assert ends == (["close"] if made is Feeding else ["eof", "close"])
    assert not channels


def test_the_output_ends_after_the_input(wires: Wires) -> None:
    channels = wires.map()
    channel, far = wires.channel(Answering, channels)
    far.shutdown(socket.SHUT_WR)
    spin(channels)
    channel.push(b"answer")
    channel.shutdown_write()
    assert channel.events == ["eof", "close"]
    assert (far.recv(100), far.recv(100)) == (b"answer", b"")


def test_a_plain_channel_ends_its_output_at_once(wires: Wires) -> None:
    channels = wires.map()
    channel, far = wires.channel(Noting, channels)
    channel.shutdown_write()
    assert far.recv(10) == b""


@pytest.mark.parametrize("made", [Answering, Feeding])
def test_a_new_socket_begins_in_both_directions(wires: Wires, made: Any) -> None:
    channels = wires.map()
    channel, far = wires.channel(made, channels)
    channel.handle_eof = lambda: None
    far.shutdown(socket.SHUT_WR)
    spin(channels, turns=2)
    near, other = wires.pair()
    channel.del_channel()
    channel.socket.close()
    channel.set_socket(near)
    other.send(b"again")
    spin(channels)
    assert channel.incoming == [b"again"] if made is Answering else channel.events[-1] == "b'again'"


def test_a_new_socket_s_output_can_end_too(wires: Wires) -> None:
    channels = wires.map()
    channel, far = wires.channel(Noting, channels)
    for _ in range(2):
        channel.shutdown_write()
        assert far.recv(10) == b""
        near, far = wires.pair()
        channel.del_channel()
        channel.socket.close()
        channel.set_socket(near)
    channel.close()


def test_a_handler_may_put_another_socket_at_the_end(wires: Wires) -> None:
    near, other = wires.pair()

    class Changing(Answering):
        def handle_eof(self) -> None:
            self.close()
            self.set_socket(near)
            self.connected = True

    channels = wires.map()
    channel, far = wires.channel(Changing, channels)
    far.shutdown(socket.SHUT_WR)
    spin(channels)
    other.send(b"again")
    spin(channels)
    assert channel.incoming == [b"again"]


@pytest.mark.parametrize("made", [Answering, Feeding])
def test_a_connection_that_is_gone_ends_when_its_output_does(made: Any) -> None:
    with FakeNetwork() as network:
        channel = network.channel(made, shutdown=[error(errno.ENOTCONN)])
        channel.shutdown_write()
        assert channel.events == ["close"]


def test_another_error_of_shutdown_is_the_program_s(wires: Wires) -> None:
    with FakeNetwork() as network:
        channel = network.channel(Feeding, shutdown=[error(errno.EINVAL)])
        with pytest.raises(OSError, match="Invalid"):
            channel.shutdown_write()


def test_what_cannot_end_in_one_direction_is_refused() -> None:
    class Tls:
        def shutdown(self, how: int) -> None: ...
        def unwrap(self) -> None: ...

    channel = asyncore.dispatcher(map={})
    with pytest.raises(ValueError, match="a channel with a socket to shut down, found None"):
        channel.shutdown_write()
    channel.socket = Tls()
    with pytest.raises(ValueError, match="found one of TLS"):
        channel.shutdown_write()


def test_the_end_of_a_closed_channel_s_output_is_nothing(wires: Wires) -> None:
    channels = wires.map()
    channel, _ = wires.channel(Feeding, channels)
    channel.close()
    channel._ac_socket = None
    channel._ac_end_output()
    assert channel.events == []
