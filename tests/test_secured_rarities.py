"""TLS over a system that takes little, with peers that are quick, and for channels that are gone."""

import contextlib
import socket
from typing import Any

import pytest

import loop_support
from antiphon.errors import WouldBlock
from antiphon.pollers.base import READ, WRITE
from antiphon.producers import IterableProducer
from tls_support import (
    Lines,
    Peer,
    Plain,
    a_map,
    drained,
    give,
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


class Sluggish(socket.socket):
    """A socket whose system takes no more than `takes` bytes, if that is set."""

    takes: int | None = None

    def send(self, data: Any, flags: int = 0) -> int:
        if self.takes is None:
            return super().send(data, flags)
        if not self.takes:
            raise BlockingIOError
        sent = super().send(memoryview(data)[: self.takes], flags)
        self.takes -= sent
        return sent


@contextlib.contextmanager
def sluggish(made: Any = Lines) -> Any:
    """A channel whose TLS stands over a `Sluggish` socket, that socket, and the peer."""
    with a_map() as channels, sockets() as (near, far), Sluggish(fileno=near.detach()) as slow:
        channel = made(slow, channels)
        start(channel)
        peer = Peer.client(far)
        turn_until(channels, lambda: peer.done and channel.events, peer.step)
        turn(channels, 2)
        yield channel, slow, peer


def test_a_goodbye_that_the_system_does_not_take_waits(each_poller: str) -> None:
    with sluggish() as (channel, slow, peer):
        slow.takes = 5
        channel.close_when_done()
        turn(channel._map, 3)
        assert waits_for(channel) == READ | WRITE
        peer.step()
        assert not peer.ended
        slow.takes = None
        turn(channel._map, 2)
        peer.step()
        assert peer.ended == "TLS"
        assert waits_for(channel) == READ


def test_plain_waits_for_the_goodbye_to_be_taken() -> None:
    with sluggish() as (channel, slow, peer):
        slow.takes = 5
        peer.goodbye()
        peer.sock.send(b"plain\n")
        channel.stop_tls()
        turn_until(channel._map, lambda: channel.lines)
        assert channel.events == ["established", "stopped"]
        assert channel._ac_tls is not None
        channel.push(b"answer\n")
        turn(channel._map, 2)
        slow.takes = None
        turn(channel._map, 2)
        assert channel._ac_tls is None
        peer.step()
        peer.pull()
        assert (peer.incoming.read() + drained(peer.sock)).endswith(b"answer\n")


def test_what_openssl_says_by_itself_is_sent_as_the_system_takes_it() -> None:
    for made in Lines, Plain:
        with sluggish(made) as (channel, slow, peer):
            secure = channel.socket
            slow.takes = 0
            peer.send(b"hello\n")
            secure._outgoing.write(b"\x17\x03\x03\x00\x05")  # As the beginning of an answer to KeyUpdate.
            turn(channel._map, 2)
            assert waits_for(channel) == READ | WRITE
            give(channel, b"output")
            turn(channel._map, 2)
            secure._unsent = bytes(secure._unsent) + bytes(20_000)
            channel._ac_state_changed()
            turn(channel._map, 2)
            assert waits_for(channel) == WRITE, "a peer that doesn't read the answers is not listened to"
            slow.takes = None
            turn(channel._map, 3)
            assert not secure._unsent
            assert waits_for(channel) & READ


def test_an_answer_that_can_not_be_sent_is_a_lost_connection() -> None:
    with sluggish() as (channel, slow, peer):
        slow.takes = 0
        peer.send(b"hello\n")
        channel.socket._outgoing.write(b"answer")
        turn(channel._map, 2)
        peer.sock.close()
        slow.takes = None
        channel._ac_tls.write_event(channel)
        assert isinstance(channel.error, OSError)
        assert channel.closing


def test_many_pieces_that_were_pushed_before_leave_in_several_events() -> None:
    for stops in False, True:
        with sockets(buffers=1 << 20) as (near, far), a_map() as channels:
            channel = Lines(near, channels)
            peer = Peer.client(far)
            if stops:
                start(channel)
                turn_until(channels, lambda: peer.done and channel.events, peer.step)  # noqa: B023
            channel.push_with_producer(IterableProducer([bytes(4096)] * 100))
            channel.producer_fifo.extend([bytes(20_000)] * 40)
            far.setblocking(False)
            if stops:
                channel.stop_tls()
                turn_until(channels, lambda: peer.ended, peer.step)  # noqa: B023
                assert len(peer.received) == 4096 * 100 + 20_000 * 40
            else:
                start(channel)
                size = 0
                for _ in range(200):
                    turn(channels)
                    size += len(drained(far))
                assert size == 4096 * 100 + 20_000 * 40


def test_an_event_without_data_is_none() -> None:
    with secured() as (channel, peer):
        tls = channel._ac_tls
        tls.begin(channel)
        channel.close_when_done()
        turn_until(channel._map, lambda: peer.ended, peer.step)
        assert not tls.read_event(channel)
        assert not channel.closing


@pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])
def test_a_channel_that_was_said_to_be_connected_begins(server_side: bool) -> None:
    for own in False, True:

        class Unconnected(Lines):
            if own:
                handle_read_event = Lines.handle_read

        with a_map() as channels, sockets() as (near, far):
            channel = Unconnected(map=channels)
            near.setblocking(False)
            start(channel, server_side=server_side)
            channel.set_socket(near)
            channel.connected = True
            peer = Peer.client(far) if server_side else Peer.server(far)
            turn_until(channels, lambda: channel.events and peer.done, peer.step)  # noqa: B023
            assert channel.events == ["established"]


def test_a_peer_that_ends_with_its_handshake_is_not_waited_for() -> None:
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(near, channels)
        start(channel)
        channel.close_when_done()
        channel.initiate_send()
        peer = Peer.client(far)
        turn_until(channels, lambda: peer.done, peer.step)
        peer.goodbye()
        turn_until(channels, lambda: channel.closing)
        assert channel.events == ["established", "close"]


def test_a_socket_that_is_no_channels_any_more_hangs_nobody_up() -> None:
    with secured() as (channel, peer), sockets() as (near, _far):
        near.setblocking(False)
        secure = channel.socket
        channel.del_channel()
        channel.socket = near
        peer.sock.close()
        with pytest.raises(WouldBlock):
            secure.recv(100)
        assert channel.events == ["established"]
        secure.close()


def test_a_handler_that_does_not_read_is_called_again() -> None:
    """As with a plain socket, which stays ready."""

    class Lazy(Plain):
        calls = 0

        def handle_read(self) -> None:
            self.calls += 1
            if self.calls % 3 == 1:
                self.received += self.recv(10)

    with secured(Lazy) as (channel, peer):
        peer.send(b"x" * 100)
        turn_until(channel._map, lambda: len(channel.received) == 100)
        turn(channel._map, 3)
        calls = channel.calls
        turn(channel._map, 5)
        assert channel.calls == calls


@pytest.mark.parametrize("ends", [True, False])
def test_the_end_of_a_channel_that_is_gone_tells_nobody(ends: bool) -> None:
    with sockets() as (near, far):
        secure = abandoned(near, far, ends)
        with contextlib.suppress(WouldBlock, BlockingIOError):
            secure.recv(100)
        secure.close()


def abandoned(near: socket.socket, far: socket.socket, ends: bool) -> Any:
    """The secure socket of a channel that nobody has any more."""
    channels: dict[int, Any] = {}
    channel = Lines(near, channels)
    start(channel)
    peer = Peer.client(far)
    turn_until(channels, lambda: peer.done and channel.events, peer.step)
    if ends:
        channel.stop_tls()
        peer.goodbye()
    else:
        far.close()
    return channel.socket
