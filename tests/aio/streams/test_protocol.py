"""What a transport may do to a stream, in any order; and whom that wakes."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from aio_support import Fake, FakeTransport, Run, fake, turns
from antiphon.aio import IncompleteRead, MessageTooLong
from antiphon.aio.streams import body as body_module
from antiphon.aio.streams import protocol as module
from antiphon.aio.streams.body import LARGE


def reading(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    return asyncio.create_task(coroutine)


@pytest.fixture(autouse=True)
def _no_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POOL", [])
    monkeypatch.setattr(body_module, "_POOL", [])


def test_a_reader_goes_on_within_the_event_that_it_waits_for(run: Run) -> None:
    async def main() -> None:
        one = fake()
        order: list[object] = []

        async def reader() -> None:
            order.append(await one.stream.read_message())
            one.stream.write(b"answer")

        def event() -> None:
            one.arrive(b"question\r\n")
            order.append([*one.transport.sent])

        task = reading(reader())
        await turns()
        asyncio.get_running_loop().call_soon(event)
        await task
        assert order == [b"question", [b"answer"]]
        one.lose()

    run(main())


def test_a_hundred_messages_are_answered_in_one_piece_without_a_turn_of_the_loop() -> None:
    """Counted on asyncio's own loop, whose `call_soon` can be replaced."""

    async def main() -> None:
        one, loop, scheduled = fake(), asyncio.get_running_loop(), []

        async def reader() -> None:
            async for message in one.stream:
                one.stream.write(message + b"\r\n")
                await one.stream.drain()

        def event() -> None:
            loop.call_soon = lambda *given, **named: scheduled.append(given)  # type: ignore[method-assign, assignment]
            one.arrive(b"one\r\n" * 100, b"two\r\n")
            del loop.call_soon

        task = reading(reader())
        await turns()
        loop.call_soon(event)
        await turns()
        assert one.transport.sent == [b"one\r\n" * 100, b"two\r\n"]
        assert scheduled == []
        one.lose()
        await task

    asyncio.run(main())


def test_a_reader_that_a_task_wakes_goes_on_after_it(run: Run) -> None:
    """As when a test, or a transport that knows no better, calls the protocol from within a coroutine."""

    async def main() -> None:
        one = fake()
        task = reading(one.stream.read_message())
        await turns()
        one.arrive(b"question\r\n")
        assert not task.done()
        assert await task == b"question"
        one.lose()

    run(main())


def test_a_reader_that_is_cancelled_after_it_was_woken_takes_nothing(run: Run) -> None:
    async def main() -> None:
        one = fake()
        task = reading(one.stream.read_message())
        await turns()
        one.arrive(b"one\r\n")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        one.arrive(b"two\r\n")
        assert [await one.stream.read_message(), await one.stream.read_message()] == [b"one", b"two"]
        one.lose()

    run(main())


@pytest.mark.parametrize("pieces", [[b"a", b"b\r", b"\nc", b"\r\n"], [b"ab\r\nc\r\n"], [b"ab\r\n", b"c\r\n"]])
def test_messages_arrive_in_pieces_or_together(run: Run, pieces: list[bytes]) -> None:
    async def main() -> None:
        one = fake()
        task = reading(one.stream.read_message())
        await turns()
        one.arrive_by_the_loop(*pieces)
        assert [await task, await one.stream.read_message()] == [b"ab", b"c"]
        one.lose()

    run(main())


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_reader_may_end_the_program(run: Run, kind: type[BaseException]) -> None:
    told: list[object] = []

    async def main() -> None:
        one = fake()

        async def reader() -> None:
            await one.stream.read_message()
            one.stream.write(b"bye")
            raise kind

        def event() -> None:
            one.arrive(b"end\r\n")  # A transport sees nothing of it.
            told.extend(one.transport.sent)
            one.lose()

        task = reading(reader())
        await turns()
        asyncio.get_running_loop().call_soon(event)
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(10)

    with pytest.raises(kind):
        run(main())
    assert told == [b"bye"]


# -- buffers -------------------------------------------------------------------------------------------


def test_streams_that_receive_one_after_the_other_have_one_buffer(run: Run) -> None:
    async def main() -> None:
        several = [fake() for _ in range(3)]
        for one in several:
            one.arrive(b"a\r\n")
        assert len(module._POOL) == 1
        for one in several:
            one.lose()

    run(main())


def test_a_transport_may_fill_a_buffer_when_it_likes(run: Run) -> None:
    async def main() -> None:
        first, second = fake(), fake()
        lent = first.incoming.get_buffer(-1)
        assert first.incoming.get_buffer(-1) is lent
        second.arrive(b"two\r\n")
        lent[:5] = b"one\r\n"
        first.incoming.buffer_updated(5)
        assert await first.stream.read_message() == b"one"
        assert await second.stream.read_message() == b"two"
        first.lose()
        second.lose()

    run(main())


def test_not_many_buffers_are_kept(run: Run) -> None:
    async def main() -> None:
        several = [fake() for _ in range(20)]
        for one in several:
            one.incoming.get_buffer(-1)
        for one in several:
            one.arrive(b"a")
        for one in several:
            one.lose()
        assert len(module._POOL) == module._POOLED

    run(main())


def test_a_buffer_is_asked_for_before_it_is_filled(run: Run) -> None:
    async def main() -> None:
        one = fake()
        with pytest.raises(AssertionError, match="wanted get_buffer"):
            one.incoming.buffer_updated(1)
        task = reading(one.stream.read_exactly(LARGE))
        await turns()
        with pytest.raises(AssertionError, match="wanted get_buffer"):
            one.incoming.buffer_updated(1)
        task.cancel()
        one.lose()
        await asyncio.gather(task, return_exceptions=True)

    run(main())


# -- large bodies --------------------------------------------------------------------------------------


def fill(one: Fake, data: bytes) -> None:
    """Let `data` arrive in what the stream lends."""
    while data:
        view = one.incoming.get_buffer(-1)
        size = min(len(view), len(data))
        view[:size] = data[:size]
        one.incoming.buffer_updated(size)
        data = data[size:]


@pytest.mark.parametrize("size", [LARGE, LARGE + 1, body_module.LARGEST, 3 * body_module.LARGEST + 5])
@pytest.mark.parametrize("ahead", [0, 1, 70_000])
def test_a_large_body_arrives_as_a_small_one(run: Run, size: int, ahead: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)

    async def main() -> None:
        one = fake()
        fill(one, data[:ahead])
        task = reading(one.stream.read_exactly(size))
        await turns()
        for start in range(ahead, size, 100_000):
            asyncio.get_running_loop().call_soon(fill, one, data[start : min(size, start + 100_000)])
        asyncio.get_running_loop().call_soon(fill, one, b"next\r\n")
        assert await task == data[:size]
        assert await one.stream.read_message() == b"next"
        one.lose()

    run(main())


def test_a_large_body_behind_a_message_that_is_skipped(run: Run) -> None:
    async def main() -> None:
        one = fake(limit=5)
        one.arrive(b"1234567")
        with pytest.raises(MessageTooLong):
            await one.stream.read_message()
        task = reading(one.stream.read_exactly(LARGE))
        await turns()
        asyncio.get_running_loop().call_soon(fill, one, b"89\r\n" + bytes(LARGE))
        assert await task == bytes(LARGE)
        one.lose()

    run(main())


def test_what_has_arrived_of_a_large_body_is_not_lost_when_its_reader_is_cancelled(run: Run) -> None:
    async def main() -> None:
        one = fake()
        task = reading(one.stream.read_exactly(LARGE))
        await turns()
        fill(one, b"one\r\n")
        task.cancel()
        await turns()
        fill(one, b"two\r\n")
        assert [await one.stream.read_message(), await one.stream.read_message()] == [b"one", b"two"]
        one.lose()

    run(main())


def test_a_transport_may_fill_a_large_body_after_its_reader_was_cancelled(run: Run) -> None:
    async def main() -> None:
        one = fake()
        task = reading(one.stream.read_exactly(LARGE))
        await turns()
        fill(one, b"one\r\n")
        late = one.incoming.get_buffer(-1)
        task.cancel()
        await turns()
        assert one.stream.take_buffer() == b"one\r\n"
        late[:5] = b"two\r\n"
        one.incoming.buffer_updated(5)
        assert await one.stream.read_message() == b"two"
        assert body_module._POOL == []
        one.lose()

    run(main())


def test_a_transport_may_fill_another_buffer_while_a_large_body_is_waited_for(run: Run) -> None:
    async def main() -> None:
        one = fake()
        lent = one.incoming.get_buffer(-1)
        task = reading(one.stream.read_exactly(LARGE))
        await turns()
        lent[:3] = b"one"
        one.incoming.buffer_updated(3)
        asyncio.get_running_loop().call_soon(fill, one, bytes(LARGE))
        assert await task == b"one" + bytes(LARGE - 3)
        assert one.stream.take_buffer() == bytes(3)
        one.lose()

    run(main())


# -- pausing -------------------------------------------------------------------------------------------


def test_reading_pauses_while_too_much_waits_and_goes_on_when_a_reader_does(run: Run) -> None:
    async def main() -> None:
        one = fake(read_ahead=10)
        one.arrive(b"one\r\n")
        assert one.transport.calls == []
        one.arrive(b"two\r\n", b"three\r\n")
        assert one.transport.calls == ["pause"]
        assert [await one.stream.read_message() for _ in range(3)] == [b"one", b"two", b"three"]
        assert one.transport.calls == ["pause"]
        task = reading(one.stream.read_message())
        await turns()
        assert one.transport.calls == ["pause", "resume"]
        one.arrive(b"four\r\n")
        assert await task == b"four"
        one.lose()

    run(main())


def test_what_a_reader_waits_for_may_be_longer(run: Run) -> None:
    async def main() -> None:
        one = fake(read_ahead=10)
        tasks = reading(one.stream.read_message())
        await turns()
        one.arrive(*[b"0123456789"] * 5, b"\r\n")
        assert len(await tasks) == 50
        assert one.transport.calls == []
        one.lose()

    run(main())


@pytest.mark.parametrize("size", [0, 3], ids=["looking", "reading bytes"])
def test_what_was_looked_at_counts_as_unread(run: Run, size: int) -> None:
    async def main() -> None:
        one = fake(read_ahead=10)
        for _ in range(4):
            one.arrive(b"abcd")
            await one.stream.peek(0)
            await one.stream.read_exactly(size)
        assert (one.transport.calls == ["pause"]) is (size == 0)
        one.arrive(b"abcdef")
        assert one.transport.calls == ["pause"]
        one.lose()

    run(main())


def test_a_slow_reader_of_lengths_and_bytes_slows_its_peer_down(run: Run) -> None:
    async def main() -> None:
        one = fake(read_ahead=50)
        for _ in range(20):
            one.arrive(b"3\r\nabc" * 2)
            size = int(await one.stream.read_message())
            assert await one.stream.read_exactly(size) == b"abc"
            if one.transport.calls:
                break
        assert one.transport.calls == ["pause"]
        assert len(one.stream.take_buffer()) < 50 + 12
        one.lose()

    run(main())


def test_another_transport_begins_without_a_pause(run: Run) -> None:
    async def main() -> None:
        one = fake(read_ahead=1)
        one.arrive(b"a")
        other = FakeTransport()
        one.incoming.use_transport(other)
        assert one.transport.calls == ["pause", "resume"]
        one.arrive(b"b")
        assert other.calls == ["pause"]
        one.lose()

    run(main())


# -- the end -------------------------------------------------------------------------------------------


def test_the_end_leaves_the_other_way_open_but_not_under_tls(run: Run) -> None:
    async def main() -> None:
        one = fake()
        assert one.incoming.eof_received()
        one.incoming.use_transport(FakeTransport(sslcontext="one"))
        assert not one.incoming.eof_received()
        one.lose()

    run(main())


def test_a_connection_is_lost_once(run: Run) -> None:
    async def main() -> None:
        one = fake()
        waiting = reading(one.stream.wait_closed())
        await turns()
        one.lose(BrokenPipeError("first"))
        one.lose(ConnectionResetError("second"))
        with pytest.raises(BrokenPipeError, match="first"):
            await waiting

    run(main())


def test_a_connection_may_be_lost_when_nobody_waits_for_that_any_more(run: Run) -> None:
    async def main() -> None:
        one = fake()
        waiting = reading(one.stream.wait_closed())
        await turns()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        one.lose()
        await one.stream.wait_closed()

    run(main())


def test_finishing_ends_a_reader_that_waits_for_a_message_which_has_not_begun(run: Run) -> None:
    async def main() -> None:
        one = fake()
        task = reading(one.stream.read_message())
        await turns()
        one.incoming.finish()
        with pytest.raises(IncompleteRead):
            await task
        one.lose()

    run(main())


@pytest.mark.parametrize("count", [None, 5])
def test_finishing_lets_what_has_begun_be_completed(run: Run, count: int | None) -> None:
    async def main() -> None:
        one = fake()
        task = reading(one.stream.read_message() if count is None else one.stream.read_exactly(count))
        await turns()
        if count is None:
            one.arrive(b"hel")
        one.incoming.finish()
        one.arrive_by_the_loop(b"hello"[3 if count is None else 0 :] + (b"\r\n" if count is None else b""))
        assert await task == b"hello"
        with pytest.raises(IncompleteRead):
            await one.stream.read_message()
        one.lose()

    run(main())


def test_finishing_lets_what_is_there_be_read(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.arrive(b"one\r\ntwo\r\n")
        assert await one.stream.read_message() == b"one"
        one.incoming.finish()
        assert [message async for message in one.stream] == [b"two"]
        one.lose()

    run(main())
