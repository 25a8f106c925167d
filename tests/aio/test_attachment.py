"""Channels in an asyncio loop: what they and asyncio code see of each other."""

import asyncio
import gc
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import aio_support
from aio_support import WithoutReaders, new_loop
from aio_support import run_on_new_loop as run
from antiphon import asynchat, asyncore, pollers
from antiphon.aio import Attachment, attach, attachment, running
from antiphon.asyncore import ExitNow
from loop_support import Noting, Wires

pytestmark = pytest.mark.usefixtures("each_loop")


class Echo(asynchat.async_chat):
    """Answers each line with itself."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.set_terminator(b"\n")

    collect_incoming_data = asynchat.async_chat._collect_incoming_data

    def found_terminator(self) -> None:
        self.push(self._get_data() + b"\n")


class EchoServer(asyncore.dispatcher):
    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        Echo(sock, self._map)


class Asking(Noting):
    """Is asked in every turn whether it wants to read, and says what it is told to."""

    wants = True

    def readable(self) -> bool:
        return self.wants


@pytest.fixture
def has_readers(each_loop: None) -> None:
    """The loop waits for descriptors itself."""
    if aio_support.make_loop is WithoutReaders:
        pytest.skip("the loop waits for no descriptors")


async def until(condition: Callable[[], object]) -> None:
    """Let the asyncio loop run until something is so; bounded by the caller."""
    while not condition():
        await asyncio.sleep(0)


def test_channels_and_streams_of_asyncio_talk_in_one_thread(
    wires: Wires, channels: Any, in_thread: bool
) -> None:
    server = wires.listener(EchoServer, channels)

    async def main() -> None:
        attached = attach(channels, in_thread=in_thread)
        reader, writer = await asyncio.open_connection(*server.socket.getsockname())
        for line in b"one\n", b"two\n", b"x" * 50_000 + b"\n":
            writer.write(line)
            assert await reader.readline() == line
        writer.close()
        await writer.wait_closed()
        server.close()
        await attached.finished()
        assert not channels
        attached.detach()

    run(main)


def test_what_waits_before_and_what_joins_later_is_served(
    wires: Wires, channels: Any, in_thread: bool
) -> None:
    first, far = wires.channel(Noting, channels)
    far.send(b"before")

    async def main() -> None:
        with_detach = attach(channels, in_thread=in_thread)
        await until(lambda: first.received)
        second, other = wires.channel(Noting, channels)
        other.send(b"later")
        await until(lambda: second.received)
        with_detach.detach()
        assert (first.received, second.received) == (b"before", b"later")

    run(main)


def test_a_push_that_is_not_taken_whole_goes_on_by_itself(
    wires: Wires, channels: Any, in_thread: bool
) -> None:
    channel, far = wires.channel(Echo, channels)
    far.setblocking(False)

    async def main() -> None:
        async with running(channels) if not in_thread else _running(channels, in_thread):
            await asyncio.sleep(0)
            channel.push(b"x" * 3_000_000)  # From asyncio code, between two turns.
            loop, received = asyncio.get_running_loop(), 0
            while received < 3_000_000:
                received += len(await loop.sock_recv(far, 1_000_000))

    run(main)


class _running:  # noqa: N801 (as aio.running, in a thread)
    def __init__(self, channels: Any, in_thread: bool) -> None:
        self.channels, self.in_thread = channels, in_thread

    async def __aenter__(self) -> Attachment:
        self.attached = attach(self.channels, in_thread=self.in_thread)
        return self.attached

    async def __aexit__(self, *_: object) -> None:
        self.attached.detach()


def test_timers_and_calls_of_other_threads_come(wires: Wires, channels: Any, in_thread: bool) -> None:
    channel, _ = wires.channel(Noting, channels)
    threads: list[int] = []

    async def main() -> None:
        async with _running(channels, in_thread):
            loop = asyncore.get_loop(channels)
            channel.call_later(0.001, lambda: threads.append(threading.get_ident()))
            await until(lambda: threads)
            await asyncio.to_thread(loop.call_soon_threadsafe, lambda: threads.append(threading.get_ident()))
            await until(lambda: len(threads) == 2)
            loop.call_later(0.001, threads.append, 0)
            await until(lambda: len(threads) == 3)
        assert threads == [threading.get_ident()] * 2 + [0]

    run(main)


def test_a_loop_of_ones_own_is_refused_while_asyncio_runs_the_turns(wires: Wires, channels: Any) -> None:
    wires.channel(Noting, channels)

    async def main() -> None:
        async with running(channels):
            for turn in asyncore.loop, asyncore.poll, asyncore.poll2:
                with pytest.raises(RuntimeError, match="served by an asyncio loop already"):
                    turn(0, map=channels)
            with pytest.raises(RuntimeError, match="served by an asyncio loop already"):
                attach(channels)
            with pytest.raises(RuntimeError, match="served by an asyncio loop already"):
                await asyncio.to_thread(asyncore.loop, 0, map=channels)
        asyncore.loop(0, map=channels, count=1)

    run(main)


def test_a_handler_may_poll(wires: Wires, channels: Any) -> None:
    class Polling(Noting):
        def handle_read(self) -> None:
            super().handle_read()
            if self.received == b"1":
                asyncore.poll(0, channels)

    channel, far = wires.channel(Polling, channels)
    second, other = wires.channel(Noting, channels)
    far.send(b"1")

    async def main() -> None:
        async with running(channels):
            await until(lambda: channel.received)
            other.send(b"2")
            await until(lambda: second.received)

    run(main)


def test_exit_now_detaches_and_reaches_who_waits(wires: Wires, channels: Any, in_thread: bool) -> None:
    class Leaving(Noting):
        def handle_read(self) -> None:
            raise ExitNow("enough")

    _, far = wires.channel(Leaving, channels)
    far.send(b"x")

    async def main() -> None:
        attached = attach(channels, in_thread=in_thread)
        with pytest.raises(ExitNow, match="enough"):
            await attached.finished()
        assert not attached.attached
        with pytest.raises(ExitNow):
            asyncore.loop(0, map=channels, count=1)

    run(main)


def test_exit_now_that_nobody_waits_for_detaches_only(wires: Wires) -> None:
    channels = wires.map()
    asyncore.get_loop(channels).call_later(0, _raise, ExitNow())

    async def main() -> None:
        attached = attach(channels)
        await until(lambda: not attached.attached)
        with pytest.raises(ExitNow):
            await attached.finished()

    run(main)


def _raise(error: BaseException) -> None:
    raise error


def test_a_turn_that_fails_is_told_by_asyncio_if_nobody_waits(wires: Wires) -> None:
    channels = wires.map()
    wires.channel(Noting, channels)
    told: list[dict[str, Any]] = []

    def failing(timeout: float, map: Any) -> None:
        raise ArithmeticError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        attached = Attachment(channels, loop, failing, in_thread=False)
        await until(lambda: told)
        assert not attached.attached
        with pytest.raises(ArithmeticError):
            await attached.finished()

    run(main)
    assert isinstance(told[0]["exception"], ArithmeticError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_asyncio_and_not_the_attachment(
    wires: Wires, channels: Any, error: type[BaseException]
) -> None:
    class Interrupted(Noting):
        def handle_read(self) -> None:
            super().handle_read()
            if self.received == b"1":
                raise error

    channel, far = wires.channel(Interrupted, channels)
    host = new_loop()
    attached = attach(channels, host)
    far.send(b"1")
    with pytest.raises(error):
        host.run_forever()
    far.send(b"2")
    host.run_until_complete(until(lambda: channel.received == b"12"))
    attached.detach()
    attached.detach()
    host.close()


def test_an_asyncio_loop_that_was_closed_serves_nothing_and_is_forgotten(
    wires: Wires, channels: Any, in_thread: bool
) -> None:
    channel, far = wires.channel(Noting, channels)
    host = new_loop()
    attached = attach(channels, host, in_thread=in_thread)
    host.run_until_complete(asyncio.sleep(0))
    host.close()
    assert not attached.attached
    assert "detached" in repr(attached)
    far.send(b"x")
    asyncore.loop(0, map=channels, count=2)
    assert channel.received == b"x"


def test_a_waiter_is_told_when_the_channels_are_detached(wires: Wires) -> None:
    channels = wires.map()
    wires.channel(Noting, channels)

    async def main() -> None:
        attached = attach(channels)
        waiter = asyncio.ensure_future(attached.finished())
        cancelled = asyncio.ensure_future(attached.finished())
        await asyncio.sleep(0)
        cancelled.cancel()
        attached.detach()
        await waiter
        assert "detached" in repr(attached)
        assert cancelled.cancelled() or await _is_cancelled(cancelled)

    run(main)


async def _is_cancelled(future: Awaitable[None]) -> bool:
    try:
        await future
    except asyncio.CancelledError:
        return True
    return False


def test_to_wait_in_another_asyncio_loop_is_refused(wires: Wires) -> None:
    host = new_loop()
    attached = attach(wires.map(), host)

    async def main() -> None:
        with pytest.raises(RuntimeError, match="awaited in"):
            await attached.finished()

    run(main)
    attached.detach()
    host.close()


def test_to_attach_or_detach_in_another_thread_than_the_asyncio_loop_s_is_refused(wires: Wires) -> None:
    host, channels = new_loop(), wires.map()
    thread = threading.Thread(target=host.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), host).result(aio_support.SECONDS)
    try:
        with pytest.raises(RuntimeError, match=r"wanted to attach in the thread of .*call_soon_threadsafe"):
            attach(channels, host)
        assert asyncore.get_loop(channels).host is None

        async def attach_there() -> Attachment:
            return attach(channels)

        attached = asyncio.run_coroutine_threadsafe(attach_there(), host).result(aio_support.SECONDS)
        with pytest.raises(RuntimeError, match="wanted to detach in the thread of"):
            attached.detach()
        assert attached.attached
    finally:
        host.call_soon_threadsafe(host.stop)
        thread.join(aio_support.SECONDS)
    attached.detach()
    host.close()


def test_without_an_asyncio_loop_there_is_nothing_to_attach_to() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        attach({})


def test_an_idle_attachment_makes_no_turns(wires: Wires, channels: Any, in_thread: bool) -> None:
    wires.channel(Noting, channels)

    async def main() -> None:
        async with _running(channels, in_thread):
            loop = asyncore.get_loop(channels)
            await until(lambda: loop.turns)
            for _ in range(100):
                await asyncio.sleep(0)
            turns = loop.turns
            for _ in range(1000):
                await asyncio.sleep(0)
            assert loop.turns - turns <= 1

    run(main)


def test_the_last_channel_leaves_nothing_that_is_ready(wires: Wires) -> None:
    channels = wires.map()
    channel, _ = wires.channel(Noting, channels)

    async def main() -> None:
        async with running(channels) as attached:
            await asyncio.to_thread(channel.close)
            await attached.finished()
            calls = 0

            async def count() -> None:
                nonlocal calls
                calls += 1

            serve, attached._serve = attached._serve, count  # type: ignore[assignment,method-assign]
            for _ in range(20):
                await asyncio.sleep(0)
            attached._serve = serve  # type: ignore[method-assign]
            assert calls == 0

    run(main)


def test_channels_with_predicates_of_their_own_are_asked_from_time_to_time(
    wires: Wires, channels: Any
) -> None:
    channel, far = wires.channel(Asking, channels)
    channel.wants = False
    far.send(b"x")

    async def main() -> None:
        async with running(channels):
            loop = asyncore.get_loop(channels)
            await until(lambda: loop.turns >= 2)
            assert channel.received == b""
            channel.wants = True  # Nobody is told.
            await until(lambda: channel.received)

    run(main)


def test_files_that_are_always_ready_are_served(wires: Wires, tmp_path: Any) -> None:
    channels = wires.map()
    file = tmp_path / "file"
    file.write_bytes(b"contents")

    class Reader(asyncore.file_dispatcher):  # type: ignore[name-defined,misc,unused-ignore]
        received = b""

        def writable(self) -> bool:
            return False

        def handle_read(self) -> None:
            self.received += self.recv(3)

        def handle_close(self) -> None:
            self.close()

    with file.open("rb") as opened:
        reader = Reader(opened, channels)

        async def main() -> None:
            async with running(channels) as attached:
                await attached.finished()

        run(main)
    assert reader.received == b"contents"


@pytest.mark.skipif("epoll" not in pollers.offered(), reason="about epoll(7)")
@pytest.mark.usefixtures("has_readers")
def test_an_epoll_instance_that_was_replaced_is_waited_for(wires: Wires) -> None:
    channels = wires.map()
    channel, far = wires.channel(Noting, channels)

    async def main() -> None:
        async with running(channels):
            far.send(b"1")
            await until(lambda: channel.received == b"1")
            poller: Any = asyncore.get_loop(channels)._poller
            poller._suspects.add(far.fileno())
            poller.watched[far.fileno()] = 1
            poller._epoll.register(far.fileno(), 4)  # A ghost: ready for what nobody asked for.
            await until(lambda: poller.generation)
            far.send(b"2")
            await until(lambda: channel.received == b"12")

    run(main)


@pytest.mark.usefixtures("has_readers")
def test_without_a_descriptor_for_a_poller_turns_come_from_time_to_time(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = wires.map()
    channel, far = wires.channel(Noting, channels)
    loop = asyncore.get_loop(channels)
    failures = [OSError(24, "Too many open files")] * 2

    def make() -> Any:
        if failures:
            raise failures.pop()
        return pollers.make("epoll")

    monkeypatch.setattr(attachment, "_poller_with_descriptor", lambda: make)
    far.send(b"x")

    async def main() -> None:
        async with running(channels):
            await until(lambda: channel.received)
            await until(lambda: not failures and loop._poller is not None)

    run(main)


def test_a_thread_waits_for_a_loop_that_waits_for_no_descriptors(wires: Wires) -> None:
    channels = wires.map()

    async def main() -> None:
        before = threading.active_count()
        async with running(channels):
            waiting = threading.active_count() - before
        assert waiting == (aio_support.make_loop is WithoutReaders)
        assert threading.active_count() == before

    run(main)


def test_a_block_that_is_cancelled_leaves_the_channels_open(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Noting, channels)

    async def serve() -> None:
        async with running(channels) as attached:
            entered.append(attached)
            await attached.finished()

    entered: list[Attachment] = []

    async def main() -> None:
        serving = asyncio.ensure_future(serve())
        await until(lambda: entered)
        serving.cancel()
        assert await _is_cancelled(serving)
        assert not entered[0].attached

    run(main)
    far.send(b"x")
    asyncore.loop(1, map=channels, count=1)
    assert channel.received == b"x"


def test_where_there_is_no_poller_with_a_descriptor_a_thread_waits(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = wires.map()
    channel, far = wires.channel(Noting, channels)
    monkeypatch.setattr(pollers, "offered", lambda: ("select",))
    before = threading.active_count()

    async def main() -> None:
        async with running(channels):
            assert threading.active_count() == before + 1
            far.send(b"x")
            await until(lambda: channel.received)
        assert threading.active_count() == before

    run(main)


def test_nothing_keeps_what_was_detached(wires: Wires, in_thread: bool) -> None:
    channels = wires.map()
    wires.channel(Noting, channels)
    gone: list[weakref.ref[Attachment]] = []

    async def main() -> None:
        attached = attach(channels, in_thread=in_thread)
        gone.append(weakref.ref(attached))
        await asyncio.sleep(0)
        attached.detach()
        await asyncio.sleep(0)

    run(main)
    gc.collect()
    assert gone[0]() is None


def test_poll2_deals_with_the_events_if_asked_for(wires: Wires) -> None:
    channels = wires.map()
    channel, far = wires.channel(Noting, channels)

    async def main() -> None:
        async with running(channels, use_poll=True):
            far.send(b"x")
            await until(lambda: channel.received)

    run(main)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_a_handler_may_detach(wires: Wires, channels: Any, error: type[BaseException] | None) -> None:
    class Detaching(Noting):
        def handle_read(self) -> None:
            super().handle_read()
            attached.detach()
            if error is not None:
                raise error

    channel, far = wires.channel(Detaching, channels)
    host = new_loop()
    attached = attach(channels, host)
    far.send(b"1")
    if error is None:
        host.run_until_complete(until(lambda: channel.received))
    else:
        with pytest.raises(error):
            host.run_forever()
    far.send(b"2")
    asyncore.loop(0, map=channels, count=2) if error is None else None
    host.run_until_complete(asyncio.sleep(0))
    assert channel.received == (b"12" if error is None else b"1")
    host.close()
