import gc
import weakref
from typing import Any

import pytest

from antiphon.testing import FakeClock
from antiphon.timers import SMALL, Timer, Timers, _next_deadline


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=100)


@pytest.fixture
def timers(clock: FakeClock) -> Timers:
    return Timers(clock)


def nothing() -> None:
    """What nobody calls here."""


def run(timers: Timers) -> None:
    for timer in timers.due(timers.now()):
        timer.callback(*timer.arguments)


def in_order(timers: Timers, now: float) -> list[Any]:
    """The first argument of each timer that is due."""
    return [timer.arguments[0] for timer in timers.due(now)]


def test_timers_come_by_deadline_and_then_as_they_were_made(timers: Timers) -> None:
    for when, name in [(103, "c"), (101, "a"), (103, "d"), (102, "b"), (104, "e")]:
        timers.call_at(when, nothing, [name])
    assert in_order(timers, 103) == ["a", "b", "c", "d"]
    assert in_order(timers, 103) == []
    assert in_order(timers, 104) == ["e"]


def test_a_timer_calls_once_with_its_arguments(timers: Timers, clock: FakeClock) -> None:
    calls: list[tuple[int, int]] = []
    timer = timers.call_at(105, lambda *arguments: calls.append(arguments), (1, 2))
    assert (timer.active, timer.when, timer.interval) == (True, 105, None)
    run(timers)
    assert calls == []
    clock.advance(5)
    run(timers)
    run(timers)
    assert calls == [(1, 2)]
    assert not timer.active


@pytest.mark.parametrize(("now", "wanted"), [(100, 5), (104.5, 0.5), (105, 0), (200, 0)])
def test_the_time_to_the_next_deadline_is_never_negative(timers: Timers, now: float, wanted: float) -> None:
    timers.call_at(110, nothing)
    timers.call_at(105, nothing)
    assert timers.seconds_until_next(now) == wanted


def test_without_timers_there_is_no_next_deadline(timers: Timers) -> None:
    assert timers.seconds_until_next(100) is None
    timers.call_at(105, nothing).cancel()
    assert timers.seconds_until_next(100) is None
    assert list(timers.due(200)) == []


def test_a_cancelled_timer_does_not_come(timers: Timers) -> None:
    timer = timers.call_at(101, nothing, "a")
    timers.call_at(102, nothing, "b")
    timer.cancel()
    timer.cancel()
    assert not timer.active
    assert timers.seconds_until_next(100) == 2
    assert in_order(timers, 110) == ["b"]


def test_a_cancelled_timer_lets_go_of_what_it_would_have_called(timers: Timers) -> None:
    class Channel:
        def expire(self) -> None: ...

    channel = Channel()
    gone = weakref.ref(channel)
    timer = timers.call_at(1000, channel.expire, (channel,))
    timer.cancel()
    del channel
    gc.collect()
    assert gone() is None
    assert timer.callback() is None
    assert timer.arguments == ()


def test_a_cancelled_timer_stays_cancelled(timers: Timers) -> None:
    timer = timers.call_at(101, nothing)
    timer.cancel()
    timer.reset(5)
    assert not timer.active
    assert list(timers.due(1000)) == []


def test_len_is_the_number_of_active_timers(timers: Timers) -> None:
    made = [timers.call_at(100 + number, nothing) for number in range(4)]
    assert len(timers) == 4
    made[3].cancel()
    assert len(timers) == 3
    due = iter(timers.due(101))
    assert len(timers) == 3
    next(due)
    assert len(timers) == 2
    timers.clear()
    assert len(timers) == 0


def test_clear_cancels_all(timers: Timers) -> None:
    group: set[Timer] = set()
    made = [timers.call_at(when, nothing, interval=1, group=group) for when in (99, 100, 200)]
    ready = iter(timers.due(100))
    next(ready)
    timers.clear()
    assert not any(timer.active for timer in made)
    assert group == set()
    assert list(ready) == []
    assert timers.seconds_until_next(100) is None


# -- reset ------------------------------------------------------------------------------------------------


def test_reset_starts_the_delay_again_from_now(timers: Timers, clock: FakeClock) -> None:
    timer = timers.call_at(130, nothing, "x")
    clock.advance(20)
    timer.reset()
    assert timer.when == 150
    assert in_order(timers, 149) == []
    assert timers.seconds_until_next(149) == 1
    assert in_order(timers, 150) == ["x"]


def test_reset_takes_another_delay_and_keeps_it(timers: Timers, clock: FakeClock) -> None:
    timer = timers.call_at(130, nothing)
    timer.reset(5)
    assert timer.when == 105
    clock.advance(1)
    timer.reset()
    assert timer.when == 106


def test_reset_uses_the_delay_that_was_given(timers: Timers) -> None:
    timer = timers.call_at(130, nothing, delay=3)
    timer.reset()
    assert timer.when == 103


def test_the_delay_of_an_overdue_timer_is_none(timers: Timers) -> None:
    timer = timers.call_at(50, nothing)
    timer.reset()
    assert timer.when == 100


def test_the_delay_of_a_repeating_timer_is_its_interval(timers: Timers) -> None:
    timer = timers.call_at(101, nothing, interval=7)
    timer.reset()
    assert timer.when == 107
    assert [timer.when for timer in timers.due(107)] == [114]


def test_a_deadline_that_moves_later_does_not_touch_the_heap(timers: Timers, clock: FakeClock) -> None:
    timer = timers.call_at(130, nothing)
    timers.call_at(140, nothing)
    before = list(timers._heap)
    for _ in range(1000):
        clock.advance(0.01)
        timer.reset()
    assert timers._heap == before


def test_a_timer_that_was_moved_comes_once(timers: Timers) -> None:
    timer = timers.call_at(130, nothing, "x")
    for delay in (5, 50, 5, 60, 2):
        timer.reset(delay)
        timers.seconds_until_next(100)
    assert in_order(timers, 102) == ["x"]
    assert in_order(timers, 1000) == []
    assert len(timers) == 0


def test_a_timer_that_has_called_starts_again(timers: Timers, clock: FakeClock) -> None:
    group: set[Timer] = set()
    timer = timers.call_at(110, nothing, "x", group=group)
    clock.advance(10)
    assert in_order(timers, 110) == ["x"]
    timer.reset()
    assert timer.active
    assert group == {timer}
    assert in_order(timers, 119) == []
    assert in_order(timers, 120) == ["x"]


# -- during a pass ----------------------------------------------------------------------------------------


def test_a_timer_that_is_made_during_a_pass_waits_for_the_next(timers: Timers) -> None:
    timers.call_at(100, nothing, "a")
    timers.call_at(100, nothing, "b")
    seen = []
    for timer in timers.due(100):
        seen.append(timer.arguments[0])
        timers.call_at(50, nothing, "c")
    assert seen == ["a", "b"]
    assert in_order(timers, 100) == ["c", "c"]


def test_a_timer_that_starts_itself_again_does_not_hold_up_the_pass(timers: Timers) -> None:
    timer = timers.call_at(100, nothing, delay=0)
    passes = 0
    for due in timers.due(100):
        due.reset()
        passes += 1
    assert passes == 1
    assert list(timers.due(100)) == [timer]


def test_whoever_is_cancelled_during_a_pass_does_not_come(timers: Timers) -> None:
    names = {name: timers.call_at(100, nothing, name) for name in "abc"}
    seen = []
    for timer in timers.due(100):
        seen.append(timer.arguments[0])
        names["b"].cancel()
    assert seen == ["a", "c"]


def test_whoever_is_reset_during_a_pass_comes_when_its_delay_is_over(timers: Timers) -> None:
    names = {name: timers.call_at(100, nothing, name) for name in "abc"}
    seen = []
    for timer in timers.due(100):
        seen.append(timer.arguments[0])
        names["b"].reset(1)
    assert seen == ["a", "c"]
    assert timers.seconds_until_next(100) == 1
    assert in_order(timers, 101) == ["b"]


def test_a_pass_that_was_broken_off_goes_on_with_the_next(timers: Timers) -> None:
    for name in "abc":
        timers.call_at(100, nothing, name)
    assert next(iter(timers.due(100))).arguments[0] == "a"
    assert timers.seconds_until_next(100) == 0.0
    assert len(timers) == 2
    assert in_order(timers, 100) == ["b", "c"]
    assert timers.seconds_until_next(100) is None


def test_what_was_cancelled_after_a_broken_pass_is_not_waited_for(timers: Timers) -> None:
    names = {name: timers.call_at(100, nothing, name) for name in "ab"}
    next(iter(timers.due(100)))
    names["b"].cancel()
    assert timers.seconds_until_next(100) is None


def test_a_pass_within_a_pass_calls_nobody_twice(timers: Timers) -> None:
    for name in "abc":
        timers.call_at(100, nothing, name)
    outer = iter(timers.due(100))
    assert next(outer).arguments[0] == "a"
    assert in_order(timers, 100) == ["b", "c"]
    assert list(outer) == []


# -- repeating --------------------------------------------------------------------------------------------


def test_a_repeating_timer_counts_from_its_deadline_and_not_from_its_call(timers: Timers) -> None:
    timer = timers.call_at(110, nothing, interval=10)
    for now, following in [(110, 120), (123, 130), (131.5, 140)]:
        assert [due.when for due in timers.due(now)] == [following]
    assert timer.active


def test_a_long_delay_makes_one_call_and_no_burst(timers: Timers) -> None:
    timer = timers.call_at(110, nothing, interval=10)
    assert len(list(timers.due(157))) == 1
    assert timer.when == 160
    assert list(timers.due(157)) == []


def test_a_repeating_timer_keeps_its_place_among_equals(timers: Timers) -> None:
    timers.call_at(110, nothing, ["first"], interval=10)
    timers.call_at(120, nothing, ["second"])
    assert in_order(timers, 110) == ["first"]
    assert in_order(timers, 120) == ["first", "second"]


def test_a_repeating_timer_can_cancel_itself(timers: Timers) -> None:
    for timer in timers.due(100):
        timer.cancel()
    timer = timers.call_at(100, nothing, interval=1)
    for due in timers.due(100):
        assert due.active
        due.cancel()
    assert list(timers.due(500)) == []
    assert not timer.active


@pytest.mark.parametrize(("when", "interval", "now"), [(0.1, 0.01, 0.31), (0, 0.01, 7.41), (0.1, 0.01, 8.45)])
def test_rounding_does_not_make_the_next_deadline_the_present(
    when: float, interval: float, now: float
) -> None:
    assert now < _next_deadline(when, interval, now) <= now + interval


def test_an_interval_too_small_to_be_added_ends_all_the_same(timers: Timers) -> None:
    timers.call_at(1e20, nothing, interval=0.5)
    assert len(list(timers.due(1e20))) == 1


# -- groups -----------------------------------------------------------------------------------------------


def test_a_group_holds_its_timers_while_they_are_active(timers: Timers) -> None:
    group: set[Timer] = set()
    once = timers.call_at(100, nothing, group=group)
    repeating = timers.call_at(100, nothing, interval=5, group=group)
    cancelled = timers.call_at(100, nothing, group=group)
    timers.call_at(100, nothing)
    assert group == {once, repeating, cancelled}
    cancelled.cancel()
    for timer in timers.due(100):
        assert (timer in group) == (timer is repeating)
    assert group == {repeating}
    for timer in tuple(group):
        timer.cancel()
    assert len(timers) == 0


# -- tidying ----------------------------------------------------------------------------------------------


def test_cancelled_timers_are_not_kept_for_long(timers: Timers) -> None:
    kept = [timers.call_at(1000 + number, nothing, [number]) for number in range(10)]
    for number in range(10_000):
        timers.call_at(2000 + number, nothing).cancel()
        assert len(timers._heap) <= SMALL + 1
    assert in_order(timers, 5000) == [timer.arguments[0] for timer in kept]


def test_deadlines_that_move_earlier_again_and_again_are_not_kept_for_long(timers: Timers) -> None:
    timer = timers.call_at(100_000, nothing, "x")
    for number in range(10_000):
        timer.reset(50_000 - number)
        assert len(timers._heap) <= SMALL + 1
    assert in_order(timers, 100_000) == ["x"]


def test_order_survives_tidying(timers: Timers) -> None:
    made = [timers.call_at(1000 + number % 7, nothing, [number]) for number in range(500)]
    for number, timer in enumerate(made):
        if number % 3:
            timer.cancel()
    wanted = sorted(range(0, 500, 3), key=lambda number: number % 7)
    assert in_order(timers, 2000) == wanted


# -- wrong arguments --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"when": "soon"}, TypeError, "when must be a number of seconds, not 'soon'"),
        ({"when": None}, TypeError, "when must be a number of seconds, not None"),
        ({"when": float("nan")}, ValueError, "when must be a finite number of seconds, not nan"),
        ({"when": float("inf")}, ValueError, "when must be a finite number of seconds, not inf"),
        ({"callback": "name"}, TypeError, "callback must be callable, not 'name'"),
        ({"delay": -1}, ValueError, "delay must be 0 seconds or more, not -1"),
        ({"delay": float("nan")}, ValueError, "delay must be a finite number"),
        ({"interval": 0}, ValueError, "interval must be more than 0 seconds, not 0"),
        ({"interval": -0.5}, ValueError, "interval must be more than 0 seconds, not -0.5"),
        ({"interval": [1]}, TypeError, "interval must be a number"),
    ],
)
def test_wrong_arguments_are_named(
    timers: Timers, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    make: Any = timers.call_at
    with pytest.raises(error, match=words):
        make(**{"when": 1, "callback": nothing} | arguments)
    assert len(timers) == 0


def test_a_wrong_delay_leaves_a_timer_as_it_was(timers: Timers) -> None:
    timer = timers.call_at(105, nothing)
    with pytest.raises(ValueError, match="delay must be 0 seconds or more, not -3"):
        timer.reset(-3)
    with pytest.raises(TypeError, match="delay must be a number"):
        timer.reset("3")  # type: ignore[arg-type]
    assert timer.when == 105


def test_a_timer_says_what_it_will_do(timers: Timers) -> None:
    class Callback:
        def __call__(self) -> None: ...
        def __repr__(self) -> str:
            return "<a callback>"

    timer = timers.call_at(105, nothing)
    assert repr(timer) == "<Timer nothing when=105.0>"
    timer.cancel()
    assert repr(timer) == "<Timer _cancelled inactive>"
    assert repr(timers.call_at(1, Callback(), interval=2)) == "<Timer <a callback> when=1.0 interval=2.0>"


def test_whether_it_is_too_early_for_any_timer(timers: Timers) -> None:
    assert not timers.is_early(0), "without timers there is other work to do"
    timers.call_at(5, int)
    assert timers.is_early(4.9)
    assert not timers.is_early(5)
