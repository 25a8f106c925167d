"""Data over TLS: all of it arrives, however it comes, and nothing waits or spins meanwhile."""

import contextlib
import ssl
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.pollers.base import READ, WRITE
from antiphon.producers import IterableProducer
from antiphon.testing import FakeClock
from tls_support import (
    APPLICATION_DATA,
    Lines,
    Peer,
    Plain,
    Polled,
    a_map,
    drained,
    records,
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


@pytest.mark.parametrize("made", [Lines, Polled])
def test_what_openssl_has_decrypted_does_not_wait_for_the_next_packet(each_engine: str, made: Any) -> None:
    """A read of 10 bytes leaves the rest of a record where the kernel can't tell of it."""
    with secured(made) as (channel, peer):
        channel.ac_in_buffer_size = 10
        peer.send(b"a line of 22 bytes...\n" * 50)
        turn_until(channel._map, lambda: len(channel.lines) == 50)


def test_records_that_came_in_one_packet_are_all_delivered(each_engine: str) -> None:
    with secured() as (channel, peer):
        for number in range(100):
            peer.tls.write(b"%d\n" % number)
        peer.flush()
        turn_until(channel._map, lambda: len(channel.lines) == 100)
        assert channel.lines == [b"%d" % number for number in range(100)]


def test_a_turn_reads_of_what_was_decrypted_twice_and_not_to_its_end(each_engine: str) -> None:
    """Before it waits, and after."""
    with secured(Plain) as (channel, peer):
        channel.handle_read = lambda: sizes.append(len(channel.recv(100)))
        sizes: list[int] = []
        peer.send(bytes(10_000))
        for turns in range(1, 10):
            turn(channel._map)
            assert sizes == [100] * 2 * turns
        turn_until(channel._map, lambda: sum(sizes) == 10_000)


def test_data_that_came_with_the_end_of_the_handshake_is_delivered() -> None:
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(near, channels)
        start(channel)
        peer = Peer.client(far)
        turn_until(channels, lambda: peer.wire, peer.step)
        peer.pull()
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        peer.tls.write(b"hello\n")
        peer.flush()
        turn_until(channels, lambda: channel.lines, peer.step)
        assert channel.lines == [b"hello"]


def test_a_channel_that_does_not_want_to_be_read_is_not(each_engine: str) -> None:
    with secured(Polled) as (channel, peer):
        channel.ac_in_buffer_size = 10
        peer.send(b"a line of 22 bytes...\n" * 5)
        turn_until(channel._map, lambda: channel.lines)
        channel.reads = False
        turn(channel._map, 2)
        before = [*channel.lines, *channel.incoming]
        turn(channel._map, 5)
        assert [*channel.lines, *channel.incoming] == before
        assert not channel._map.loop.busy, "nothing is asked for again and again"
        channel.reads = True
        turn_until(channel._map, lambda: len(channel.lines) == 5)


def test_a_channel_that_leaves_its_map_is_left_alone() -> None:
    with secured() as (channel, peer):
        channel.ac_in_buffer_size = 10
        peer.send(b"a line of 22 bytes...\n" * 5)
        turn_until(channel._map, lambda: channel.incoming)
        channel.del_channel()
        before = list(channel.incoming)
        turn(channel._map, 3)
        assert channel.incoming == before
        channel._fileno = channel.socket.fileno()
        channel.add_channel()
        turn_until(channel._map, lambda: len(channel.lines) == 5)


def test_an_exception_of_a_handler_is_the_channels_also_then() -> None:
    class Wrong(Lines):
        def found_terminator(self) -> None:
            super().found_terminator()
            if self.lines[-1].startswith(b"wrong"):
                raise ValueError("wrong")

    with secured(Wrong) as (channel, peer):
        channel.ac_in_buffer_size = 10
        peer.send(b"a line of 22 bytes...\n" * 2 + b"wrong\n")
        turn_until(channel._map, lambda: channel.closing)
        assert isinstance(channel.error, ValueError)


def test_an_exit_of_a_handler_leaves_the_loop_also_then() -> None:
    class Leaving(Lines):
        def found_terminator(self) -> None:
            raise asyncore.ExitNow

    with secured(Leaving) as (channel, peer):
        channel.ac_in_buffer_size = 10
        peer.send(b"a line of 22 bytes...\n" * 2)
        with pytest.raises(asyncore.ExitNow):
            turn_until(channel._map, lambda: False)


def test_pushes_of_one_read_leave_in_one_record() -> None:
    with secured() as (channel, peer):
        channel.on_line = lambda line: [channel.push(bytes([byte]) * 100) for byte in line]
        peer.step()
        peer.wire = b""
        peer.send(b"abcdefghij\n")
        turn_until(channel._map, lambda: len(peer.received) == 1000, peer.step)
        assert records(peer.wire) == [(APPLICATION_DATA, 1000 + 17)]  # A byte of type, 16 of GCM's tag.


@pytest.mark.parametrize("made", [Lines, Plain])
def test_with_small_buffers_all_arrives_and_nothing_spins(each_engine: str, made: Any) -> None:
    data = bytes(range(256)) * 2000 + b"\n"
    with secured(made, buffers=4096) as (channel, peer):
        if isinstance(channel, Lines):
            channel.push(data)
        else:
            channel.output = data
        turn(channel._map, 3)
        spinning = channel._map.loop.turns
        asyncore.loop(0.05, map=channel._map, count=3)
        assert channel._map.loop.turns - spinning == 3
        assert waits_for(channel) & WRITE
        turn_until(channel._map, lambda: len(peer.received) == len(data), peer.step)
        assert peer.received == data
        turn(channel._map, 2)
        assert not waits_for(channel) & WRITE


def test_what_a_program_has_given_up_while_it_was_on_its_way_does_not_count_as_something_else() -> None:
    with secured(buffers=4096) as (channel, peer):
        channel.push(b"a" * 60_000)
        turn(channel._map, 2)
        channel.discard_buffers()
        channel.push(b"b" * 60_000)
        turn_until(channel._map, lambda: peer.received.count(b"b") == 60_000, peer.step)
        assert peer.received == b"a" * 60_000 + b"b" * 60_000


def test_a_producer_is_asked_as_the_peer_reads() -> None:
    asked: list[int] = []

    def chunks() -> Any:
        for number in range(100):
            asked.append(number)
            yield bytes(20_000)

    with secured(buffers=4096) as (channel, peer):
        channel.push_with_producer(IterableProducer(chunks()))
        turn(channel._map, 20)
        assert len(asked) < 10
        turn_until(channel._map, lambda: len(peer.received) == 2_000_000, peer.step)


@pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])
def test_a_channel_that_is_paused_shakes_hands_and_reads_when_it_goes_on(
    each_engine: str, server_side: bool
) -> None:
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(near, channels)
        channel.pause_reading()
        start(channel, server_side=server_side)
        peer = Peer.client(far) if server_side else Peer.server(far)
        turn_until(channels, lambda: peer.done and channel.events, peer.step)
        peer.send(b"hello\n")
        turn(channels, 5)
        assert channel.lines == []
        assert not waits_for(channel) & READ
        channel.resume_reading()
        turn_until(channels, lambda: channel.lines)


def test_a_channel_that_pauses_in_the_middle_of_what_was_decrypted_goes_on_there(each_engine: str) -> None:
    with secured() as (channel, peer):
        channel.ac_in_buffer_size = 10
        channel.on_line = lambda line: channel.pause_reading()
        peer.send(b"a line of 22 bytes...\n" * 5)
        for count in range(1, 6):
            turn_until(channel._map, lambda: len(channel.lines) == count)  # noqa: B023
            turn(channel._map, 4)
            assert len(channel.lines) == count
            channel.resume_reading()


def test_a_peer_that_takes_little_at_a_time_is_not_taken_for_one_that_takes_nothing() -> None:
    """Of what was encrypted in one piece, nothing counts as sent until all of it was taken."""

    class Impatient(Lines):
        send_timeout = 5.0

    clock = FakeClock()
    with secured(Impatient, now=clock, buffers=4096) as (channel, peer):
        channel.push(bytes(60_000))
        for _ in range(5):
            turn(channel._map, 3)
            clock.advance(4)
            drained(peer.sock)
        turn(channel._map, 3)
        assert channel.events == ["established"]
        clock.advance(6)
        turn(channel._map, 3)
        assert channel.closing


def test_a_rate_is_kept_and_all_arrives() -> None:
    class Slow(Lines):
        rate_out = 10_000.0

    clock = FakeClock()
    data = bytes(range(250)) * 400
    with secured(Slow, now=clock, buffers=4096) as (channel, peer):
        channel.push(data)

        def later() -> None:
            peer.step()
            clock.advance(0.05)

        turn_until(channel._map, lambda: len(peer.received) == len(data), later)
        assert peer.received == data
        assert clock() > 5


def test_no_more_is_read_at_once_than_the_rate_allows() -> None:
    class Slow(Lines):
        rate_in = 70_000.0

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.sizes: list[int] = []
            self.set_terminator(1_000_000)

        def recv(self, size: int) -> bytes:
            data = super().recv(size)
            self.sizes.append(len(data))
            return data

    with secured(Slow, now=FakeClock()) as (channel, peer):
        peer.send(bytes(200_000))
        for _ in range(20):
            peer.step()
            turn(channel._map, 1)
        assert sum(channel.sizes) == 70_000


def test_the_output_can_end_before_the_input() -> None:
    class Answering(Lines):
        def handle_eof(self) -> None:
            self.push(b"answer\n")
            self.close_when_done()

    with secured(Answering) as (channel, peer):
        peer.goodbye()
        turn_until(channel._map, lambda: peer.received, peer.step)
        turn_until(channel._map, lambda: channel.closing, peer.step)
        assert (peer.received, peer.ended) == (b"answer\n", "TLS")
    with secured() as (channel, peer):
        channel.push(b"last\n")
        channel.shutdown_write()
        turn_until(channel._map, lambda: peer.ended, peer.step)
        assert peer.received == b"last\n"
        peer.send(b"answer\n")
        turn_until(channel._map, lambda: channel.lines)
        peer.goodbye()
        turn_until(channel._map, lambda: channel.closing)
        assert channel.events == ["established", "close"]
