"""Timers of a channel, and how other threads reach it."""

import threading
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from loop_support import Noting, Wires, silent_map, spin

wires = loop_support.wires


def test_a_channel_calls_later_at_and_every(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    called: list[tuple[str, float]] = []

    def note(name: str) -> None:
        called.append((name, clock()))

    channel.call_later(5, note, "later")
    channel.call_at(2, note, "at")
    channel.call_every(4, note, "every")
    channel.call_soon_threadsafe(note, "soon")
    asyncore.loop(1, map=channels, count=9)
    assert called == [("soon", 0), ("at", 2), ("every", 4), ("later", 5), ("every", 8)]


def test_the_timers_of_a_channel_go_with_it(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    called: list[int] = []
    timers = [channel.call_later(9, called.append, 1), channel.call_every(2, called.append, 2)]
    channel.call_later(5, channel.close)
    asyncore.loop(map=channels)
    assert (called, clock()) == ([2, 2], 5)
    assert not any(timer.active for timer in timers)
    assert not asyncore.get_loop(channels).busy


def test_a_timer_that_is_due_with_the_one_that_closes_its_channel_is_not_called(wires: Wires) -> None:
    channels, _, _ = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    called: list[int] = []
    channel.call_later(5, channel.close)
    channel.call_later(5, called.append, 1)
    asyncore.loop(map=channels)
    assert called == []


def test_a_timer_can_be_cancelled_and_reset(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    called: list[float] = []
    channel.call_later(3, called.append, -1).cancel()
    timer = channel.call_later(5, lambda: called.append(clock()))
    clock.advance(4)
    timer.reset()
    asyncore.loop(5, map=channels, count=1)
    assert called == [9]
    timer.reset(1)
    asyncore.loop(5, map=channels, count=1)
    assert called == [9, 10]


def test_an_error_of_a_timer_goes_to_the_error_handler_of_its_channel(wires: Wires) -> None:
    channels, _, _ = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)

    def fail() -> None:
        raise LookupError("in a timer")

    channel.call_later(1, fail)
    asyncore.loop(map=channels)
    assert channel.events == ["LookupError('in a timer')"]
    assert channel.closing


def test_an_error_of_a_call_goes_to_the_error_handler_of_its_channel(wires: Wires) -> None:
    channels, _, _ = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    channel.call_soon_threadsafe(channel.recv, "no number")
    spin(channels)
    assert "TypeError" in channel.events[0]


def test_a_channel_that_closed_may_plan_to_come_back(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    channel, far = wires.channel(Noting, channels)
    called: list[float] = []

    def close_and_plan() -> None:
        channel.close()
        channel.call_later(10, lambda: called.append(clock()))

    channel.handle_close = close_and_plan
    far.close()
    channel.recv(1)
    asyncore.loop(map=channels)
    assert called == [10]


def test_a_channel_without_a_socket_has_timers_too(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    channel = Noting(map=channels)
    called: list[float] = []
    channel.call_later(3, lambda: called.append(clock()))
    asyncore.loop(map=channels)
    assert called == [3]


@pytest.mark.parametrize("make", [dict, None])
def test_timers_of_channels_in_maps_of_every_kind_run(wires: Wires, make: Any) -> None:
    channels = make() if make else wires.map()
    channel, _ = wires.channel(Noting, channels)
    channel.call_later(0, channel.close)
    asyncore.loop(map=channels)
    assert channel.closing


def test_a_call_is_made_by_the_thread_of_the_loop(wires: Wires) -> None:
    channels = wires.map()
    channel, _ = wires.channel(Noting, channels)
    callers: list[int] = []

    def ask() -> None:
        channel.call_soon_threadsafe(lambda: callers.append(threading.get_ident()))

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    assert callers == []
    spin(channels)
    assert callers == [threading.get_ident()]


def test_what_cannot_be_called_is_refused_at_once(wires: Wires) -> None:
    channels = wires.map()
    channel, _ = wires.channel(Noting, channels)
    for call in channel.call_later, channel.call_every:
        with pytest.raises(ValueError, match="seconds"):
            call(-1, print)
        with pytest.raises(TypeError, match="number of seconds"):
            call("soon", print)
        with pytest.raises(TypeError, match="callable"):
            call(1, "print")
    with pytest.raises(TypeError, match="callable"):
        channel.call_soon_threadsafe("print")
    assert not asyncore.get_loop(channels).busy


def test_a_thousand_timers_that_come_and_go_leave_nothing_behind(wires: Wires) -> None:
    channels, _, _ = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    for _ in range(1000):
        channel.call_later(60, print).cancel()
        channel.call_later(0, int)
        spin(channels)
    assert "timers=0" in repr(asyncore.get_loop(channels))
    assert not channel._ac_timers
