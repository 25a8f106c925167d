"""Coroutines of channels, on every loop that may run them, and coroutines that wait for channels."""

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import loop_support
from antiphon import MessageChannel, aio, asyncore, background
from antiphon.asyncore import ExitNow
from antiphon.spawning import Waiter
from loop_support import Wires

wires = loop_support.wires

PATIENCE = 20


class Server(MessageChannel):
    """Answers each message with what a coroutine makes of it."""

    terminator = b"\n"
    keeps_reading = False

    def __init__(self, sock: Any, map: Any = None) -> None:
        self.errors: list[Any] = []
        self.threads: list[int] = []
        self.closes = 0
        super().__init__(sock, map)

    def message_received(self, message: bytes) -> None:
        self.spawn(self.work(message), self.answer, keep_reading=self.keeps_reading)

    async def work(self, message: bytes) -> bytes:
        await asyncio.sleep(0.01 if message == b"slow" else 0)
        if message == b"wrong":
            raise ArithmeticError("wrong")
        return message.upper()

    def answer(self, result: bytes) -> None:
        self.threads.append(threading.get_ident())
        self.push(result + b"\n")

    def handle_error(self) -> None:
        self.errors.append(sys.exc_info()[1])

    def handle_close(self) -> None:
        self.closes += 1
        self.close()


class Engine:
    """Runs a map until something is so."""

    def __init__(self, channels: Any) -> None:
        self.channels = channels

    def until(self, condition: Callable[[], object]) -> None:
        for _ in range(2000):
            if condition():
                return
            timer = asyncore.get_loop(self.channels).call_later(0.01, str)  # It waits without channels too.
            asyncore.loop(map=self.channels, count=1)
            timer.cancel()
        raise AssertionError("it did not come to be")


class Attached(Engine):
    def __init__(self, channels: Any) -> None:
        super().__init__(channels)
        self.host = asyncio.new_event_loop()
        self.attachment = aio.attach(channels, self.host)

    def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.001)

        self.host.run_until_complete(asyncio.wait_for(wait(), PATIENCE))


@contextmanager
def engine(name: str, channels: Any) -> Iterator[Engine]:
    if name == "attached":
        made = Attached(channels)
        yield made
        made.attachment.detach()
        made.host.close()
    elif name == "hosted":
        hosted = aio.run_in(channels)
        yield Engine(channels)
        hosted.close()
    else:
        yield Engine(channels)


@pytest.fixture
def channels(wires: Wires) -> Any:
    return wires.map()


@pytest.fixture(params=["attached", "hosted", "background"])
def running(request: pytest.FixtureRequest, channels: Any) -> Iterator[Engine]:
    with engine(request.param, channels) as made:
        yield made


class Received:
    """What the other end of a connection has received, once it is enough."""

    def __init__(self, far: Any, size: int) -> None:
        self.far, self.size, self.data = far, size, b""

    def __call__(self) -> bool:
        with suppress(BlockingIOError):
            self.data += self.far.recv(1000)
        return len(self.data) >= self.size


def test_answers_keep_the_order_of_the_questions(wires: Wires, channels: Any, running: Engine) -> None:
    channel, far = wires.channel(Server, channels)
    far.send(b"slow\nquick\nslow\nquick\n")
    enough = Received(far, 22)
    running.until(enough)
    assert enough.data == b"SLOW\nQUICK\nSLOW\nQUICK\n"
    assert set(channel.threads) == {threading.get_ident()}
    assert not channel.reading_paused


def test_told_to_a_channel_goes_on_reading(wires: Wires, channels: Any, running: Engine) -> None:
    channel, far = wires.channel(Server, channels)
    channel.keeps_reading = True
    far.send(b"slow\nquick\n")
    enough = Received(far, 11)
    running.until(enough)
    assert enough.data == b"QUICK\nSLOW\n"


def test_an_exception_comes_to_the_channel_and_it_goes_on(
    wires: Wires, channels: Any, running: Engine
) -> None:
    channel, far = wires.channel(Server, channels)
    far.send(b"wrong\nquick\n")
    enough = Received(far, 6)
    running.until(enough)
    assert [type(error) for error in channel.errors] == [ArithmeticError]


def test_an_exception_comes_to_who_asks_for_it(wires: Wires, channels: Any, running: Engine) -> None:
    channel, _ = wires.channel(Server, channels)
    failures: list[Exception] = []
    spawned = channel.spawn(channel.work(b"wrong"), failed=failures.append)
    running.until(lambda: failures)
    assert spawned.done
    assert channel.errors == []


def test_a_result_that_nobody_asks_for_is_dropped(wires: Wires, channels: Any, running: Engine) -> None:
    channel, _ = wires.channel(Server, channels)
    spawned = channel.spawn(channel.work(b"quick"))
    assert channel.reading_paused
    running.until(lambda: not channel.reading_paused)
    assert spawned.done


async def forever(ends: list[str]) -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        ends.append("cancelled")


def test_closing_cancels_and_calls_nobody(wires: Wires, channels: Any, running: Engine) -> None:
    channel, _ = wires.channel(Server, channels)
    ends: list[str] = []
    called: list[Any] = []
    spawned = channel.spawn(forever(ends), called.append, failed=called.append)
    asyncore.get_loop(channels).call_later(0.005, channel.close)
    running.until(lambda: channel.closing and spawned.done)
    running.until(lambda: ends)
    assert (ends, called) == (["cancelled"], [])


def test_cancelling_goes_on_reading(wires: Wires, channels: Any, running: Engine) -> None:
    channel, _ = wires.channel(Server, channels)
    called: list[Any] = []
    ends: list[str] = []
    first = channel.spawn(forever(ends), called.append)
    second = channel.spawn(forever(ends), called.append)
    asyncore.get_loop(channels).call_later(0.005, first.cancel)
    running.until(lambda: first.done and ends)
    assert channel.reading_paused
    asyncore.get_loop(channels).call_later(0, second.cancel)
    running.until(lambda: not channel.reading_paused)
    assert called == []


def test_a_channel_that_was_closed_meanwhile_hears_nothing(
    wires: Wires, channels: Any, running: Engine
) -> None:
    channel, _ = wires.channel(Server, channels)
    called: list[Any] = []

    async def stubborn() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise ArithmeticError from None

    spawned = channel.spawn(stubborn(), called.append, failed=called.append)
    asyncore.get_loop(channels).call_later(0.005, channel.close)
    running.until(lambda: channel.closing)
    done: list[int] = []
    asyncore.get_loop(channels).call_later(0.02, done.append, 1)
    running.until(lambda: done)
    assert called == []
    assert spawned.done


def test_exit_now_in_a_coroutine_leaves_the_loop(wires: Wires, channels: Any) -> None:
    channel, _ = wires.channel(Server, channels)

    async def leave() -> None:
        raise ExitNow("enough")

    channel.spawn(leave())
    with pytest.raises(ExitNow, match="enough"):
        Engine(channels).until(lambda: False)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_coroutine_that_ends_the_program_leaves_the_loop_and_others_run(
    wires: Wires, channels: Any, error: type[BaseException]
) -> None:
    async def end() -> None:
        raise error

    near, _ = wires.pair()
    channel = Server(near, channels)
    running = Engine(channels)
    for _ in range(2):
        ending = channel.spawn(end())
        with pytest.raises(error):
            running.until(lambda: False)
        assert ending.done
        assert not channel.reading_paused
    answers: list[str] = []
    channel.spawn(asyncio.sleep(0, "answer"), answers.append)
    running.until(lambda: answers)
    channel.close()


def test_without_its_asyncio_loop_a_coroutine_runs_in_the_background(wires: Wires, channels: Any) -> None:
    host = asyncio.new_event_loop()
    aio.attach(channels, host)
    near, _ = wires.pair()
    channel = Server(near, channels)
    host.run_until_complete(asyncio.sleep(0))
    host.close()
    answers: list[str] = []
    channel.spawn(asyncio.sleep(0, "answer"), answers.append)
    Engine(channels).until(lambda: answers)
    assert not channel.reading_paused
    channel.close()


def test_a_coroutine_that_cannot_begin_leaves_the_channel_as_it_was(wires: Wires, channels: Any) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ArithmeticError("no tasks today")

    host = asyncio.new_event_loop()
    host.set_task_factory(refuse)
    attachment = aio.attach(channels, host)
    near, _ = wires.pair()
    channel = Server(near, channels)
    with pytest.raises(ArithmeticError):
        channel.spawn(asyncio.sleep(0))
    assert not channel.reading_paused
    assert not channel._ac_timers
    attachment.detach()
    host.close()
    channel.close()


def test_what_is_no_coroutine_is_refused(wires: Wires, channels: Any) -> None:
    channel, _ = wires.channel(Server, channels)
    with pytest.raises(TypeError, match="wanted a coroutine, found builtin_function_or_method"):
        channel.spawn(print)
    channel.close()
    with pytest.raises(RuntimeError, match="wanted a channel that is open"):
        channel.spawn(forever([]))


def test_nothing_is_left_of_what_is_done(wires: Wires, channels: Any, running: Engine) -> None:
    channel, _ = wires.channel(Server, channels)
    spawned: Any = weakref.ref(channel.spawn(channel.work(b"quick")))
    running.until(lambda: not channel.reading_paused)
    running.until(lambda: gc.collect() is not None and spawned() is None)
    assert channel._ac_timers == set()


# -- waiting for a channel ---------------------------------------------------------------------------------


def await_in(running: Engine, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in the asyncio loop of an engine, or of the background, to its end."""
    loop = asyncore.get_loop(running.channels).asyncio_loop
    future: Any
    if loop is None:
        future = asyncio.run_coroutine_threadsafe(coroutine, background.background_loop())
    else:
        future = loop.create_task(coroutine)
    running.until(future.done)
    return future.result()


def test_a_coroutine_can_wait_for_the_end_of_a_channel(wires: Wires, channels: Any, running: Engine) -> None:
    channel, far = wires.channel(Server, channels)
    asyncore.get_loop(channels).call_later(0.005, far.close)
    await_in(running, channel.wait_closed())
    assert channel.closing
    await_in(running, channel.wait_closed())


def test_who_stops_waiting_is_forgotten(wires: Wires, channels: Any, running: Engine) -> None:
    channel, _ = wires.channel(Server, channels)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.wait_closed(), 0.001)

    await_in(running, impatient())
    assert channel._ac_timers == set()


def test_a_coroutine_can_wait_until_all_is_sent(wires: Wires, channels: Any, running: Engine) -> None:
    channel, far = wires.channel(Server, channels)
    await_in(running, channel.drained())
    size = 3_000_000
    channel.push(bytes(size))
    count = 0

    async def wait() -> int:
        await channel.drained()
        return count

    def read() -> None:
        nonlocal count
        with suppress(BlockingIOError):
            count += len(far.recv(100_000))
        timer.reset() if count < size else timer.cancel()

    timer = asyncore.get_loop(channels).call_later(0, read)
    sent_by = await_in(running, wait())
    assert 0 < sent_by <= size
    assert channel.outgoing == 0
    timer.cancel()


def test_closing_before_all_is_sent_is_an_error_for_who_waits(
    wires: Wires, channels: Any, running: Engine
) -> None:
    channel, _ = wires.channel(Server, channels)
    channel.push(bytes(3_000_000))
    asyncore.get_loop(channels).call_later(0.005, channel.close)
    with pytest.raises(ConnectionError, match="closed before all was sent"):
        await_in(running, channel.drained())


def test_who_waits_only_after_such_a_close_is_told_too(wires: Wires, channels: Any, running: Engine) -> None:
    channel, _ = wires.channel(Server, channels)
    channel.push(bytes(3_000_000))
    channel.close()
    with pytest.raises(ConnectionError, match="closed before all was sent"):
        await_in(running, channel.drained())


def test_closing_when_all_is_sent_is_none(wires: Wires, channels: Any, running: Engine) -> None:
    channel, far = wires.channel(Server, channels)
    channel.push(b"bye")
    channel.close_when_done()
    asyncore.get_loop(channels).call_later(0, channel.handle_write)
    await_in(running, channel.drained())
    assert far.recv(10) == b"bye"


def test_an_asyncio_loop_that_was_closed_waits_for_nothing(wires: Wires, channels: Any) -> None:
    channel, _ = wires.channel(Server, channels)
    loop = asyncio.new_event_loop()
    task = loop.create_task(channel.wait_closed())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    channel.close()
    assert not task.done()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    task.get_coro().close()  # type: ignore[union-attr,unused-ignore]


def test_who_has_stopped_waiting_is_not_told() -> None:
    async def main() -> None:
        waiter = Waiter(asyncio.get_running_loop())
        waiter.cancel()
        waiter.future.cancel()
        await asyncio.sleep(0)
        assert waiter.future.cancelled()

    asyncio.run(main())
