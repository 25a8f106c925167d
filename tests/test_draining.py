"""How a loop ends: stopped from anywhere, and drained so that what was promised arrives."""

import asyncio
import concurrent.futures
import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import antiphon
import loop_support
from antiphon import MessageChannel, aio, asynchat, asyncore, lingering
from antiphon.draining import Drained
from antiphon.maps import ChannelMap
from antiphon.pollers.base import READ, WRITE
from loop_support import CountingPoller, Foreign, Noting, Wires, Writing, raising, silent_map, spin
from tls_support import NAME, client_context, server_context

assert not TYPE_CHECKING or sys.platform != "win32"

wires = loop_support.wires
each_poller = loop_support.each_poller

#: Seconds after which something that should have happened is taken not to.
PATIENCE = 30
#: More than the kernel keeps for a peer that doesn't read.
MUCH = bytes(range(256)) * 40_000


@pytest.fixture(params=[ChannelMap, dict], ids=lambda make: make.__name__)
def channels(request: pytest.FixtureRequest, each_poller: str, wires: Wires) -> Any:
    return wires.map() if request.param is ChannelMap else wires.plain_map()


class Chat(asynchat.async_chat):
    """Notes its lines and its end."""

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        self.events: list[Any] = []
        super().__init__(sock, map)
        self.set_terminator(b"\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self._collect_incoming_data(data)

    def found_terminator(self) -> None:
        self.events.append(self._get_data())

    def handle_close(self) -> None:
        self.events.append("close")
        self.close()


class Stopping(Noting):
    """Stops its loop when it reads."""

    def handle_read(self) -> None:
        super().handle_read()
        antiphon.stop(self._map)


@contextlib.contextmanager
def thread(function: Callable[[], object]) -> Iterator[list[object]]:
    """Runs it meanwhile; what it returned is in the list after that."""
    results: list[object] = []
    runner = threading.Thread(target=lambda: results.append(function()), daemon=True)
    runner.start()
    yield results
    runner.join(PATIENCE)
    assert results, "it raised, or hangs"


def until_stopped(channels: Any) -> str:
    asyncore.loop(None, map=channels)
    return "returned"


def reads_all(peer: socket.socket) -> Callable[[], bytes]:
    """Reads from a socket until its end."""
    peer.setblocking(True)
    peer.settimeout(PATIENCE)

    def read() -> bytes:
        with peer, contextlib.suppress(ConnectionResetError):
            return b"".join(iter(lambda: peer.recv(65536), b""))
        return b"reset"

    return read


# -- stop --------------------------------------------------------------------------------------------------


def test_a_stopped_loop_returns_when_its_turn_has_ended(wires: Wires, channels: Any) -> None:
    pairs = [wires.channel(Stopping, channels) for _ in range(3)]
    for _, far in pairs:
        far.send(b"x")
    asyncore.loop(None, map=channels)
    assert [channel.received for channel, _ in pairs] == [b"x"] * 3
    assert len(channels) == 3


def test_a_stopped_loop_can_be_entered_again(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Stopping, channels)
    for word in b"one", b"two":
        far.send(word)
        asyncore.loop(None, map=channels)
    assert channel.received == b"onetwo"


def test_a_turn_that_was_counted_is_not_lost_to_a_stop_before_it(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Stopping, channels)
    for word in b"one", b"two":
        far.send(word)
        asyncore.loop(None, map=channels, count=1)
    assert channel.received == b"onetwo"


def test_a_stop_that_comes_before_the_loop_ends_the_next_one_before_its_first_turn(
    wires: Wires, channels: Any
) -> None:
    channel, far = wires.channel(Stopping, channels)
    far.send(b"x")
    antiphon.stop(channels)
    antiphon.stop(channels)
    asyncore.loop(None, map=channels)
    assert channel.received == b""
    asyncore.loop(None, map=channels)
    assert channel.received == b"x"


def test_the_loops_inside_of_handlers_end_with_the_one_around_them(wires: Wires, channels: Any) -> None:
    class Nesting(Noting):
        def handle_read(self) -> None:
            super().handle_read()
            if self.events == ["read"]:
                yonder.send(b"y")
                asyncore.loop(None, map=channels)
                self.events.append("back")
                asyncore.loop(None, map=channels)
                self.events.append("and again")

    outer, far = wires.channel(Nesting, channels)
    inner, yonder = wires.channel(Stopping, channels)
    far.send(b"x")
    asyncore.loop(None, map=channels)
    assert outer.events == ["read", "back", "and again"]
    assert inner.received == b"y"
    far.send(b"z")
    asyncore.loop(None, map=channels, count=1)
    assert outer.received == b"xz"


def test_another_thread_stops_a_loop_that_waits_for_ever(wires: Wires, channels: Any) -> None:
    started = threading.Event()
    wires.channel(Noting, channels)
    loop = asyncore.get_loop(channels)
    loop.call_soon_threadsafe(started.set)
    with thread(lambda: until_stopped(channels)) as returned:
        assert started.wait(PATIENCE)
        loop.stop()
    assert returned == ["returned"]


def test_all_threads_leave_a_stopped_loop(wires: Wires) -> None:
    channels = wires.map()
    wires.channel(Noting, channels)
    loop = asyncore.get_loop(channels)
    started = threading.Event()
    loop.call_soon_threadsafe(started.set)
    with contextlib.ExitStack() as threads:
        for _ in range(4):
            threads.enter_context(thread(lambda: until_stopped(channels)))
        assert started.wait(PATIENCE)
        loop.stop()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer(2)")
def test_a_signal_handler_stops_a_loop_that_waits_for_ever(wires: Wires, channels: Any) -> None:
    wires.channel(Noting, channels)
    before = signal.signal(signal.SIGALRM, lambda *_: antiphon.stop(channels))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        asyncore.loop(None, map=channels)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(channels) == 1


def test_a_program_that_calls_poll_itself_does_not_spin_after_a_stop(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    wires.channel(Noting, channels)
    antiphon.stop(channels)
    for _ in range(3):
        asyncore.poll(30, channels)
    assert poller.waits == [30, 30, 30]


def test_a_stop_that_comes_while_the_poller_is_being_opened_is_not_missed(wires: Wires) -> None:
    def make() -> CountingPoller:
        antiphon.stop(channels)
        return CountingPoller()

    channels = wires.map(make_poller=make)
    wires.channel(Noting, channels)
    asyncore.loop(None, map=channels)
    assert len(channels) == 1


def test_a_loop_without_channels_is_stopped_before_its_timers_are_through(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    loop = asyncore.get_loop(channels)
    loop.call_every(1, lambda: None)
    loop.call_later(2.5, loop.stop)
    asyncore.loop(None, map=channels)
    assert poller.waits == [1, 1, 0.5]
    loop.close()


def test_the_default_map_s_loop_is_stopped_without_naming_it(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = wires.map()
    monkeypatch.setattr(asyncore, "socket_map", channels)
    wires.channel(Noting, None)
    antiphon.stop()
    asyncore.loop(None)
    assert antiphon.drain(0) == Drained(listeners=0, flushed=1, lost=0, aborted=0)


# -- drain: what arrives -----------------------------------------------------------------------------------


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


# -- drain: the hook ---------------------------------------------------------------------------------------


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


# -- drain: the end ----------------------------------------------------------------------------------------


def test_at_the_deadline_the_rest_is_closed(wires: Wires, caplog: pytest.LogCaptureFixture) -> None:
    channels, clock, _ = silent_map(wires)
    stuck, _ = wires.channel(Chat, channels)
    stuck.push(MUCH)
    busy, _ = wires.channel(Writing, channels)
    wires.listener(Noting, channels)
    with caplog.at_level(logging.INFO, "antiphon.loop"):
        assert antiphon.drain(7, channels) == Drained(listeners=1, flushed=0, lost=0, aborted=2)
    assert clock() == pytest.approx(7)
    assert (stuck.closing, busy.closing, stuck.events) == (True, True, [])
    assert not channels
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (
        logging.WARNING,
        "drained in 7 s: Drained(listeners=1, flushed=0, lost=0, aborted=2)",
    )


def test_with_no_time_what_can_be_sent_at_once_is_sent(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Chat, channels)
    channel.producer_fifo.append(b"at once")
    assert antiphon.drain(0, channels) == Drained(listeners=0, flushed=1, lost=0, aborted=0)
    assert [far.recv(100), far.recv(100)] == [b"at once", b""]
    assert channel.events == ["close"]


def test_a_peer_that_does_not_end_its_direction_is_waited_for_a_second(wires: Wires) -> None:
    channels, clock, poller = silent_map(wires)
    channel, far = wires.channel(Chat, channels)
    channel.push(b"goodbye")
    poller.deliver((channel._fileno, WRITE))
    assert antiphon.drain(60, channels).flushed == 1
    assert clock() == pytest.approx(lingering.SECONDS)
    assert channel.events == ["close"]
    assert [far.recv(100), far.recv(100)] == [b"goodbye", b""]


def test_a_peer_that_has_not_acknowledged_everything_is_waited_for_longer(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = [700, 20, 0]
    monkeypatch.setattr(lingering, "unacknowledged", lambda sock: missing.pop(0))  # No slow network is here.
    channels, clock, poller = silent_map(wires)
    channel, _ = wires.channel(Chat, channels)
    channel.push(b"goodbye")
    poller.deliver((channel._fileno, WRITE))
    assert antiphon.drain(60, channels).flushed == 1
    assert missing == []
    assert lingering.SECONDS < clock() < 2


def test_a_chat_that_reads_nothing_notices_the_end_of_its_peer_all_the_same(
    wires: Wires, channels: Any
) -> None:
    channel, far = wires.channel(Chat, channels)
    channel.pause_reading()
    far.send(b"not read\n")
    channel.push(b"goodbye")
    with thread(reads_all(far)) as received:
        assert antiphon.drain(PATIENCE, channels).flushed == 1
    assert received == [b"goodbye"]
    assert channel.events == ["close"]


@pytest.mark.parametrize("answers", [True, False], ids=["ends TLS too", "does not"])
def test_under_tls_everything_arrives_and_its_end_is_told(wires: Wires, channels: Any, answers: bool) -> None:
    near, far = wires.pair(socket.AF_INET)
    channel = wires.keep(Chat(near, channels))
    channel.start_tls(server_context(), server_side=True)
    channel.push(MUCH)
    far.setblocking(True)
    far.settimeout(PATIENCE)
    ended = threading.Event()

    def read() -> bytes:
        with client_context().wrap_socket(far, server_hostname=NAME, suppress_ragged_eofs=False) as peer:
            got = b"".join(iter(lambda: peer.recv(65536), b""))
            if not answers:
                assert ended.wait(PATIENCE)
        return got

    with thread(read) as received:
        drained = antiphon.drain(PATIENCE, channels)
        ended.set()
    assert received == [MUCH]
    assert drained == Drained(listeners=0, flushed=1, lost=0, aborted=0)


def test_a_dispatcher_whose_rate_is_limited_sends_everything(wires: Wires) -> None:
    class Buffering(Noting):
        rest = b"x" * 3000

        def writable(self) -> bool:
            return bool(self.rest)

        def handle_write(self) -> None:
            self.rest = self.rest[self.send(self.rest[:1000]) :]

    channels = wires.map()
    channel, far = wires.channel(Buffering, channels)
    channel.rate_out = 30_000
    with thread(reads_all(far)) as received:
        assert antiphon.drain(PATIENCE, channels).flushed == 1
    assert received == [b"x" * 3000]


def test_a_dispatcher_whose_name_is_looked_up_is_not_at_rest(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    channel._ac_paused = True  # As while a name is looked up.
    assert antiphon.drain(2, channels).aborted == 1
    assert clock() == pytest.approx(2)


def test_what_is_no_plain_socket_is_closed_at_once(wires: Wires) -> None:
    class Wrapped:
        def __init__(self, sock: Any) -> None:
            self.sock = sock

        def __getattr__(self, name: str) -> Any:
            return getattr(self.sock, name)

    channels, clock, poller = silent_map(wires)
    channel, far = wires.channel(Chat, channels)
    channel.socket = Wrapped(channel.socket)
    channel.producer_fifo.append(b"goodbye")
    poller.deliver((channel._fileno, WRITE))
    assert antiphon.drain(60, channels).flushed == 1
    assert clock() == 0
    assert [far.recv(100), far.recv(100)] == [b"goodbye", b""]


def test_a_peer_that_still_talks_is_waited_for_longer(wires: Wires) -> None:
    channels, clock, poller = silent_map(wires)
    channel, far = wires.channel(Chat, channels)
    poller.deliver((channel._fileno, WRITE))
    for second in 0.9, 1.8, 2.7:
        poller.deliver((channel._fileno, READ), after=second)
        asyncore.get_loop(channels).call_later(second - 0.1, far.send, b"wait\n")
    assert antiphon.drain(60, channels).flushed == 1
    assert clock() == pytest.approx(2.7 + lingering.SECONDS)
    assert channel.events == ["close"]


def test_what_arrives_while_the_peer_is_waited_for_is_dropped(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Chat, channels)
    channel.push(b"goodbye")
    far.setblocking(True)
    far.settimeout(PATIENCE)

    def talk() -> bytes:
        got = b"".join(iter(lambda: far.recv(100), b""))
        far.send(b"but\nyou\n")
        far.close()
        return got

    with thread(talk) as received:
        antiphon.drain(PATIENCE, channels)
    assert received == [b"goodbye"]
    assert channel.events == ["close"]


def test_a_channel_that_does_not_close_when_it_is_told_to_is_closed_at_the_deadline(wires: Wires) -> None:
    class Reluctant(Chat):
        def handle_close(self) -> None:
            self.events.append("close")

    channels, _, poller = silent_map(wires)
    at_once, _ = wires.channel(Reluctant, channels)
    later, _ = wires.channel(Reluctant, channels)
    for channel in at_once, later:
        poller.deliver((channel._fileno, WRITE))
        poller.deliver()
    poller.deliver((later._fileno, WRITE), after=lingering.SECONDS + 0.5)
    assert antiphon.drain(1.2, channels).aborted == 2
    assert [channel.events for channel in (at_once, later)] == [["close"]] * 2
    assert not channels


def test_a_peer_that_is_waited_for_at_the_deadline_has_got_everything(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Chat, channels)
    poller.deliver((channel._fileno, WRITE))
    assert antiphon.drain(0.5, channels) == Drained(listeners=0, flushed=1, lost=0, aborted=0)
    assert channel.events == ["close"]


@pytest.mark.parametrize("pushed", [MUCH, b"word"], ids=len)
def test_a_connection_that_ends_before_everything_was_sent_is_lost(
    wires: Wires, channels: Any, pushed: bytes
) -> None:
    channel, far = wires.channel(Chat, channels)
    far.close()
    channel.producer_fifo.append(pushed)
    with_send, yonder = wires.channel(asyncore.dispatcher_with_send, channels)
    with_send.out_buffer = pushed
    yonder.close()
    with_send.handle_close = with_send.close
    assert antiphon.drain(PATIENCE, channels) == Drained(listeners=0, flushed=0, lost=2, aborted=0)


def test_a_channel_that_was_cut_off_once_and_opened_anew_counts_by_its_last_connection(
    wires: Wires, channels: Any
) -> None:
    channel, _ = wires.channel(Chat, channels)
    channel.push(MUCH)
    channel.close()
    near, far = wires.pair()
    channel.set_socket(near)
    channel.connected = True
    far.close()
    assert antiphon.drain(PATIENCE, channels).flushed == 1


def test_a_stop_ends_a_drain(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)
    wires.channel(Writing, channels)
    loop = asyncore.get_loop(channels)
    loop.call_later(2, loop.stop)
    assert loop.drain(60).aborted == 1
    assert clock() == pytest.approx(2)


def test_a_stop_that_was_not_heeded_before_does_not_end_a_drain(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Chat, channels)
    channel.push(MUCH)
    antiphon.stop(channels)
    with thread(reads_all(far)) as received:
        assert antiphon.drain(PATIENCE, channels).flushed == 1
    assert received == [MUCH]


def test_a_loop_that_runs_in_another_thread_is_drained_from_here(wires: Wires, channels: Any) -> None:
    started = threading.Event()
    channel, far = wires.channel(Chat, channels)
    asyncore.get_loop(channels).call_soon_threadsafe(started.set)
    with thread(lambda: until_stopped(channels)), thread(reads_all(far)) as received:
        assert started.wait(PATIENCE)
        channel.push(MUCH)
        assert antiphon.drain(PATIENCE, channels).flushed == 1
    assert received == [MUCH]


def test_a_handler_may_drain_its_loop(wires: Wires, channels: Any) -> None:
    results: list[Drained] = []

    class Draining(Chat):
        def found_terminator(self) -> None:
            self.push(b"goodbye")
            results.append(antiphon.drain(PATIENCE, channels))

    _, far = wires.channel(Draining, channels)
    far.send(b"end\nmore\n")
    far.shutdown(socket.SHUT_WR)
    asyncore.loop(None, map=channels)
    assert [drained.flushed for drained in results] == [1]
    assert far.recv(100) == b"goodbye"


# -- drain: errors -----------------------------------------------------------------------------------------


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
