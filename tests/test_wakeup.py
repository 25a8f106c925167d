import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

assert not TYPE_CHECKING or sys.platform != "win32"

from antiphon.pollers.base import READ  # noqa: E402
from antiphon.pollers.poll import PollPoller  # noqa: E402
from antiphon.wakeup import Wakeup  # noqa: E402

HAS_EVENTFD = hasattr(os, "eventfd")


@pytest.fixture(params=["eventfd", "socketpair"] if HAS_EVENTFD else ["socketpair"])
def wakeup(request: pytest.FixtureRequest) -> Iterator[Wakeup]:
    with closing(Wakeup(use_eventfd=request.param == "eventfd")) as wakeup:
        yield wakeup


class Line:
    """Counts how often it is rung."""

    def __init__(self) -> None:
        self.rings = 0

    def fileno(self) -> int:
        return 99

    def ring(self) -> None:
        self.rings += 1

    def hush(self) -> None:
        raise BlockingIOError

    def close(self) -> None:
        pass


@pytest.fixture
def line(wakeup: Wakeup, monkeypatch: pytest.MonkeyPatch) -> Line:
    line = Line()
    monkeypatch.setattr(wakeup, "_line", line)
    return line


def is_readable(wakeup: Wakeup) -> bool:
    poller = PollPoller()
    poller.watch(wakeup.fileno(), READ)
    return bool(poller.wait(0))


def test_it_is_readable_from_wake_to_drain(wakeup: Wakeup) -> None:
    assert not is_readable(wakeup)
    for _ in range(2):
        wakeup.wake()
        wakeup.wake()
        assert is_readable(wakeup)
        wakeup.drain()
        assert not is_readable(wakeup)


def test_draining_what_was_not_woken_does_not_block(wakeup: Wakeup) -> None:
    wakeup.drain()
    wakeup.wake()
    assert is_readable(wakeup)


def test_it_is_written_to_once_until_it_is_drained(wakeup: Wakeup, line: Line) -> None:
    for _ in range(1000):
        wakeup.wake()
    assert line.rings == 1
    wakeup.drain()
    wakeup.wake()
    assert line.rings == 2


def test_a_line_that_is_full_is_no_error(wakeup: Wakeup, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise BlockingIOError

    monkeypatch.setattr(line, "ring", full)
    wakeup.wake()


def test_another_thread_ends_a_wait(wakeup: Wakeup) -> None:
    poller = PollPoller()
    poller.watch(wakeup.fileno(), READ)
    thread = threading.Timer(0.01, wakeup.wake)
    thread.start()
    assert poller.wait(None) == [(wakeup.fileno(), READ)]
    thread.join()


def test_a_signal_handler_ends_a_wait(wakeup: Wakeup) -> None:
    poller = PollPoller()
    poller.watch(wakeup.fileno(), READ)
    before = signal.signal(signal.SIGALRM, lambda *_: wakeup.wake())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert poller.wait(None) == [(wakeup.fileno(), READ)]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_may_interrupt_a_wake(
    wakeup: Wakeup, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        line.rings += 1
        if line.rings == 1:
            wakeup._is_rung = False  # As though the loop had drained it meanwhile.
            wakeup.wake()

    monkeypatch.setattr(line, "ring", interrupted)
    wakeup.wake()
    assert line.rings == 2


def test_a_wake_while_draining_does_not_silence_the_next(
    wakeup: Wakeup, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "hush", wakeup.wake)  # Another thread, at the worst moment.
    wakeup.wake()
    wakeup.drain()
    before = line.rings
    wakeup.wake()
    assert line.rings == before + 1


def test_no_wake_is_lost_among_many_threads(wakeup: Wakeup) -> None:
    work: list[int] = []
    done: list[int] = []
    poller = PollPoller()
    poller.watch(wakeup.fileno(), READ)

    def produce(number: int) -> None:
        for _ in range(200):
            work.append(number)
            wakeup.wake()

    threads = [threading.Thread(target=produce, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while len(done) < 800:
        poller.wait(None)
        wakeup.drain()
        while work:
            done.append(work.pop())
    for thread in threads:
        thread.join()
    assert sorted(done) == sorted([*range(4)] * 200)


def test_a_closed_one_ignores_everything(wakeup: Wakeup) -> None:
    number = wakeup.fileno()
    wakeup.close()
    wakeup.close()
    wakeup.wake()
    wakeup.drain()
    assert wakeup.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_closed_one_does_not_write_to_who_has_its_number_now(wakeup: Wakeup) -> None:
    wakeup.close()
    here, there = socket.socketpair()
    with closing(here), closing(there):
        wakeup.wake()
        for end in (here, there):
            end.setblocking(False)
            with pytest.raises(BlockingIOError):
                end.recv(1)


def test_the_descriptor_is_not_inherited(wakeup: Wakeup) -> None:
    assert not os.get_inheritable(wakeup.fileno())


def test_a_forked_child_can_close_what_a_thread_of_its_parent_had_locked(
    wakeup: Wakeup, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with wakeup._lock:
            held.set()
            release.wait()

    lock_of_the_parent = wakeup._lock
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    monkeypatch.setattr(wakeup, "_process", os.getppid())  # What a child finds there.
    try:
        wakeup.close()
    finally:
        release.set()
        holder.join()
    assert wakeup.fileno() == -1
    assert wakeup._lock is not lock_of_the_parent


@pytest.mark.skipif(not HAS_EVENTFD, reason="no eventfd on this system")
def test_eventfd_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def kind() -> str:
        with closing(Wakeup()) as wakeup:
            return type(wakeup._line).__name__

    assert kind() == "_Eventfd"
    monkeypatch.delattr(os, "eventfd")
    assert kind() == "_Socketpair"
    with pytest.raises(ValueError, match="this system has none"):
        Wakeup(use_eventfd=True)
