"""asyncio code in the turns of `asyncore.loop()`."""

import asyncio
import os
import selectors
import signal
import socket
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from antiphon import asyncore
from antiphon.aio import HostedLoop, run_in
from antiphon.maps import ChannelMap
from loop_support import Noting, Wires, wires

__all__ = ["wires"]


@pytest.fixture(params=[ChannelMap, dict])
def channels(request: pytest.FixtureRequest, wires: Wires) -> Any:
    return wires.map() if request.param is ChannelMap else {}


def run(hosted: HostedLoop, channels: Any, main: Coroutine[Any, Any, Any]) -> Any:
    """Run the map's loop until a coroutine of the asyncio loop has ended, and close that loop."""

    async def bounded() -> Any:
        try:
            return await asyncio.wait_for(main, 20)
        finally:
            asyncore.get_loop(channels).call_later(0, hosted.close)

    task = hosted.create_task(bounded())
    asyncore.loop(map=channels)
    return task.result()


def test_streams_sleeps_threads_and_names_work_while_the_map_is_served(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Noting, channels)
    hosted = run_in(channels)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async def main() -> bytes:
        assert asyncio.get_running_loop() is hosted
        await asyncio.sleep(0.001)
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"line\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
        await hosted.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        far.send(await asyncio.to_thread(bytes, b"from asyncio"))
        while not channel.received:
            await asyncio.sleep(0)
        channel.close()
        return line

    assert run(hosted, channels, main()) == b"line\n"
    assert channel.received == b"from asyncio"
    assert hosted.is_closed()
    assert not channels


def test_a_deadline_is_kept_and_none_spins(channels: Any) -> None:
    hosted = run_in(channels)

    async def main() -> int:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(30), 0.01)
        turns = asyncore.get_loop(channels).turns
        await asyncio.sleep(0.03)
        return asyncore.get_loop(channels).turns - turns

    assert run(hosted, channels, main()) < 10


def test_an_earlier_deadline_comes_before_a_later_one(channels: Any) -> None:
    hosted = run_in(channels)
    order: list[str] = []

    async def main() -> None:
        hosted.call_later(0.02, order.append, "later")
        hosted.call_later(0.01, order.append, "earlier")
        hosted.call_at(hosted.time() - 1, order.append, "past")
        while len(order) < 3:
            await asyncio.sleep(0.001)

    run(hosted, channels, main())
    assert order == ["past", "earlier", "later"]


def test_a_deadline_from_a_channel_s_handler_is_kept(wires: Wires, channels: Any) -> None:
    hosted = run_in(channels)
    order: list[str] = []

    class Setting(Noting):
        def handle_read(self) -> None:
            super().handle_read()
            hosted.call_later(0.02, order.append, "later")
            hosted.call_later(0.01, order.append, "earlier")

    _, far = wires.channel(Setting, channels)
    far.send(b"x")

    async def main() -> None:
        while len(order) < 2:
            await asyncio.sleep(0.001)
        asyncore.close_all({fd: entry for fd, entry in channels.items() if isinstance(entry, Noting)})

    run(hosted, channels, main())
    assert order == ["earlier", "later"]


def test_closing_cancels_what_is_not_done_and_lets_the_map_s_loop_end(channels: Any) -> None:
    hosted = run_in(channels)
    ends: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ends.append("cancelled")

    async def generate() -> Any:
        try:
            yield 1
        finally:
            ends.append("generator")

    async def begin() -> None:
        generator = generate()
        kept.append(generator)
        await anext(generator)

    kept: list[Any] = []
    hosted.create_task(endless())
    hosted.create_task(begin())
    asyncore.get_loop(channels).call_later(0.01, hosted.close)
    asyncore.loop(map=channels)
    assert sorted(ends) == ["cancelled", "generator"]
    hosted.close()


def test_closing_inside_of_a_task_is_refused(channels: Any) -> None:
    hosted = run_in(channels)

    async def main() -> None:
        with pytest.raises(RuntimeError, match="running"):
            hosted.close()

    run(hosted, channels, main())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_task_leaves_the_map_s_loop(channels: Any, error: type[BaseException]) -> None:
    hosted = run_in(channels)

    async def main() -> None:
        raise error

    task = hosted.create_task(main())
    with pytest.raises(error):
        asyncore.loop(map=channels)
    assert isinstance(task.exception(), error)
    hosted.close()


def test_a_signal_is_handled_though_nothing_else_happens(channels: Any) -> None:
    hosted, seen = run_in(channels), list[str]()
    hosted.add_signal_handler(signal.SIGTERM, seen.append, "signal")
    turns(channels)
    os.kill(os.getpid(), signal.SIGTERM)
    turns(channels)
    assert seen == ["signal"]
    hosted.remove_signal_handler(signal.SIGTERM)
    hosted.close()


def turns(channels: Any) -> None:
    asyncore.loop(0, map=channels, count=5)


def test_a_task_that_runs_the_map_s_loop_takes_no_step_of_its_own(channels: Any) -> None:
    hosted = run_in(channels)
    called: list[str] = []

    async def main() -> None:
        hosted.call_soon(called.append, "inner")
        asyncore.loop(0, map=channels, count=3)
        assert called == []
        await asyncio.sleep(0)
        assert called == ["inner"]

    run(hosted, channels, main())


def test_it_can_be_run_by_itself_too(channels: Any) -> None:
    hosted = run_in(channels)
    started = time.monotonic()
    hosted.run_until_complete(asyncio.sleep(0.001))
    assert time.monotonic() > started
    hosted.close()
    hosted.step()


def test_a_deadline_that_is_left_when_it_is_closed_comes_no_more(channels: Any) -> None:
    hosted = run_in(channels)
    hosted.call_later(3600, channels.clear)
    hosted.close()
    asyncore.loop(map=channels)
    assert not asyncore.get_loop(channels).busy


def test_a_system_without_a_selector_that_nests_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(selectors, "EpollSelector", raising=False)
    monkeypatch.delattr(selectors, "KqueueSelector", raising=False)
    with pytest.raises(RuntimeError, match="EpollSelector, KqueueSelector, found none"):
        run_in({})
