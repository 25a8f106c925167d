"""When TLS begins: what leaves and what comes before it."""

import contextlib
import socket
import ssl
from typing import Any

import pytest

import antiphon
import loop_support
from antiphon import MessageChannel
from antiphon.errors import PlaintextReceived
from antiphon.producers import IterableProducer
from antiphon.testing import FakeClock
from tls_support import (
    NAME,
    Lines,
    Noting,
    Peer,
    Sending,
    a_map,
    accepted,
    client_context,
    drained,
    give,
    secured,
    server_context,
    shared_context,
    sockets,
    start,
    turn,
    turn_until,
)

each_poller = loop_support.each_poller
each_engine = loop_support.each_engine


# -- when TLS begins -----------------------------------------------------------------------------------------


def test_a_channel_that_connects_begins_when_it_is_connected(each_engine: str) -> None:
    with a_map() as channels, socket.create_server(("127.0.0.1", 0)) as listener:
        channel = Lines(map=channels)
        channel.create_socket()
        start(channel, server_side=False)
        channel.push(b"hello\n")
        channel.connect(listener.getsockname())
        with listener.accept()[0] as accepted:
            peer = Peer.server(accepted)
            turn_until(channels, lambda: peer.received, peer.step)
            assert peer.received == b"hello\n"


@pytest.mark.parametrize("when", ["in handle_connect", "before connect", "while it connects"])
def test_nothing_leaves_in_plain_however_a_connection_is_made(when: str) -> None:
    class Client(Lines):
        def handle_connect(self) -> None:
            if when == "in handle_connect":
                start(self, server_side=False)
            self.push(b"secret\n")
            self.send(b"direct\n")

    with a_map() as channels, socket.create_server(("127.0.0.1", 0)) as listener:
        channel = Client(map=channels)
        channel.create_socket()
        if when == "before connect":
            start(channel, server_side=False)
        channel.connect(listener.getsockname())
        if when == "while it connects":
            start(channel, server_side=False)
        with listener.accept()[0] as accepted:
            peer = Peer.server(accepted)
            turn_until(channels, lambda: peer.received, peer.step)
            assert peer.received == b"secret\n"
            assert peer.error is None


def test_tls_that_was_asked_for_concerns_the_socket_that_is_connected_at_last() -> None:
    """As when a name is resolved: another family may be needed, and another attempt."""
    with a_map() as channels, socket.create_server(("127.0.0.1", 0)) as listener:
        channel = Lines(map=channels)
        channel.create_socket()
        start(channel, server_side=False)
        first = channel.socket
        channel.del_channel()
        first.close()
        channel.create_socket()
        channel.connect(listener.getsockname())
        channel.push(b"secret\n")
        with listener.accept()[0] as accepted:
            peer = Peer.server(accepted)
            turn_until(channels, lambda: peer.received, peer.step)
            assert peer.received == b"secret\n"


@pytest.mark.parametrize("made_before", [True, False])
@pytest.mark.parametrize("how", ["by name", "by number", "start_tls"])
def test_connect_takes_a_context(how: str, made_before: bool) -> None:
    """Also where the channel has no socket yet, and gets one when the name is found."""
    with a_map() as channels, socket.create_server(("127.0.0.1", 0)) as listener:
        channel = Lines(map=channels)
        if made_before:
            channel.create_socket()
        port = listener.getsockname()[1]
        if how == "start_tls":
            start(channel, server_side=False)
            channel.connect(("localhost", port))
        else:
            host = "localhost" if how == "by name" else "127.0.0.1"
            channel.connect((host, port), tls=client_context(), server_hostname=NAME)
        channel.push(b"secret\n")
        with accepted(listener, channels) as sock:
            peer = Peer.server(sock)
            turn_until(channels, lambda: peer.received, peer.step)
            assert peer.received == b"secret\n"
            assert channel.events == ["established"]


@pytest.mark.parametrize("made_before", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_what_was_pushed_before_connect_with_tls_leaves_by_it(
    each_engine: str, host: str, made_before: bool
) -> None:
    with a_map() as channels, socket.create_server(("127.0.0.1", 0)) as listener:
        channel = Lines(map=channels)
        if made_before:
            channel.create_socket()
        channel.push(b"secret\n")
        channel.push_with_producer(IterableProducer([b"more\n"]))
        port = listener.getsockname()[1]
        channel.connect((host, port), tls=shared_context(False), server_hostname=NAME)
        channel.push(b"last\n")
        with accepted(listener, channels) as sock:
            peer = Peer.server(sock)
            turn_until(channels, lambda: len(peer.received) == 17 or peer.error, peer.step)
            assert (peer.error, peer.received) == (None, b"secret\nmore\nlast\n")
            assert channel.events == ["established"]


def test_connect_with_a_wrong_context_leaves_the_channel_as_it_was() -> None:
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(map=channels)
        channel.push(b"plain\n")
        with pytest.raises(TypeError, match=r"wanted an ssl\.SSLContext"):
            channel.connect(("127.0.0.1", 1), tls="wrong")  # type: ignore[arg-type]
        channel.set_socket(near)
        channel.connected = True
        channel.initiate_send()
        assert far.recv(100) == b"plain\n"


def test_connect_verifies_the_host_that_it_was_given() -> None:
    with a_map() as channels, socket.create_server(("127.0.0.1", 0)) as listener:
        channel = Lines(map=channels)
        channel.connect(listener.getsockname(), tls=client_context())
        with listener.accept()[0] as accepted:
            peer = Peer.server(accepted)
            turn_until(channels, lambda: channel.closing, peer.step)
            assert "IP address mismatch" in channel.error.verify_message
        unconnected = Lines(map=channels)
        with pytest.raises(ValueError, match="wanted server_hostname"):
            unconnected.connect("/somewhere", tls=True)


def test_a_server_starts_tls_with_each_connection() -> None:
    class Greeting(Lines):
        def handle_tls_established(self) -> None:
            self.push(b"welcome\n")

    with a_map() as channels:
        server = antiphon.create_server(Greeting, ("127.0.0.1", 0), tls=server_context(), map=channels)
        with socket.create_connection(server.addresses[0]) as sock:
            peer = Peer.client(sock)
            turn_until(channels, lambda: peer.received, peer.step)
            assert peer.received == b"welcome\n"
        server.close()


def test_what_a_loop_counts_says_why_tls_has_ended() -> None:
    clock = FakeClock()
    with a_map(now=clock) as channels:
        for ends in "peer", "timeout", "own":
            with sockets() as (near, far):
                channel = Lines(near, channels)
                start(channel)
                if ends == "peer":
                    far.send(b"no handshake")
                elif ends == "timeout":
                    clock.advance(61)
                else:
                    peer = Peer.client(far)
                    channel.close_when_done()
                    turn_until(channels, lambda: peer.ended, peer.step)  # noqa: B023
                    peer.goodbye()
                turn_until(channels, lambda: channel.closing)  # noqa: B023
        closed = channels.loop.counts.closed
        assert {reason: count for reason, count in closed.items() if count} == {
            "peer": 1,
            "timeout": 1,
            "own": 1,
        }


def test_another_connection_begins_without_tls() -> None:
    with secured() as (channel, _peer), sockets() as (near, far):
        channel.del_channel()
        channel.socket.close()
        channel.set_socket(near)
        channel.connected = True
        channel.push(b"plain\n")
        assert far.recv(100) == b"plain\n"
        assert channel.alpn is None


def test_what_is_pushed_before_leaves_in_plain_and_the_rest_by_tls() -> None:
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(near, channels)

        def starttls(line: bytes) -> None:
            channel.push(b"go on\n")
            start(channel)
            channel.push(b"secret\n")

        channel.on_line = starttls
        far.send(b"STARTTLS\n")
        turn(channels)
        assert far.recv(100) == b"go on\n"
        peer = Peer.client(far)
        turn_until(channels, lambda: peer.received, peer.step)
        assert peer.received == b"secret\n"


@pytest.mark.parametrize("made", [Lines, Sending])
@pytest.mark.parametrize("producer", [False, True])
def test_what_is_pushed_before_leaves_in_plain_also_when_the_system_takes_little(
    made: Any, producer: bool, each_poller: str
) -> None:
    data = bytes(300_000)
    with a_map() as channels, sockets(buffers=4096) as (near, far):
        channel = made(near, channels)
        if producer and made is Sending:
            pytest.skip("a dispatcher_with_send has no producers")
        if producer:
            channel.push_with_producer(IterableProducer([data]))
        else:
            give(channel, data)
        start(channel)
        give(channel, b"secret\n")
        far.setblocking(False)
        plain = bytearray()

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                plain.extend(far.recv(len(data) - len(plain)))

        turn_until(channels, lambda: len(plain) == len(data), read)
        assert plain == data
        peer = Peer.client(far)
        turn_until(channels, lambda: peer.received, peer.step)
        assert peer.received == b"secret\n"


def test_a_producer_that_fails_before_tls_closes_the_channel() -> None:
    def failing() -> Any:
        yield bytes(1 << 20)
        raise ValueError("no more")

    with a_map() as channels, sockets(buffers=4096) as (near, far):
        channel = Lines(near, channels)
        channel.push_with_producer(IterableProducer(failing()))
        start(channel)
        far.setblocking(False)
        turn_until(channels, lambda: channel.closing, lambda: drained(far))
        assert isinstance(channel.error, ValueError)


def test_a_mark_to_close_before_tls_closes_when_tls_stands() -> None:
    with a_map() as channels, sockets(buffers=4096) as (near, far):
        channel = Lines(near, channels)
        channel.push(bytes(300_000))
        channel.close_when_done()
        start(channel)
        left = [300_000]
        far.setblocking(False)

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                left[0] -= len(far.recv(left[0]))

        turn_until(channels, lambda: not left[0], read)
        peer = Peer.client(far)
        turn_until(channels, lambda: peer.ended, peer.step)
        peer.goodbye()
        turn_until(channels, lambda: channel.closing)
        assert peer.ended == "TLS"
        assert channel.events == ["established", "close"]


# -- plaintext before the handshake --------------------------------------------------------------------------


class Messages(Noting, MessageChannel):
    """A MessageChannel with STARTTLS."""

    def __init__(self, sock: Any, map: Any) -> None:
        self.messages: list[bytes] = []
        super().__init__(sock, map)
        self.set_terminator(b"\n")

    def message_received(self, message: bytes) -> None:
        self.messages.append(message)
        if message == b"STARTTLS":
            self.push(b"go on\n")
            start(self)


class StartingTLS(Lines):
    """Lines with STARTTLS."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.messages = self.lines
        self.on_line = self.start

    def start(self, line: bytes) -> None:
        if line == b"STARTTLS":
            self.push(b"go on\n")
            start(self)


@pytest.mark.parametrize("made", [StartingTLS, Messages])
@pytest.mark.parametrize(
    "injected", [b"MAIL FROM:<evil>\n", b"MAIL", b"\n", b"MAIL FROM:<evil>\nRCPT\nDATA\n"], ids=repr
)
@pytest.mark.parametrize("before", [b"", b"EHLO\n", b"EHLO\nNOOP\n"], ids=repr)
def test_a_command_injected_behind_starttls_ends_the_connection(
    made: Any, injected: bytes, before: bytes
) -> None:
    """CVE-2011-0411: it would be carried out as if it had come through TLS."""
    with a_map() as channels, sockets() as (near, far):
        channel = made(near, channels)
        far.send(before + b"STARTTLS\n" + injected)
        turn(channels, 3)
        assert channel.messages == [*before.split(b"\n")[:-1], b"STARTTLS"]
        error, closed = channel.events
        assert isinstance(error, PlaintextReceived)
        assert (error.size, error.beginning) == (len(injected), injected[:40])
        assert closed == "close"
        assert channel.closing
        assert far.recv(100) == b"go on\n"
        assert far.recv(100) == b""


def test_a_command_that_comes_in_a_packet_of_its_own_is_no_handshake() -> None:
    with a_map() as channels, sockets() as (near, far):
        channel = StartingTLS(near, channels)
        far.send(b"STARTTLS\n")
        turn(channels)
        far.send(b"MAIL FROM:<evil>\n")
        turn_until(channels, lambda: channel.closing)
        assert channel.lines == [b"STARTTLS"]
        assert isinstance(channel.error, ssl.SSLError)


@pytest.mark.parametrize("made", [Lines, Messages])
@pytest.mark.parametrize("cut", [1, 5, 100, None])
def test_what_was_received_is_the_beginning_of_the_handshake_if_the_program_says_so(
    made: Any, cut: int | None
) -> None:
    """As behind the header of the PROXY protocol."""
    with a_map() as channels, sockets() as (near, far):

        class Proxied(made):  # type: ignore[misc]
            def message_received(self, message: bytes) -> None:
                start(self, received_is_tls=True)

            def found_terminator(self) -> None:
                if b"PROXY" in self._get_data():
                    start(self, received_is_tls=True)
                else:
                    self.push(b"answer\n")

        channel = Proxied(near, channels)
        peer = Peer.client(far)
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        hello = peer.outgoing.read()
        far.send(b"PROXY TCP4\n" + hello[:cut])
        turn(channels, 2)
        far.send(hello[cut:] if cut else b"")
        turn_until(channels, lambda: peer.done, peer.step)
        turn_until(channels, lambda: channel.events, peer.step)
        assert channel.events == ["established"]


def test_in_messages_received_the_program_says_how_many_were_used() -> None:
    class Batches(Messages):
        says_used = True

        def messages_received(self, messages: list[bytes]) -> int | None:
            for count, message in enumerate(messages, 1):
                self.messages.append(message)
                if message == b"STARTTLS":
                    used = count if self.says_used else None
                    self.start_tls(server_context(), server_side=True, used=used)
                    if self.closing:
                        return None
            return None

    for lines, says_used, ends in [
        (b"EHLO\nSTARTTLS\n", True, False),
        (b"STARTTLS\n", False, False),
        (b"EHLO\nSTARTTLS\n", False, True),
        (b"STARTTLS\nEVIL\n", False, True),
        (b"EHLO\nSTARTTLS\nEVIL\n", True, True),
        (b"STARTTLS\nEV", True, True),
    ]:
        with a_map() as channels, sockets() as (near, far):
            channel = Batches(near, channels)
            channel.says_used = says_used
            far.send(lines)
            turn(channels, 2)
            assert channel.closing is ends, lines
            assert b"EVIL" not in channel.messages


def test_how_many_were_used_is_checked() -> None:
    class Wrong(Messages):
        def messages_received(self, messages: list[bytes]) -> int | None:
            self.start_tls(server_context(), server_side=True, used=2)
            return None

    with a_map() as channels, sockets() as (near, far):
        channel = Wrong(near, channels)
        far.send(b"STARTTLS\n")
        turn(channels)
        assert isinstance(channel.error, ValueError)
