"""What is pushed to a channel that is closed: nothing is raised, and memory does not grow."""

import asyncio
import logging
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from antiphon import MessageChannel, asyncore
from antiphon.asynchat import async_chat
from chat_support import Chat, ClosingChunks, ScriptedSocket, connected, received, turn

CHANNELS: list[type[Any]] = [async_chat, MessageChannel, asyncore.dispatcher_with_send]
LINE = b"somebody says something\n"


def waiting(channel: Any) -> int:
    """Items that are to be sent."""
    return len(channel._ac_outbox or ())


def say(channel: Any, data: bytes) -> None:
    (channel.send if isinstance(channel, asyncore.dispatcher_with_send) else channel.push)(data)


def closed_guest(kind: type[Any]) -> Any:
    """A channel that a listener might have made, and that is closed."""
    channel = kind(ScriptedSocket(), {})
    channel.close()
    return channel


def closed_client(kind: type[Any]) -> Any:
    """A channel that may connect again."""
    channel = kind(map={})
    channel.create_socket()
    channel.close()
    return channel


@pytest.mark.parametrize("kind", CHANNELS)
def test_nothing_waits_in_a_guest_that_has_left(kind: type[Any]) -> None:
    channel = closed_guest(kind)
    for _ in range(10):
        say(channel, LINE)
        assert waiting(channel) == 0


@pytest.mark.parametrize("kind", CHANNELS)
def test_a_guest_that_leaves_while_others_speak_grows_no_more(kind: type[Any]) -> None:
    with connected(kind) as (channel, peer):
        peer.close()
        channel.close()
        for _ in range(10):
            say(channel, LINE)
    assert waiting(channel) == 0


@pytest.mark.parametrize(
    "push",
    [
        lambda channel: channel.push_with_producer(LINE),
        lambda channel: channel.push(bytearray(LINE)),
        lambda channel: channel.producer_fifo.append(LINE),
        lambda channel: channel.producer_fifo.extend([LINE, LINE]),
        lambda channel: channel.close_when_done(),
        lambda channel: channel.push_with_producer(None),
    ],
)
@pytest.mark.parametrize("kind", [async_chat, MessageChannel])
def test_whatever_is_pushed_to_a_guest_that_has_left_is_dropped(
    kind: type[Any], push: Callable[[Any], object]
) -> None:
    channel = closed_guest(kind)
    for _ in range(3):
        push(channel)
        assert waiting(channel) == 0


def test_a_producer_that_is_pushed_to_a_guest_that_has_left_is_closed_and_never_asked() -> None:
    producer = ClosingChunks(b"never asked for")
    channel = closed_guest(async_chat)
    channel.push_with_producer(producer)
    assert (producer.closings, producer.more()) == (1, b"never asked for")


def test_a_queue_of_the_programs_own_is_emptied_too() -> None:
    channel = closed_guest(async_chat)
    empty: deque[Any] = deque()
    channel.producer_fifo = queue = empty
    for _ in range(3):
        channel.push(LINE)
    assert not queue


def test_what_a_guest_is_told_after_it_was_closed_in_its_own_handler_is_dropped() -> None:
    with connected(Chat) as (channel, peer):

        def leave(message: bytes) -> None:
            channel.push(b"bye\n")
            channel.close()
            channel.push(LINE)

        channel.on_found = leave
        peer.sendall(b"quit\n")
        turn(channel._map)
        assert received(peer) == b"bye\n"
    assert waiting(channel) == 0


@pytest.mark.parametrize("kind", CHANNELS)
def test_what_is_pushed_between_two_connections_leaves_with_the_second(kind: type[Any]) -> None:
    """As ever: some programs reconnect in a while, and speak in the meantime."""
    channel = closed_client(kind)
    say(channel, b"one ")
    say(channel, b"two")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel.create_socket()
        channel.connect(listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            peer.setblocking(False)
            turn(channel._map, 2)
            assert received(peer) == b"one two"
            channel.close()


@pytest.mark.parametrize("kind", CHANNELS)
@pytest.mark.parametrize(("size", "most"), [(1, 1001), (100_000, 11)])
def test_what_waits_for_the_next_connection_is_bounded(kind: type[Any], size: int, most: int) -> None:
    channel = closed_client(kind)
    longest = 0
    for _ in range(2 * most):
        say(channel, bytes(size))
        longest = max(longest, waiting(channel))
    assert longest == most - 1


def test_a_channel_that_was_connecting_to_a_name_waits_for_the_next_connection_too() -> None:
    channel = async_chat(map={})
    channel.connect(("name.invalid", 80))
    channel.close()
    channel.push(LINE)
    assert waiting(channel) == 1
    channel.discard_buffers()


def test_a_channel_that_only_says_that_it_is_closing_sends() -> None:
    """Programs have a flag of that name."""
    channel = async_chat(ScriptedSocket(), {})
    channel.closing = True
    channel.push(LINE)
    assert channel.socket.wire == LINE
    channel.close()


@pytest.mark.parametrize("kind", CHANNELS)
def test_a_channel_with_another_socket_sends_again(kind: type[Any]) -> None:
    channel = closed_guest(kind)
    say(channel, b"lost")
    channel.closing = False
    channel.set_socket(sock := ScriptedSocket())
    channel.connected = True
    say(channel, LINE)
    assert sock.wire == LINE
    channel.close()


def test_what_is_dropped_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "antiphon.channels")

    class Guest(async_chat):
        pass

    for _ in range(100):
        closed_guest(Guest).push(LINE)
    [record] = [record for record in caplog.records if "is closed" in record.message]
    assert record.message.endswith("is closed: items dropped: 1")


def test_waiting_for_what_was_dropped_to_leave_is_in_vain() -> None:
    channel = closed_guest(async_chat)
    asyncio.run(channel.drained())
    channel.push(LINE)
    with pytest.raises(ConnectionError, match="was closed before all was sent"):
        asyncio.run(channel.drained())


def test_waiting_for_what_a_closed_channel_keeps_to_leave_is_in_vain() -> None:
    class Keeping(async_chat):
        keeps_unsent = True

    async def wait(channel: Any) -> None:
        await asyncio.wait_for(channel.drained(), 10)

    with connected(Keeping) as (channel, _):
        channel.push(bytes(3_000_000))
        channel.close()
        with pytest.raises(ConnectionError, match="was closed before all was sent"):
            asyncio.run(wait(channel))
        assert channel.producer_fifo


@pytest.mark.parametrize("make", [closed_guest, closed_client])
def test_many_threads_may_push_to_a_channel_that_is_closed(make: Callable[[type[Any]], Any]) -> None:
    channel = make(async_chat)
    errors: list[BaseException] = []

    def push() -> None:
        try:
            for _ in range(200):
                channel.push(LINE)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=push) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    channel.push(LINE)
    assert errors == []
    assert waiting(channel) <= 1000
    assert not channel._ac_cork, "nothing would be sent by its next connection"
