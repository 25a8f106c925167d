"""A producer is closed once whenever its channel goes, whichever way that is."""

import errno
import socket
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from antiphon import asyncore
from chat_support import Chat, Chunks, ClosingChunks, Patient, ScriptedSocket, connected, received, turn
from loop_support import raising

MIB = 1 << 20


def by_close(channel: Chat, peer: socket.socket) -> None:
    channel.close()


def by_handle_close(channel: Chat, peer: socket.socket) -> None:
    channel.handle_close()


def by_close_all(channel: Chat, peer: socket.socket) -> None:
    asyncore.close_all(channel._map)


def by_discarding_the_buffers(channel: Chat, peer: socket.socket) -> None:
    channel.discard_buffers()


def by_the_peer(channel: Chat, peer: socket.socket) -> None:
    peer.close()
    turn(channel._map, 2)


def by_a_failing_callback(channel: Chat, peer: socket.socket) -> None:
    channel.on_found = lambda message: 1 / 0
    peer.sendall(b"one\n")
    turn(channel._map)


def by_a_failing_handler(channel: Chat, peer: socket.socket) -> None:
    channel.handle_read = lambda: 1 / 0  # type: ignore[method-assign, assignment]
    peer.sendall(b"one\n")
    turn(channel._map)


def by_a_failing_send(channel: Chat, peer: socket.socket) -> None:
    def send(data: Any) -> int:
        raise OSError(5, "input/output error")

    channel.send = send  # type: ignore[method-assign]
    channel.handle_write()


def by_another_producer(channel: Chat, peer: socket.socket) -> None:
    channel.producer_fifo.appendleft(Chunks(LookupError("as asked")))
    channel.handle_write()


@pytest.mark.parametrize("state", ["waiting", "half sent", "not connected", "in a queue of the program's"])
@pytest.mark.parametrize(
    "go",
    [
        by_close,
        by_handle_close,
        by_close_all,
        by_discarding_the_buffers,
        by_the_peer,
        by_a_failing_callback,
        by_a_failing_handler,
        by_a_failing_send,
        by_another_producer,
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_producer_is_closed_once_when_its_channel_goes(
    go: Callable[[Chat, socket.socket], None], state: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "antiphon")
    first, second = ClosingChunks(*[bytes(MIB)] * 9), ClosingChunks(b"never asked for")
    with connected(Chat) as (channel, peer):
        if state == "waiting":
            channel.push(bytes(3 * MIB))
        if state == "not connected" and go not in (by_the_peer, by_a_failing_send, by_another_producer):
            channel.connected = False
        if state == "in a queue of the program's":
            channel.producer_fifo = deque()
        channel.push_with_producer(first)
        channel.push_with_producer(second)
        if go is by_another_producer:
            received(peer)
        go(channel, peer)
    assert (first.closings, second.closings) == (1, 1)


def test_a_producer_is_closed_also_if_the_socket_cannot_be() -> None:
    producer = ClosingChunks(b"never asked for")
    channel = Chat(ScriptedSocket(takes=[0]))
    channel.push(b"first")
    channel.push_with_producer(producer)
    channel.socket.close = raising(OSError(errno.EIO, "no"))
    with pytest.raises(OSError, match="no"):
        channel.close()
    assert producer.closings == 1
    assert not channel.producer_fifo


@pytest.mark.parametrize("interrupted", [InterruptedError(errno.EINTR, "a signal")])
def test_a_stand_in_for_a_socket_may_be_interrupted(interrupted: Exception) -> None:
    channel = Patient(ScriptedSocket(interrupted, b"line\n", takes=[interrupted]))
    channel.push(b"output")
    channel.handle_read_event()
    channel.handle_read_event()
    channel.handle_write_event()
    assert channel.errors == []
    assert channel.messages == [b"line"]
    assert channel.sock.wire == b"output"


def test_a_producer_is_closed_when_it_is_exhausted() -> None:
    channel = Patient(ScriptedSocket())
    producer = ClosingChunks(b"one")
    channel.push_with_producer(producer)
    channel.handle_write()
    assert producer.closings == 1
    channel.close()
    assert producer.closings == 1


def test_a_close_of_an_object_that_is_no_producer_of_ours_is_not_called() -> None:
    class Foreign(Chunks):
        def close(self) -> None:
            raise AssertionError("this may mean anything")

    channel = Patient(ScriptedSocket(takes=[1, 0, 0]))
    channel.push_with_producer(Foreign(b"one", b"two"))
    channel.push_with_producer(Foreign(b"three"))
    channel.close()
    other = Patient(ScriptedSocket())
    other.push_with_producer(Foreign(b"one"))
    other.handle_write()
    assert other.sock.wire == b"one"


def test_a_producer_that_fails_to_close_keeps_no_other_from_being_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stuck(ClosingChunks):
        def close(self) -> None:
            super().close()
            raise LookupError("as asked")

    producers = [Stuck(b"one"), ClosingChunks(b"two"), Stuck(b"three"), ClosingChunks(b"four")]
    channel = Patient(ScriptedSocket(takes=[0]))
    for producer in producers:
        channel.push_with_producer(producer)
    channel.close()
    assert [producer.closings for producer in producers] == [1, 1, 1, 1]
    assert (channel.sock.closed, channel._map) == (True, {})
    assert [record.exc_info and type(record.exc_info[1]) for record in caplog.records] == [LookupError] * 2


def test_a_channel_that_is_gone_keeps_no_producer_alive() -> None:
    channel = Patient(ScriptedSocket(takes=[0]))
    producer = ClosingChunks(b"one")
    channel.push_with_producer(producer)
    channel.close()
    assert sys.getrefcount(producer) <= 2
