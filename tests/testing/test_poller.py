import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

assert not TYPE_CHECKING or sys.platform != "win32"

from antiphon.pollers.base import HANGUP, READ, WRITE  # noqa: E402
from antiphon.pollers.poll import PollPoller  # noqa: E402
from antiphon.testing import check_poller  # noqa: E402
from antiphon.testing.poller import CHECKS, Check  # noqa: E402


def title(check: Check) -> str:
    return check.__name__.removeprefix("_").replace("_", " ")


class EdgeTriggered(PollPoller):
    """Reports each readiness once."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[tuple[int, int]] = set()

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        ready = [event for event in super().wait(timeout) if event not in self._told]
        self._told.update(ready)
        return ready


class Adding(PollPoller):
    """Keeps the earlier interest beside the later one."""

    def watch(self, fd: int, interest: int) -> None:
        super().watch(fd, interest | self.interest(fd))


class Clinging(PollPoller):
    """Never forgets."""

    def forget(self, fd: int) -> None:
        pass


class Touchy(PollPoller):
    """Fails to forget what it does not know."""

    def forget(self, fd: int) -> None:
        if not self.interest(fd):
            raise KeyError(fd)
        super().forget(fd)


class Truncating(PollPoller):
    """Rounds timeouts down."""

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        return super().wait(None if timeout is None else int(timeout * 1000) / 1000)


class Deaf(PollPoller):
    """Reports nothing."""

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        super().wait(0)
        return []


class Alarmist(PollPoller):
    """Reports hang-ups that are none."""

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        return [(fd, ready | HANGUP) for fd, ready in super().wait(timeout)]


class Trusting(PollPoller):
    """Takes any interest."""

    def watch(self, fd: int, interest: int) -> None:
        if 0 < interest < 8:
            super().watch(fd, interest)


class Indifferent(PollPoller):
    """Takes any descriptor."""

    def watch(self, fd: int, interest: int) -> None:
        if fd >= 0:
            super().watch(fd, interest)


class Immortal(PollPoller):
    """Does not close."""

    def close(self) -> None:
        pass


BROKEN = [EdgeTriggered, Adding, Clinging, Truncating, Deaf, Alarmist, Trusting, Indifferent, Immortal]


def test_a_poller_that_conforms_passes() -> None:
    check_poller(PollPoller)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_poller_that_breaks_the_contract_is_told_how(broken: Callable[[], PollPoller]) -> None:
    with pytest.raises(AssertionError, match=r"^poller 'poll', [a-z ]+: \S") as caught:
        check_poller(broken)
    assert str(caught.value).split(": ")[0].removeprefix("poller 'poll', ") in map(title, CHECKS)


def test_another_exception_than_the_promised_one_is_passed_on() -> None:
    with pytest.raises(KeyError):
        check_poller(Touchy)


def test_every_poller_made_is_closed() -> None:
    made: list[PollPoller] = []

    def make() -> PollPoller:
        made.append(PollPoller())
        return made[-1]

    check_poller(make)
    assert len(made) == len(CHECKS)
    for poller in made:
        with pytest.raises(ValueError, match="closed"):
            poller.wait(0)


def test_the_suite_runs_in_a_thread_which_has_no_signals() -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            check_poller(PollPoller)
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failures == []


def test_a_poller_that_reports_a_closed_neighbour_wrongly_is_told_so() -> None:
    class Confused(PollPoller):
        def wait(self, timeout: float | None) -> list[tuple[int, int]]:
            return [(fd, ready & (READ | WRITE) or READ) for fd, ready in super().wait(timeout)]

    with pytest.raises(AssertionError, match="closed"):
        check_poller(Confused)


def test_the_checks_leave_no_socket_behind() -> None:
    before = socket.socket()
    number = before.fileno()
    before.close()
    check_poller(PollPoller)
    with socket.socket() as after:
        assert after.fileno() == number
