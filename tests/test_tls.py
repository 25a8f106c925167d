"""What programs say to TLS and hear of it."""

import logging
import socket
import ssl
from typing import Any

import pytest

import loop_support
import tls_support
from antiphon import asyncore
from antiphon.asynchat import async_chat
from document_support import programs_of, text_of
from tls_support import (
    Lines,
    Peer,
    Plain,
    Sending,
    a_map,
    certificate,
    client_context,
    give,
    received,
    secured,
    server_context,
    sockets,
    start,
    turn,
    turn_until,
)

each_poller = loop_support.each_poller
each_engine = loop_support.each_engine


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("made", [Lines, Plain, Sending])
@pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])
def test_any_channel_speaks_tls(each_engine: str, made: Any, server_side: bool, version: str) -> None:
    context = server_context(version=version) if server_side else client_context(version=version)
    with secured(made, server_side=server_side, context=context) as (channel, peer):
        peer.send(b"ping\n")
        turn_until(channel._map, lambda: received(channel) == b"ping\n", peer.step)
        give(channel, b"pong\n")
        turn_until(channel._map, lambda: peer.received == b"pong\n", peer.step)

        assert channel.socket.version() == version.replace("_", ".")
        assert channel.events == ["established"]
        peer.goodbye()
        turn_until(channel._map, lambda: channel.closing)
        assert channel.events == ["established", "close"]


@pytest.mark.parametrize("size", [1, 16_384, 16_385, 100_000, 3_000_000])
@pytest.mark.parametrize("made", [Lines, Plain])
def test_data_of_any_size_arrives_both_ways(made: Any, size: int) -> None:
    data = bytes(range(1, 10)) * (size // 9) + b"x" * (size % 9) + b"\n"
    with secured(made) as (channel, peer):
        give(channel, data)
        turn_until(channel._map, lambda: len(peer.received) == len(data), peer.step)
        assert peer.received == data
        peer.send(data)
        turn_until(channel._map, lambda: len(received(channel)) == len(data), peer.step)
        assert received(channel) == data


def test_a_large_body_comes_by_its_length() -> None:
    with secured() as (channel, peer):
        channel.set_terminator(1 << 20)
        peer.send(bytes(1 << 20))
        turn_until(channel._map, lambda: channel.lines, peer.step)
        assert channel.lines == [bytes(1 << 20)]


def test_the_program_of_the_documentation_echoes() -> None:
    [(program, _)] = programs_of(text_of("tls.md"))
    named: dict[str, Any] = {}
    exec(program, named)
    certificate().configure_cert(named["Server"].context)
    with a_map() as channels, sockets() as (near, far):
        previous, asyncore.socket_map = asyncore.socket_map, channels
        try:
            named["Server"](map={}).handle_accepted(near, None)
        finally:
            asyncore.socket_map = previous
        peer = Peer.client(far)
        turn_until(channels, lambda: peer.done, peer.step)
        peer.send(b"hello\n")
        turn_until(channels, lambda: peer.received, peer.step)
        assert peer.received == b"hello\n"


# -- what can't work is refused at once ----------------------------------------------------------------------


def test_a_name_to_check_must_be_given_before_a_byte_is_sent() -> None:
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(near, channels)
        for context in None, True, client_context():
            with pytest.raises(ValueError, match="wanted server_hostname"):
                channel.start_tls(context, server_side=False)
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            far.recv(1)
        channel.push(b"still plain")
        assert far.recv(100) == b"still plain"


def test_the_wrong_channel_is_refused() -> None:
    with a_map() as channels, sockets() as (near, _far):
        listener = Lines(map=channels)
        listener.create_socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with pytest.raises(RuntimeError, match="found a listener"):
            start(listener)
        datagrams = Lines(map=channels)
        datagrams.create_socket(type=socket.SOCK_DGRAM)
        with pytest.raises(TypeError, match="wanted a stream socket"):
            start(datagrams)
        channel = Lines(near, channels)
        start(channel)
        with pytest.raises(RuntimeError, match="a channel without TLS"):
            start(channel)
        with pytest.raises(RuntimeError, match="a channel whose TLS stands"):
            channel.stop_tls()


def test_a_socket_that_was_wrapped_by_hand_is_refused() -> None:
    with a_map() as channels, sockets() as (near, _far):
        wrapped = server_context().wrap_socket(near, server_side=True, do_handshake_on_connect=False)
        with wrapped:
            channel = Lines(wrapped, channels)
            with pytest.raises(RuntimeError, match="a channel without TLS"):
                start(channel)


def test_on_a_closed_channel_nothing_happens() -> None:
    with a_map() as channels, sockets() as (near, _far):
        channel = Lines(near, channels)
        channel.close()
        start(channel)
        channel.stop_tls()
        assert channel.events == []


# -- what is told --------------------------------------------------------------------------------------------


class Quiet(async_chat):
    """Leaves everything to the library."""

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self) -> None:
        self._get_data()


def test_a_failure_is_reported_with_its_cause_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "antiphon")
    with a_map() as channels, sockets(tcp=True) as (near, far):
        channel = Quiet(near, channels)
        start(channel)
        far.send(b"GET / HTTP/1.0\r\n\r\n")
        turn_until(channels, lambda: channel.closing)
    [record] = caplog.records
    assert (record.name, record.levelname, record.exc_info) == ("antiphon.tls", "INFO", None)
    assert "127.0.0.1" in record.message
    assert "the peer speaks plain HTTP, not TLS" in record.message


def test_an_end_without_close_notify_is_told_apart_and_reported_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "antiphon")
    with secured() as (channel, peer):
        peer.send(b"half a li")
        peer.sock.close()
        turn_until(channel._map, lambda: channel.closing)
        assert channel.events == ["established", channel.error, "close"]
        assert isinstance(channel.error, ssl.SSLEOFError)
    with a_map() as channels, sockets() as (near, far):
        quiet = Quiet(near, channels)
        start(quiet)
        peer = Peer.client(far)
        turn_until(channels, lambda: peer.done, peer.step)
        turn(channels, 3)
        far.close()
        turn_until(channels, lambda: quiet.closing)
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_a_class_with_its_own_log_info_gets_the_report() -> None:
    class Old(Quiet):
        def log_info(self, message: object, type: str = "info") -> None:
            said.append(f"{type}: {message}")

    said: list[str] = []
    with a_map() as channels, sockets() as (near, far):
        channel = Old(near, channels)
        start(channel)
        far.close()
        turn_until(channels, lambda: channel.closing)
    assert said == ["info: Old with '': TLS: the peer closed the connection in the handshake"]


def test_what_is_pushed_when_tls_stands_leaves_in_one_record() -> None:
    class Greeting(Lines):
        def handle_tls_established(self) -> None:
            super().handle_tls_established()
            self.push(b"one\n")
            self.push(b"two\n")

    with secured(Greeting) as (channel, peer):
        turn_until(channel._map, lambda: len(peer.received) == 8, peer.step)
        assert tls_support.records(peer.wire)[-1] == (tls_support.APPLICATION_DATA, 8 + 17)


def test_an_exception_of_handle_tls_established_is_the_programs() -> None:
    class Wrong(Lines):
        def handle_tls_established(self) -> None:
            raise OSError(5, "not the connection's")

    with a_map() as channels, sockets() as (near, far):
        channel = Wrong(near, channels)
        start(channel)
        peer = Peer.client(far)
        turn_until(channels, lambda: channel.closing, peer.step)
        assert channel.events == [channel.error, "close"]
        assert channel.error.errno == 5


def test_handle_tls_error_may_close_or_fail() -> None:
    class Closing(Lines):
        def handle_tls_error(self, error: Any) -> None:
            self.close()

    class Wrong(Lines):
        def handle_tls_error(self, error: Any) -> None:
            raise ValueError("wrong")

    for made, events in (Closing, []), (Wrong, ["close"]):
        with a_map() as channels, sockets() as (near, far):
            channel = made(near, channels)
            start(channel)
            far.send(b"no handshake")
            turn(channels, 2)
            assert channel.closing
            assert [event for event in channel.events if event == "close"] == events
