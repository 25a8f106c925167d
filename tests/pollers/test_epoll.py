import os
import select
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

assert not TYPE_CHECKING or sys.platform == "linux"

from antiphon.pollers import base  # noqa: E402
from antiphon.pollers.base import HANGUP, INVALID, READ, URGENT, WRITE  # noqa: E402
from antiphon.pollers.epoll import EpollPoller  # noqa: E402

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="epoll is Linux's own")

Pair = tuple[socket.socket, socket.socket]


class CountingEpoll:
    """An epoll that notes what it is told."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.calls: list[str] = []

    def register(self, fd: int, interest: int) -> None:
        self.calls.append("register")
        self._epoll.register(fd, interest)

    def modify(self, fd: int, interest: int) -> None:
        self.calls.append("modify")
        self._epoll.modify(fd, interest)

    def unregister(self, fd: int) -> None:
        self.calls.append("unregister")
        self._epoll.unregister(fd)

    def poll(self, timeout: float | None, max_events: int) -> list[tuple[int, int]]:
        return self._epoll.poll(timeout, max_events)

    def close(self) -> None:
        self._epoll.close()


@pytest.fixture
def poller() -> Iterator[EpollPoller]:
    with closing(EpollPoller()) as poller:
        yield poller


@pytest.fixture
def kernel(poller: EpollPoller, monkeypatch: pytest.MonkeyPatch) -> CountingEpoll:
    poller._epoll.close()
    kernel = CountingEpoll()
    monkeypatch.setattr(poller, "_epoll", kernel)
    return kernel


def test_the_kernels_numbers_are_the_contracts() -> None:
    names = {"READ": "IN", "URGENT": "PRI", "WRITE": "OUT", "ERROR": "ERR", "HANGUP": "HUP"}
    for ours, theirs in names.items():
        assert getattr(base, ours) == getattr(select, f"EPOLL{theirs}") == getattr(select, f"POLL{theirs}")
    assert select.POLLNVAL == INVALID


def test_a_change_costs_one_system_call_and_no_change_none(
    poller: EpollPoller, kernel: CountingEpoll, pair: Pair
) -> None:
    fd = pair[0].fileno()
    for interest in (READ, READ, READ | WRITE, READ | WRITE, READ):
        poller.watch(fd, interest)
    poller.forget(fd)
    poller.forget(fd)
    assert kernel.calls == ["register", "modify", "modify", "unregister"]


def test_what_the_kernel_forgot_is_registered_again(
    poller: EpollPoller, kernel: CountingEpoll, pair: Pair
) -> None:
    here, there = pair
    poller.watch(here.fileno(), READ)
    os.dup2(there.fileno(), here.fileno())
    poller.watch(here.fileno(), WRITE)
    assert kernel.calls == ["register", "modify", "register"]
    assert poller.wait(10) == [(here.fileno(), WRITE | HANGUP)]


def test_what_the_kernel_still_knows_is_modified(
    poller: EpollPoller, kernel: CountingEpoll, pair: Pair
) -> None:
    here, there = pair
    number = os.dup(here.fileno())
    poller.watch(number, READ)
    os.dup2(there.fileno(), number)
    poller.forget(number)  # The kernel keeps what `here` is a copy of.
    os.dup2(here.fileno(), number)
    poller.watch(number, WRITE)
    assert kernel.calls == ["register", "unregister", "register", "modify"]
    assert poller.wait(10) == [(number, WRITE)]
    os.close(number)


def test_a_refused_descriptor_leaves_no_note(poller: EpollPoller, pair: Pair) -> None:
    here, _ = pair
    number = here.fileno()
    poller.watch(number, READ)
    here.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        poller.watch(number, WRITE)
    assert poller.interest(number) == 0
    assert poller.wait(0) == []


def test_out_of_band_data_is_urgent(poller: EpollPoller) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    with closing(here), closing(there):
        poller.watch(here.fileno(), URGENT)
        there.send(b"!", socket.MSG_OOB)
        assert poller.wait(10) == [(here.fileno(), URGENT)]


def test_a_file_is_always_ready_for_reading_and_writing(poller: EpollPoller, pair: Pair) -> None:
    with tempfile.TemporaryFile() as file:
        poller.watch(file.fileno(), READ | WRITE)
        poller.watch(pair[0].fileno(), READ)
        assert poller.interest(file.fileno()) == READ | WRITE
        assert poller.wait(None) == [(file.fileno(), READ | WRITE)]
        poller.watch(file.fileno(), READ)
        assert poller.wait(None) == [(file.fileno(), READ)]
        poller.forget(file.fileno())
        assert poller.wait(0) == []


def test_a_file_does_not_keep_urgent_interest_awake(poller: EpollPoller) -> None:
    with tempfile.TemporaryFile() as file:
        poller.watch(file.fileno(), URGENT)
        assert poller.wait(0.001) == []


def test_a_closed_file_is_invalid(poller: EpollPoller) -> None:
    file = tempfile.TemporaryFile()  # noqa: SIM115
    number = file.fileno()
    poller.watch(number, READ)
    file.close()
    assert poller.wait(None) == [(number, INVALID)]
    with pytest.raises(OSError, match="Bad file descriptor"):
        poller.watch(number, WRITE)
    assert poller.wait(0) == []


def test_a_number_that_was_a_file_and_is_a_socket_sleeps_again(poller: EpollPoller, pair: Pair) -> None:
    number = os.open(__file__, os.O_RDONLY)
    poller.watch(number, READ)
    os.dup2(pair[0].fileno(), number)
    poller.watch(number, READ | URGENT)
    assert poller.wait(0) == []
    pair[1].send(b"x")
    assert poller.wait(10) == [(number, READ)]
    os.close(number)


def test_a_number_that_was_a_socket_and_is_a_file_is_always_ready(poller: EpollPoller, pair: Pair) -> None:
    here, _ = pair
    poller.watch(here.fileno(), READ)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), here.fileno())
        poller.watch(here.fileno(), WRITE)
        assert poller.wait(None) == [(here.fileno(), WRITE)]
        poller.forget(here.fileno())
        assert poller.wait(0) == []


def test_the_others_stay_watched_when_the_table_is_made_anew(poller: EpollPoller, pair: Pair) -> None:
    here, there = pair
    closed, _far = socket.socketpair()
    with closing(_far):
        poller.watch(closed.fileno(), READ)
        poller.watch(there.fileno(), WRITE)
        ghost = os.dup(here.fileno())
        poller.watch(ghost, WRITE)
        os.close(ghost)
        poller.forget(ghost)  # Too late: `here` keeps it in the kernel's table.
        closed.close()
        before = poller.fileno()
        assert poller.wait(10) == [(there.fileno(), WRITE)]
        assert os.fstat(before), "the table is made anew under some number"
        assert poller.wait(10) == [(there.fileno(), WRITE)]


def test_a_copy_of_what_the_number_was_is_not_reported_for_another_interest(
    poller: EpollPoller, pair: Pair
) -> None:
    here, there = pair
    there.send(b"x")
    number = os.dup(here.fileno())
    poller.watch(number, READ)
    os.dup2(there.fileno(), number)
    poller.watch(number, READ | URGENT)
    assert poller.wait(0) == []
    here.send(b"y")
    assert poller.wait(10) == [(number, READ)]
    os.close(number)


def test_a_suspect_that_is_truly_ready_is_reported(
    poller: EpollPoller, kernel: CountingEpoll, pair: Pair
) -> None:
    here, there = pair
    poller.watch(here.fileno(), READ)
    os.dup2(there.fileno(), here.fileno())
    poller.watch(here.fileno(), WRITE)
    kernel.calls.clear()
    assert poller.wait(10) == [(here.fileno(), WRITE | HANGUP)]
    assert kernel.calls == []
    assert poller._epoll is kernel  # type: ignore[comparison-overlap]


def test_a_closed_epoll_has_no_descriptor(poller: EpollPoller) -> None:
    assert poller.fileno() >= 0
    poller.close()
    with pytest.raises(ValueError, match="closed"):
        poller.fileno()
