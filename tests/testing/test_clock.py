from collections.abc import Mapping

import pytest

from antiphon.pollers.base import READ, WRITE
from antiphon.testing import FakeClock, SilentPoller


def test_a_clock_moves_only_when_told() -> None:
    clock = FakeClock(start=10)
    assert [clock(), clock()] == [10, 10]
    clock.advance(2.5)
    assert clock() == 12.5
    assert repr(clock) == "<FakeClock 12.5>"


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_clock_never_goes_back(seconds: float) -> None:
    with pytest.raises(ValueError, match="0 seconds or more"):
        FakeClock().advance(seconds)


def test_a_wait_with_nothing_to_come_lets_its_timeout_pass() -> None:
    clock = FakeClock()
    poller = SilentPoller(clock)
    assert poller.wait(30) == []
    assert poller.wait(-1) == []
    assert clock() == 30
    assert poller.waits == [30, -1]


def test_a_wait_that_would_never_end_fails() -> None:
    with pytest.raises(AssertionError, match="wait for ever"):
        SilentPoller(FakeClock()).wait(None)


def test_deliveries_come_one_a_wait_in_the_order_of_their_arrival() -> None:
    clock = FakeClock()
    poller = SilentPoller(clock)
    poller.deliver((5, WRITE), after=2)
    poller.deliver((3, READ), (4, READ))
    poller.deliver((6, READ))
    assert poller.wait(1) == [(3, READ), (4, READ)]
    assert poller.wait(None) == [(6, READ)]
    assert poller.wait(1) == []
    assert poller.wait(10) == [(5, WRITE)]
    assert clock() == 2


def test_what_is_watched_can_be_seen() -> None:
    poller = SilentPoller(FakeClock())
    poller.watch(3, READ)
    poller.watch(4, READ | WRITE)
    poller.forget(3)
    poller.forget(3)
    assert poller.watched == {4: READ | WRITE}
    assert (poller.interest(3), poller.interest(4)) == (0, READ | WRITE)
    with pytest.raises(ValueError, match="not 0"):
        poller.watch(4, 0)


def test_a_closed_silent_poller_refuses() -> None:
    poller = SilentPoller(FakeClock())
    poller.watch(3, READ)
    poller.close()
    assert poller.watched == {}
    with pytest.raises(ValueError, match="closed"):
        poller.wait(0)
    with pytest.raises(ValueError, match="closed"):
        poller.watch(3, READ)


def test_what_is_ready_is_asked_for_in_each_wait_with_what_is_watched() -> None:
    clock = FakeClock()
    asked: list[dict[int, int]] = []

    def ready(watched: Mapping[int, int]) -> list[tuple[int, int]]:
        asked.append(dict(watched))
        return [(3, READ)] if len(asked) < 3 else []

    poller = SilentPoller(clock, ready)
    poller.watch(3, READ)
    poller.deliver((4, WRITE))
    poller.deliver((5, WRITE), after=1)
    assert [poller.wait(10) for _ in range(4)] == [[(4, WRITE)], [(3, READ)], [(3, READ)], [(5, WRITE)]]
    assert poller.reported == [(5, WRITE)]
    assert asked == [{3: READ}] * 3
    assert clock() == 1
