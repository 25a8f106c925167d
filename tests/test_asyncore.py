"""The functions of the module, and what a channel does with its socket."""

import errno
import select
import sys
from typing import TYPE_CHECKING, Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.failures import ESCAPING
from antiphon.maps import ChannelMap
from antiphon.pollers.base import ERROR, HANGUP, INVALID, READ, URGENT, WRITE
from loop_support import Failing, Noting, Wires, Writing, is_closed, raising, silent_map, spin

assert not TYPE_CHECKING or sys.platform != "win32"

wires = loop_support.wires
each_poller = loop_support.each_poller
use_poll = loop_support.use_poll


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


def test_the_set_of_what_ends_a_connection_may_be_replaced(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
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


# -- the functions of the module are looked up when they are called ----------------------------------------


def test_replaced_functions_are_the_ones_that_are_called(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
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
