"""Handlers that take long are named, with their channel; others cost a look at a clock."""

import errno
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import loop_support
from antiphon import asyncore, watching
from antiphon.asynchat import async_chat
from antiphon.counting import Counts
from antiphon.datagrams import DatagramChannel
from antiphon.message_channel import MessageChannel
from antiphon.pollers.base import HANGUP, READ, URGENT, WRITE
from antiphon.testing import FakeClock, SilentPoller
from antiphon.watching import Watch, handlers_of, name_of_callback, slow_from
from loop_support import Foreign, Wires, raising, silent_map, with_sources

wires = loop_support.wires
use_poll = loop_support.use_poll

Scene = tuple[Any, FakeClock, SilentPoller]


@pytest.fixture(autouse=True)
def default_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow handlers are looked for, as they are by default."""
    monkeypatch.setattr("antiphon.calls.SLOW", 0.1)


@pytest.fixture
def scene(wires: Wires) -> Scene:
    return silent_map(wires)


class Chat(async_chat):
    """Takes as long for each line as it says."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.set_terminator(b"\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self._collect_incoming_data(data)

    def found_terminator(self) -> None:
        self._map.loop.now.advance(float(self._get_data()))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def turn(scene: Scene, *events: tuple[Any, int], use_poll: bool = False) -> None:
    channels, _, poller = scene
    poller.deliver(*[(channel._fileno, flags) for channel, flags in events])
    asyncore.loop(0, use_poll, channels, 1)


# -- which ones --------------------------------------------------------------------------------------------


def test_a_slow_handler_is_named_with_its_channel_and_its_seconds(
    wires: Wires, scene: Scene, caplog: pytest.LogCaptureFixture, use_poll: bool
) -> None:
    quick, far = wires.channel(Chat, scene[0])
    slow, slow_far = wires.channel(Chat, scene[0])
    slow.addr = "192.0.2.7", 4711
    far.send(b"0.05\n")
    slow_far.send(b"0.25\n")
    turn(scene, (quick, READ), (slow, READ), use_poll=use_poll)
    [record] = caplog.records
    assert (record.name, record.levelno) == ("antiphon.loop", logging.WARNING)
    assert f"<{Chat.__module__}.Chat connected 192.0.2.7:4711 at" in record.message
    assert record.message.endswith(": Chat.collect_incoming_data or Chat.found_terminator took 0.250 s")
    assert scene[0].loop.stats().slow == 1


def test_many_quick_ones_are_not_a_slow_one(
    wires: Wires, scene: Scene, caplog: pytest.LogCaptureFixture, use_poll: bool
) -> None:
    several = [wires.channel(Chat, scene[0]) for _ in range(5)]
    for _, far in several:
        far.send(b"0.09\n")
    turn(scene, *[(channel, READ) for channel, _ in several], use_poll=use_poll)
    assert scene[1]() == pytest.approx(0.45)
    assert said(caplog) == []


def test_the_slow_one_among_many_is_found(
    wires: Wires, scene: Scene, caplog: pytest.LogCaptureFixture, use_poll: bool
) -> None:
    several = [wires.channel(Chat, scene[0]) for _ in range(5)]
    for index, (channel, far) in enumerate(several):
        channel.addr = "192.0.2.7", index
        far.send(b"0.3\n" if index == 3 else b"0.06\n")
    turn(scene, *[(channel, READ) for channel, _ in several], use_poll=use_poll)
    [line] = said(caplog)
    assert "192.0.2.7:3 " in line


def test_waiting_is_not_slow(wires: Wires, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    channel, far = wires.channel(Chat, scene[0])
    asyncore.loop(60, map=scene[0], count=1)
    far.send(b"0\n")
    turn(scene, (channel, READ))
    assert scene[1]() == 60
    assert said(caplog) == []


def test_the_same_handler_is_named_once_a_second(
    wires: Wires, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    channel, far = wires.channel(Chat, scene[0])
    for _ in range(9):
        far.send(b"0.2\n")
        turn(scene, (channel, READ))
    first, second = said(caplog)
    assert "more like it" not in first
    assert second.endswith("took 0.200 s (4 more like it were left out in 1.0 s)")
    assert scene[0].loop.stats().slow == 9


def test_a_channel_that_closed_in_its_slow_handler_is_named_all_the_same(
    wires: Wires, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    class Closing(Chat):
        def handle_close(self) -> None:
            self._map.loop.now.advance(1)
            self.close()

    channel, far = wires.channel(Closing, scene[0])
    channel.addr = "192.0.2.7", 4711
    far.close()
    turn(scene, (channel, READ))
    [line] = said(caplog)
    assert "192.0.2.7:4711" in line
    assert line.endswith(".Closing.handle_close took 1.000 s")


def test_a_limit_of_ones_own_is_the_limit(
    wires: Wires, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    channel, far = wires.channel(Chat, scene[0])
    scene[0].loop.slow_callback = 2
    assert scene[0].loop.slow_callback == 2
    for data in b"2\n", b"3\n":
        far.send(data)
        turn(scene, (channel, READ))
    [line] = said(caplog)
    assert "3.000 s" in line


def test_without_a_limit_nothing_is_slow_and_no_clock_is_looked_at(
    wires: Wires, caplog: pytest.LogCaptureFixture, use_poll: bool
) -> None:
    looks = 0

    def now() -> float:
        nonlocal looks
        looks += 1
        return looks

    poller = SilentPoller(FakeClock())
    channels = wires.map(now=now, make_poller=lambda: poller)
    channels.loop.slow_callback = None
    assert channels.loop.slow_callback is None
    channel, far = wires.channel(loop_support.Noting, channels)
    far.send(b"x")
    poller.deliver((channel._fileno, READ))
    asyncore.loop(0, use_poll, channels, 1)
    assert channel.events == ["read"]
    assert looks == 0
    channels.loop.call_soon_threadsafe(channel.close)
    asyncore.loop(0, use_poll, channels, 1)
    assert channel.closing
    assert said(caplog) == []


def test_a_wakeup_is_nobody_s_handler(caplog: pytest.LogCaptureFixture) -> None:
    Watch(0.1, Counts()).look(None, READ, 100.0)
    assert said(caplog) == []


# -- timers, and calls from other threads ------------------------------------------------------------------


def test_slow_timers_and_calls_are_named(
    wires: Wires, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    channels, clock, _ = scene

    class Ticking(Chat):
        def tick(self, seconds: float) -> None:
            clock.advance(seconds)

    channel, _ = wires.channel(Ticking, channels)
    channel.addr = "192.0.2.7", 4711
    channel.call_later(1, channel.tick, 0.5)
    channel.call_later(2, channel.tick, 0.05)
    channels.loop.call_later(3, partial(clock.advance, 0.25))
    asyncore.loop(10, map=channels, count=3)
    clock.advance(1)
    channels.loop.call_soon_threadsafe(clock.advance, 0.75)
    asyncore.loop(0, map=channels, count=1)
    first, second, third = said(caplog)
    assert "192.0.2.7:4711" in first
    assert first.endswith(".Ticking.tick took 0.500 s")
    assert second == "timer or call: FakeClock.advance took 0.250 s"
    assert third == "timer or call: FakeClock.advance took 0.750 s"
    assert channels.loop.stats().slow == 3


def test_a_slow_callback_that_fails_is_named_too(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        scene[1].advance(1)
        raise LookupError("as asked")

    scene[0].loop.call_later(1, fail)
    asyncore.loop(10, map=scene[0], count=1)
    [line] = said(caplog)
    assert line.endswith(".<locals>.fail took 1.000 s")


# -- names of callbacks ------------------------------------------------------------------------------------


class Called:
    def __call__(self) -> None:
        """Nothing."""

    @classmethod
    def made(cls) -> None:
        """Nothing."""


CALLBACKS: list[tuple[Callable[..., Any], str]] = [
    (Called(), "Called object"),
    (Called.made, "Called.made"),
    (time.sleep, "sleep"),
    ([].append, "list.append"),
    (partial(partial(print), 1), "print"),
    (asyncore.dispatcher.close, "dispatcher.close"),
]


@pytest.mark.parametrize(("callback", "name"), CALLBACKS)
def test_a_callback_is_named_by_its_class_and_itself(callback: Callable[..., Any], name: str) -> None:
    assert name_of_callback(callback) == name


# -- names of handlers -------------------------------------------------------------------------------------


def channel_with(*names: str, base: Any = asyncore.dispatcher) -> Any:
    """A channel of a class that has such handlers of its own."""
    return type("Own", (base,), {name: handler_named(name) for name in names})(map={})


def handler_named(name: str) -> Any:
    def handler(*_: Any) -> None:
        """Nothing."""

    handler.__name__ = name
    return handler


@pytest.mark.parametrize(
    ("base", "own", "flags", "named"),
    [
        (asyncore.dispatcher, ["handle_read"], READ, ["handle_read"]),
        (asyncore.dispatcher, ["handle_read_event", "handle_read"], READ, ["handle_read_event"]),
        (asyncore.dispatcher, ["handle_write", "handle_read"], READ, ["handle_read"]),
        (asyncore.dispatcher, ["handle_write", "handle_read"], WRITE, ["handle_write"]),
        (asyncore.dispatcher, ["handle_write", "handle_read"], READ | WRITE, ["handle_read", "handle_write"]),
        (asyncore.dispatcher, ["handle_connect", "handle_write"], WRITE, ["handle_connect", "handle_write"]),
        (asyncore.dispatcher, ["handle_write_event", "handle_connect"], WRITE, ["handle_write_event"]),
        (asyncore.dispatcher, ["handle_expt"], URGENT, ["handle_expt"]),
        (asyncore.dispatcher, ["handle_close"], READ, []),
        (asyncore.dispatcher, ["handle_read"], HANGUP, ["handle_read"]),
        (asyncore.dispatcher, [], READ | WRITE | URGENT | HANGUP, []),
        (async_chat, ["found_terminator"], READ, ["found_terminator"]),
        (async_chat, ["found_terminator", "handle_read"], READ, ["handle_read"]),
        (DatagramChannel, ["datagram_received"], READ, ["datagram_received"]),
        (MessageChannel, ["message_received"], READ, ["message_received"]),
        (MessageChannel, ["message_received", "messages_received"], READ, ["messages_received"]),
    ],
)
def test_the_handlers_that_are_named_are_the_program_s_own_that_the_event_may_reach(
    base: Any, own: list[str], flags: int, named: list[str]
) -> None:
    channel = channel_with(*own, base=base)
    assert handlers_of(channel, flags) == [f"Own.{name}" for name in named]


def test_of_a_listener_it_is_what_takes_connections() -> None:
    channel = channel_with("handle_accepted", "handle_read")
    channel.accepting = True
    assert handlers_of(channel, READ) == ["Own.handle_accepted"]


def test_after_the_end_handle_close_may_have_been_it() -> None:
    channel = channel_with("found_terminator", "handle_close", base=async_chat)
    channel._ac_hung_up = "peer"
    assert handlers_of(channel, READ) == ["Own.found_terminator", "Own.handle_close"]


def test_a_handler_on_the_instance_is_named_by_what_it_is() -> None:
    channel = channel_with("on_body", base=async_chat)
    channel.found_terminator = channel.on_body
    assert handlers_of(channel, READ) == ["Own.on_body"]


class Rows:
    def more(self) -> bytes:
        return b"row"


def test_a_producer_that_is_being_sent_is_named(wires: Wires) -> None:
    channel = channel_with(base=async_chat)
    channel.producer_fifo.append(Rows())
    assert handlers_of(channel, WRITE) == ["Rows.more"]
    channel.producer_fifo[0] = b"bytes"
    assert handlers_of(channel, WRITE) == []
    channel.close()


def test_the_handlers_of_what_is_no_channel_are_named(
    wires: Wires, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = Foreign(wires.pair()[0])
    assert handlers_of(foreign, READ) == ["Foreign.handle_read_event"]


def test_where_no_handler_is_the_program_s_the_class_is_named(
    wires: Wires, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    watch = scene[0].loop.watch
    watch.look(channel_with(), URGENT, 5)
    [line] = said(caplog)
    assert line.endswith("an event of Own took 5.000 s")


# -- clocks ------------------------------------------------------------------------------------------------


def test_a_long_limit_is_measured_by_the_quick_clock_where_there_is_one() -> None:
    quick: Any = getattr(time, "clock_gettime", None)
    assert (Watch(10, Counts()).clock is quick) is (sys.platform == "linux")
    assert Watch(0.000_1, Counts()).clock is not quick
    assert Watch(10, Counts(), FakeClock(7)).clock(Watch(10, Counts(), FakeClock(7)).which) == 7


def test_both_clocks_show_the_same_time() -> None:
    quick, exact = Watch(10, Counts()), Watch(0.000_1, Counts())
    assert quick.clock(quick.which) == pytest.approx(exact.clock(exact.which), abs=1)


def test_a_system_without_the_quick_clock_does_with_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert watching._tick() == float("inf")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("time.clock_getres", raising(OSError(errno.EINVAL, "no such clock")))
    assert watching._tick() == float("inf")


# -- what is set -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "limit"), [(None, 0.1), ("0", None), ("0.0", None), ("2.5", 2.5), ("1e-3", 0.001)]
)
def test_the_environment_says_the_limit(said: str | None, limit: float | None) -> None:
    environment = {} if said is None else {watching.ENVIRONMENT_VARIABLE: said}
    assert slow_from(environment) == limit


@pytest.mark.parametrize("said", ["", "soon", "-1", "nan", "inf"])
def test_an_environment_that_makes_no_sense_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r"wanted seconds, or 0, in ANTIPHON_SLOW_CALLBACK, found "):
        slow_from({watching.ENVIRONMENT_VARIABLE: said})


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_that_makes_no_sense_is_refused(wires: Wires, limit: float) -> None:
    loop = wires.map().loop
    with pytest.raises(ValueError, match="slow_callback must be"):
        loop.slow_callback = limit
    wrong: Any = "soon"
    with pytest.raises(TypeError, match="slow_callback must be a number of seconds, not 'soon'"):
        loop.slow_callback = wrong
    assert loop.slow_callback == 0.1


def test_a_program_need_not_be_changed() -> None:
    program = "from antiphon import asyncore; print(asyncore.get_loop().slow_callback)"
    environment = {**with_sources(), watching.ENVIRONMENT_VARIABLE: "0"}
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, env=environment, capture_output=True, check=True).stdout == b"None\n"
