"""How TLS ends, with the connection or before it."""

import logging
import socket
import ssl
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon import secured as module
from antiphon.errors import WouldBlock
from antiphon.pollers.base import READ
from antiphon.testing import FakeClock
from tls_support import (
    Lines,
    Peer,
    Plain,
    a_map,
    drained,
    give,
    received,
    secured,
    server_context,
    sockets,
    start,
    turn,
    turn_until,
    waits_for,
)

each_poller = loop_support.each_poller
each_engine = loop_support.each_engine
use_poll = loop_support.use_poll


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


def test_a_method_of_the_programs_own_is_no_time_to_close_in() -> None:
    class Own(Lines):
        def close_timeout(self) -> str:  # type: ignore[override]
            return "mine"

    clock = FakeClock()
    with secured(Own, now=clock) as (channel, _peer):
        channel.close_when_done()
        turn(channel._map, 3)
        clock.advance(module.CLOSE_TIMEOUT + 0.1)
        turn(channel._map)
        assert channel.closing


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
        turn(channel._map, 2)
        turn_until(channel._map, lambda: received(channel) == b"plain from the peer\n")
        assert channel.socket is raw
        assert channel._ac_tls is None
        peer.step()
        assert peer.received == (b"200 going on without\n" if made is Lines else b"")
        assert (peer.incoming.read() + drained(peer.sock)).endswith(b"plain\n")
        assert channel.events == ["established", "stopped"]


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
