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

from antiphon.pollers.kqueue import ADD, DELETE, EOF_FLAG, ERROR_FLAG, FILTER_READ, FILTER_WRITE, PlainKevent  # noqa: E402
from antiphon.testing.kqueue import SimulatedKqueue  # noqa: E402

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def queue() -> Iterator[SimulatedKqueue]:
    with closing(SimulatedKqueue()) as queue:
        yield queue


@pytest.fixture
def pair() -> Iterator[Pair]:
    here, there = socket.socketpair()
    with closing(here), closing(there):
        yield here, there


def add(sock: socket.socket, filter_: int = FILTER_READ) -> PlainKevent:
    return PlainKevent(sock.fileno(), filter_, ADD)


def test_the_filters_are_added_reported_and_deleted_apart(queue: SimulatedKqueue, pair: Pair) -> None:
    here, there = pair
    there.send(b"abc")
    changes = [add(here), add(here, FILTER_WRITE)]
    events = queue.control(changes, 8, 0)
    assert [(event.ident, event.filter, event.flags) for event in events] == [
        (here.fileno(), FILTER_READ, 0),
        (here.fileno(), FILTER_WRITE, 0),
    ]
    assert events[0].data == 3
    (left,) = queue.control([PlainKevent(here.fileno(), FILTER_READ, DELETE)], 8, 0)
    assert left.filter == FILTER_WRITE


def test_no_more_events_come_than_there_is_room_for(queue: SimulatedKqueue, pair: Pair) -> None:
    queue.control([add(sock, FILTER_WRITE) for sock in pair], 0)
    assert len(queue.control(None, 1, 0)) == 1
    assert queue.control(None, 0, None) == []


def test_the_end_of_input_comes_with_the_bytes_before_it(queue: SimulatedKqueue, pair: Pair) -> None:
    here, there = pair
    there.send(b"abc")
    there.shutdown(socket.SHUT_WR)
    reading, writing = queue.control([add(here), add(here, FILTER_WRITE)], 8, 0)
    assert (reading.flags, reading.data) == (EOF_FLAG, 3)
    assert writing.flags == 0, "the peer still listens"
    there.close()
    reading, writing = queue.control(None, 8, 0)
    assert (reading.flags, writing.flags) == (EOF_FLAG, EOF_FLAG)


def test_a_listening_socket_has_one_connection_to_accept(queue: SimulatedKqueue) -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as listener,
        closing(socket.create_connection(listener.getsockname())),
    ):
        (event,) = queue.control([add(listener)], 8, 10)
        assert event.data == 1


def test_deleting_what_is_not_there_is_enoent(queue: SimulatedKqueue, pair: Pair) -> None:
    delete = PlainKevent(pair[0].fileno(), FILTER_READ, DELETE)
    with pytest.raises(FileNotFoundError):
        queue.control([delete], 0)
    (event,) = queue.control([delete], 1)
    assert event.flags & ERROR_FLAG
    assert event.data == errno.ENOENT


def test_a_failure_without_room_for_it_ends_the_changes(queue: SimulatedKqueue, pair: Pair) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        queue.control([PlainKevent(999_999, FILTER_READ, ADD), add(pair[0], FILTER_WRITE)], 0)
    assert queue.control(None, 8, 0) == []
    assert queue.changes == [(999_999, FILTER_READ, ADD)]


def test_a_closed_descriptor_loses_its_filters(queue: SimulatedKqueue, pair: Pair) -> None:
    here, there = pair
    queue.control([add(here, FILTER_WRITE)], 0)
    os.dup2(there.fileno(), here.fileno())
    assert queue.control(None, 8, 0) == []
    with pytest.raises(FileNotFoundError):
        queue.control([PlainKevent(here.fileno(), FILTER_WRITE, DELETE)], 0)


def test_scripted_events_come_before_real_ones(queue: SimulatedKqueue, pair: Pair) -> None:
    queue.control([add(pair[0], FILTER_WRITE)], 0)
    scripted = [PlainKevent(7, FILTER_READ, EOF_FLAG, errno.ECONNRESET), PlainKevent(8)]
    queue.deliver(*scripted)
    assert queue.control(None, 1, None) == scripted[:1]
    assert queue.control(None, 8, None) == scripted[1:]
    assert [event.ident for event in queue.control(None, 8, None)] == [pair[0].fileno()]


@pytest.mark.parametrize(
    ("max_events", "timeout", "change"),
    [
        (-1, None, None),
        (1, -0.5, None),
        (1, 0, PlainKevent(0, FILTER_READ, ADD | 0x20)),
        (1, 0, PlainKevent(0, -7, ADD)),
    ],
    ids=["negative room", "negative timeout", "EV_CLEAR", "a timer"],
)
def test_what_is_not_simulated_is_refused(
    queue: SimulatedKqueue, max_events: int, timeout: float | None, change: PlainKevent | None
) -> None:
    with pytest.raises(ValueError, match=r"positive|simulated"):
        queue.control([change] if change else None, max_events, timeout)


def test_a_closed_queue_refuses(queue: SimulatedKqueue) -> None:
    descriptor = queue.fileno()
    assert not queue.closed
    queue.close()
    queue.close()
    assert queue.closed
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(descriptor)
    with pytest.raises(ValueError, match="closed"):
        queue.control(None, 1, 0)


@pytest.mark.skipif(not hasattr(select, "kqueue"), reason="no kqueue on this system to compare with")
def test_the_numbers_are_the_systems_own() -> None:
    assert getattr(select, "KQ_EV_EOF") == EOF_FLAG  # noqa: B009
