"""When the poller of few descriptors becomes that of many, and what it keeps."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from antiphon import pollers

assert not TYPE_CHECKING or sys.platform == "linux"

if "adaptive" not in pollers.offered():
    pytest.skip("needs poll(2) and epoll(7)", allow_module_level=True)

from antiphon.pollers import adaptive  # noqa: E402
from antiphon.pollers.adaptive import FEW, PATIENCE, AdaptivePoller  # noqa: E402
from antiphon.pollers.base import INVALID, READ, WRITE  # noqa: E402
from antiphon.pollers.epoll import EpollPoller  # noqa: E402
from antiphon.pollers.poll import PollPoller  # noqa: E402


@pytest.fixture
def poller() -> Iterator[AdaptivePoller]:
    made = AdaptivePoller()
    yield made
    made.close()


@pytest.fixture
def pairs() -> Iterator[list[socket.socket]]:
    """FEW + 1 sockets of which nothing can be read and to which anything can be written."""
    with ExitStack() as stack:
        ends = [end for _ in range(FEW // 2 + 1) for end in socket.socketpair()]
        for end in ends:
            stack.enter_context(end)
        yield ends[: FEW + 1]


def in_use(poller: AdaptivePoller) -> type:
    """The class whose method looks whether `poller` watches something."""
    return type(poller.interest.__self__)  # type: ignore[attr-defined]


def test_few_descriptors_take_no_descriptor_of_the_poller(pairs: list[socket.socket]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    poller = AdaptivePoller()
    for end in pairs[:FEW]:
        poller.watch(end.fileno(), READ)
    assert poller.wait(0) == []
    assert len(os.listdir("/proc/self/fd")) == before
    poller.close()


def test_one_descriptor_more_than_few_has_epoll_watch_all_of_them(
    poller: AdaptivePoller, pairs: list[socket.socket]
) -> None:
    *first, last = pairs
    for end in first:
        poller.watch(end.fileno(), READ)
    assert in_use(poller) is PollPoller
    assert poller.wait(0) == []
    assert in_use(poller) is PollPoller
    poller.watch(last.fileno(), WRITE)
    assert poller.wait(0) == [(last.fileno(), WRITE)]
    assert in_use(poller) is EpollPoller
    assert [poller.interest(end.fileno()) for end in pairs] == [READ] * FEW + [WRITE]
    poller.forget(last.fileno())
    assert poller.wait(0) == []


def waits_until_epoll(poller: AdaptivePoller, limit: int = PATIENCE + 2) -> int:
    for count in range(limit):
        if in_use(poller) is EpollPoller:
            return count
        poller.wait(0)
    return limit


def test_waits_of_those_who_stay_bring_epoll(poller: AdaptivePoller, pairs: list[socket.socket]) -> None:
    for end in pairs[:8]:
        poller.watch(end.fileno(), READ)
    assert waits_until_epoll(poller) == PATIENCE // 8 + 1
    assert poller.interest(pairs[0].fileno()) == READ


def test_the_wait_that_brings_epoll_tells_what_is_ready(
    poller: AdaptivePoller, pairs: list[socket.socket]
) -> None:
    poller.watch(pairs[0].fileno(), WRITE)
    assert [poller.wait(0) for _ in range(PATIENCE + 2)] == [[(pairs[0].fileno(), WRITE)]] * (PATIENCE + 2)
    assert in_use(poller) is EpollPoller


def test_those_who_come_and_go_keep_poll(poller: AdaptivePoller, pairs: list[socket.socket]) -> None:
    for _ in range(PATIENCE):
        for end in pairs[:3]:
            poller.watch(end.fileno(), READ)
        poller.wait(0)
        for end in pairs[:3]:
            poller.forget(end.fileno())
    assert in_use(poller) is PollPoller


def test_without_a_descriptor_for_epoll_poll_watches_more_than_few(
    poller: AdaptivePoller, pairs: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptor() -> EpollPoller:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(adaptive, "EpollPoller", no_descriptor)
        for end in pairs:
            poller.watch(end.fileno(), WRITE)
        assert in_use(poller) is PollPoller
        assert waits_until_epoll(poller, 64) == 64
        assert sorted(poller.wait(0)) == sorted((end.fileno(), WRITE) for end in pairs)
    assert waits_until_epoll(poller) < 64


def test_another_thread_may_forget_a_descriptor_while_epoll_takes_over(
    poller: AdaptivePoller, pairs: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = pairs[-1].fileno()

    class Interrupted(EpollPoller):
        def watch(self, fd: int, interest: int) -> None:
            poller.forget(gone)
            super().watch(fd, interest)

    monkeypatch.setattr(adaptive, "EpollPoller", Interrupted)
    for end in pairs:
        poller.watch(end.fileno(), READ)
    assert poller.wait(0) == []
    assert in_use(poller) is Interrupted
    assert poller.interest(pairs[0].fileno()) == READ
    assert poller.interest(gone) == 0


def test_a_closed_descriptor_is_reported_before_epoll_comes(
    poller: AdaptivePoller, pairs: list[socket.socket]
) -> None:
    closed = pairs[0].fileno()
    for end in pairs[:FEW]:
        poller.watch(end.fileno(), READ)
    pairs[0].close()
    poller.watch(pairs[-1].fileno(), READ)
    assert in_use(poller) is PollPoller
    assert (closed, INVALID) in poller.wait(0)
    poller.forget(closed)
    assert waits_until_epoll(poller) < PATIENCE
    assert poller.interest(closed) == 0


def come_and_go(poller: AdaptivePoller, ends: list[socket.socket], turns: int) -> None:
    for _ in range(turns):
        for end in ends:
            poller.watch(end.fileno(), READ)
        poller.wait(0)
        for end in ends:
            poller.forget(end.fileno())


@pytest.fixture
def by_epoll(poller: AdaptivePoller, pairs: list[socket.socket]) -> AdaptivePoller:
    """A poller that has watched many; now it watches the first three."""
    for end in pairs:
        poller.watch(end.fileno(), READ)
    poller.wait(0)
    assert in_use(poller) is EpollPoller
    for end in pairs[3:]:
        poller.forget(end.fileno())
    return poller


def test_few_who_come_and_go_bring_poll_back(by_epoll: AdaptivePoller, pairs: list[socket.socket]) -> None:
    by_epoll.watch(pairs[1].fileno(), WRITE)
    open_before = len(os.listdir("/proc/self/fd"))
    come_and_go(by_epoll, pairs[10:20], 64)
    assert in_use(by_epoll) is PollPoller
    assert len(os.listdir("/proc/self/fd")) == open_before - 1
    assert [by_epoll.interest(end.fileno()) for end in pairs[:4]] == [READ, WRITE, READ, 0]
    assert by_epoll.wait(0) == [(pairs[1].fileno(), WRITE)]


def test_the_wait_that_brings_poll_back_tells_what_is_ready(
    by_epoll: AdaptivePoller, pairs: list[socket.socket]
) -> None:
    by_epoll.watch(pairs[0].fileno(), WRITE)
    for turn in range(64):
        by_epoll.watch(pairs[10].fileno(), READ)
        by_epoll.watch(pairs[11].fileno(), READ)
        assert by_epoll.wait(0) == [(pairs[0].fileno(), WRITE)], turn
        by_epoll.forget(pairs[10].fileno())
        by_epoll.forget(pairs[11].fileno())
    assert in_use(by_epoll) is PollPoller


def test_many_may_come_once_more(by_epoll: AdaptivePoller, pairs: list[socket.socket]) -> None:
    come_and_go(by_epoll, pairs[10:20], 64)
    for end in pairs:
        by_epoll.watch(end.fileno(), READ)
    by_epoll.wait(0)
    assert in_use(by_epoll) is EpollPoller
    assert [by_epoll.interest(end.fileno()) for end in pairs] == [READ] * len(pairs)


def test_many_who_come_and_go_keep_epoll(by_epoll: AdaptivePoller, pairs: list[socket.socket]) -> None:
    come_and_go(by_epoll, pairs[3:], 64)
    assert in_use(by_epoll) is EpollPoller


def test_few_who_are_left_of_many_keep_epoll(by_epoll: AdaptivePoller, pairs: list[socket.socket]) -> None:
    come_and_go(by_epoll, pairs[3:], 64)
    for _ in range(PATIENCE):
        by_epoll.watch(pairs[0].fileno(), READ)
        by_epoll.wait(0)
    assert in_use(by_epoll) is EpollPoller


def test_few_who_stay_keep_epoll_and_are_not_counted_for_long(
    by_epoll: AdaptivePoller, pairs: list[socket.socket]
) -> None:
    for _ in range(PATIENCE):
        by_epoll.wait(0)
    assert in_use(by_epoll) is EpollPoller
    assert type(by_epoll.wait.__self__) is EpollPoller  # type: ignore[attr-defined]


def test_a_file_that_epoll_refuses_goes_along_to_poll(
    by_epoll: AdaptivePoller, pairs: list[socket.socket]
) -> None:
    with open(__file__, "rb") as file:
        by_epoll.watch(file.fileno(), READ)
        come_and_go(by_epoll, pairs[10:20], 64)
        assert in_use(by_epoll) is PollPoller
        assert by_epoll.wait(0) == [(file.fileno(), READ)]
        by_epoll.forget(file.fileno())


def test_another_thread_may_forget_a_descriptor_while_poll_takes_over(
    by_epoll: AdaptivePoller, pairs: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = pairs[2].fileno()

    class Interrupted(PollPoller):
        def watch(self, fd: int, interest: int) -> None:
            by_epoll.forget(gone)
            super().watch(fd, interest)

    monkeypatch.setattr(adaptive, "PollPoller", Interrupted)
    come_and_go(by_epoll, pairs[10:20], 64)
    assert in_use(by_epoll) is Interrupted
    assert by_epoll.interest(pairs[0].fileno()) == READ
    assert by_epoll.interest(gone) == 0
