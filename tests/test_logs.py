"""Lines of one kind: a bounded number in a time, and how many were left out."""

import gc
import logging
import subprocess
import sys
import textwrap
import weakref

import pytest

from antiphon import logs
from antiphon.logs import LimitedLog, name_of, origin_of
from antiphon.testing import FakeClock
from loop_support import with_sources

INFO, ERROR = logging.INFO, logging.ERROR


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100)


@pytest.fixture
def log(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> LimitedLog:
    caplog.set_level(INFO, "antiphon")
    return LimitedLog(logging.getLogger("antiphon.test"), now=clock)


def test_a_kind_is_said_once_in_its_interval(
    log: LimitedLog, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    assert log.log(INFO, "reset", "%s: reset", "a")
    clock.advance(0.999)
    assert not log.log(INFO, "reset", "%s: reset", "b")
    assert caplog.messages == ["a: reset"]


def test_the_next_line_of_a_kind_says_how_many_were_left_out_before_it(
    log: LimitedLog, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abcd":
        log.log(INFO, "reset", "%s: reset", name)
    clock.advance(2.5)
    assert log.log(INFO, "reset", "%s: reset", "e")
    clock.advance(1)
    assert log.log(INFO, "reset", "%s: reset", "f")
    assert caplog.messages == ["a: reset", "e: reset (3 more like it were left out in 2.5 s)", "f: reset"]


def test_another_kind_is_not_kept_waiting_and_tells_of_what_no_line_followed(
    log: LimitedLog, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abc":
        log.log(ERROR, "reset", "%s: reset", name)
    log.log(INFO, "late", "%s: late", "d")
    clock.advance(1)
    log.log(INFO, "refused", "%s: refused", "e")
    assert caplog.messages == [
        "a: reset",
        "d: late",
        "2 more like this were left out in 1.0 s: a: reset",
        "e: refused",
    ]
    assert caplog.records[2].levelno == ERROR


def test_a_burst_passes(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    log = LimitedLog(logging.getLogger("antiphon.test"), burst=3, interval=5, now=clock)
    assert [log.log(ERROR, "x", "x") for _ in range(5)] == [True] * 3 + [False] * 2
    clock.advance(5)
    assert log.log(ERROR, "x", "x")
    assert caplog.messages == ["x", "x", "x", "x (2 more like it were left out in 5.0 s)"]


def test_what_is_not_told_yet_is_told_when_asked(
    log: LimitedLog, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    log.log(INFO, "once", "once")
    log.log(INFO, "twice", "twice")
    log.log(INFO, "twice", "twice")
    clock.advance(0.5)
    log.flush()
    log.flush()
    assert caplog.messages == ["once", "twice", "1 more like this were left out in 0.5 s: twice"]
    assert log.log(INFO, "twice", "twice")


def test_a_level_that_nobody_hears_costs_no_memory_and_no_words(log: LimitedLog) -> None:
    assert not log.log(logging.DEBUG, "reset", "%d is no number: never formatted", "this")
    assert log._kinds == {}


def test_the_kinds_that_are_remembered_are_bounded(log: LimitedLog, caplog: pytest.LogCaptureFixture) -> None:
    log.log(INFO, 0, "first")
    log.log(INFO, 0, "first")
    for kind in range(1, logs.LARGEST + 10):
        log.log(INFO, kind, "other")
    assert len(log._kinds) == logs.LARGEST
    assert caplog.messages.count("1 more like this were left out in 0.0 s: first") == 1


def test_what_it_is_told_of_is_not_kept(log: LimitedLog) -> None:
    class Channel:
        """Something to let go of."""

    channel = Channel()
    gone = weakref.ref(channel)
    logging.getLogger("antiphon.test").propagate = False  # What hears of it may keep it.
    try:
        log.log(INFO, "kind", "%r", channel)
        log.log(INFO, "kind", "%r", channel)
    finally:
        logging.getLogger("antiphon.test").propagate = True
    del channel
    gc.collect()
    assert gone() is None


def test_a_traceback_goes_with_the_line(log: LimitedLog, caplog: pytest.LogCaptureFixture) -> None:
    error = LookupError("lost")
    log.log(ERROR, "kind", "failed", exc_info=error)
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error


def test_a_line_without_arguments_may_have_a_percent_sign(
    log: LimitedLog, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        log.log(INFO, "full", "100% full")
    clock.advance(1)
    log.log(INFO, "full", "100% full")
    assert caplog.messages == ["100% full", "100% full (1 more like it were left out in 1.0 s)"]


def test_exceptions_of_one_type_and_line_are_one_kind() -> None:
    def raised(error: Exception) -> Exception:
        try:
            raise error
        except Exception as caught:
            return caught

    first, same, other = (raised(error) for error in (LookupError("a"), LookupError("b"), ValueError("a")))
    assert origin_of(first) == origin_of(same) != origin_of(other)
    assert origin_of(LookupError()) != origin_of(first)
    assert origin_of(None) == (type(None), None)


@pytest.mark.parametrize(("burst", "interval"), [(0, 1.0), (1, 0.0), (1, float("nan"))])
def test_limits_that_let_nothing_through_are_refused(burst: int, interval: float) -> None:
    with pytest.raises(ValueError, match=r"wanted a burst of 1 or more .* found"):
        LimitedLog(logging.getLogger("antiphon.test"), burst=burst, interval=interval)


def test_what_was_left_out_is_told_when_the_process_ends() -> None:
    program = """
        import logging
        from antiphon.logs import LimitedLog
        logging.basicConfig(format="%(message)s")
        log = LimitedLog(logging.getLogger("antiphon.test"))
        for _ in range(3):
            log.log(logging.ERROR, "kind", "line")
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    told = subprocess.run(command, env=with_sources(), capture_output=True, text=True, check=True).stderr
    first, second = told.splitlines()
    assert first == "line"
    assert second.startswith("2 more like this were left out in 0.0 s: line")


def test_a_forked_child_does_not_wait_for_a_thread_that_it_has_not(log: LimitedLog) -> None:
    log.log(INFO, "kind", "line")
    assert not log.log(INFO, "kind", "line")
    lock = log._lock
    with lock:
        logs._start_afresh_in_child()
        assert log._lock is not lock
        assert log.log(INFO, "kind", "line")


def test_a_name_is_the_repr_whatever_that_does() -> None:
    class Nameless:
        def __repr__(self) -> str:
            raise LookupError("no name")

    nameless = Nameless()
    assert name_of(7) == "7"
    assert name_of(nameless) == f"<__repr__(self) failed for object at {id(nameless):#x}>"
