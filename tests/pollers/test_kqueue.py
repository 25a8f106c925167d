import errno
import os
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

assert not TYPE_CHECKING or sys.platform != "win32"

from antiphon.pollers.base import ERROR, HANGUP, INVALID, READ, URGENT, WRITE  # noqa: E402
from antiphon.pollers.kqueue import (  # noqa: E402
    ADD,
    DELETE,
    EOF_FLAG,
    ERROR_FLAG,
    FILTER_READ,
    FILTER_WRITE,
    KqueuePoller,
    PlainKevent,
)
from antiphon.testing.kqueue import SimulatedKqueue  # noqa: E402

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def kernel() -> SimulatedKqueue:
    return SimulatedKqueue()


@pytest.fixture
def poller(kernel: SimulatedKqueue) -> Iterator[KqueuePoller]:
    with closing(KqueuePoller(kernel)) as poller:
        yield poller


def test_only_what_changes_is_told_to_the_kernel(
    poller: KqueuePoller, kernel: SimulatedKqueue, pair: Pair
) -> None:
    fd = pair[0].fileno()
    poller.watch(fd, READ)
    poller.watch(fd, READ)
    assert kernel.changes == [(fd, FILTER_READ, ADD)]
    kernel.changes.clear()
    poller.watch(fd, READ | WRITE)
    poller.watch(fd, READ)
    assert kernel.changes[-1] == (fd, FILTER_WRITE, DELETE)
    kernel.changes.clear()
    poller.forget(fd)
    poller.forget(fd)
    assert kernel.changes == [(fd, FILTER_READ, DELETE)]


def test_urgent_interest_has_no_filter(poller: KqueuePoller, kernel: SimulatedKqueue, pair: Pair) -> None:
    fd = pair[0].fileno()
    poller.watch(fd, URGENT)
    assert kernel.changes == []
    assert poller.interest(fd) == URGENT


def test_the_end_is_reported_with_bytes_still_to_be_read(poller: KqueuePoller, pair: Pair) -> None:
    here, there = pair
    there.send(b"last words")
    there.shutdown(socket.SHUT_WR)
    poller.watch(here.fileno(), READ)
    assert poller.wait(10) == [(here.fileno(), READ | HANGUP)]
    assert here.recv(100) == b"last words"
    assert poller.wait(10) == [(here.fileno(), READ | HANGUP)]


@pytest.mark.parametrize(
    ("event", "bits"),
    [
        (PlainKevent(3, FILTER_READ, 0), READ),
        (PlainKevent(3, FILTER_WRITE, 0), WRITE),
        (PlainKevent(3, FILTER_READ, EOF_FLAG, 0, 17), READ | HANGUP),
        (PlainKevent(3, FILTER_WRITE, EOF_FLAG), WRITE | HANGUP),
        (PlainKevent(3, FILTER_WRITE, EOF_FLAG, errno.ECONNREFUSED), WRITE | HANGUP | ERROR),
        (PlainKevent(3, FILTER_READ, ERROR_FLAG, 0, errno.EBADF), INVALID),
        (PlainKevent(3, FILTER_READ, ERROR_FLAG, 0, errno.ENXIO), ERROR),
    ],
)
def test_each_kind_of_event_becomes_its_bits(
    poller: KqueuePoller, kernel: SimulatedKqueue, event: PlainKevent, bits: int
) -> None:
    kernel.deliver(event)
    assert poller.wait(None) == [(3, bits)]


def test_the_events_of_one_descriptor_come_together(poller: KqueuePoller, kernel: SimulatedKqueue) -> None:
    kernel.deliver(
        PlainKevent(3, FILTER_READ, EOF_FLAG), PlainKevent(4, FILTER_READ, 0), PlainKevent(3, FILTER_WRITE, 0)
    )
    assert poller.wait(None) == [(3, READ | HANGUP | WRITE), (4, READ)]


def test_all_filters_are_there_after_the_number_was_used_again(poller: KqueuePoller, pair: Pair) -> None:
    here, _ = pair
    poller.watch(here.fileno(), READ)
    other, far = socket.socketpair()
    with closing(other), closing(far):
        os.dup2(other.fileno(), here.fileno())
        poller.watch(here.fileno(), READ | WRITE)
        far.send(b"x")
        assert poller.wait(10) == [(here.fileno(), READ | WRITE)]


def test_dropping_a_filter_that_the_kernel_dropped_already_is_no_error(
    poller: KqueuePoller, pair: Pair
) -> None:
    here, there = pair
    poller.watch(here.fileno(), READ | WRITE)
    os.dup2(there.fileno(), here.fileno())
    poller.watch(here.fileno(), WRITE)
    assert poller.wait(10) == [(here.fileno(), WRITE | HANGUP)]


def test_a_refused_descriptor_leaves_no_note(poller: KqueuePoller, pair: Pair) -> None:
    here, _ = pair
    number = here.fileno()
    poller.watch(number, READ)
    here.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        poller.watch(number, WRITE)
    assert poller.interest(number) == 0


def test_the_queue_is_closed_with_its_poller(poller: KqueuePoller, kernel: SimulatedKqueue) -> None:
    assert poller.fileno() == kernel.fileno()
    poller.close()
    assert kernel.closed
    with pytest.raises(ValueError, match="kqueue poller is closed"):
        poller.fileno()


def test_a_queue_that_is_gone_in_a_forked_child_can_be_closed() -> None:
    class Gone(SimulatedKqueue):
        def close(self) -> None:
            super().close()
            raise OSError(errno.EBADF, "Bad file descriptor")

    kernel = Gone()
    KqueuePoller(kernel).close()
    assert kernel.closed


def test_a_queue_is_made_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    # Only BSD and macOS have one: the select module is the kernel's edge here.
    monkeypatch.setattr(select, "kqueue", SimulatedKqueue, raising=False)
    with closing(KqueuePoller()) as poller:
        assert isinstance(poller._kernel, SimulatedKqueue)
