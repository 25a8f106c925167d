"""Channels in an asyncio loop that are to end: what was promised arrives, and asyncio goes on meanwhile."""

import asyncio
import socket
from typing import Any

import pytest

import antiphon
from aio_support import SECONDS, new_loop
from aio_support import run_on_new_loop as run
from antiphon import MessageChannel, asynchat, asyncore
from antiphon.aio import attach, running
from antiphon.asyncore import ExitNow
from antiphon.draining import Drained
from loop_support import Noting, Wires

pytestmark = pytest.mark.usefixtures("each_loop")

#: More than the kernel keeps for a peer that doesn't read.
MUCH = bytes(range(256)) * 40_000


class Chat(asynchat.async_chat):
    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.set_terminator(b"\n")

    collect_incoming_data = asynchat.async_chat._collect_incoming_data


async def read_all(sock: socket.socket) -> bytes:
    """What arrives until the end."""
    reader, writer = await asyncio.open_connection(sock=sock)
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


def test_what_was_pushed_arrives_and_the_map_is_empty(wires: Wires, channels: Any, in_thread: bool) -> None:
    listener = wires.listener(Noting, channels)
    channel, far = wires.channel(Chat, channels)
    idle, other = wires.channel(Noting, channels)
    channel.push(MUCH)

    async def main() -> None:
        attachment = attach(channels, in_thread=in_thread)
        received = asyncio.create_task(read_all(far))
        drained = await attachment.drain(SECONDS)
        assert drained == Drained(listeners=1, flushed=2, lost=0, aborted=0)
        assert await received == MUCH
        assert not channels
        assert attachment.attached
        await attachment.finished()
        attachment.detach()

    run(main)
    assert listener.closing
    assert idle.closing
    other.close()


def test_the_deadline_closes_the_rest(wires: Wires, channels: Any, in_thread: bool) -> None:
    channel, _ = wires.channel(Chat, channels)
    channel.push(MUCH)

    async def main() -> None:
        attachment = attach(channels, in_thread=in_thread)
        assert await attachment.drain(0.01) == Drained(listeners=0, flushed=0, lost=0, aborted=1)
        assert channel.closing
        attachment.detach()

    run(main)


def test_with_no_time_what_can_be_sent_at_once_is_sent(wires: Wires, channels: Any, in_thread: bool) -> None:
    idle, _ = wires.channel(Noting, channels)

    async def main() -> None:
        attachment = attach(channels, in_thread=in_thread)
        assert await attachment.drain(0) == Drained(listeners=0, flushed=1, lost=0, aborted=0)
        attachment.detach()

    run(main)
    assert idle.closing


def test_stop_is_the_deadline(wires: Wires, channels: Any, in_thread: bool) -> None:
    channel, _ = wires.channel(Chat, channels)
    channel.push(MUCH)

    async def main() -> None:
        attachment = attach(channels, in_thread=in_thread)
        asyncio.get_running_loop().call_later(0.01, antiphon.stop, channels)
        assert (await attachment.drain(1e9)).aborted == 1
        attachment.detach()

    run(main)
    assert not asyncore.get_loop(channels).stop_pending


def test_a_coroutine_s_answer_is_sent_before_the_channel_ends(wires: Wires, in_thread: bool) -> None:
    """A question that is being answered is one that was read."""
    channels = wires.map()

    class Asking(MessageChannel):
        def message_received(self, message: bytes) -> None:
            self.spawn(self.answer(message), self.push)

        async def answer(self, message: bytes) -> bytes:
            begun.set()
            await may_end.wait()
            return message + b"!"

    _, far = wires.channel(Asking, channels)
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def main() -> None:
        attachment = attach(channels, in_thread=in_thread)
        far.sendall(b"one\r\ntwo\r\n")
        await begun.wait()
        drained = asyncio.create_task(attachment.drain(SECONDS))
        await asyncio.sleep(0.01)
        assert not drained.done()
        may_end.set()
        assert await read_all(far) == b"one!"
        assert await drained == Drained(listeners=0, flushed=1, lost=0, aborted=0)
        attachment.detach()

    run(main)


def test_who_cancels_a_drain_finds_the_channels_served_still(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Chat, channels)
    channel.push(MUCH)

    async def main() -> None:
        async with running(channels) as attachment:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(attachment.drain(SECONDS), 0.01)
            assert not channel.closing
            received = asyncio.create_task(read_all(far))
            assert (await attachment.drain(SECONDS)).flushed == 1
            assert await received == MUCH

    run(main)


def test_one_drain_at_a_time(wires: Wires, channels: Any) -> None:
    channel, _ = wires.channel(Chat, channels)
    channel.push(MUCH)

    async def main() -> None:
        async with running(channels) as attachment:
            first = asyncio.create_task(attachment.drain(SECONDS))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="being drained already"):
                await attachment.drain(1)
            antiphon.stop(channels)
            assert (await first).aborted == 1

    run(main)


def test_a_turn_that_ends_the_program_ends_the_drain(wires: Wires, channels: Any) -> None:
    class Leaving(Noting):
        def handle_read(self) -> None:
            raise ExitNow("now")

        def handle_drain(self) -> None:
            """Not yet."""

    _, far = wires.channel(Leaving, channels)

    async def main() -> None:
        attachment = attach(channels)
        asyncio.get_running_loop().call_soon(far.send, b"x")
        with pytest.raises(ExitNow, match="now"):
            await attachment.drain(SECONDS)
        assert not attachment.attached

    run(main)


def test_channels_that_are_detached_meanwhile_are_left_open(wires: Wires, channels: Any) -> None:
    channel, _ = wires.channel(Chat, channels)
    channel.push(MUCH)

    async def main() -> None:
        attachment = attach(channels)
        asyncio.get_running_loop().call_later(0.01, attachment.detach)
        with pytest.raises(RuntimeError, match=r"detached before it was drained, with 1 channel left"):
            await attachment.drain(SECONDS)
        with pytest.raises(RuntimeError, match="found them detached"):
            await attachment.drain(SECONDS)
        assert not channel.closing

    run(main)
    assert antiphon.drain(0, channels).aborted == 1


@pytest.mark.parametrize(("deadline", "error"), [(-1, ValueError), ("x", TypeError)])
def test_the_deadline_is_a_number_of_seconds(deadline: Any, error: type[Exception], wires: Wires) -> None:
    async def main() -> None:
        async with running(wires.map()) as attachment:
            with pytest.raises(error, match="deadline must be"):
                await attachment.drain(deadline)

    run(main)


def test_another_asyncio_loop_is_refused(wires: Wires) -> None:
    host = new_loop()
    attachment = attach(wires.map(), host)

    async def main() -> None:
        with pytest.raises(RuntimeError, match="wanted to be awaited in"):
            await attachment.drain(1)

    run(main)
    attachment.detach()
    host.close()
