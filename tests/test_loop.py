"""One turn of the loop: how long it waits, what leaves it, how it keeps its poller. No time passes."""

import errno
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.failures import ESCAPING
from antiphon.loop import Loop
from antiphon.pollers.base import READ, WRITE
from antiphon.testing import FakeClock, SilentPoller
from loop_support import CountingPoller, Foreign, Noting, Wires, Writing, silent_map, spin

wires = loop_support.wires
each_poller = loop_support.each_poller


def ignore(turning: Loop, batch: Any) -> None:
    """Deal with a batch by doing nothing."""


# -- waiting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [30.0, 0.0, 0.0004])
def test_a_turn_waits_as_long_as_it_is_told(wires: Wires, timeout: float) -> None:
    channels, clock, poller = silent_map(wires)
    wires.channel(Noting, channels)
    asyncore.loop(timeout, map=channels, count=3)
    assert poller.waits == [timeout] * 3
    assert clock() == 3 * timeout


def test_a_turn_without_a_timeout_waits_until_something_happens(wires: Wires) -> None:
    channels, clock, poller = silent_map(wires)
    channel, far = wires.channel(Noting, channels)
    far.send(b"x")
    poller.deliver((channel._fileno, READ), after=3600)
    asyncore.loop(None, map=channels, count=1)
    assert (channel.received, clock(), poller.waits) == (b"x", 3600, [None])


def test_a_turn_waits_no_longer_than_until_the_next_timer(wires: Wires) -> None:
    channels, clock, poller = silent_map(wires)
    wires.channel(Noting, channels)
    called: list[float] = []
    loop = asyncore.get_loop(channels)
    for delay in 5, 2, 50:
        loop.call_later(delay, lambda: called.append(clock()))
    asyncore.loop(30, map=channels, count=3)
    assert poller.waits == [2, 3, 30]
    asyncore.loop(None, map=channels, count=1)
    assert poller.waits[3:] == [15]
    assert called == [2, 5, 50]


def test_a_turn_does_not_wait_while_something_is_to_be_done(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    _channel, _ = wires.channel(Noting, channels)
    loop = asyncore.get_loop(channels)
    loop.call_soon_threadsafe(loop.call_soon_threadsafe, [].clear)
    asyncore.loop(30, map=channels, count=1)
    assert poller.waits == [0.0]
    asyncore.loop(30, map=channels, count=1)
    assert poller.waits == [0.0, 30]


def test_a_map_without_channels_is_not_waited_for(wires: Wires) -> None:
    channels, clock, poller = silent_map(wires)
    asyncore.loop(30, map=channels)
    asyncore.loop(30, map=channels, count=5)
    asyncore.poll(30, channels)
    asyncore.poll2(30, channels)
    assert (poller.waits, clock()) == ([], 0)


def test_a_map_without_channels_is_waited_for_while_timers_or_calls_are_pending(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    called: list[Any] = []
    loop = asyncore.get_loop(channels)
    loop.call_later(100, lambda: called.append(clock()))
    loop.call_soon_threadsafe(called.append, "soon")
    asyncore.loop(30, map=channels)
    assert (called, clock()) == (["soon", 100], 100)
    assert not loop.busy


def test_poll_runs_a_pending_timer_of_a_map_without_channels(wires: Wires) -> None:
    for poll in asyncore.poll, asyncore.poll2:
        channels, clock, _ = silent_map(wires)
        called: list[int] = []
        asyncore.get_loop(channels).call_later(7, called.append, 1)
        poll(30, channels)
        assert (called, clock()) == ([1], 7)


def test_a_loop_ends_when_its_last_channel_closes(wires: Wires) -> None:
    channels, clock, poller = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    asyncore.get_loop(channels).call_later(45, channel.close)
    asyncore.loop(30, map=channels)
    assert (clock(), poller.waits) == (45, [30, 15])


# -- what leaves the loop, and what does not ---------------------------------------------------------------


@pytest.mark.parametrize("escaping", ESCAPING)
@pytest.mark.parametrize("where", ["timer", "call", "readable", "handle_error", "dispatch"])
def test_what_is_raised_to_leave_the_loop_leaves_it(
    wires: Wires, escaping: type[BaseException], where: str
) -> None:
    def leave(*_: Any) -> None:
        raise escaping("leaving")

    class Failing(Noting):
        def handle_read(self) -> None:
            raise LookupError

        def handle_error(self) -> None:
            leave()

    channels, _, poller = silent_map(wires)
    loop = asyncore.get_loop(channels)
    channel, _ = wires.channel(Failing if where == "handle_error" else Noting, channels)
    match where:
        case "timer":
            loop.call_later(1, leave)
        case "call":
            loop.call_soon_threadsafe(leave)
        case "readable":
            channel.readable = leave
        case "dispatch":
            channel.handle_read = leave
    poller.deliver((channel._fileno, READ))
    with pytest.raises(escaping, match="leaving"):
        asyncore.loop(1, map=channels)
    read_since: list[int] = []
    channel.readable = lambda: True
    channel.handle_read = lambda: read_since.append(1)
    poller.deliver((channel._fileno, READ))
    asyncore.loop(1, map=channels, count=2)
    assert read_since, "the loop does not go on after it was left"


# -- the poller --------------------------------------------------------------------------------------------


def test_the_poller_is_opened_by_the_first_turn_and_closed_with_the_loop(wires: Wires) -> None:
    pollers: list[CountingPoller] = []

    def make() -> CountingPoller:
        pollers.append(CountingPoller())
        return pollers[-1]

    channels = wires.map(make_poller=make)
    loop = asyncore.get_loop(channels)
    channel, far = wires.channel(Noting, channels)
    assert pollers == []
    assert "idle" in repr(loop)
    spin(channels, turns=2)
    assert len(pollers) == 1
    assert repr(loop).startswith(f"<antiphon.loop.Loop {pollers[0].name} channels=1 timers=0 at 0x")
    loop.call_later(1, print)
    loop.call_soon_threadsafe(print)
    loop.close()
    assert not loop.busy
    assert pollers[0].calls["close"] == 1
    loop.close()
    far.send(b"x")
    spin(channels)
    assert len(pollers) == 2
    assert channel.received == b"x", "a closed loop that is used again has lost its channels"


def test_an_error_of_the_poller_itself_is_no_channels_fault(wires: Wires) -> None:
    def refuse() -> SilentPoller:
        raise OSError(errno.EPERM, "the system has no such poller")

    channels = wires.map(make_poller=refuse)
    wires.channel(Noting, channels)
    with pytest.raises(OSError, match="no such poller"):
        spin(channels)


@pytest.mark.parametrize("timeout", [None, 30, 0.25])
def test_a_turn_that_other_threads_cannot_end_is_short(
    wires: Wires, monkeypatch: pytest.MonkeyPatch, timeout: float | None
) -> None:
    """No descriptor was left for the poller, nor for what wakes it."""
    clock = FakeClock()
    makeshift = SilentPoller(clock)
    monkeypatch.setattr("antiphon.loop._make_without_descriptor", lambda: makeshift)
    descriptors = [False, True]
    proper = SilentPoller(clock)

    def make() -> SilentPoller:
        if not descriptors.pop(0):
            raise OSError(errno.EMFILE, "too many open files")
        return proper

    channels = wires.map(now=clock, make_poller=make)
    wires.channel(Noting, channels)
    asyncore.loop(timeout, map=channels, count=1)
    assert makeshift.waits == [min(timeout or 1, 1)]
    asyncore.loop(20, map=channels, count=1)
    assert proper.waits == [20]
    assert len(makeshift.waits) == 1


def test_events_of_descriptors_that_nobody_has_are_forgotten(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    spin(channels)
    stray = 4711
    poller.watch(stray, READ)
    poller.deliver((stray, READ))
    spin(channels)
    assert stray not in poller.watched
    assert channel._fileno in poller.watched


def test_a_loop_knows_what_it_waits_for(wires: Wires) -> None:
    channels, _, _ = silent_map(wires)
    channel, _ = wires.channel(Writing, channels)
    loop = asyncore.get_loop(channels)
    assert loop.waits_for(channel._fileno) == 0
    spin(channels)
    assert loop.waits_for(channel._fileno) == READ | WRITE
    channel.close()
    assert loop.waits_for(channel.socket.fileno()) == 0


def test_nothing_is_said_of_a_change_of_a_channel_without_descriptor(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    asyncore.get_loop(channels).changed(None)
    wires.channel(Noting, channels)
    asyncore.loop(30, map=channels, count=1)
    assert poller.waits == [30]


def test_a_map_that_does_not_tell_can_be_given_to_a_loop_of_ones_own(wires: Wires) -> None:
    near, _far = wires.pair()
    foreign = Foreign(near)
    clock = FakeClock()
    loop = Loop({near.fileno(): foreign}, now=clock, make_poller=lambda: SilentPoller(clock))
    batches: list[Any] = []
    loop.turn(5, lambda turning, batch: batches.append(batch))
    loop.turn(-5, ignore)
    assert (batches, clock()) == ([], 5)
    loop.close()


# -- what is interrupted ------------------------------------------------------------------------------------


class Interrupting(CountingPoller):
    """Raises once, as the handler of a signal may, when it is told to watch for the time of that number."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def watch(self, fd: int, interest: int) -> None:
        self.at -= 1
        if self.at == 0:
            raise KeyboardInterrupt
        super().watch(fd, interest)


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_who_was_about_to_be_watched_when_a_signal_came_is_watched_in_the_next_turn(
    wires: Wires, at: int
) -> None:
    made: list[Interrupting] = []

    def make() -> Interrupting:
        made.append(Interrupting(0 if made else at))
        return made[-1]

    channels = wires.map(make_poller=make)
    pairs = [wires.channel(Noting, channels) for _ in range(3)]
    with pytest.raises(KeyboardInterrupt):
        spin(channels)
    for _, far in pairs:
        far.send(b"x")
    spin(channels, turns=2)
    assert [channel.received for channel, _ in pairs] == [b"x"] * 3
    asyncore.get_loop(channels).wake()
    asyncore.poll(None, channels)
    assert len(made) == (2 if at == 1 else 1)
