"""What limits cost: nothing for channels without, and for those with no clock and no timer for an event."""

import sys
from collections import Counter
from typing import Any

import pytest

import loop_support
from antiphon import MessageChannel, asyncore, pollers
from antiphon.testing import FakeClock, SilentPoller
from chat_support import ScriptedSocket
from counts.counters import Action, calls_made, functions_entered, memory_kept
from counts.dialogues import Echo
from limit_support import Unlimited
from loop_support import Wires

wires = loop_support.wires

LINE = b"hello\r\n"


class CountingClock(FakeClock):
    """A clock that counts how often it is looked at."""

    calls = 0

    def __call__(self) -> float:
        self.calls += 1
        return super().__call__()


class Answering(MessageChannel):
    """Answers each line with that line; every limit is on."""

    def message_received(self, message: bytes) -> None:
        self.push(message + b"\r\n")


class WithoutLimits(Unlimited, Answering):
    """Likewise, with none."""


class Guarded(Echo):
    """The classic callbacks, with every timeout and mark."""

    idle_timeout = message_timeout = connect_timeout = send_timeout = close_timeout = 60.0
    high_water = max_outgoing = 100_000
    backpressure = True


class Crowd:
    """Channels without a kernel, that their loop knows.

    Attributes:
        clock: counts.
        channels: the map.
        members: the channels.
    """

    def __init__(self, wires: Wires, made: Any, size: int) -> None:
        self.clock = CountingClock()
        self.poller = SilentPoller(self.clock)
        self.channels = wires.map(now=self.clock, make_poller=lambda: self.poller)
        self.channels.loop.slow_callback = None  # It looks at the clock after each event.
        self.members = [made(ScriptedSocket(), self.channels) for _ in range(size)]
        self.turn()

    def turn(self, timeout: float = 0.0) -> None:
        asyncore.loop(timeout, map=self.channels, count=1)

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.turn()

    def hear(self, *pieces: bytes, at: int = 1000) -> Action:
        """The turns in which `pieces` arrive at so many of them."""
        for channel in self.members[:at]:
            channel.socket.script += pieces
        for _ in pieces:
            events = [(channel.socket.fileno(), pollers.READ) for channel in self.members[:at]]
            self.poller.deliver(*events)
        return lambda: self.turns(len(pieces))


@pytest.fixture(params=[Answering, Guarded])
def crowd(wires: Wires, request: pytest.FixtureRequest) -> Crowd:
    return Crowd(wires, request.param, 1000)


def test_a_turn_looks_at_the_clock_as_often_for_a_thousand_events_as_for_one(crowd: Crowd) -> None:
    looks = []
    for at in (1, 1, 1000, 1000):
        events = crowd.hear(LINE, at=at)
        crowd.clock.calls = 0
        events()
        looks.append(crowd.clock.calls)
    assert looks == [3] * 4, (
        "before and after the wait, as with any timer; and the poller, which has no kernel"
    )


def test_whole_messages_and_their_answers_touch_no_timer(crowd: Crowd) -> None:
    crowd.hear(LINE)()
    timers = [channel._ac_guard._timer for channel in crowd.members]
    deadlines = [timer.when for timer in timers]
    entered = Counter(functions_entered(crowd.hear(*[LINE * 3] * 5)))
    assert not {"_start", "_stop", "_push", "reset", "call_at", "_timer", "gone_off", "changed"} & set(
        entered
    )
    assert [timer.when for timer in timers] == deadlines
    assert len(crowd.channels.loop._timers) == 1000


def test_unfinished_messages_touch_a_timer_once_at_most(wires: Wires) -> None:
    crowd = Crowd(wires, Answering, 1000)
    first = Counter(functions_entered(crowd.hear(b"begin")))
    later = Counter(functions_entered(crowd.hear(*[b"goes on", b"end\r\nbegin"] * 5)))
    assert first["reset"] == 1000
    assert later["reset"] == later["_push"] == later["gone_off"] == 0


def test_a_peer_that_is_slow_again_and_again_touches_a_timer_once(wires: Wires) -> None:
    crowd = Crowd(wires, Answering, 1)
    [channel] = crowd.members
    sock = channel.socket

    def slow() -> None:
        for _ in range(100):
            sock.takes += [1]
            channel.push(b"hello")
            crowd.poller.deliver((sock.fileno(), pollers.WRITE))
            crowd.turn()

    entered = Counter(functions_entered(slow))
    assert sock.wire == b"hello" * 100
    assert entered["reset"] == entered["_push"] == 1


def test_a_busy_channel_has_its_timer_go_off_once_in_its_time(wires: Wires) -> None:
    class Busy(WithoutLimits):
        idle_timeout = 60

    crowd = Crowd(wires, Busy, 100)

    def hour() -> None:
        for second in range(3600):
            if second % 10 == 0:
                crowd.hear(LINE)()
            crowd.turn(1.0)

    entered = Counter(functions_entered(hour))
    assert len(crowd.channels) == 100
    assert entered["gone_off"] <= 100 * 3600 / 50


def test_a_request_makes_the_same_calls_beside_fifty_thousand_channels_with_every_limit(wires: Wires) -> None:
    made = []
    for size in (1, 50_000):
        crowd = Crowd(wires, Answering, size)
        assert len(crowd.channels.loop._timers) == size
        for _ in range(3):  # What is made once is made then.
            crowd.hear(LINE, at=1)()
        made.append(calls_made(crowd.hear(LINE, at=1)))
        crowd.clock.advance(1)
        made.append(calls_made(crowd.hear(LINE, at=1)))
    assert made[0] == made[2], made
    assert made[1] == made[3], made


if sys.version_info >= (3, 12):
    from counts.counters import instructions

    def of_a_request(wires: Wires, made: Any) -> float:
        """Instructions for a further request of a turn."""
        crowd = Crowd(wires, made, 11)
        for _ in range(3):
            crowd.hear(LINE)()
        one = instructions(crowd.hear(LINE, at=1))
        return (instructions(crowd.hear(LINE, at=11)) - one) / 10

    def test_all_limits_together_take_few_instructions_of_a_request(wires: Wires) -> None:
        """39 of 406 on 3.13."""
        with_limits, without = (of_a_request(wires, made) for made in (Answering, WithoutLimits))
        assert with_limits - without <= 45


def test_the_limits_of_a_channel_take_1000_bytes_at_most(wires: Wires) -> None:
    """About 830 on 3.13: the guard is 200, the rest is its timer and the places of that."""
    clock = FakeClock()
    with_limits, without = (memory_of(wires, made, clock) for made in (Answering, WithoutLimits))
    assert with_limits - without <= 1000


def memory_of(wires: Wires, made: Any, clock: FakeClock) -> float:
    channels = wires.map(now=clock, make_poller=lambda: SilentPoller(clock))
    socks = [ScriptedSocket() for _ in range(1000)]

    def join() -> None:
        for sock in socks:
            made(sock, channels)
        asyncore.loop(0, map=channels, count=1)

    return memory_kept(join) / len(socks)
