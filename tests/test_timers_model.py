"""Timers against a plain sorted list: any sequence of calls must answer the same."""

from collections.abc import Iterator
from itertools import islice

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from antiphon.testing import FakeClock
from antiphon.timers import Timer, Timers


def nothing() -> None:
    """What nobody calls here."""


class ModelTimer:
    """A timer of the model: plain values, looked for by sorting."""

    def __init__(self, number: int, when: float, delay: float, interval: float | None) -> None:
        self.number = number
        self.when = when
        self.delay = delay
        self.interval = interval
        self.is_active = True
        self.is_cancelled = False


WHOLE = st.integers(0, 20)


class TimersAgainstASortedList(RuleBasedStateMachine):
    """Any sequence of calls answers what a plain sorted list would."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.timers = Timers(self.clock)
        self.group: set[Timer] = set()
        self.pairs: list[tuple[Timer, ModelTimer]] = []

    def active(self) -> Iterator[tuple[Timer, ModelTimer]]:
        return ((timer, model) for timer, model in self.pairs if model.is_active)

    @rule(delay=WHOLE, interval=st.none() | st.integers(1, 5), copies=st.sampled_from([1, 1, 1, 40]))
    def make(self, delay: int, interval: int | None, copies: int) -> None:
        for _ in range(copies):
            when = self.clock() + delay
            timer = self.timers.call_at(when, nothing, [len(self.pairs)], interval=interval, group=self.group)
            self.pairs.append((timer, ModelTimer(len(self.pairs), when, interval or delay, interval)))

    @precondition(lambda self: self.pairs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(self.pairs) - 1))
        for timer, model in self.pairs[start : start + data.draw(st.sampled_from([1, 30]))]:
            timer.cancel()
            model.is_active = False
            model.is_cancelled = True

    @precondition(lambda self: self.pairs)
    @rule(data=st.data(), delay=st.none() | WHOLE)
    def reset(self, data: st.DataObject, delay: int | None) -> None:
        timer, model = data.draw(st.sampled_from(self.pairs))
        timer.reset(delay)
        if delay is not None:
            model.delay = delay
        if not model.is_cancelled:
            model.when = self.clock() + model.delay
            model.is_active = True

    @rule(seconds=WHOLE, at_most=st.none() | st.integers(0, 3))
    def take_due(self, seconds: int, at_most: int | None) -> None:
        """A pass, and with `at_most` one that is broken off, which the next must make up for."""
        self.clock.advance(seconds)
        now = self.clock()
        due = sorted(
            (model for _, model in self.active() if model.when <= now),
            key=lambda model: (model.when, model.number),
        )
        if at_most is not None and at_most < len(due):
            taken = self.timers.due(now)
            found = [timer.arguments[0] for timer in islice(taken, at_most)]
            found += [timer.arguments[0] for timer in self.timers.due(now)]
        else:
            found = [timer.arguments[0] for timer in self.timers.due(now)]
        assert found == [model.number for model in due]
        for model in due:
            if model.interval is None:
                model.is_active = False
            else:
                while model.when <= now:
                    model.when += model.interval

    @invariant()
    def answers_agree(self) -> None:
        deadlines = [model.when for _, model in self.active()]
        assert len(self.timers) == len(deadlines)
        wanted = max(0, min(deadlines) - self.clock()) if deadlines else None
        assert self.timers.seconds_until_next(self.clock()) == wanted
        for timer, model in self.pairs:
            assert timer.active == model.is_active
            assert not model.is_active or timer.when == model.when
        assert self.group == {timer for timer, _ in self.active()}


TestTimersAgainstASortedList = TimersAgainstASortedList.TestCase
TestTimersAgainstASortedList.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
