"""How the connections of a loop that is drained end: at rest, at the deadline, or lost."""

import logging
import socket
import threading
from typing import Any

import pytest

import antiphon
import draining_support
import loop_support
from antiphon import asyncore, lingering
from antiphon.draining import Drained
from antiphon.pollers.base import READ, WRITE
from draining_support import MUCH, PATIENCE, Chat, reads_all, thread, until_stopped
from loop_support import Noting, Wires, Writing, silent_map
from tls_support import NAME, client_context, server_context

wires = loop_support.wires
each_poller = loop_support.each_poller
channels = draining_support.channels


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
