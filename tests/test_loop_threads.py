"""The loop and other threads, other processes, and itself: who may do what at the same time."""

import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import loop_support
from antiphon import asynchat, asyncore
from antiphon.loop import Loop
from antiphon.maps import ChannelMap
from antiphon.pollers.base import READ, WRITE
from loop_support import Noting, Wires, fork, silent_map, spin, with_sources

assert not TYPE_CHECKING or sys.platform != "win32"

wires = loop_support.wires
each_engine = loop_support.each_engine
each_poller = loop_support.each_poller

#: Seconds after which a thread that should have ended is taken to hang.
PATIENCE = 30


class Chat(asynchat.async_chat):
    def collect_incoming_data(self, data: bytes) -> None:
        pass

    def found_terminator(self) -> None:
        pass


class AnnouncingPoller(loop_support.CountingPoller):
    """Tells when its loop is about to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.about_to_wait = threading.Semaphore(0)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        self.about_to_wait.release()
        return super().wait(timeout)


@contextmanager
def running(*functions: Callable[[], Any]) -> Iterator[list[Any]]:
    """Runs the functions in threads, and waits for them at the end; what they raised is raised then."""
    results: list[Any] = []
    failures: list[BaseException] = []

    def run(function: Callable[[], Any]) -> None:
        try:
            results.append(function())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    yield results
    for thread in threads:
        thread.join(PATIENCE)
    if failures:
        raise failures[0]
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"


@pytest.fixture
def waiting(wires: Wires, each_poller: str) -> tuple[ChannelMap, AnnouncingPoller]:
    """A map, and the poller that its loop waits with."""
    poller = AnnouncingPoller()
    return wires.map(make_poller=lambda: poller), poller


def run_until_empty(channels: Any) -> int:
    """Run the loop of a map; the identity of the thread that did."""
    asyncore.loop(None, map=channels)
    return threading.get_ident()


@contextmanager
def a_loop_that_waits(channels: Any, poller: AnnouncingPoller) -> Iterator[list[int]]:
    """That of the map, in another thread, of which the list has the identity in the end."""
    with running(lambda: run_until_empty(channels)) as runner:
        assert poller.about_to_wait.acquire(timeout=PATIENCE), "no thread has come to wait"
        yield runner


class Idle(Noting):
    """Wants nothing."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return False


def test_a_call_from_another_thread_ends_a_wait_without_end(
    wires: Wires, waiting: tuple[ChannelMap, AnnouncingPoller]
) -> None:
    channels, poller = waiting
    channel, _ = wires.channel(Idle, channels)
    callers: list[int] = []

    def leave() -> None:
        callers.append(threading.get_ident())
        channel.close()

    with a_loop_that_waits(channels, poller) as runner:
        asyncore.get_loop(channels).call_soon_threadsafe(leave)
    assert callers == runner
    assert poller.calls["wait"] == 1


def test_a_timer_from_another_thread_ends_a_wait_without_end(
    wires: Wires, waiting: tuple[ChannelMap, AnnouncingPoller]
) -> None:
    channels, poller = waiting
    channel, _ = wires.channel(Idle, channels)
    with a_loop_that_waits(channels, poller):
        channel.call_later(0, channel.close)
    assert channel.closing


def test_a_close_from_another_thread_is_done_by_the_thread_that_waits(
    wires: Wires, waiting: tuple[ChannelMap, AnnouncingPoller]
) -> None:
    channels, poller = waiting
    closers: list[int] = []

    class Watched(Noting):
        def del_channel(self, map: Any = None) -> None:
            closers.append(threading.get_ident())
            super().del_channel(map)

    channel, far = wires.channel(Watched, channels)
    with a_loop_that_waits(channels, poller) as runner:
        channel.close()
        channel.close()
    assert closers[:1] == runner
    assert channel.closing
    assert loop_support.is_closed(far)


def test_a_push_from_another_thread_arrives_while_the_loop_waits_for_ever(
    wires: Wires, waiting: tuple[ChannelMap, AnnouncingPoller]
) -> None:
    channels, poller = waiting
    channel, far = wires.channel(Chat, channels)
    far.settimeout(PATIENCE)
    with a_loop_that_waits(channels, poller):
        channel.push(b"word")
        assert far.recv(10) == b"word"
        channel.producer_fifo.append(b"and another")
        assert far.recv(100) == b"and another"
        channel.close_when_done()
        assert far.recv(10) == b""


def test_a_channel_that_another_thread_adds_is_served_at_once(
    wires: Wires, waiting: tuple[ChannelMap, AnnouncingPoller]
) -> None:
    channels, poller = waiting
    resident, _ = wires.channel(Idle, channels)
    with a_loop_that_waits(channels, poller):
        newcomer, far = wires.channel(Noting, channels)
        far.send(b"x")
        far.close()
        resident.close()
    assert newcomer.events[-1] == "close"
    assert newcomer.received == b"x"


def test_pushes_of_many_threads_all_arrive_and_none_is_torn(wires: Wires) -> None:
    channels = wires.map()
    channel, far = wires.channel(Chat, channels)
    far.settimeout(PATIENCE)
    words = {f"{thread}-{number};".encode() for thread in range(4) for number in range(200)}

    def push(thread: int) -> None:
        for number in range(200):
            channel.push(f"{thread}-{number};".encode())

    def push_and_close() -> None:
        with running(*(lambda thread=thread: push(thread) for thread in range(4))):
            pass
        channel.close_when_done()

    with running(lambda: asyncore.loop(0.5, map=channels), push_and_close):
        received = b"".join(iter(lambda: far.recv(65536), b""))
    found = [word + b";" for word in received.split(b";")[:-1]]
    assert len(found) == 800
    assert set(found) == words
    for thread in range(4):
        mine = [word for word in found if word.startswith(f"{thread}-".encode())]
        assert mine == [f"{thread}-{number};".encode() for number in range(200)]


@pytest.mark.parametrize("make", [ChannelMap, dict])
def test_a_map_may_be_changed_by_other_threads_while_its_loop_runs(wires: Wires, make: type) -> None:
    channels = make()
    resident, alarm = wires.channel(Noting, channels)
    pairs = [wires.pair() for _ in range(20)]
    running_now = threading.Event()

    def disturb() -> None:
        running_now.wait(PATIENCE)
        for _ in range(30):
            added = [Noting(near, channels) for near, _ in pairs]
            for channel in added:
                del channels[channel._fileno]
        alarm.close()

    def look() -> None:
        running_now.set()
        while resident in channels.values():
            asyncore.loop(0.001, map=channels, count=1)

    with running(look, disturb):
        pass
    assert resident.events == ["read", "close"]


@pytest.mark.parametrize("make", [ChannelMap, dict])
def test_two_threads_may_run_the_loop_of_one_map(wires: Wires, make: type) -> None:
    channels = make()
    inside: list[int] = []
    overlaps: list[int] = []

    class Exclusive(Noting):
        def handle_read(self) -> None:
            inside.append(1)
            overlaps.append(len(inside))
            super().handle_read()
            inside.pop()

    pairs = [wires.channel(Exclusive, channels) for _ in range(20)]

    def talk() -> None:
        for _ in range(20):
            for _, far in pairs:
                far.send(b"x")
        for _, far in pairs:
            far.close()

    looping = lambda: asyncore.loop(0.5, map=channels)  # noqa: E731
    with running(looping, looping, looping, talk):
        pass
    assert set(overlaps) == {1}
    assert {channel.received for channel, _ in pairs} == {b"x" * 20}
    assert {channel.events.count("close") for channel, _ in pairs} == {1}


def test_a_second_thread_waits_no_longer_than_its_timeout(
    wires: Wires, waiting: tuple[ChannelMap, AnnouncingPoller]
) -> None:
    channels, poller = waiting
    channel, _ = wires.channel(Idle, channels)
    with a_loop_that_waits(channels, poller):
        asyncore.loop(0, map=channels, count=3)
        asyncore.loop(0.001, map=channels, count=3)
        assert poller.calls["wait"] == 1
        channel.close()


def test_several_loops_run_in_several_threads(wires: Wires) -> None:
    def converse() -> bool:
        channels: dict[int, Any] = {}
        near, far = socket.socketpair()
        with near, far:
            channel = Noting(near, channels)
            for _ in range(50):
                far.send(b"x")
                asyncore.loop(1, map=channels, count=1)
            far.close()
            asyncore.loop(map=channels)
        return channel.received == b"x" * 50

    with running(*[converse] * 4) as results:
        pass
    assert results == [True] * 4


def test_what_is_asked_for_while_no_thread_is_in_the_loop_is_done_at_once(wires: Wires) -> None:
    loop = asyncore.get_loop(wires.map())
    done: list[int] = []
    with running(lambda: loop.do(done.append, 1)):
        pass
    assert done == [1]


def test_what_is_asked_for_from_a_handler_is_done_at_once(wires: Wires) -> None:
    channels = wires.map()
    done: list[int] = []

    class Asking(Noting):
        def handle_read(self) -> None:
            super().handle_read()
            asyncore.get_loop(channels).do(done.append, len(done))
            done.append(-1)

    _, far = wires.channel(Asking, channels)
    far.send(b"x")
    spin(channels)
    assert done == [0, -1]


def test_a_timer_of_a_channel_that_closes_meanwhile_is_never_called(wires: Wires) -> None:
    """Another thread asks for it while the loop's own is in a handler that then closes the channel."""
    channels = wires.map()
    called: list[int] = []

    class Closing(Noting):
        def handle_read(self) -> None:
            with running(lambda: self.call_later(0, called.append, 1)):
                pass
            self.close()

    _, far = wires.channel(Closing, channels)
    far.send(b"x")
    spin(channels, turns=3)
    asyncore.get_loop(channels).call_later(0, called.append, 2)
    spin(channels, turns=3)
    assert called == [2]


# -- inside of a handler -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [ChannelMap, dict])
def test_a_handler_may_run_the_loop(wires: Wires, make: type, each_engine: str) -> None:
    channels = make()

    class Nesting(Noting):
        def handle_read(self) -> None:
            super().handle_read()
            self.events.append("begin")
            spin(channels, turns=2)
            self.events.append("end")

    outer, far = wires.channel(Nesting, channels)
    other, yonder = wires.channel(Noting, channels)
    far.send(b"x")
    yonder.send(b"y")
    spin(channels)
    assert outer.events == ["read", "begin", "end"]
    assert other.received == b"y"
    assert other.events[0] == "read"
    assert not any("Error" in event for event in other.events)


def test_what_a_handler_has_pushed_leaves_before_it_runs_a_loop(wires: Wires) -> None:
    here, elsewhere = wires.map(), wires.map()
    answers: list[bytes] = []

    class Asking(Chat):
        def collect_incoming_data(self, data: bytes) -> None:
            self.push(b"question")
            wires.channel(Noting, elsewhere)
            spin(elsewhere)
            answers.append(far.recv(100))

    _, far = wires.channel(Asking, here)
    far.send(b"x")
    spin(here)
    assert answers == [b"question"]


def test_what_was_opened_anew_in_a_nested_loop_gets_no_event_of_the_batch_around_it(wires: Wires) -> None:
    class Nesting(Noting):
        def handle_read(self) -> None:
            poller.deliver((reopening._fileno, READ))
            spin(channels)

    class Reopening(Noting):
        def handle_read(self) -> None:
            number = doomed._fileno
            doomed.close()
            doomed.create_socket()
            assert doomed._fileno == number

    channels, _, poller = silent_map(wires)
    first, _ = wires.channel(Nesting, channels)
    reopening, _ = wires.channel(Reopening, channels)
    doomed, _ = wires.channel(Noting, channels)
    poller.deliver((first._fileno, READ), (doomed._fileno, READ))
    spin(channels)
    assert doomed.events == []
    poller.deliver((doomed._fileno, WRITE))
    spin(channels)
    assert doomed._fileno in poller.watched


# -- fork --------------------------------------------------------------------------------------------------


def in_child(function: Callable[[], bool]) -> bool:
    """Whether `function` returns true in a forked child."""
    child = fork()
    if child == 0:  # pragma: no cover: the child reports through its exit status
        status = 2
        try:
            status = 0 if function() else 1
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_uses_a_poller_of_its_own(wires: Wires, each_poller: str) -> None:
    channels: Any = ChannelMap()
    channel, far = wires.channel(Noting, channels)
    spin(channels)
    before = (loop := asyncore.get_loop(channels))._poller

    def child() -> bool:
        fresh = loop._poller is None
        far.send(b"to the child")
        spin(channels)
        channel.close()
        return bool(fresh and channel.received == b"to the child" and not channels)

    assert in_child(child)
    assert loop._poller is before
    far.send(b"to the parent")
    spin(channels)
    assert channel.received == b"to the parent"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_that_is_forked_in_a_handler_can_go_on(wires: Wires, each_poller: str) -> None:
    channels: Any = ChannelMap()
    reports: list[bool] = []

    class Forking(Noting):
        def handle_read(self) -> None:
            super().handle_read()
            reports.append(in_child(child))

    def child() -> bool:
        reader.close()
        yonder.send(b"y")
        spin(channels, turns=2)
        return bool(other.received == b"y")

    reader, far = wires.channel(Forking, channels)
    other, yonder = wires.channel(Noting, channels)
    far.send(b"x")
    spin(channels)
    assert reports == [True]
    spin(channels)
    assert reader.received == b"x"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_is_not_kept_out_by_a_thread_that_it_does_not_have() -> None:
    """The parent's other thread waits in the loop, its lock taken; in the child there is no such thread."""
    script = """if True:
        import os, threading, warnings
        from antiphon import asyncore
        warnings.simplefilter("ignore", DeprecationWarning)  # Of os.fork() beside threads.
        loop = asyncore.get_loop()
        entered = threading.Event()
        leave = threading.Event()
        def hold():
            entered.set()
            leave.wait()
        loop.call_soon_threadsafe(hold)
        runner = threading.Thread(target=asyncore.loop)
        runner.start()
        entered.wait()
        child = os.fork()
        if child == 0:
            loop.call_soon_threadsafe(os._exit, 7)
            asyncore.loop()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        leave.set()
        runner.join()
    """
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=with_sources(),
    )
    assert (ended.stdout.strip(), ended.stderr) == ("7", "")


def test_a_loop_that_nobody_holds_is_not_kept_for_forks_sake() -> None:
    loop = weakref.ref(Loop({}))
    assert loop() is None


def test_a_turn_of_another_thread_sends_nothing_of_a_handler_that_is_not_done(wires: Wires) -> None:
    first, second = wires.map(), wires.map()
    pushed, leave = threading.Event(), threading.Event()

    class Pausing(Chat):
        def collect_incoming_data(self, data: bytes) -> None:
            self.push(b"answer")
            pushed.set()
            leave.wait(PATIENCE)

    _, far = wires.channel(Pausing, first)
    far.send(b"x")
    wires.channel(Noting, second)
    with running(lambda: spin(first)):
        pushed.wait(PATIENCE)
        spin(second)
        with pytest.raises(BlockingIOError):
            far.recv(10)
        leave.set()
    assert far.recv(10) == b"answer"
