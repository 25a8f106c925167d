"""Datagram channels, on real sockets and on scripted ones."""

import errno
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import loop_support
from antiphon import asyncore, datagrams
from antiphon.datagrams import DatagramChannel
from antiphon.testing import FakeNetwork, error
from loop_support import Wires, spin, wires

__all__ = ["wires"]

each_engine = loop_support.each_poller
use_poll = loop_support.use_poll


class Noting(DatagramChannel):
    """Notes what it is told."""

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.truncated: list[bytes] = []
        self.failed: list[tuple[int | None, Any]] = []
        self.closes = 0
        super().__init__(sock, map)

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.received.append((data, address))

    def datagram_truncated(self, data: bytes, address: Any) -> None:
        self.truncated.append(data)

    def datagram_failed(self, error: OSError, address: Any) -> None:
        self.failed.append((error.errno, address))

    def handle_close(self) -> None:
        self.closes += 1
        self.close()


class Bare(DatagramChannel):
    """Has the defaults only."""


@pytest.fixture
def channels(wires: Wires) -> Any:
    return wires.map()


@pytest.fixture
def bound(wires: Wires, channels: Any) -> Callable[..., Any]:
    """Makes a channel on a port of 127.0.0.1."""

    def make(kind: type[DatagramChannel] = Noting) -> Any:
        channel = wires.keep(kind(map=channels))
        channel.create_socket()
        channel.bind(("127.0.0.1", 0))
        return channel

    return make


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        yield sock


def test_datagrams_keep_their_bounds_and_say_whom_they_are_from(
    bound: Callable[..., Any], channels: Any, peer: socket.socket, each_engine: str, use_poll: bool
) -> None:
    channel = bound()
    for data in b"one", b"", b"x" * 60_000:
        peer.sendto(data, channel.socket.getsockname())
    spin(channels, turns=3, use_poll=use_poll)
    assert channel.received == [(data, peer.getsockname()) for data in (b"one", b"", b"x" * 60_000)]
    assert channel.closes == 0


def test_an_answer_goes_to_its_address_and_may_be_empty(
    bound: Callable[..., Any], peer: socket.socket
) -> None:
    channel = bound()
    assert channel.send_datagram(bytearray(b"answer"), peer.getsockname())
    assert channel.send_datagram(b"", peer.getsockname())
    assert [peer.recvfrom(100) for _ in range(2)] == [
        (data, channel.socket.getsockname()) for data in (b"answer", b"")
    ]


def test_a_connected_channel_needs_no_address(bound: Callable[..., Any], peer: socket.socket) -> None:
    channel = bound()
    channel.connect(peer.getsockname())
    assert channel.send_datagram(b"x")
    assert peer.recv(10) == b"x"


def test_one_event_takes_no_more_than_64(
    bound: Callable[..., Any], channels: Any, peer: socket.socket
) -> None:
    channel = bound()
    for number in range(100):
        peer.sendto(b"%d" % number, channel.socket.getsockname())
    spin(channels)
    assert len(channel.received) == 64
    spin(channels)
    assert [data for data, _ in channel.received] == [b"%d" % number for number in range(100)]


def test_what_is_too_long_is_told_apart(
    bound: Callable[..., Any], channels: Any, peer: socket.socket
) -> None:
    channel = bound()
    channel.max_datagram_size = 4
    for data in b"four", b"fives", b"on":
        peer.sendto(data, channel.socket.getsockname())
    spin(channels)
    assert [data for data, _ in channel.received] == [b"four", b"on"]
    assert channel.truncated == [b"five"]


def test_what_is_too_long_is_logged_by_default(
    bound: Callable[..., Any], channels: Any, peer: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    channel = bound(Bare)
    channel.max_datagram_size = 4
    peer.sendto(b"fives", channel.socket.getsockname())
    with caplog.at_level("INFO", "antiphon"):
        spin(channels)
    assert "a datagram of more than 4 bytes" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="an ICMP error is reported to a connected socket only")
def test_a_peer_that_is_not_there_is_an_error_of_a_datagram(
    bound: Callable[..., Any], channels: Any, peer: socket.socket, each_engine: str, use_poll: bool
) -> None:
    channel = bound()
    address = peer.getsockname()
    channel.connect(address)
    peer.close()
    channel.send_datagram(b"lost")
    spin(channels, turns=2, use_poll=use_poll)
    assert channel.failed == [(errno.ECONNREFUSED, None)]
    assert (channel.closes, len(channels)) == (0, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(address)
        again.settimeout(10)
        assert channel.send_datagram(b"there")
        assert again.recv(10) == b"there"


def test_a_failed_datagram_is_noted_by_default(
    bound: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", "antiphon"):
        bound(Bare).datagram_failed(OSError(errno.ECONNREFUSED, "refused"), ("127.0.0.1", 9))
    assert "refused" in caplog.text


def full(count: int) -> list[Any]:
    return [error(errno.EAGAIN)] * count


def test_what_the_system_does_not_take_is_sent_later_in_its_order() -> None:
    with FakeNetwork() as network:
        channel = network.channel(Noting, send=[error(errno.EAGAIN), error(errno.ENOBUFS), 3, 3])
        assert channel.send_datagram(b"one")
        assert channel.outgoing == 3
        assert channel.send_datagram(b"two")
        assert (channel.readable(), channel.writable()) == (True, True)
        network.run()
        assert channel.socket.sends == [b"one", b"two"]
        assert (channel.outgoing, channel.writable()) == (0, False)


def test_what_is_more_than_may_wait_is_dropped_and_told() -> None:
    with FakeNetwork() as network:
        channel = network.channel(Noting, send=[*full(1)])
        channel.max_queued = 5
        assert [channel.send_datagram(data) for data in (b"one", b"two", b"2")] == [True, False, True]
        assert channel.outgoing == 4


def test_a_datagram_that_fails_late_leaves_the_others() -> None:
    with FakeNetwork() as network:
        channel = network.channel(Noting, send=[*full(1), error(errno.EHOSTUNREACH), 3])
        for data in b"one", b"two":
            channel.send_datagram(data)
        network.run()
        assert channel.failed == [(errno.EHOSTUNREACH, None)]
        assert channel.socket.sends == [b"two"]


@pytest.mark.parametrize("size", [64, 100])
def test_one_event_sends_no_more_than_64(size: int) -> None:
    with FakeNetwork() as network:
        channel = network.channel(Noting, send=[*full(1), *[1] * size])
        for _ in range(size):
            channel.send_datagram(b"x")
        channel.handle_write()
        assert len(channel.socket.sends) == 64
        assert channel.outgoing == size - 64


def test_data_that_is_none_is_refused(bound: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="wanted bytes-like data, found str: 'text'"):
        bound().send_datagram("text", ("127.0.0.1", 9))


def test_what_can_never_be_sent_is_the_caller_s_error(bound: Callable[..., Any]) -> None:
    with pytest.raises(OSError, match="too long"):
        bound().send_datagram(b"x" * 70_000, ("127.0.0.1", 9))


class Closing(Noting):
    def datagram_received(self, data: bytes, address: Any) -> None:
        super().datagram_received(data, address)
        self.close()

    def datagram_failed(self, error: OSError, address: Any) -> None:
        super().datagram_failed(error, address)
        self.close()


def test_a_handler_may_close(bound: Callable[..., Any], channels: Any, peer: socket.socket) -> None:
    channel = bound(Closing)
    for _ in range(2):
        peer.sendto(b"x", channel.socket.getsockname())
    spin(channels)
    assert len(channel.received) == 1
    assert not channels


def test_a_handler_of_an_error_may_close() -> None:
    with FakeNetwork() as network:
        channel = network.channel(Closing, send=[*full(1), error(errno.EHOSTUNREACH)])
        for data in b"one", b"two":
            channel.send_datagram(data)
        network.run()
        assert len(channel.failed) == 1
        assert (channel.outgoing, len(network.map)) == (0, 0)


def test_a_class_without_a_handler_says_so_and_goes_on(
    bound: Callable[..., Any], channels: Any, peer: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    channel = bound(Bare)
    peer.sendto(b"x", channel.socket.getsockname())
    spin(channels)
    assert "Bare has no datagram_received" in caplog.text
    assert channel in channels.values()
    channel.survives_errors = False
    peer.sendto(b"x", channel.socket.getsockname())
    spin(channels)
    assert not channels


def test_a_socket_that_somebody_else_has_closed_ends_the_channel() -> None:
    with FakeNetwork() as network:
        channel = network.channel(Noting, getsockopt=[error(errno.EBADF)])
        channel._ac_hang_up()
        assert channel.closes == 1
        assert not network.map


def test_an_error_that_was_dealt_with_already_is_none() -> None:
    with FakeNetwork() as network:
        channel = network.channel(Noting, getsockopt=[0])
        channel._ac_hang_up()
        assert (channel.failed, channel.closes) == ([], 0)


UNIX: int = getattr(socket, "AF_UNIX", 0)


@pytest.mark.parametrize("has_socket", [False, True])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_who_connects_to_a_name_or_a_number_sends_datagrams_there(
    channels: Any, bound: Callable[..., Any], wires: Wires, host: str, has_socket: bool, caplog: Any
) -> None:
    caplog.set_level("INFO")
    server, client = bound(), wires.keep(Noting(map=channels))
    if has_socket:
        client.create_socket()
    client.connect((host, server.socket.getsockname()[1]))
    for _ in range(100):
        if not client.connected and not client.closing:
            asyncore.loop(1, map=channels, count=1)
    assert client.send_datagram(b"hello")
    spin(channels)
    assert server.received == [(b"hello", client.socket.getsockname())]
    assert caplog.messages == []


@pytest.mark.skipif(not UNIX, reason="about Unix sockets")
def test_unix_datagrams_come_with_the_name_of_their_sender(
    wires: Wires, channels: Any, tmp_path: Any
) -> None:
    channel = wires.keep(Noting(map=channels))
    channel.create_socket(UNIX)
    channel.bind(str(tmp_path / "channel"))
    with socket.socket(UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"nameless", str(tmp_path / "channel"))
        spin(channels)
        sender.bind(str(tmp_path / "sender"))
        sender.sendto(b"named", str(tmp_path / "channel"))
        spin(channels)
        (first, nobody), (second, name) = channel.received
        assert (first, second, name) == (b"nameless", b"named", str(tmp_path / "sender"))
        assert not nobody
        channel.send_datagram(b"answer", name)
        assert sender.recv(10) == b"answer"


class Windows:
    """A socket without recvmsg(2)."""

    def __init__(self, *results: Any) -> None:
        self.results = list(results)

    def recvfrom(self, size: int) -> Any:
        result = self.results.pop(0)
        if isinstance(result, OSError):
            raise result
        return result


def test_without_recvmsg_the_end_of_what_is_too_long_is_an_error() -> None:
    receive = datagrams._receive
    assert receive(Windows((b"data", "address")), 4) == (b"data", False, "address")
    assert receive(Windows(OSError(errno.EMSGSIZE, "too long")), 4) == (b"", True, None)
    with pytest.raises(OSError, match="refused"):
        receive(Windows(OSError(errno.ECONNREFUSED, "refused")), 4)


def test_closing_drops_what_waits() -> None:
    with FakeNetwork() as network:
        channel = network.channel(Noting, send=[*full(1)])
        channel.send_datagram(b"x")
        channel.close()
        assert channel.outgoing == 0
