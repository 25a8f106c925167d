"""The phases of TLS: whose the events are, how it ends, and that nothing waits or spins meanwhile."""

import contextlib
import logging
import socket
import ssl
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon import secured as module
from antiphon.errors import WouldBlock
from antiphon.pollers.base import READ, WRITE
from antiphon.producers import IterableProducer
from antiphon.testing import FakeClock
from tls_support import (
    APPLICATION_DATA,
    Lines,
    Noting,
    Peer,
    Plain,
    a_map,
    records,
    secured,
    server_context,
    sockets,
    start,
    turn,
    turn_until,
)

each_poller = loop_support.each_poller
each_engine = loop_support.each_engine
use_poll = loop_support.use_poll


class Polled(Lines):
    """Asked in every turn what it waits for; wants to be read only while `reads`."""

    reads = True

    def readable(self) -> bool:
        return self.reads

    def writable(self) -> bool:
        return bool(super().writable())


class Greedy(Plain):
    """Always wants to write."""

    def writable(self) -> bool:
        return True

    def handle_write(self) -> None:
        self.events.append("write")


def waits_for(channel: Any) -> int:
    bits: int = asyncore.get_loop(channel._map).waits_for(channel._fileno)
    return bits


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


# -- data ----------------------------------------------------------------------------------------------------


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


# -- the end -------------------------------------------------------------------------------------------------


def test_close_sends_close_notify() -> None:
    with secured() as (channel, peer):
        channel.push(b"last\n")
        channel.close()
        peer.step()
        assert (peer.received, peer.ended) == (b"last\n", "TLS")
        channel.close()


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_close_when_done_flushes_and_waits_for_the_peers_end(each_engine: str, size: int) -> None:
    with secured(buffers=8192) as (channel, peer):
        channel.push(bytes(size))
        channel.close_when_done()
        turn_until(channel._map, lambda: peer.ended, peer.step)
        assert (len(peer.received), peer.ended) == (size, "TLS")
        turn(channel._map, 3)
        assert channel.events == ["established"]
        assert waits_for(channel) == READ
        peer.goodbye()
        turn_until(channel._map, lambda: channel.closing)
        assert channel.events == ["established", "close"]


@pytest.mark.parametrize("ends", ["close", "reset", "data", "garbage"])
def test_while_it_waits_for_the_peers_end_anything_else_is_dropped_or_ends_it(ends: str) -> None:
    with secured(tcp=True) as (channel, peer):
        channel.close_when_done()
        turn_until(channel._map, lambda: peer.ended, peer.step)
        if ends == "data":
            peer.send(b"too late\n")
            turn(channel._map, 3)
            assert not channel.closing
            assert channel.lines == []
            peer.goodbye()
        elif ends == "garbage":
            peer.sock.send(b"no record at all")
        else:
            if ends == "reset":
                reset(peer.sock)
            peer.sock.close()
        turn_until(channel._map, lambda: channel.closing)
        assert channel.events == ["established", "close"]


def reset(sock: socket.socket) -> None:
    """Have it end with a reset when it is closed (SO_LINGER of 0 seconds)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.mark.parametrize("timeout", [None, 3])
def test_a_peer_that_does_not_end_tls_is_waited_for_so_long_and_without_spinning(
    timeout: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "antiphon")
    clock = FakeClock()
    with secured(now=clock) as (channel, _peer):
        channel.close_timeout = timeout
        channel.close_when_done()
        turn(channel._map, 3)
        assert waits_for(channel) == READ
        clock.advance((timeout or module.CLOSE_TIMEOUT) - 0.1)
        turn(channel._map)
        assert not channel.closing
        clock.advance(0.2)
        turn(channel._map)
        assert channel.events == ["established", "close"]
        assert channel.closing
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_a_channel_whose_peer_has_ended_does_not_wait() -> None:
    class Answering(Lines):
        def handle_close(self) -> None:
            self.events.append("close")
            if self.events.count("close") == 1:
                self.push(b"answer\n")
                self.close_when_done()
            else:
                self.close()

    with secured(Answering) as (channel, peer):
        peer.goodbye()
        turn_until(channel._map, lambda: peer.ended, peer.step)
        assert (peer.received, peer.ended) == (b"answer\n", "TLS")
        assert channel.closing


def test_close_when_done_in_the_handshake_sends_what_is_queued() -> None:
    for pushed in b"answer\n", b"":
        with a_map() as channels, sockets() as (near, far):
            channel = Lines(near, channels)
            start(channel)
            channel.push(pushed)
            channel.close_when_done()
            channel.initiate_send()
            peer = Peer.client(far)
            turn_until(channels, lambda: peer.ended, peer.step)  # noqa: B023
            assert (peer.received, peer.ended) == (pushed, "TLS")
            peer.goodbye()
            turn_until(channels, lambda: channel.closing)  # noqa: B023


def test_close_when_done_when_tls_has_failed_closes() -> None:
    class Staying(Lines):
        def handle_close(self) -> None:
            self.events.append("close")
            if self.events.count("close") == 2:
                self.close()

    with secured(Staying) as (channel, peer):
        peer.sock.close()
        turn_until(channel._map, lambda: "close" in channel.events)
        turn(channel._map, 2)
        assert not channel.closing
        channel.push(b"to nobody")
        turn_until(channel._map, lambda: channel.closing)
        with pytest.raises(WouldBlock):
            channel.recv(100)


@pytest.mark.parametrize("made", [Lines, Plain])
def test_a_reset_is_told_apart_from_an_end(made: Any, use_poll: bool) -> None:
    with secured(made, tcp=True) as (channel, peer):
        reset(peer.sock)
        peer.sock.close()
        for _ in range(20):
            asyncore.loop(0.01, use_poll, channel._map, 1)
        assert channel.events == ["established", channel.error, "close"]
        assert isinstance(channel.error, ConnectionResetError)


def test_a_send_that_fails_says_what_the_peers_alert_says() -> None:
    """With TLS 1.3, a server refuses a certificate when the client's handshake is done."""
    wanting = server_context()
    wanting.verify_mode = ssl.CERT_REQUIRED
    with a_map() as channels, sockets(tcp=True) as (near, far):
        channel = Lines(near, channels)
        start(channel, server_side=False)
        peer = Peer.server(far, wanting)
        turn_until(channels, lambda: channel.events, peer.step)
        peer.step()
        far.close()
        for _ in range(20):
            if not channel.closing:
                channel.push(b"hello\n")
        assert "CERTIFICATE_REQUIRED" in str(channel.error)


# -- back to plain -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("first", ["we", "the peer"])
@pytest.mark.parametrize("made", [Lines, Plain])
def test_stop_tls_goes_back_to_plain(version: str, first: str, made: Any, each_engine: str) -> None:
    with secured(made, context=server_context(version=version)) as (channel, peer):
        raw = channel.socket.plain
        if isinstance(channel, Lines):
            channel.push(b"200 going on without\n")
        if first != "we":
            peer.goodbye()
        if first == "we":
            channel.stop_tls()
            turn_until(channel._map, lambda: peer.ended, peer.step)
            peer.goodbye()
        else:
            channel.stop_tls()
        peer.sock.send(b"plain from the peer\n")
        turn_until(channel._map, lambda: "stopped" in channel.events)
        give(channel, b"plain\n")
        turn_until(channel._map, lambda: received(channel) == b"plain from the peer\n")
        assert channel.socket is raw
        assert channel._ac_tls is None
        peer.step()
        assert peer.received == (b"200 going on without\n" if made is Lines else b"")
        assert (peer.incoming.read() + drained(peer.sock)).endswith(b"plain\n")
        assert channel.events == ["established", "stopped"]


def give(channel: Any, data: bytes) -> None:
    if isinstance(channel, Lines):
        channel.push(data)
    else:
        channel.output += data
        turn(channel._map, 2)


def received(channel: Any) -> bytes:
    if isinstance(channel, Lines):
        return b"".join(line + b"\n" for line in channel.lines)
    data: bytes = channel.received
    return data


def drained(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(BlockingIOError, ConnectionResetError):
        while piece := sock.recv(1 << 16):
            data += piece
    return data


def test_stop_tls_sends_by_tls_what_was_pushed_before_and_in_plain_what_is_pushed_after() -> None:
    with secured(buffers=4096) as (channel, peer):
        channel.push(b"a" * 300_000)
        channel.stop_tls()
        channel.push(b"after\n")
        channel.send(b"not yet")
        turn_until(channel._map, lambda: peer.ended, peer.step)
        assert peer.received == b"a" * 300_000
        assert peer.ended == "TLS"
        peer.goodbye()
        turn_until(channel._map, lambda: channel.events[-1] == "stopped", peer.step)
        turn(channel._map, 2)
        peer.pull()
        assert peer.incoming.read() == b"after\n"


@pytest.mark.parametrize("size", [5, 4096])
@pytest.mark.parametrize("ends_first", [True, False])
def test_data_that_was_on_its_way_when_tls_was_stopped_is_delivered(size: int, ends_first: bool) -> None:
    with secured() as (channel, peer):
        channel.ac_in_buffer_size = size
        peer.tls.write(b"one\ntwo\n")
        if ends_first:
            peer.tls.write(b"three\n")
            peer.goodbye()
        peer.flush()
        turn(channel._map)
        if channel.closing:
            return  # All was read, and it ended before it was asked for.
        channel.stop_tls()
        if not ends_first:
            peer.tls.write(b"three\n")
            peer.goodbye()
        peer.sock.send(b"plain\nmore\n")
        turn_until(channel._map, lambda: len(channel.lines) == 5)
        assert channel.lines == [b"one", b"two", b"three", b"plain", b"more"]
        assert channel.events == ["established", "stopped"]


def test_a_peer_that_does_not_stop_tls_is_waited_for_so_long() -> None:
    clock = FakeClock()
    with secured(now=clock) as (channel, _peer):
        channel.close_timeout = 3
        channel.stop_tls()
        turn(channel._map, 3)
        assert waits_for(channel) == READ
        clock.advance(3.1)
        turn(channel._map)
        assert "wanted the peer to end TLS within 3 s" in str(channel.error)
        assert channel.closing


@pytest.mark.parametrize("how", ["EOF", "garbage"])
def test_an_end_that_is_none_is_a_failure(how: str) -> None:
    with secured() as (channel, peer):
        channel.stop_tls()
        turn(channel._map)
        if how == "EOF":
            peer.sock.close()
        else:
            peer.sock.send(b"plain, without an end before it\n")
        turn_until(channel._map, lambda: channel.closing)
        assert isinstance(channel.error, (ssl.SSLError, ConnectionResetError))


def test_stop_tls_in_the_middle_of_delivering_sends_the_answer_by_tls() -> None:
    """CCC of FTP."""
    with secured() as (channel, peer):

        def stop(line: bytes) -> None:
            if line == b"CCC":
                channel.push(b"200 ok\n")
                channel.stop_tls()
            else:
                channel.push(line.lower() + b"\n")

        channel.on_line = stop
        peer.send(b"CCC\n")
        turn_until(channel._map, lambda: peer.ended, peer.step)
        assert peer.received == b"200 ok\n"
        peer.goodbye()
        peer.sock.send(b"NOOP\n")
        turn_until(channel._map, lambda: len(channel.lines) == 2)
        peer.pull()
        assert peer.incoming.read() == b"noop\n"


def test_tls_can_be_started_again_after_it_was_stopped() -> None:
    with secured() as (channel, peer):
        channel.handle_tls_stopped = lambda: start(channel)
        channel.stop_tls()
        turn_until(channel._map, lambda: peer.ended, peer.step)
        peer.goodbye()
        turn(channel._map, 3)
        again = Peer.client(peer.sock)
        turn_until(channel._map, lambda: len(channel.events) == 2, again.step)
        assert channel.events == ["established", "established"]


def test_what_came_behind_the_end_of_tls_is_plaintext_to_another_handshake() -> None:
    with secured() as (channel, peer):
        channel.handle_tls_stopped = lambda: start(channel)
        channel.stop_tls()
        turn_until(channel._map, lambda: peer.ended, peer.step)
        peer.goodbye()
        peer.sock.send(b"injected\n")
        turn_until(channel._map, lambda: channel.closing)
        assert "wanted nothing from the peer before the handshake of TLS" in str(channel.error)
        assert channel.lines == []


def test_stop_tls_wants_all_that_send_was_given_to_have_left() -> None:
    with secured(Plain, buffers=4096) as (channel, _peer):
        channel.output = bytes(300_000)
        turn(channel._map, 2)
        with pytest.raises(RuntimeError, match="wanted all that send"):
            channel.stop_tls()


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


# -- what is rare --------------------------------------------------------------------------------------------


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
