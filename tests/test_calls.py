"""Timers of a loop, and the calls that it is asked for. No real time passes."""

import logging
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.calls import Calls
from antiphon.loop import Loop
from loop_support import Noting, Wires, silent_map, spin

wires = loop_support.wires


def test_calls_alone_can_wake_nobody() -> None:
    with pytest.raises(NotImplementedError):
        Calls().wake()


# -- timers ------------------------------------------------------------------------------------------------


def test_timers_run_by_deadline_then_by_age(wires: Wires) -> None:
    channels, _, _ = silent_map(wires)
    loop = asyncore.get_loop(channels)
    called: list[int] = []
    for number, delay in enumerate([3, 1, 3, 2, 1]):
        loop.call_later(delay, called.append, number)
    loop.call_at(1.5, called.append, 5)
    asyncore.loop(map=channels)
    assert called == [1, 4, 5, 3, 0, 2]


def test_a_cancelled_timer_is_not_called_also_when_it_was_due(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    loop = asyncore.get_loop(channels)
    called: list[int] = []
    canceller = loop.call_later(5, int)
    doomed = loop.call_later(5, called.append, 1)
    canceller.callback = doomed.cancel
    loop.call_later(500, called.append, 2).cancel()
    asyncore.loop(map=channels)
    assert (called, clock()) == ([], 5)


def test_a_timer_that_is_reset_counts_from_then_on(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    loop = asyncore.get_loop(channels)
    called: list[float] = []
    idle = loop.call_later(10, lambda: called.append(clock()))
    loop.call_later(8, idle.reset)
    asyncore.loop(map=channels)
    assert called == [18]


def test_a_repeating_timer_comes_until_it_is_cancelled(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    loop = asyncore.get_loop(channels)
    called: list[float] = []

    def tick() -> None:
        called.append(clock())
        if len(called) == 4:
            timer.cancel()

    timer = loop.call_every(2.5, tick)
    asyncore.loop(map=channels)
    assert called == [2.5, 5, 7.5, 10]


def test_a_timer_that_starts_a_timer_of_no_delay_leaves_the_channels_their_turn(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    loop = asyncore.get_loop(channels)

    def again() -> None:
        loop.call_later(0, again)

    again()
    asyncore.loop(30, map=channels, count=5)
    assert poller.waits == [0.0] * 5


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda loop: loop.call_later(-1, print), ValueError),
        (lambda loop: loop.call_later(float("nan"), print), ValueError),
        (lambda loop: loop.call_every(0, print), ValueError),
        (lambda loop: loop.call_later("soon", print), TypeError),
        (lambda loop: loop.call_later(1, "print"), TypeError),
        (lambda loop: loop.call_soon_threadsafe(None), TypeError),
    ],
)
def test_what_makes_no_sense_is_refused_at_the_call(call: Any, error: type[Exception]) -> None:
    loop = Loop({})
    with pytest.raises(error):
        call(loop)
    assert not loop.busy


def test_a_timer_runs_though_the_clock_jumped_far_ahead(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    called: list[float] = []
    timer = asyncore.get_loop(channels).call_every(1, lambda: called.append(clock()))
    clock.advance(10.5)
    spin(channels, turns=3)
    assert called == [10.5]
    assert timer.when == 11
    timer.cancel()


# -- calls and errors --------------------------------------------------------------------------------------


def test_calls_are_made_in_order_and_once(wires: Wires) -> None:
    channels, _, _ = silent_map(wires)
    loop = asyncore.get_loop(channels)
    called: list[int] = []
    for number in range(5):
        loop.call_soon_threadsafe(called.append, number)
    asyncore.loop(map=channels)
    asyncore.loop(map=channels)
    assert called == [0, 1, 2, 3, 4]


def test_what_is_to_be_called_soon_is_called_at_the_end_of_the_turn_and_wakes_nobody(wires: Wires) -> None:
    channels, _, silent = silent_map(wires)
    poller: Any = silent
    loop: Any = asyncore.get_loop(channels)
    woken: list[int] = []
    called: list[int] = []
    loop.wake = lambda: woken.append(1)
    loop.call_later(1, loop.call_soon, called.append, 5)
    asyncore.loop(map=channels, count=1)
    assert called == [5]
    assert woken == []
    poller.wait = lambda timeout: (
        loop.call_soon(called.append, 6) or []
    )  # Another thread, while this one waits.
    loop.call_later(0, int)
    asyncore.loop(map=channels, count=1)
    assert woken == [1]
    asyncore.loop(map=channels, count=1)
    assert called[:2] == [5, 6]


def test_a_call_that_runs_the_loop_leaves_the_other_calls_unharmed(wires: Wires) -> None:
    channels, _, _ = silent_map(wires)
    loop = asyncore.get_loop(channels)
    called: list[str] = []

    def nested() -> None:
        called.append("begin")
        asyncore.loop(0, map=channels, count=1)
        called.append("end")

    loop.call_soon_threadsafe(nested)
    loop.call_soon_threadsafe(called.append, "other")
    asyncore.loop(map=channels)
    assert called == ["begin", "other", "end"]


def fail() -> None:
    raise LookupError("of the callback")


@pytest.mark.parametrize("how", ["timer", "call"])
def test_a_callback_that_fails_is_logged_and_the_others_run(
    wires: Wires, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    channels, _, _ = silent_map(wires)
    loop = asyncore.get_loop(channels)
    called: list[int] = []
    call = loop.call_soon_threadsafe if how == "call" else lambda *what: loop.call_later(1, *what)
    call(fail)
    call(called.append, 1)
    asyncore.loop(map=channels)
    assert called == [1]
    assert [(record.levelno, "fail" in record.message) for record in caplog.records] == [
        (logging.ERROR, True)
    ]
    assert "of the callback" in caplog.text


def test_a_method_of_a_channel_that_fails_ends_in_that_channel(wires: Wires) -> None:
    class Failing(Noting):
        def due(self) -> None:
            raise LookupError("due")

    channels, _, _ = silent_map(wires)
    channel, _ = wires.channel(Failing, channels)
    asyncore.get_loop(channels).call_later(1, channel.due)
    asyncore.loop(map=channels)
    assert channel.events == ["LookupError('due')"]


# -- limits ------------------------------------------------------------------------------------------------


def test_a_timer_of_a_limit_does_not_keep_the_loop_going(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    loop = asyncore.get_loop(channels)
    called: list[str] = []
    loop.guard_at(10, called.append, "limit")
    assert not loop.busy
    loop.call_at(5, called.append, "timer")
    assert loop.busy
    asyncore.loop(map=channels)
    assert (clock(), called) == (5, ["timer"])
    loop.call_at(20, int)
    asyncore.loop(map=channels)
    assert called == ["timer", "limit"]


def test_a_moment_is_told_the_time_before_the_loop_waits_again(wires: Wires) -> None:
    channels, clock, poller = silent_map(wires)
    loop = asyncore.get_loop(channels)
    moments: list[list[float]] = []

    def note() -> None:
        moments.append(loop.moment)
        clock.advance(2)

    loop.call_at(5, note)
    loop.call_at(6, note)
    loop.call_at(100, int)
    asyncore.loop(map=channels)
    assert moments == [[7], [9]]
    assert poller.waits
