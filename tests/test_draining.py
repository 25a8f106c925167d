"""A loop is drained: what was promised arrives."""

import asyncio
import concurrent.futures
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import antiphon
import draining_support
import loop_support
from antiphon import MessageChannel, aio, asyncore
from antiphon.draining import Drained
from draining_support import MUCH, PATIENCE, Chat, reads_all, thread
from loop_support import Foreign, Noting, Wires, Writing, raising, silent_map, spin

assert not TYPE_CHECKING or sys.platform != "win32"

wires = loop_support.wires
each_poller = loop_support.each_poller
channels = draining_support.channels


# -- what arrives --------------------------------------------------------------------------------------------


def test_a_drained_map_is_empty_and_everybody_was_told_once(wires: Wires, channels: Any) -> None:
    pairs = [wires.channel(Chat, channels) for _ in range(5)]
    reading, _ = wires.channel(Noting, channels)
    for _, far in pairs:
        far.close()
    drained = asyncore.get_loop(channels).drain(PATIENCE)
    assert drained == Drained(listeners=0, flushed=6, lost=0, aborted=0)
    assert not channels
    assert [channel.events for channel, _ in pairs] == [["close"]] * 5
    assert reading.closing


def test_a_listener_stops_accepting_first(wires: Wires, channels: Any) -> None:
    listener = wires.listener(Noting, channels)
    listening_chat = wires.listener(Chat, channels)
    assert antiphon.drain(PATIENCE, channels) == Drained(listeners=2, flushed=0, lost=0, aborted=0)
    assert listener.closing
    assert listening_chat.closing
    assert listening_chat.events == []


@pytest.mark.parametrize("use_poll", [False, True])
@pytest.mark.parametrize("kind", [Chat, MessageChannel])
def test_what_was_pushed_arrives_also_at_a_peer_that_goes_on_sending(
    wires: Wires, channels: Any, kind: Any, use_poll: bool
) -> None:
    """A socket that is closed with something unread resets its connection, and what is on its way is lost."""
    near, far = wires.pair(socket.AF_INET)
    channel = wires.keep(kind(near, channels))
    channel.push(MUCH)
    far.setblocking(True)
    far.settimeout(PATIENCE)

    def talk() -> bytes:
        got = b""
        while piece := far.recv(65536):
            got += piece
            far.send(b"one more thing\r\n")
        far.close()
        return got

    with thread(talk) as received:
        drained = asyncore.get_loop(channels).drain(PATIENCE, use_poll=use_poll)
    assert received == [MUCH]
    assert drained == Drained(listeners=0, flushed=1, lost=0, aborted=0)


def test_an_answer_that_is_being_produced_is_finished(wires: Wires, channels: Any) -> None:
    class Counting:
        left = 200

        def more(self) -> bytes:
            self.left -= 1
            return b"%d " % self.left * 1000 if self.left >= 0 else b""

    channel, far = wires.channel(Chat, channels)
    channel.push_with_producer(Counting())
    channel.push(b"end")
    with thread(reads_all(far)) as received:
        antiphon.drain(PATIENCE, channels)
    assert received == [b"".join(b"%d " % number * 1000 for number in reversed(range(200))) + b"end"]


@pytest.mark.parametrize("keep_reading", [False, True])
def test_an_answer_that_a_coroutine_is_at_is_sent_and_no_other_question_read(
    wires: Wires, channels: Any, keep_reading: bool
) -> None:
    begun, asked = threading.Event(), []

    async def answer(question: bytes) -> bytes:
        begun.set()
        await asyncio.sleep(0.02)
        return question + b"!"

    class Asking(MessageChannel):
        def message_received(self, message: bytes) -> None:
            asked.append(message)
            self.spawn(answer(message), self.push, keep_reading=keep_reading)

    channel, far = wires.channel(Asking, channels)
    far.sendall(b"one\r\n")
    while not begun.wait(0):
        asyncore.loop(0, map=channels, count=1)
    far.sendall(b"two\r\n")
    with thread(reads_all(far)) as received:
        assert antiphon.drain(PATIENCE, channels) == Drained(listeners=0, flushed=1, lost=0, aborted=0)
    assert received == [b"one!"]
    assert asked == [b"one"]
    assert channel.closing


def test_a_coroutine_that_does_not_end_is_cancelled_at_the_deadline(wires: Wires, channels: Any) -> None:
    channel, _ = wires.channel(Chat, channels)
    spawned = channel.spawn(asyncio.sleep(PATIENCE))
    assert antiphon.drain(0, channels) == Drained(listeners=0, flushed=0, lost=0, aborted=1)
    assert channel.closing
    with pytest.raises(concurrent.futures.CancelledError):
        spawned._future.result(PATIENCE)


def test_a_connection_that_is_being_made_gets_what_was_pushed(wires: Wires, channels: Any) -> None:
    server = wires.owned(socket.create_server(("127.0.0.1", 0)))
    channel = wires.keep(Chat(map=channels))
    channel.create_socket()
    channel.handle_connect = lambda: None
    channel.connect(server.getsockname())
    channel.push(b"hello")
    far = wires.owned(server.accept()[0])
    with thread(reads_all(far)) as received:
        drained = antiphon.drain(PATIENCE, channels)
    assert received == [b"hello"]
    assert drained.flushed == 1


def test_a_dispatcher_is_closed_when_it_has_nothing_to_write(wires: Wires, channels: Any) -> None:
    class Buffering(Noting):
        rest = MUCH

        def writable(self) -> bool:
            return bool(self.rest)

        def handle_write(self) -> None:
            self.rest = self.rest[self.send(self.rest[:65536]) :]

    class Sending(asyncore.dispatcher_with_send):
        def handle_read(self) -> None:
            self.recv(100)

    _, far = wires.channel(Buffering, channels)
    second, yonder = wires.channel(Sending, channels)
    second.send(MUCH)
    with thread(reads_all(far)) as received, thread(reads_all(yonder)) as also_received:
        drained = antiphon.drain(PATIENCE, channels)
    assert received == [MUCH]
    assert also_received == [MUCH]
    assert drained == Drained(listeners=0, flushed=2, lost=0, aborted=0)


def test_what_is_no_dispatcher_is_closed_at_rest(wires: Wires, channels: Any) -> None:
    near, _ = wires.pair()
    channels[near.fileno()] = foreign = Foreign(near)
    foreign.close = channels.clear  # type: ignore[method-assign]
    assert antiphon.drain(PATIENCE, channels).flushed == 1
    assert foreign.events == []


def test_who_comes_while_the_loop_is_drained_is_drained_too(wires: Wires, channels: Any) -> None:
    born: list[Any] = []

    class Fertile(Chat):
        def handle_close(self) -> None:
            super().handle_close()
            if len(born) < 3:
                channel, far = wires.channel(Fertile, channels)
                channel.push(b"born")
                far.shutdown(socket.SHUT_WR)
                born.append(far)

    _, far = wires.channel(Fertile, channels)
    far.close()
    assert antiphon.drain(PATIENCE, channels).flushed == 4
    assert [peer.recv(100) for peer in born] == [b"born"] * 3


def test_timers_are_called_meanwhile_and_stay(wires: Wires) -> None:
    channels, _, _ = silent_map(wires)
    wires.channel(Writing, channels)
    loop = asyncore.get_loop(channels)
    called: list[int] = []
    loop.call_later(1, called.append, 1)
    loop.call_later(5, called.append, 5)
    loop.drain(3)
    assert called == [1]
    assert loop.busy
    loop.close()


# -- the hook ------------------------------------------------------------------------------------------------


def test_a_channel_may_say_goodbye(wires: Wires, channels: Any) -> None:
    class Polite(Chat):
        def handle_drain(self) -> None:
            self.push(b"421 closing\r\n")
            super().handle_drain()

    _, far = wires.channel(Polite, channels)
    with thread(reads_all(far)) as received:
        antiphon.drain(PATIENCE, channels)
    assert received == [b"421 closing\r\n"]


def test_a_channel_may_finish_what_it_is_at(wires: Wires, channels: Any) -> None:
    class Unfinished(Chat):
        def handle_drain(self) -> None:
            self.call_later(0.01, self.close_when_done)
            self.push(b"soon ")

    channel, far = wires.channel(Unfinished, channels)
    channel.call_later(0, channel.push, b"done")
    with thread(reads_all(far)) as received:
        assert antiphon.drain(PATIENCE, channels).flushed == 1
    assert received == [b"soon done"]


def test_a_hook_that_fails_ends_in_its_channel(wires: Wires, channels: Any) -> None:
    class Failing(Noting):
        handle_drain = raising(LookupError("as asked"))

    channel, _ = wires.channel(Failing, channels)
    antiphon.drain(PATIENCE, channels)
    assert channel.events == ["LookupError('as asked')"]
    assert not channels


def test_what_leaves_the_loop_leaves_the_drain_which_can_be_begun_again(wires: Wires, channels: Any) -> None:
    class Leaving(Noting):
        def handle_drain(self) -> None:
            self.handle_drain = super().handle_drain  # type: ignore[method-assign]
            raise asyncore.ExitNow

    wires.channel(Leaving, channels)
    with pytest.raises(asyncore.ExitNow):
        antiphon.drain(PATIENCE, channels)
    assert antiphon.drain(PATIENCE, channels).flushed == 1


def test_outside_of_a_drain_the_hook_of_a_dispatcher_does_nothing(wires: Wires, channels: Any) -> None:
    channel, _ = wires.channel(Noting, channels)
    channel.handle_drain()
    spin(channels, turns=2)
    assert not channel.closing
    channel.close()
    channel.handle_drain()


# -- errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deadline", "error"), [(-1, ValueError), (float("inf"), ValueError), ("1", TypeError)]
)
def test_a_deadline_is_a_number_of_seconds(deadline: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="deadline must be"):
        antiphon.drain(deadline, {})


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer(2)")
def test_a_signal_handler_that_drains_a_waiting_loop_is_told_to_stop_it(wires: Wires, channels: Any) -> None:
    wires.channel(Noting, channels)
    before = signal.signal(signal.SIGALRM, lambda *_: antiphon.drain(1, channels))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(RuntimeError, match=r"call stop\(\)"):
            asyncore.loop(None, map=channels)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_loop_is_drained_by_one_at_a_time(wires: Wires, channels: Any) -> None:
    class Draining(Noting):
        def handle_drain(self) -> None:
            antiphon.drain(1, channels)

    channel, _ = wires.channel(Draining, channels)
    antiphon.drain(PATIENCE, channels)
    assert channel.events == ["RuntimeError('the loop is being drained already')"]


def test_a_map_that_asyncio_serves_is_not_drained_from_outside(wires: Wires) -> None:
    channels = wires.map()
    channel, _ = wires.channel(Chat, channels)
    host = asyncio.new_event_loop()
    attachment = aio.attach(channels, host)
    with pytest.raises(RuntimeError, match="served by an asyncio loop"):
        antiphon.drain(1, channels)
    assert not channel.closing
    attachment.detach()
    host.close()
    assert antiphon.drain(1, channels).flushed == 1


def test_draining_an_empty_map_is_nothing(channels: Any) -> None:
    assert antiphon.drain(PATIENCE, channels) == Drained(0, 0, 0, 0)
