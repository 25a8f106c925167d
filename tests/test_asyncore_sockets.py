"""What a channel does with its socket: making, receiving, sending, closing."""

import errno
import gc
import select
import socket
import warnings
import weakref
from typing import Any

import pytest

import loop_support
from antiphon import asynchat, asyncore
from antiphon.errors import WouldBlock
from loop_support import Failing, Noting, Wires, Writing, is_closed, raising, spin

wires = loop_support.wires
each_engine = loop_support.each_engine
use_poll = loop_support.use_poll


def test_a_channel_without_a_socket_is_in_no_map() -> None:
    channels: dict[int, Any] = {}
    channel = asyncore.dispatcher(map=channels)
    assert (channels, channel.socket, channel._fileno) == ({}, None, None)
    channel.close()
    channel.close()
    assert channel.closing


def test_a_socket_is_made_non_blocking_and_its_peer_known(wires: Wires) -> None:
    near, far = wires.pair(socket.AF_INET)
    near.setblocking(True)
    channel = wires.keep(Noting(near, {}))
    assert near.gettimeout() == 0
    assert channel.addr == far.getsockname()
    assert (channel.connected, channel.connecting, channel.accepting) == (True, False, False)


def test_a_socket_that_is_not_connected_is_taken_as_such(wires: Wires) -> None:
    channels: dict[int, Any] = {}
    with socket.socket() as unconnected:
        channel = Noting(unconnected, channels)
        assert not channel.connected
        assert list(channels.values()) == [channel]
        channel.close()


def test_a_socket_whose_peer_has_gone_ends_closed_after_a_turn(
    wires: Wires, each_engine: str, use_poll: bool
) -> None:
    channels: dict[int, Any] = {}
    near, far = wires.pair(socket.AF_INET)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()  # With a reset, after which getpeername(2) fails.
    channel = wires.keep(Noting(near, channels))
    assert not channel.connected
    asyncore.loop(0, use_poll, channels, 2)
    assert channels == {}
    assert channel.events[-1] == "close" or "ConnectionReset" in channel.events[-1]


def test_a_socket_of_which_nothing_can_be_asked_leaves_no_trace_in_the_map() -> None:
    class Odd:
        def fileno(self) -> int:
            return 700

        def setblocking(self, flag: bool) -> None:
            pass

        getpeername = raising(OSError(errno.EIO, "no peer"))

    channels: dict[int, Any] = {}
    with pytest.raises(OSError, match="no peer"):
        asyncore.dispatcher(Odd(), channels)
    assert channels == {}


def test_receiving_nothing_raises_what_a_handler_may_let_go(wires: Wires) -> None:
    channel, far = wires.channel(Noting, {})
    with pytest.raises(WouldBlock) as caught:
        channel.recv(10)
    assert caught.value.errno == errno.EAGAIN
    far.send(b"word")
    assert channel.recv(2) == b"wo"
    assert channel.recv(10) == b"rd"


def test_a_handler_that_reads_until_nothing_is_left_closes_nothing(wires: Wires, use_poll: bool) -> None:
    class Greedy(Noting):
        def handle_read(self) -> None:
            while data := self.recv(2):
                self.received += data

    channels: dict[int, Any] = {}
    channel, far = wires.channel(Greedy, channels)
    far.send(b"words")
    spin(channels, turns=2, use_poll=use_poll)
    assert (channel.received, channel.events) == (b"words", [])


def test_what_was_pushed_leaves_before_what_is_sent_directly(wires: Wires) -> None:
    class Chat(asynchat.async_chat):
        def collect_incoming_data(self, data: bytes) -> None:
            self.push(b"pushed, ")
            self.send(b"sent")

    channels: dict[int, Any] = {}
    _, far = wires.channel(Chat, channels)
    far.send(b"x")
    spin(channels)
    assert far.recv(100) == b"pushed, sent"


def test_the_end_of_the_connection_is_no_bytes_and_handle_close_once(wires: Wires) -> None:
    channel, far = wires.channel(Noting, {})
    far.close()
    assert channel.recv(10) == b""
    assert channel.events == ["close"]
    assert channel.closing


def test_sending_says_how_much_was_taken(wires: Wires) -> None:
    channel, far = wires.channel(Noting, {})
    assert channel.send(memoryview(b"word")) == 4
    while channel.send(bytes(65536)):
        pass
    assert channel.send(b"x") == 0
    assert channel.events == []
    far.close()
    assert channel.send(b"x") == 0
    assert channel.events == ["close"]


@pytest.mark.parametrize(("method", "argument"), [("recv", 1), ("send", b"x")])
def test_an_error_that_is_no_end_of_a_connection_is_raised(wires: Wires, method: str, argument: Any) -> None:
    channel, _ = wires.channel(Noting, {})
    real, channel.socket = channel.socket, Failing(errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        getattr(channel, method)(argument)
    channel.socket = real
    assert channel.events == []


def test_closing_closes_the_socket_and_leaves_the_map(wires: Wires) -> None:
    channels: dict[int, Any] = {}
    channel, far = wires.channel(Noting, channels)
    channel.close()
    assert is_closed(far)
    assert (channels, channel._fileno, channel.closing, channel.connected) == ({}, None, True, False)
    channel.close()
    assert channel.events == []


def test_closing_a_channel_cancels_its_timers(wires: Wires) -> None:
    channel, _ = wires.channel(Noting, wires.map())
    timer = channel.call_later(5, channel.close)
    channel.close()
    assert not timer.active


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.EBADF, errno.EINTR, errno.ECONNRESET])
def test_closing_what_is_closed_is_fine(wires: Wires, number: int) -> None:
    channel, _ = wires.channel(Noting, {})
    channel.socket = Failing(number)
    channel.close()
    assert channel.closing
    channel.socket = None


def test_a_socket_that_cannot_be_closed_says_so_after_the_channel_has_left(wires: Wires) -> None:
    channels: dict[int, Any] = {}
    channel, _ = wires.channel(Noting, channels)
    channel.socket = Failing(errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        channel.close()
    assert channels == {}
    channel.socket = None


def test_a_listener_that_was_closed_is_freed_at_once(wires: Wires) -> None:
    listener = Noting(map=wires.map())
    listener.create_socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    listener.handle_accept()
    reference = weakref.ref(listener)
    listener.close()
    gc.disable()
    try:
        del listener
        assert reference() is None
    finally:
        gc.enable()


def test_a_listener_and_a_connecting_channel_are_neither_when_they_are_closed(wires: Wires) -> None:
    channel = wires.listener(Noting, {})
    channel.close()
    assert not channel.accepting
    channel.connecting = True
    channel.close()
    assert not channel.connecting


def test_urgent_data_or_an_error_is_told_apart_by_the_socket(wires: Wires) -> None:
    class Urgent(Noting):
        def handle_expt(self) -> None:
            self.events.append("expt")

    channel, _ = wires.channel(Urgent, {})
    channel.handle_expt_event()
    assert channel.events == ["expt"]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        refused = Urgent(map={})
        refused.create_socket()
        refused.connect(nobody.getsockname())
        select.select([], [refused.socket], [], 10)
        refused.handle_expt_event()
    assert refused.events == ["close"]


def test_a_channel_whose_class_keeps_its_map_entry_is_watched_no_more_when_closed(wires: Wires) -> None:
    class Clinging(Noting):
        def del_channel(self, map: Any = None) -> None:
            pass

    private: dict[int, Any] = {}
    for channels in wires.map(), private:
        channel, far = wires.channel(Clinging, channels)
        spin(channels)
        far.send(b"x")
        channel.close()
        waits = asyncore.get_loop(channels).waits_for(channel._fileno)
        assert waits == 0
        channels.clear()


def test_a_channel_that_left_the_map_can_be_driven_by_hand(wires: Wires) -> None:
    channels: dict[int, Any] = {}
    channel, far = wires.channel(Writing, channels)
    spin(channels)
    channel.del_channel()
    far.send(b"x")
    spin(channels)
    assert channel.events == ["write"]
    asyncore.read(channel)
    asyncore.write(channel)
    assert channel.events == ["write", "read", "write"]
    assert channel.received == b"x"


def test_a_channel_whose_constructor_was_never_called_has_its_defaults(wires: Wires) -> None:
    class Bare(asyncore.dispatcher):
        def __init__(self, sock: socket.socket, channels: Any) -> None:
            self._map = channels
            self.set_socket(sock)
            self.connected = True

        def handle_read(self) -> None:
            self.received = self.recv(10)

    channels = wires.map()
    channel, far = wires.channel(Bare, channels)
    assert (channel.accepting, channel.connecting, channel.closing, channel.addr) == (
        False,
        False,
        False,
        None,
    )
    far.send(b"x")
    spin(channels)
    assert channel.received == b"x"


def test_unclosed_channels_warn_as_their_sockets_do(wires: Wires) -> None:
    near = socket.socket()
    channels: dict[int, Any] = {}
    channel = asyncore.dispatcher(near, channels)
    channels.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del channel, near
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
