"""The attributes: where they may be assigned, what they take, and what is called and logged by default."""

import re
import sys
import threading
from typing import Any

import pytest

import loop_support
from antiphon import MessageChannel, asyncore
from antiphon.asynchat import async_chat
from antiphon.datagrams import DatagramChannel
from antiphon.flow import NO_LIMITS
from antiphon.limits import Limited
from chat_support import ScriptedSocket
from limit_support import READ, Chat, Messages, Stage
from loop_support import Wires, raising

wires = loop_support.wires

SECONDS = ["idle_timeout", "message_timeout", "connect_timeout", "send_timeout", "close_timeout"]
BYTES = ["high_water", "low_water", "max_outgoing"]
RATES = ["rate_in", "rate_out"]


@pytest.fixture
def stage(wires: Wires) -> Stage:
    return Stage(wires)


def test_by_default_there_is_no_limit_and_no_guard(stage: Stage) -> None:
    for made in (asyncore.dispatcher, asyncore.dispatcher_with_send, async_chat):
        assert all(getattr(made, name) == value for name, value in NO_LIMITS._asdict().items())
        channel: Any = stage.channel(made)
        stage.turn()
        assert channel._ac_guard is None


def test_a_message_channel_has_limits(stage: Stage) -> None:
    limits = {name: getattr(MessageChannel, name) for name in NO_LIMITS._fields}
    assert limits == {
        "idle_timeout": 1800.0,
        "message_timeout": 120.0,
        "connect_timeout": 60.0,
        "send_timeout": 120.0,
        "close_timeout": 600.0,
        "high_water": 262_144,
        "low_water": None,
        "max_outgoing": 67_108_864,
        "backpressure": True,
        "rate_in": None,
        "rate_out": None,
    }
    assert stage.channel(MessageChannel)._ac_guard.limits._asdict() == limits


def test_channels_of_a_class_share_their_limits(stage: Stage) -> None:
    one, other = (stage.channel(MessageChannel) for _ in range(2))
    assert one._ac_guard.limits is other._ac_guard.limits


def test_a_limit_may_be_said_by_a_class_or_a_channel_at_any_time(stage: Stage) -> None:
    class Quick(Chat):
        idle_timeout: float | None = 10

    class Quicker(Quick):
        idle_timeout: float | None = 5

    class Endless(Quicker):
        idle_timeout = None

    class Early(Chat):
        def __init__(self, *arguments: Any) -> None:
            self.idle_timeout = 7
            super().__init__(*arguments)

    channels = [stage.channel(made) for made in (Quick, Quicker, Endless, Early, Chat)]
    late = channels[-1]
    stage.until(1)
    late.idle_timeout = 3
    stage.until(2)
    late.idle_timeout = 2.5
    stage.until(100)
    ends = [[when for when, what in channel.events if what == "idle"] for channel in channels]
    assert ends == [[10.0], [5.0], [], [7.0], [3.5]], "the last one counts from its first limit on"
    assert (Quick.idle_timeout, Endless.idle_timeout, late.idle_timeout) == (10, None, 2.5)


def test_a_class_may_be_told_late_and_so_may_all_old_programs_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Old(Chat):
        """Knows of nothing."""

    before = stage.channel(Old)
    monkeypatch.setattr(Old, "idle_timeout", 10)
    after = stage.channel(Old)
    monkeypatch.undo()
    monkeypatch.setattr(async_chat, "idle_timeout", 20)
    all_of_them = stage.channel(Old)
    stage.until(100)
    assert before.events == []
    assert after.events[0] == (10.0, "idle")
    assert all_of_them.events[0] == (20.0, "idle")


def test_a_channel_has_limits_of_its_own_also_where_its_class_was_told_late(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Old(Chat):
        """Knows of nothing."""

    class Shorter(Old):
        """Says it for itself, before it joins."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.idle_timeout = 5

    monkeypatch.setattr(async_chat, "idle_timeout", 600)
    before = stage.channel(Old)
    before.idle_timeout = 10
    first, second = (made(ScriptedSocket(), stage.channels) for made in (Old, Shorter))
    second.clock = stage.clock
    assert (first.idle_timeout, second.idle_timeout) == (600, 5)
    stage.turn()
    assert (before.idle_timeout, first.idle_timeout, second.idle_timeout) == (10, 600, 5)
    stage.until(100)
    assert before.events[0] == (10.0, "idle")
    assert second.events[0] == (5.0, "idle")
    assert not first.closing
    first.idle_timeout = None
    assert first.idle_timeout is None
    stage.until(1000)
    assert not first.closing


def test_a_channel_says_something_else_while_the_limit_of_its_class_is_not_looked_at_yet(
    stage: Stage,
) -> None:
    class Old(Chat):
        """Knows of nothing."""

    Old.idle_timeout = None
    channel = Old(ScriptedSocket(), stage.channels)
    channel.clock = stage.clock
    channel.idle_timeout = 5
    stage.channel(Old)
    assert channel.idle_timeout == 5
    channel.idle_timeout = 7
    stage.until(100)
    assert channel.events[0] == (7.0, "idle")


def test_a_base_that_is_no_channel_may_be_told_late(stage: Stage) -> None:
    class Base:
        """No channel."""

        idle_timeout: float | None

    class Both(Base, Chat):
        """Both."""

    Base.idle_timeout = 10
    one, other = stage.channel(Both), stage.channel(Both, idle_timeout=20)
    stage.until(100)
    assert (one.events[0], other.events[0]) == ((10.0, "idle"), (20.0, "idle"))
    assert Base.idle_timeout == 10, "others have it as it was said"
    assert type(vars(Base)["idle_timeout"]) is int


def test_a_base_that_is_no_channel_may_bring_a_limit(stage: Stage) -> None:
    class Impatient:
        idle_timeout = 10

    class Both(Impatient, Chat):  # type: ignore[misc] # a float where None may be, too
        """Both."""

    channel = stage.channel(Both)
    channel.idle_timeout = 20
    stage.until(100)
    assert channel.events[0] == (20.0, "idle")


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", ["10", 0, -1, float("inf"), float("nan"), True, []])
def test_a_timeout_is_a_number_of_seconds(name: str, value: Any) -> None:
    channel: Any = Chat(ScriptedSocket(), {})
    with pytest.raises((TypeError, ValueError), match=f"{name} must be"):
        setattr(channel, name, value)
    with pytest.raises((TypeError, ValueError), match=f"{name} must be"):
        type("Wrong", (Chat,), {name: value})
    assert getattr(channel, name) is None


@pytest.mark.parametrize("name", BYTES)
@pytest.mark.parametrize("value", ["10", -1, 1.5, True])
def test_a_mark_is_a_number_of_bytes(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"bytes .* {name}, found"):
        setattr(Chat(ScriptedSocket(), {}), name, value)


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("value", ["10", 0, -1, float("inf"), float("nan"), True])
def test_a_rate_is_a_number_of_bytes_a_second(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"bytes a second .*{name}, found"):
        setattr(Chat(ScriptedSocket(), {}), name, value)


def test_backpressure_is_on_or_off() -> None:
    with pytest.raises(TypeError, match="wanted True or False as backpressure, found 1"):
        Chat(ScriptedSocket(), {}).backpressure = 1  # type: ignore[assignment]


@pytest.mark.parametrize("name", NO_LIMITS._fields)
def test_a_limit_may_be_taken_away(stage: Stage, name: str) -> None:
    channel = stage.channel(Chat)
    setattr(channel, name, True if name == "backpressure" else 10)
    assert channel._ac_guard is not None
    setattr(channel, name, getattr(NO_LIMITS, name))
    assert channel._ac_guard is None


def test_a_wrong_limit_that_a_class_was_given_late_ends_in_its_channels(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[str] = []

    class Wrong(Chat):
        def handle_error(self) -> None:
            errors.append(str(sys.exc_info()[1]))
            self.close()

    monkeypatch.setattr(Wrong, "idle_timeout", "soon")
    other = stage.channel(Chat)
    assert stage.channel(Wrong).closing
    assert errors == ["idle_timeout must be a number of seconds, not 'soon'"]
    assert not other.closing


def test_an_error_that_is_to_leave_the_loop_does(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = stage.channel(Chat)
    monkeypatch.setattr(Chat, "_ac_guard_in", raising(asyncore.ExitNow()))
    channel.handle_error = raising(AssertionError())
    stage.channels[channel._fileno] = channel
    monkeypatch.setattr(Chat, "idle_timeout", 5)
    with pytest.raises(asyncore.ExitNow):
        stage.turn()


def test_what_a_program_calls_by_the_name_of_a_limit_is_the_program_s(stage: Stage) -> None:
    class Own(Chat):
        def idle_timeout(self) -> str:  # type: ignore[override]
            return "mine"

        @property
        def rate_in(self) -> str:  # type: ignore[override]
            return "mine too"

    channel: Any = stage.channel(Own)
    assert (channel.idle_timeout(), channel.rate_in) == ("mine", "mine too")
    assert channel._ac_guard is None
    channel.send_timeout = 5
    guard: Any = channel._ac_guard
    assert guard.limits.send_timeout == 5


def test_a_limit_of_a_channel_can_be_deleted_and_is_that_of_its_class_again(stage: Stage) -> None:
    class Quick(Chat):
        idle_timeout: float | None = 10

    channel = stage.channel(Quick, idle_timeout=50)
    assert channel.idle_timeout == 50
    del channel.idle_timeout
    assert channel.idle_timeout == 10
    with pytest.raises(AttributeError, match="idle_timeout"):
        del channel.idle_timeout
    stage.until(100)
    assert channel.events[0] == (10.0, "idle")


def test_a_limit_beside_a_late_one_can_be_deleted_too(stage: Stage) -> None:
    class Old(Chat):
        """Knows of nothing."""

    Old.idle_timeout = 10
    early = Old(ScriptedSocket(), stage.channels)
    early.clock = stage.clock
    early.idle_timeout = 50
    late, latest = stage.channel(Old, idle_timeout=50), stage.channel(Old)
    latest.idle_timeout = 50
    for channel in (early, late, latest):
        del channel.idle_timeout
    stage.until(100)
    assert [channel.events[0] for channel in (early, late, latest)] == [(10.0, "idle")] * 3


class Logged(Chat):
    """A class of its own, since lines of one kind are limited."""


def test_the_end_is_logged_with_the_address_and_the_seconds(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "antiphon.limits")
    stage.channel(Logged, idle_timeout=10)
    stage.until(10)
    [record] = caplog.records
    assert (record.name, record.levelname, record.exc_info) == ("antiphon.limits", "INFO", None)
    assert re.fullmatch(
        r"<tests\.test_limits\.Logged connected 127\.0\.0\.1:1 at 0x[0-9a-f]+>: "
        r"idle_timeout: 10 seconds are over; closing it",
        record.getMessage(),
    )


def test_lines_that_peers_can_cause_are_limited(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    class Many(Chat):
        idle_timeout = 10

    caplog.set_level("INFO", "antiphon.limits")
    channels = [stage.channel(Many) for _ in range(50)]
    stage.until(10)
    assert all(channel.closing for channel in channels)
    assert len(caplog.records) == 10


def test_a_log_of_ones_own_is_told(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "antiphon.limits")
    lines: list[str] = []
    channel = stage.channel(Logged, idle_timeout=10)
    channel.log_info = lines.append
    stage.until(10)
    [line] = lines
    assert line.endswith(">: idle_timeout: 10 seconds are over; closing it")
    assert not caplog.records


def test_the_ends_are_counted_by_their_reasons(stage: Stage) -> None:
    for limits in ({"idle_timeout": 1}, {"idle_timeout": 2}, {"max_outgoing": 5}):
        stage.channel(Chat, takes=[0] * 9, **limits).push(b"hello!")
    stage.until(10)
    closed = stage.loop.stats().closed
    assert (closed["timeout"], closed["overflow"], closed["own"]) == (2, 1, 0)


def test_who_connects_again_when_it_is_told_of_the_end_stays(stage: Stage) -> None:
    channel = stage.channel(Chat, idle_timeout=10)

    def again() -> None:
        channel.close()
        channel.set_socket(ScriptedSocket())
        channel.connected = True

    channel.handle_close = again
    stage.until(10)
    assert not channel.closing


def test_a_close_that_is_overridden_to_wait_does_not_outlive_its_time(stage: Stage) -> None:
    channel = stage.channel(Chat, idle_timeout=10)
    channel.handle_close = lambda: channel.note("kept")
    stage.until(10)
    assert channel.events == [(10.0, "idle"), (10.0, "kept")]
    assert channel.closing


def test_handlers_of_marks_do_nothing_by_default() -> None:
    channel = async_chat(ScriptedSocket(), {})
    channel.handle_output_full()
    channel.handle_output_drained()
    assert not channel.closing


def test_a_channel_in_a_map_of_any_kind_is_watched(wires: Wires) -> None:
    kinds: list[Any] = [{}, wires.map()]
    for channels in kinds:
        near, _ = wires.pair()
        channel: Any = wires.keep(Messages(near, channels))
        channel.idle_timeout = 100
        asyncore.loop(0, map=channels, count=1)
        assert channel._ac_guard.loop is asyncore.get_loop(channels)
        assert asyncore.get_loop(channels).waits_for(near.fileno()) & READ


def test_what_is_no_channel_has_no_limits(wires: Wires) -> None:
    channels = wires.map()
    near, _ = wires.pair()
    channels[near.fileno()] = loop_support.Foreign(near)
    asyncore.loop(0, map=channels, count=1)
    channels.clear()


def test_a_limited_channel_of_a_base_alone_owes_nothing() -> None:
    assert not Limited._ac_owes_message(asyncore.dispatcher())


def test_no_limit_may_be_assigned_where_there_is_none(stage: Stage) -> None:
    channel = stage.channel(Chat, idle_timeout=None)
    assert channel._ac_guard is None


def test_what_another_thread_assigns_to_a_channel_that_closes_meanwhile_is_nothing(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=[0], high_water=10)

    def assign() -> None:
        channel.idle_timeout = 5
        channel.producer_fifo.append(bytes(100))

    with stage.loop._lock:  # As if this thread were in a turn.
        other = threading.Thread(target=assign)
        other.start()
        other.join()
        channel.close()
    stage.until(10)
    assert channel.events == []
    assert channel._ac_guard is None
    assert len(stage.loop._timers) == 0


def test_a_channel_of_datagrams_is_limited_too(wires: Wires) -> None:
    channels, clock, _ = loop_support.silent_map(wires)

    class Datagrams(DatagramChannel):
        idle_timeout = 10

        def datagram_received(self, data: bytes, address: Any) -> None:
            """Forget it."""

    channel = wires.keep(Datagrams(map=channels))
    channel.create_socket()
    channel.bind(("127.0.0.1", 0))
    asyncore.loop(0, map=channels, count=1)
    clock.advance(5)
    channel.send_datagram(b"x", channel.socket.getsockname())
    while channels:
        asyncore.loop(1, map=channels, count=1)
    assert clock() == 15
