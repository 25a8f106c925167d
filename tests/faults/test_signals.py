"""Real signals while the loop waits and works: they wake it, none is an error, and nothing is lost."""

import io
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import loop_support
from antiphon import asyncore, pollers
from antiphon.maps import ChannelMap
from antiphon.producers import FileProducer
from effort import effort
from faults.handlers import Lines
from loop_support import Noting, Wires, with_sources

assert not TYPE_CHECKING or sys.platform != "win32"
pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer(2)")

wires = loop_support.wires
each_poller = loop_support.each_poller
use_poll = loop_support.use_poll

#: Seconds from one signal to the next.
EVERY = 0.0003
WORDS = effort(1500, 30_000)


class Interrupted(BaseException):
    """What a signal handler raises, as Ctrl-C raises KeyboardInterrupt."""


@pytest.fixture(params=[ChannelMap, dict], ids=["telling", "plain"])
def channels(request: pytest.FixtureRequest, each_poller: str, wires: Wires) -> Any:
    return wires.map() if request.param is ChannelMap else wires.plain_map()


@contextmanager
def alarmed(handler: Callable[[], object], after: float = 0.01, every: float = 0.0) -> Iterator[None]:
    """Has the handler of a real signal called soon, or again and again."""
    before = signal.signal(signal.SIGALRM, lambda *_: handler())
    try:
        signal.setitimer(signal.ITIMER_REAL, after, every)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Echo(Lines):
    """Sends each line back."""

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        super().__init__(sock, map)
        self.errors: list[BaseException | None] = []

    def found_terminator(self) -> None:
        super().found_terminator()
        self.push(self.lines[-1] + b"\n")

    def handle_error(self) -> None:
        self.errors.append(sys.exc_info()[1])
        super().handle_error()


def converse(far: socket.socket, words: int) -> bytes:
    """Say numbered words, a few at a time, and hang up when all have come back."""
    far.setblocking(True)
    far.settimeout(30)
    got = b""
    with far:
        for first in range(0, words, 50):
            far.sendall(b"".join(b"%d\n" % number for number in range(first, min(first + 50, words))))
            while got.count(b"\n") < min(first + 50, words):
                got += far.recv(65536)
    return got


def said(words: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(words))


@contextmanager
def thread(function: Callable[[], object]) -> Iterator[list[object]]:
    results: list[object] = []
    runner = threading.Thread(target=lambda: results.append(function()), daemon=True)
    runner.start()
    yield results
    runner.join(30)


# -- signals wake the loop ----------------------------------------------------------------------------


def act_on_a_waiting_loop(channels: Any, action: Callable[[], object]) -> None:
    """Have a signal handler do something while the loop waits for ever."""
    with alarmed(action):
        asyncore.loop(None, map=channels)


def test_a_handler_that_closes_the_last_channel_ends_the_loop(wires: Wires, channels: Any) -> None:
    channel, _ = wires.channel(Noting, channels)
    act_on_a_waiting_loop(channels, channel.close)
    assert not channels


def test_a_handler_that_calls_through_the_loop_wakes_it(wires: Wires, channels: Any) -> None:
    channel, _ = wires.channel(Noting, channels)
    act_on_a_waiting_loop(channels, lambda: channel.call_soon_threadsafe(channel.close))
    assert not channels


def test_a_handler_that_sets_a_timer_wakes_the_loop(wires: Wires, channels: Any) -> None:
    channel, _ = wires.channel(Noting, channels)
    act_on_a_waiting_loop(channels, lambda: channel.call_later(0, channel.close))
    assert not channels


def test_a_handler_that_closes_a_channel_when_it_is_done_wakes_the_loop(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Lines, channels)

    def goodbye() -> None:
        channel.push(b"goodbye")
        channel.close_when_done()

    act_on_a_waiting_loop(channels, goodbye)
    assert [far.recv(100), far.recv(100)] == [b"goodbye", b""]


def test_a_handler_that_adds_a_channel_has_it_served_at_once(wires: Wires, channels: Any) -> None:
    first, _ = wires.channel(Noting, channels)

    class Closing(Noting):
        def handle_read(self) -> None:
            super().handle_read()
            first.close()
            self.close()

    def add() -> None:
        _, far = wires.channel(Closing, channels)
        far.send(b"x")

    act_on_a_waiting_loop(channels, add)
    assert not channels


# -- none of them is an error ----------------------------------------------------------------------------


def test_a_storm_of_signals_is_nowhere_to_be_seen(wires: Wires, channels: Any, use_poll: bool) -> None:
    heard: list[int] = []
    channel, far = wires.channel(Echo, channels)
    with thread(lambda: converse(far, WORDS)) as got, alarmed(lambda: heard.append(1), EVERY, EVERY):
        asyncore.loop(30, use_poll, channels)
    assert got == [said(WORDS)]
    assert channel.errors == []
    assert len(channel.lines) == WORDS
    assert heard


def test_a_storm_of_signals_disturbs_no_file_that_is_sent(
    wires: Wires, channels: Any, tmp_path: Any, use_poll: bool
) -> None:
    content = bytes(range(256)) * 8192
    (tmp_path / "file").write_bytes(content)
    channel, far = wires.channel(Echo, channels)
    channel.push_with_producer(FileProducer((tmp_path / "file").open("rb")))
    channel.push_with_producer(FileProducer(io.BytesIO(content)))
    channel.close_when_done()
    far.setblocking(True)
    with (
        thread(lambda: b"".join(iter(lambda: far.recv(65536), b""))) as got,
        alarmed(lambda: None, EVERY, EVERY),
    ):
        asyncore.loop(30, use_poll, channels)
    assert got == [content * 2]
    assert channel.errors == []


# -- handlers that raise ----------------------------------------------------------------------------


def interrupt() -> None:
    raise Interrupted


def test_what_a_handler_raises_while_the_loop_waits_leaves_it_and_nothing_is_lost(
    wires: Wires, channels: Any, use_poll: bool
) -> None:
    channel, far = wires.channel(Echo, channels)
    far.send(b"one\ntwo\nthr")
    asyncore.loop(0, use_poll, channels, 3)
    for _ in range(5):
        with pytest.raises(Interrupted), alarmed(interrupt):
            asyncore.loop(None, use_poll, channels)
    far.send(b"ee\n")
    asyncore.loop(0, use_poll, channels, 3)
    assert far.recv(100) == b"one\ntwo\nthree\n"
    assert channel.errors == []


#: Where the signals strike, between any two steps, a handler may not have come to its end, nor may a test: so
#: it is a process of its own.
STORM = """if True:
    import random, signal, socket, sys
    from antiphon import asyncore, drain
    from antiphon.asynchat import async_chat

    class Interrupted(BaseException):
        pass

    class Echo(async_chat):
        def __init__(self, sock):
            super().__init__(sock)
            self.set_terminator(b"\\n")
        collect_incoming_data = async_chat._collect_incoming_data
        def found_terminator(self):
            self.push(self._get_data() + b"\\n")

    def interrupt(*_):
        raise Interrupted

    def connect():
        near, far = socket.socketpair()
        return Echo(near), far

    signal.signal(signal.SIGALRM, interrupt)
    rounds, use_poll = int(sys.argv[1]), sys.argv[2] == "True"
    disturbed, peer = connect()
    asyncore.poll()  # Modules are imported, which takes longer than it is until the next signal.
    caught = 0
    for number in range(rounds):
        peer.send(b"%d\\n" % number)
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, 0.0005))
            try:
                asyncore.loop(0.001, use_poll, None, 5)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupted:
            caught += 1
    disturbed.close()
    channel, peer = connect()
    for number in range(100):
        peer.send(b"%d\\n" % number)
        asyncore.loop(0, use_poll, None, 3)
    print(caught > 0, peer.recv(10_000) == b"".join(b"%d\\n" % number for number in range(100)))
    peer.close()
    ended = drain(1)
    print(ended.lost, ended.aborted, len(asyncore.socket_map))
"""


@pytest.mark.slow  # A tracer that counts coverage hears of each signal: minutes.
def test_after_a_storm_of_handlers_that_raise_the_loop_can_be_entered_again(
    each_poller: str, use_poll: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STORM, str(effort(300, 20_000)), str(use_poll)],
        capture_output=True,
        text=True,
        timeout=effort(30, 300),
        check=False,
        env={**with_sources(), pollers.ENVIRONMENT_VARIABLE: each_poller},
    )
    assert (done.stdout.splitlines(), done.returncode) == (["True True", "0 0 0"], 0), done.stderr
