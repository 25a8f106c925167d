"""A loop that is stopped, from anywhere, returns; and can be entered again."""

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import antiphon
import draining_support
import loop_support
from antiphon import asyncore
from antiphon.draining import Drained
from draining_support import PATIENCE, thread, until_stopped
from loop_support import CountingPoller, Noting, Wires, silent_map

assert not TYPE_CHECKING or sys.platform != "win32"

wires = loop_support.wires
each_poller = loop_support.each_poller
channels = draining_support.channels


class Stopping(Noting):
    """Stops its loop when it reads."""

    def handle_read(self) -> None:
        super().handle_read()
        antiphon.stop(self._map)


def test_a_stopped_loop_returns_when_its_turn_has_ended(wires: Wires, channels: Any) -> None:
    pairs = [wires.channel(Stopping, channels) for _ in range(3)]
    for _, far in pairs:
        far.send(b"x")
    asyncore.loop(None, map=channels)
    assert [channel.received for channel, _ in pairs] == [b"x"] * 3
    assert len(channels) == 3


def test_a_stopped_loop_can_be_entered_again(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Stopping, channels)
    for word in b"one", b"two":
        far.send(word)
        asyncore.loop(None, map=channels)
    assert channel.received == b"onetwo"


def test_a_turn_that_was_counted_is_not_lost_to_a_stop_before_it(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Stopping, channels)
    for word in b"one", b"two":
        far.send(word)
        asyncore.loop(None, map=channels, count=1)
    assert channel.received == b"onetwo"


def test_a_stop_that_comes_before_the_loop_ends_the_next_one_before_its_first_turn(
    wires: Wires, channels: Any
) -> None:
    channel, far = wires.channel(Stopping, channels)
    far.send(b"x")
    antiphon.stop(channels)
    antiphon.stop(channels)
    asyncore.loop(None, map=channels)
    assert channel.received == b""
    asyncore.loop(None, map=channels)
    assert channel.received == b"x"


def test_the_loops_inside_of_handlers_end_with_the_one_around_them(wires: Wires, channels: Any) -> None:
    class Nesting(Noting):
        def handle_read(self) -> None:
            super().handle_read()
            if self.events == ["read"]:
                yonder.send(b"y")
                asyncore.loop(None, map=channels)
                self.events.append("back")
                asyncore.loop(None, map=channels)
                self.events.append("and again")

    outer, far = wires.channel(Nesting, channels)
    inner, yonder = wires.channel(Stopping, channels)
    far.send(b"x")
    asyncore.loop(None, map=channels)
    assert outer.events == ["read", "back", "and again"]
    assert inner.received == b"y"
    far.send(b"z")
    asyncore.loop(None, map=channels, count=1)
    assert outer.received == b"xz"


def test_another_thread_stops_a_loop_that_waits_for_ever(wires: Wires, channels: Any) -> None:
    started = threading.Event()
    wires.channel(Noting, channels)
    loop = asyncore.get_loop(channels)
    loop.call_soon_threadsafe(started.set)
    with thread(lambda: until_stopped(channels)) as returned:
        assert started.wait(PATIENCE)
        loop.stop()
    assert returned == ["returned"]


def test_all_threads_leave_a_stopped_loop(wires: Wires) -> None:
    channels = wires.map()
    wires.channel(Noting, channels)
    loop = asyncore.get_loop(channels)
    started = threading.Event()
    loop.call_soon_threadsafe(started.set)
    with contextlib.ExitStack() as threads:
        for _ in range(4):
            threads.enter_context(thread(lambda: until_stopped(channels)))
        assert started.wait(PATIENCE)
        loop.stop()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer(2)")
def test_a_signal_handler_stops_a_loop_that_waits_for_ever(wires: Wires, channels: Any) -> None:
    wires.channel(Noting, channels)
    before = signal.signal(signal.SIGALRM, lambda *_: antiphon.stop(channels))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        asyncore.loop(None, map=channels)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(channels) == 1


def test_a_program_that_calls_poll_itself_does_not_spin_after_a_stop(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    wires.channel(Noting, channels)
    antiphon.stop(channels)
    for _ in range(3):
        asyncore.poll(30, channels)
    assert poller.waits == [30, 30, 30]


def test_a_stop_that_comes_while_the_poller_is_being_opened_is_not_missed(wires: Wires) -> None:
    def make() -> CountingPoller:
        antiphon.stop(channels)
        return CountingPoller()

    channels = wires.map(make_poller=make)
    wires.channel(Noting, channels)
    asyncore.loop(None, map=channels)
    assert len(channels) == 1


def test_a_loop_without_channels_is_stopped_before_its_timers_are_through(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    loop = asyncore.get_loop(channels)
    loop.call_every(1, lambda: None)
    loop.call_later(2.5, loop.stop)
    asyncore.loop(None, map=channels)
    assert poller.waits == [1, 1, 0.5]
    loop.close()


def test_the_default_map_s_loop_is_stopped_without_naming_it(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = wires.map()
    monkeypatch.setattr(asyncore, "socket_map", channels)
    wires.channel(Noting, None)
    antiphon.stop()
    asyncore.loop(None)
    assert antiphon.drain(0) == Drained(listeners=0, flushed=1, lost=0, aborted=0)
