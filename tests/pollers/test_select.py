import errno
import select
import socket
from collections.abc import Iterable
from contextlib import closing

import pytest

from antiphon.pollers.base import ERROR, INVALID, READ, URGENT, WRITE
from antiphon.pollers.select import WINDOWS_LIMIT, SelectPoller

Pair = tuple[socket.socket, socket.socket]
Answer = tuple[list[int], list[int], list[int]]


class ScriptedSelect:
    """Answers what the script says, and notes what it was asked."""

    def __init__(self, *script: Answer | OSError) -> None:
        self._script = list(script)
        self.asked: list[tuple[set[int], set[int], set[int], float | None]] = []

    def __call__(
        self, readers: Iterable[int], writers: Iterable[int], odd: Iterable[int], timeout: float | None
    ) -> Answer:
        self.asked.append((set(readers), set(writers), set(odd), timeout))
        answer = self._script.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


def test_the_bits_of_one_descriptor_come_together() -> None:
    poller = SelectPoller(ScriptedSelect(([3, 4], [4, 5], [3])))
    for fd, interest in [(3, READ | URGENT), (4, READ | WRITE), (5, WRITE)]:
        poller.watch(fd, interest)
    assert poller.wait(None) == [(3, READ | URGENT), (4, READ | WRITE), (5, WRITE)]


def test_each_wish_is_in_its_set_and_leaves_it_again() -> None:
    kernel = ScriptedSelect(([], [], []), ([], [], []))
    poller = SelectPoller(kernel)
    poller.watch(3, READ | WRITE | URGENT)
    poller.wait(1.5)
    poller.watch(3, WRITE)
    poller.wait(1e12)
    assert kernel.asked == [({3}, {3}, {3}, 1.5), (set(), {3}, set(), 2_000_000)]


def test_a_failed_connection_attempt_on_windows_is_an_error() -> None:
    kernel = ScriptedSelect(([], [], [3, 4]))
    poller = SelectPoller(kernel, windows=True)
    poller.watch(3, WRITE)
    poller.watch(4, URGENT)
    poller.watch(5, READ)
    assert poller.wait(None) == [(3, ERROR), (4, URGENT)]
    assert kernel.asked[0][:3] == ({5}, {3}, {3, 4})


def test_numbers_do_not_matter_on_windows_and_their_count_does() -> None:
    poller = SelectPoller(ScriptedSelect(), windows=True)
    for fd in range(5000, 5000 + WINDOWS_LIMIT):
        poller.watch(fd, READ)
    poller.watch(5000, WRITE)
    with pytest.raises(ValueError, match=r"descriptor 9: on Windows it takes at most 512"):
        poller.watch(9, READ)
    poller.forget(5000)
    poller.watch(9, READ)
    assert poller.interest(9) == READ


def test_a_negative_number_is_named() -> None:
    with pytest.raises(ValueError, match="this one is -1"):
        SelectPoller().watch(-1, READ)


def test_a_closed_descriptor_is_invalid_once_and_the_others_go_on(pair: Pair) -> None:
    here, _ = pair
    poller = SelectPoller()
    closed, far = socket.socketpair()
    number = closed.fileno()
    with closing(far):
        poller.watch(number, READ)
        poller.watch(here.fileno(), WRITE)
        closed.close()
        assert poller.wait(None) == [(number, INVALID)]
        assert poller.interest(number) == 0
        assert poller.wait(None) == [(here.fileno(), WRITE)]


def test_a_descriptor_that_is_good_again_when_looked_for_is_kept() -> None:
    bad = OSError(errno.EBADF, "Bad file descriptor")
    poller = SelectPoller(ScriptedSelect(bad, ([], [], []), ([3], [], [])))
    poller.watch(3, READ)
    assert poller.wait(None) == []
    assert poller.wait(None) == [(3, READ)]


def test_an_error_that_no_descriptor_is_to_blame_for_is_passed_on() -> None:
    poller = SelectPoller(ScriptedSelect(OSError(errno.ENOMEM, "Cannot allocate memory")))
    poller.watch(3, READ)
    with pytest.raises(OSError, match="memory"):
        poller.wait(0)
    assert poller.interest(3) == READ


def test_the_kernel_is_select_where_none_is_given() -> None:
    assert SelectPoller()._opened() is select.select
