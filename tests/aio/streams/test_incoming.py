"""Readers that wait, one at a time; cancelled or not, they lose nothing."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aio_support import Run, fake, turns
from antiphon.aio import IncompleteRead, MessageTooLong
from test_incoming_model import cuts, pieces, stream


async def outcome(awaitable: Any) -> Any:
    try:
        return await awaitable
    except Exception as error:
        return error


@given(
    stream, cuts, st.lists(st.sampled_from([b"\r\n", b"a", (b"b", b"\n"), 3]), min_size=1), st.integers(0, 9)
)
@settings(max_examples=60, deadline=None)
def test_however_often_readers_are_cancelled_nothing_is_lost(
    data: bytes, sizes: list[int], asked: list[Any], seed: int
) -> None:
    """Whoever is cancelled asks again. The result is that of all bytes at once."""

    async def read(stream: Any, term: Any) -> bytes:
        one: bytes = await (stream.read_exactly(term) if isinstance(term, int) else stream.read_until(term))
        return one

    async def reads(chunks: list[bytes], cancel: bool) -> tuple[list[bytes], bytes]:
        one = fake()
        messages: list[bytes] = []
        loop = asyncio.get_running_loop()
        chunks = [*chunks]
        for term in [*asked, *asked]:
            task = asyncio.create_task(read(one.stream, term))
            number = seed
            while not task.done():
                await asyncio.sleep(0)
                if cancel and (number := number + 1) % 3 == 0:
                    task.cancel()
                    if chunks:
                        loop.call_soon(one.arrive, chunks.pop(0))
                    await asyncio.wait([task])
                    if task.cancelled():
                        task = asyncio.create_task(read(one.stream, term))
                elif chunks:
                    one.arrive_by_the_loop(chunks.pop(0))
                    await asyncio.sleep(0)
                elif not task.done():
                    await turns()
                    if not task.done():
                        one.incoming.eof_received()
            found = await outcome(task)
            if isinstance(found, Exception):
                assert isinstance(found, IncompleteRead)
                one.lose()
                return messages, found.partial
            messages.append(found)
        rest = one.stream.take_buffer() + b"".join(chunks)
        one.lose()
        return messages, rest

    broken = asyncio.run(reads(pieces(data, sizes), cancel=True))
    assert broken == asyncio.run(reads([data] if data else [], cancel=False))


@pytest.mark.parametrize("first", ["read_message", "read_exactly", "peek"])
@pytest.mark.parametrize("second", ["read_message", "read_until", "read_exactly", "peek", "take_buffer"])
def test_a_second_reader_is_told_that_there_is_one(run: Run, first: str, second: str) -> None:
    arguments: dict[str, tuple[Any, ...]] = {"read_exactly": (5,), "peek": (5,), "read_until": (b"\r\n",)}

    async def main() -> None:
        one = fake()

        async def call(name: str) -> Any:
            found = getattr(one.stream, name)(*arguments.get(name, ()))
            return found if isinstance(found, bytes) else await found

        task = asyncio.create_task(call(first))
        await turns()
        with pytest.raises(RuntimeError, match="wanted one reader of a stream, found another task"):
            await call(second)
        one.arrive(b"abc\r\n")
        assert (await task)[:3] == b"abc"
        one.lose()

    run(main())


def test_a_message_that_is_too_long_is_told_to_who_waits(run: Run) -> None:
    async def main() -> None:
        one = fake(limit=5)
        task = asyncio.create_task(one.stream.read_message())
        await turns()
        one.arrive_by_the_loop(b"1234567\r\nok\r\n")
        with pytest.raises(MessageTooLong, match="at most 5 bytes, found one of at least 7"):
            await task
        assert await one.stream.read_message() == b"ok"
        one.lose()

    run(main())


def test_a_message_that_is_too_long_is_told_to_the_next_who_reads_if_the_one_is_cancelled(run: Run) -> None:
    async def main() -> None:
        one = fake(limit=5)
        task = asyncio.create_task(one.stream.read_message())
        await turns()
        one.arrive(b"1234567")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        one.arrive(b"8\r\nok\r\n")
        with pytest.raises(MessageTooLong):
            await one.stream.read_message()
        assert await one.stream.read_message() == b"ok"
        one.lose()

    run(main())


@pytest.mark.parametrize("again", [False, True])
def test_what_another_reader_has_taken_is_waited_for_again(run: Run, again: bool) -> None:
    """Two readers in turn: the second comes between the message and the first one's going on."""

    async def main() -> None:
        one = fake()
        if again:  # A reader is quick to wait where one has waited before.
            one.arrive_by_the_loop(b"zero\r\n")
            assert await one.stream.read_until(b"\r\n") == b"zero"
        first = asyncio.create_task(one.stream.read_until(b"\r\n"))
        await turns()
        one.arrive(b"one\r\n")  # The first is to go on in the next turn.
        assert await one.stream.read_until(b"\n") == b"one\r"
        one.arrive(b"two\r")
        await turns()
        assert not first.done()
        one.arrive(b"\n")
        assert await first == b"two"
        one.lose()

    run(main())


def test_two_that_were_told_of_one_message_do_not_both_wait(run: Run) -> None:
    async def main() -> None:
        one = fake()
        first = asyncio.create_task(one.stream.read_message())
        await turns()
        one.arrive(b"one\r\n")
        assert await one.stream.read_message() == b"one"
        second = asyncio.create_task(one.stream.read_message())
        await turns()
        found = [task for task in (first, second) if task.done()]
        assert len(found) == 1
        assert isinstance(found[0].exception(), RuntimeError)
        one.arrive(b"two\r\n")
        assert b"two" in [await outcome(first), await outcome(second)]
        one.lose()

    run(main())


@pytest.mark.parametrize(
    ("error", "kind"), [(None, IncompleteRead), (ConnectionResetError("reset"), ConnectionResetError)]
)
def test_who_waits_is_told_of_the_end(run: Run, error: Exception | None, kind: type[Exception]) -> None:
    async def main() -> None:
        one = fake()
        one.arrive(b"one\r\ntw")
        tasks = [await outcome(one.stream.read_message())]
        waiting = asyncio.create_task(outcome(one.stream.read_exactly(3)))
        await turns()
        one.lose(error)
        tasks.append(await waiting)
        assert tasks[0] == b"one"
        assert type(tasks[1]) is kind
        assert type(await outcome(one.stream.read_message())) is kind
        assert type(await outcome(one.stream.read_exactly(9))) is kind

    run(main())


def test_what_has_arrived_before_the_connection_was_lost_can_be_read(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.arrive(b"one\r\ntwo")
        one.lose(ConnectionResetError("reset"))
        assert await one.stream.read_message() == b"one"
        assert await one.stream.peek(9) == b"two"
        assert await one.stream.read_exactly(3) == b"two"
        with pytest.raises(ConnectionResetError):
            await one.stream.peek()
        assert await one.stream.peek(0) == b""

    run(main())


def test_an_end_within_a_message_of_known_length_says_how_long_it_should_have_been(run: Run) -> None:
    async def main() -> None:
        one = fake(terminator=5)
        one.arrive(b"abc")
        one.incoming.eof_received()
        with pytest.raises(IncompleteRead) as caught:
            await one.stream.read_message()
        assert (caught.value.partial, caught.value.expected) == (b"abc", 5)
        one.lose()

    run(main())
