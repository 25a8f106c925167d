"""Reading over real sockets, whose other end is asyncio's own streams."""

import asyncio
import enum
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aio_support import Connected, Run, connected, fake
from antiphon.aio import IncompleteRead, MessageTooLong


def test_lines_are_read_one_by_one_and_in_a_loop(run: Run) -> None:
    async def main() -> None:
        async with connected() as (stream, _, writer):
            writer.write(b"one\r\ntwo\r\nthree\r\n")
            assert await stream.read_message() == b"one"
            assert await stream.read_until(b"\r\n") == b"two"
            async for message in stream:
                assert message == b"three"
                break
            writer.write(b"four\r\nfive\r\n")
            writer.close()
            assert [message async for message in stream] == [b"four", b"five"]
            assert [message async for message in stream] == []
            assert stream.at_eof()

    run(main())


def test_a_message_ends_by_the_terminator_that_ends_first(run: Run) -> None:
    async def main() -> None:
        async with connected() as (stream, _, writer):
            writer.write(b"one\ntwo\r\nthree;four;")
            assert (await stream.read_until((b"\n", b"\r\n")), stream.last_terminator) == (b"one", b"\n")
            assert (await stream.read_until((b"\n", b"\r\n")), stream.last_terminator) == (b"two", b"\r\n")
            assert (await stream.read_until(b";"), stream.last_terminator) == (b"three", b";")
            assert await stream.read_until(bytes(bytearray(b";"))) == b"four"

    run(main())


def test_bytes_and_messages_are_read_in_turn(run: Run) -> None:
    async def main() -> None:
        async with connected() as (stream, _, writer):
            writer.write(b"PUT 5\r\nhelloPUT 0\r\nPUT 3\r\nab")
            bodies: list[bytes] = []
            async for line in stream:
                if len(bodies) == 2:
                    writer.write(b"c")
                bodies.append(await stream.read_exactly(int(line[4:])))
                if len(bodies) == 3:
                    break
            assert bodies == [b"hello", b"", b"abc"]

    run(main())


def test_the_terminator_may_be_set_at_any_time(run: Run) -> None:
    async def main() -> None:
        async with connected(terminator=b"\n") as (stream, _, writer):
            assert stream.terminator == b"\n"
            writer.write(b"3\nabcone;two;three;")
            assert await stream.read_message() == b"3"
            stream.set_terminator(3)
            assert await stream.read_message() == b"abc"
            assert stream.last_terminator == b""
            stream.set_terminator(b";")
            stream.set_terminator(bytearray(b";"))
            found = []
            async for message in stream:
                found.append(message)
                if message == b"two":
                    stream.set_terminator(b"e")
                elif message == b"thr":
                    break
            assert found == [b"one", b"two", b"thr"]
            assert stream.take_buffer() == b"e;"

    run(main())


def test_with_none_whatever_has_arrived_is_a_message(run: Run) -> None:
    async def main() -> None:
        async with connected(terminator=None) as (stream, _, writer):
            writer.write(b"one\r\n")
            assert await stream.read_message() == b"one\r\n"
            writer.write(b"two")
            writer.close()
            assert [message async for message in stream] == [b"two"]

    run(main())


# -- batches -------------------------------------------------------------------------------------------


def test_batches_are_all_that_has_arrived(run: Run) -> None:
    async def main() -> None:
        async with connected(terminator=b"\n") as (stream, _, writer):
            writer.write(b"a\nb\nc\nd")
            assert await stream.read_message() == b"a"
            batches = stream.batches()
            assert await anext(batches) == [b"b", b"c"]
            writer.write(b"\n")
            writer.close()
            assert [batch async for batch in batches] == [[b"d"]]

    run(main())


def test_of_a_batch_a_part_may_be_used(run: Run) -> None:
    async def main() -> None:
        async with connected(terminator=b"\n") as (stream, _, writer):
            writer.write(b"one\nPUT\na\nbtwo\nthree\n")
            found: list[bytes] = []
            async for batch in stream.batches():
                for number, message in enumerate(batch, 1):
                    found.append(message)
                    if message == b"PUT":
                        stream.used(number)
                        found.append(await stream.read_exactly(3))
                        break
                if found[-1] == b"three":
                    break
            assert found == [b"one", b"PUT", b"a\nb", b"two", b"three"]

    run(main())


def test_what_was_not_used_of_a_batch_is_there_again(run: Run) -> None:
    async def main() -> None:
        one = fake(b"\n")
        one.arrive(b"a\nb\nc\n")
        batches = one.stream.batches()
        assert await anext(batches) == [b"a", b"b", b"c"]
        one.stream.used(1)
        assert await anext(batches) == [b"b", b"c"]
        one.stream.used(0)
        assert await one.stream.read_message() == b"b"
        with pytest.raises(ValueError, match="found none since the last read"):
            one.stream.used(0)
        one.lose()

    run(main())


# -- looking and taking --------------------------------------------------------------------------------


def test_what_is_looked_at_stays_there(run: Run) -> None:
    async def main() -> None:
        async with connected() as (stream, _, writer):
            assert await stream.peek(0) == b""
            looking = asyncio.create_task(stream.peek(4))
            writer.write(b"one")
            await asyncio.sleep(0)
            writer.write(b"\r\n")
            assert await looking in (b"one\r", b"one\r\n")
            assert (await stream.peek())[:3] == b"one"
            assert await stream.read_message() == b"one"
            writer.write(b"tw")
            writer.close()
            assert await stream.peek(100) == b"tw"
            assert not stream.at_eof()
            assert stream.take_buffer() == b"tw"
            assert await stream.peek() == b""
            assert stream.at_eof()

    run(main())


def test_asking_for_the_end_changes_nothing(run: Run) -> None:
    async def main() -> None:
        for pieces in ([b"one\ntwo\r\n"], [b"one\nt", b"wo\r\n"], [b"one\ntwo\r\nth"]):
            one = fake((b"\n", b"\r\n"))
            one.arrive(*pieces)
            one.incoming.eof_received()
            batch = await anext(one.stream.batches())
            assert (batch, one.stream.last_terminator) == ([b"one", b"two"], b"\r\n")
            assert one.stream.at_eof() is (not pieces[-1].endswith(b"th"))
            assert one.stream.last_terminator == b"\r\n"
            one.stream.used(1)
            assert not one.stream.at_eof()
            assert await one.stream.read_message() == b"two"
            one.lose()

    run(main())


def test_all_that_was_not_read_may_be_taken(run: Run) -> None:
    async def main() -> None:
        one = fake(b"\n")
        one.arrive(b"upgrade\nabc\nde", b"f")
        assert await one.stream.read_message() == b"upgrade"
        assert one.stream.take_buffer() == b"abc\ndef"
        one.arrive(b"g\n")
        assert await one.stream.read_message() == b"g"
        one.lose()

    run(main())


# -- limits and ends -----------------------------------------------------------------------------------


def test_a_message_that_is_too_long_leaves_the_stream_in_step(run: Run) -> None:
    async def main() -> None:
        async with connected(max_message_size=10) as (stream, _, writer):
            writer.write(b"one\r\n" + b"x" * 100_000 + b"\r\ntwo\r\n0123456789\r\n")
            found: list[Any] = []
            while found[-1:] != [b"0123456789"]:
                try:
                    async for message in stream:
                        found.append(message)
                        if len(message) == 10:
                            break
                except MessageTooLong as error:
                    found.append(error.limit)
            assert found == [b"one", 10, b"two", b"0123456789"]
            assert stream.discarded == 0

    run(main())


@pytest.mark.parametrize("overflow", ["raise", "discard"])
def test_a_message_that_is_too_long_by_its_length_leaves_the_stream_in_step(run: Run, overflow: str) -> None:
    async def main() -> None:
        async with connected(max_message_size=10, overflow=overflow) as (stream, _, writer):
            writer.write(b"11\r\n")
            assert await stream.read_message() == b"11"
            stream.set_terminator(11)
            writer.write(b"01234567890ok\r\n")
            with pytest.raises(MessageTooLong, match="at most 10 bytes, found one of 11"):
                await stream.read_message()
            stream.set_terminator(b"\r\n")
            assert await stream.read_message() == b"ok"

    run(main())


def test_a_message_that_is_too_long_may_be_discarded(run: Run) -> None:
    async def main() -> None:
        async with connected(max_message_size=10, overflow="discard") as (stream, _, writer):
            writer.write(b"one\r\n" + b"x" * 100_000 + b"\r\ntwo\r\n")
            writer.close()
            assert [message async for message in stream] == [b"one", b"two"]
            assert stream.discarded == 1

    run(main())


async def all_of(way: str, one: Connected) -> Any:
    stream = one.stream
    if way == "loop":
        return [message async for message in stream]
    if way == "batches":
        return [batch async for batch in stream.batches()]
    ways: dict[str, Callable[[], Awaitable[bytes]]] = {
        "message": stream.read_message,
        "until": lambda: stream.read_until(b"\n"),
        "exactly": lambda: stream.read_exactly(4),
    }
    return [await ways[way]() for _ in range(2)]


@pytest.mark.parametrize(
    ("way", "expected"),
    [("loop", None), ("batches", None), ("message", None), ("until", None), ("exactly", 4)],
)
def test_an_end_within_a_message_is_an_error_that_asyncio_knows(
    run: Run, way: str, expected: int | None
) -> None:
    async def main() -> None:
        async with connected(terminator=b"\n") as one:
            one.writer.write(b"one\ntwo")
            one.writer.close()
            with pytest.raises(asyncio.IncompleteReadError) as caught:
                await all_of(way, one)
            assert (caught.value.partial, caught.value.expected) == (b"two", expected)

    run(main())


def test_an_end_between_two_messages_ends_loops_and_is_an_error_for_who_wants_one(run: Run) -> None:
    async def main() -> None:
        async with connected(terminator=b"\n") as one:
            one.writer.write(b"one\n")
            one.writer.close()
            assert await all_of("batches", one) == [[b"one"]]
            assert await all_of("loop", one) == []
            with pytest.raises(IncompleteRead) as caught:
                await one.stream.read_message()
            assert caught.value.partial == b""

    run(main())


# -- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "error", "complaint"),
    [
        ("\n", TypeError, "wanted bytes, a tuple of bytes, a length or None as the terminator, found str"),
        (b"", ValueError, "found an empty one"),
        (0, ValueError, "wanted a length of 1 or more as the terminator, found 0"),
        (-1, ValueError, "wanted a length of 0 bytes or more as the terminator, found -1"),
    ],
)
def test_what_is_no_terminator_is_refused(
    run: Run, term: Any, error: type[Exception], complaint: str
) -> None:
    async def main() -> None:
        one = fake(limit=10)
        with pytest.raises(error, match=complaint):
            one.stream.set_terminator(term)
        assert one.stream.terminator == b"\r\n"
        one.lose()

    run(main())


@pytest.mark.parametrize("term", [5, None])
def test_bytes_are_not_read_until_a_length(run: Run, term: Any) -> None:
    async def main() -> None:
        one = fake()
        with pytest.raises(
            TypeError, match=f"wanted bytes or a tuple of bytes as the terminator, found {term}"
        ):
            await one.stream.read_until(term)
        one.lose()

    run(main())


class Size(enum.IntEnum):
    TWO = 2


@pytest.mark.parametrize("name", ["read_exactly", "peek"])
@pytest.mark.parametrize("size", ["3", 1.5, None])
def test_what_is_no_number_of_bytes_is_refused(run: Run, name: str, size: Any) -> None:
    async def main() -> None:
        one = fake()
        one.arrive(b"abc")
        with pytest.raises(TypeError, match=f"wanted a number of bytes to .*, found {type(size).__name__}: "):
            await getattr(one.stream, name)(size)
        assert await getattr(one.stream, name)(Size.TWO) == b"abc"[: 2 if name == "read_exactly" else 3]
        one.lose()

    run(main())


@pytest.mark.parametrize("name", ["read_exactly", "peek"])
def test_a_negative_number_of_bytes_is_refused(run: Run, name: str) -> None:
    async def main() -> None:
        one = fake()
        with pytest.raises(ValueError, match=r"wanted 0 bytes or more .*, found -1"):
            await getattr(one.stream, name)(-1)
        one.lose()

    run(main())
