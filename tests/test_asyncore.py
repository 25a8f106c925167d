"""The functions of the module, and what a channel does with its socket."""

import errno
import gc
import os
import select
import socket
import warnings
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.errors import WouldBlock
from antiphon.loop import ESCAPING
from antiphon.maps import ChannelMap
from antiphon.pollers.base import ERROR, HANGUP, INVALID, READ, URGENT, WRITE
from loop_support import Noting, Wires, Writing, is_closed, silent_map, spin

wires = loop_support.wires
each_poller = loop_support.each_poller
use_poll = loop_support.use_poll


def raising(error: BaseException) -> Any:
    """A handler that raises `error`."""

    def handler(*_: Any) -> None:
        raise error

    return handler


RESET = ConnectionResetError(errno.ECONNRESET, "of whatever socket")


# -- read, write, readwrite, _exception --------------------------------------------------------------------

ONE_EVENT = [
    (asyncore.read, "handle_read_event"),
    (asyncore.write, "handle_write_event"),
    (asyncore._exception, "handle_expt_event"),
]
ANY_EVENT = [
    *ONE_EVENT,
    (lambda obj: asyncore.readwrite(obj, READ), "handle_read_event"),
    (lambda obj: asyncore.readwrite(obj, WRITE), "handle_write_event"),
    (lambda obj: asyncore.readwrite(obj, URGENT), "handle_expt_event"),
]


@pytest.mark.parametrize(("function", "handler"), ONE_EVENT)
def test_an_error_of_a_handler_goes_to_handle_error_whatever_it_is(
    wires: Wires, function: Any, handler: str
) -> None:
    for error in LookupError(), RESET:
        channel, _ = wires.channel(Noting, {})
        setattr(channel, handler, raising(error))
        function(channel)
        assert channel.events == [repr(error)]


@pytest.mark.parametrize(("function", "handler"), ANY_EVENT)
def test_that_nothing_has_arrived_is_no_error(wires: Wires, function: Any, handler: str) -> None:
    channel, _ = wires.channel(Noting, {})
    setattr(channel, handler, lambda: channel.recv(1))
    function(channel)
    assert channel.events == []
    assert channel.connected


@pytest.mark.parametrize("escaping", ESCAPING)
@pytest.mark.parametrize(("function", "handler"), ANY_EVENT)
def test_what_is_raised_to_leave_the_loop_passes(
    wires: Wires, function: Any, handler: str, escaping: type[BaseException]
) -> None:
    channel, _ = wires.channel(Noting, {})
    setattr(channel, handler, raising(escaping()))
    with pytest.raises(escaping):
        function(channel)
    assert channel.events == []


@pytest.mark.parametrize("number", sorted(asyncore._DISCONNECTED), ids=lambda number: errno.errorcode[number])
def test_readwrite_takes_an_error_of_a_lost_connection_for_the_end(wires: Wires, number: int) -> None:
    channel, _ = wires.channel(Noting, {})
    channel.handle_read_event = raising(OSError(number, ""))
    asyncore.readwrite(channel, READ | WRITE)
    assert channel.events == ["close"]


def test_readwrite_hands_other_errors_to_handle_error(wires: Wires) -> None:
    for error in OSError(errno.EIO, ""), LookupError():
        channel, _ = wires.channel(Noting, {})
        channel.handle_read_event = raising(error)
        asyncore.readwrite(channel, READ)
        assert channel.events == [repr(error)]


@pytest.mark.parametrize("flags", [ERROR, HANGUP, INVALID, READ | HANGUP, WRITE | ERROR])
def test_readwrite_ends_the_channel_after_its_other_events(wires: Wires, flags: int) -> None:
    channel, far = wires.channel(Writing, {})
    far.send(b"x")
    asyncore.readwrite(channel, flags)
    before = ["read"] * bool(flags & READ) + ["write"] * bool(flags & WRITE)
    assert channel.events == [*before, "close"]
    assert channel.closing


def test_the_bits_are_those_of_poll(wires: Wires) -> None:
    channel, far = wires.channel(Writing, {})
    far.send(b"x")
    asyncore.readwrite(channel, select.POLLIN | select.POLLOUT)
    assert channel.events == ["read", "write"]


def test_a_handler_that_fails_while_the_end_is_told_ends_no_loop(wires: Wires, use_poll: bool) -> None:
    class Failing(Noting):
        handle_read = raising(RESET)
        handle_close = raising(LookupError("in handle_close"))

    channels: dict[int, Any] = {}
    channel, far = wires.channel(Failing, channels)
    far.send(b"x")
    spin(channels, turns=2, use_poll=use_poll)
    assert channel.events == [repr(LookupError("in handle_close")) if use_poll else repr(RESET)]
    assert channels == {}


def test_the_set_of_what_ends_a_connection_may_be_replaced(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncore, "_DISCONNECTED", frozenset({errno.EIO}))
    for method, argument in ("recv", 1), ("send", b"x"):
        channel, _ = wires.channel(Noting, {})
        channel.socket.close()
        channel.socket = Failing(errno.EIO, closes=True)
        assert not getattr(channel, method)(argument)
        assert channel.events == ["close"]
    channel, _ = wires.channel(Noting, {})
    channel.handle_read_event = raising(RESET)
    asyncore.readwrite(channel, READ)
    assert channel.events == [repr(RESET)]


class Failing:
    """A socket of which everything fails, or all but closing it."""

    def __init__(self, number: int, *, closes: bool = False) -> None:
        self.recv = self.send = self.close = raising(OSError(number, os.strerror(number)))
        if closes:
            self.close = lambda: None


# -- the functions of the module are looked up when they are called ----------------------------------------


def test_replaced_functions_are_the_ones_that_are_called(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    for name in "read", "write", "_exception":
        monkeypatch.setattr(asyncore, name, lambda channel, name=name: called.append((name, channel)))
    monkeypatch.setattr(asyncore, "readwrite", lambda channel, flags: called.append((flags, channel)))
    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    for turn in asyncore.poll, asyncore.poll2:
        poller.deliver((channel._fileno, READ | WRITE | URGENT))
        poller.deliver((channel._fileno, READ))
        turn(0, channels)
        turn(0, channels)
    names = ["read", "write", "_exception", "read", READ | WRITE | URGENT, READ]
    assert called == [(name, channel) for name in names]


@pytest.mark.parametrize(("use_poll", "name"), [(False, "poll"), (True, "poll2")])
def test_loop_calls_whatever_stands_for_poll(
    wires: Wires, monkeypatch: pytest.MonkeyPatch, use_poll: bool, name: str
) -> None:
    channels = wires.map()
    wires.channel(Noting, channels)
    calls: list[Any] = []
    monkeypatch.setattr(asyncore, name, lambda *arguments: calls.append(arguments))
    asyncore.loop(12, use_poll, channels, 3)
    assert calls == [(12, channels)] * 3


def test_without_poll_of_the_system_loop_uses_the_other_way(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    monkeypatch.delattr(select, "poll")
    poller.deliver((channel._fileno, HANGUP))
    asyncore.loop(0, True, channels, 1)
    assert channel.events == ["read"]


def test_an_empty_map_is_not_waited_for(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    for turn in asyncore.poll, asyncore.poll2, asyncore.loop:
        turn(5, map=channels)
    assert poller.waits == []


def test_a_loop_goes_on_until_its_map_is_empty(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    channel.call_later(100, channel.close)
    asyncore.loop(30, map=channels)
    assert clock() == 100
    assert channel.closing


def test_a_bare_dispatcher_wants_to_read_and_to_write() -> None:
    channel = asyncore.dispatcher(map={})
    assert channel.readable() is True
    assert channel.writable() is True


def test_poll3_is_poll2() -> None:
    assert asyncore.poll3 is asyncore.poll2


def test_a_count_of_turns_is_no_more_than_that(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    wires.channel(Noting, channels)
    for count in 0, -1, 1, 4:
        asyncore.loop(1, map=channels, count=count)
    assert len(poller.waits) == 5


# -- close_all ---------------------------------------------------------------------------------------------


class Unclosable:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def close(self) -> None:
        raise self.error


@pytest.mark.parametrize("make", [ChannelMap, dict])
def test_close_all_closes_and_empties(wires: Wires, make: type) -> None:
    channels = make()
    pairs = [wires.channel(Noting, channels) for _ in range(3)]
    asyncore.close_all(channels)
    assert channels == {}
    assert all(channel.closing and is_closed(far) for channel, far in pairs)


@pytest.mark.parametrize("ignore_all", [False, True])
def test_close_all_passes_over_what_is_closed_already(wires: Wires, ignore_all: bool) -> None:
    channels: dict[int, Any] = {3: Unclosable(OSError(errno.EBADF, "closed"))}
    channel, _ = wires.channel(Noting, channels)
    asyncore.close_all(channels, ignore_all)
    assert channels == {}
    assert channel.closing


@pytest.mark.parametrize("error", [OSError(errno.EIO, "failed"), LookupError("failed")])
def test_close_all_passes_over_what_fails_only_if_told_to(error: Exception) -> None:
    channels = {3: Unclosable(error)}
    with pytest.raises(type(error), match="failed"):
        asyncore.close_all(channels)
    asyncore.close_all(channels, ignore_all=True)
    assert channels == {}


@pytest.mark.parametrize("escaping", ESCAPING)
def test_close_all_never_swallows_what_leaves_a_loop(escaping: type[BaseException]) -> None:
    with pytest.raises(escaping):
        asyncore.close_all({3: Unclosable(escaping())}, ignore_all=True)


# -- a channel and its socket ------------------------------------------------------------------------------


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
    wires: Wires, each_poller: str, use_poll: bool
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


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.EBADF])
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
        def del_channel(self, map: Any = None) -> None:  # noqa: A002
            pass

    for channels in wires.map(), {}:
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
    assert (channel.accepting, channel.connecting, channel.closing, channel.addr) == (False, False, False, None)
    far.send(b"x")
    spin(channels)
    assert channel.received == b"x"


def test_unclosed_channels_warn_as_their_sockets_do(wires: Wires) -> None:
    near = socket.socket()
    channel = asyncore.dispatcher(near, channels := {})
    channels.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del channel, near
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
