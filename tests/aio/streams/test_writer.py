"""`write`, within an event that a reader is woken by."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aio_support import Fake, Run, fake, turns
from antiphon.aio.streams.outgoing import ENOUGH, MANY, SMALL


async def answering(one: Fake, answer: Callable[[], None]) -> None:
    """Call `answer` within an event."""

    async def reader() -> None:
        await one.stream.read_message()
        answer()

    task = asyncio.create_task(reader())
    await turns()
    one.arrive_by_the_loop(b"ask\r\n")
    await task


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_may_be_written(run: Run, kind: Callable[[bytes], Any]) -> None:
    async def main() -> None:
        one = fake()
        await answering(one, lambda: one.stream.write(kind(b"answer")))
        assert one.transport.sent == [b"answer"]
        one.lose()

    run(main())


def test_what_was_written_may_be_changed_afterwards(run: Run) -> None:
    async def main() -> None:
        one, data = fake(), bytearray(b"one")
        one.stream.write(data)
        data[:] = b"two"
        await turns()
        assert one.transport.sent == [b"one"]
        one.lose()

    run(main())


@pytest.mark.parametrize("data", ["text", None, 5, [b"a"]])
def test_what_is_no_bytes_is_refused(run: Run, data: Any) -> None:
    async def main() -> None:
        one = fake()
        with pytest.raises(TypeError, match=f"wanted bytes to write, found {type(data).__name__}"):
            one.stream.write(data)
        one.lose()

    run(main())


def test_within_an_event_all_leaves_in_one_piece_when_it_ends(run: Run) -> None:
    async def main() -> None:
        one = fake()
        sent: list[int] = []

        def answer() -> None:
            for piece in (b"a", b"b" * SMALL, b"c"):
                one.stream.write(piece)
                sent.append(len(one.transport.sent))

        await answering(one, answer)
        assert sent == [0, 0, 0]
        assert one.transport.sent == [b"a" + b"b" * SMALL + b"c"]
        one.lose()

    run(main())


def test_within_an_event_too_much_does_not_wait_for_its_end(run: Run) -> None:
    async def main() -> None:
        one = fake()

        def answer() -> None:
            for _ in range(MANY + 1):
                one.stream.write(b"a")
            one.stream.write(bytes(ENOUGH))
            assert b"".join(one.transport.sent) == b"a" * (MANY + 1) + bytes(ENOUGH)

        await answering(one, answer)
        one.lose()

    run(main())


def test_within_an_event_nothing_is_sent_behind_the_end(run: Run) -> None:
    async def main() -> None:
        one = fake()

        def answer() -> None:
            one.stream.write(b"last")
            one.stream.write_eof()
            with pytest.raises(RuntimeError):
                one.stream.write(b"more")
            one.stream.close()
            one.stream.abort()

        await answering(one, answer)
        assert one.transport.sent == [b"last"]
        assert one.transport.calls == ["write_eof", "close", "abort"]
        one.lose()

    run(main())
