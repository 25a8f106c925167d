"""What leaves, and when."""

import asyncio
from typing import Any

import pytest

from aio_support import Fake, FakeTransport, Run, fake, turns
from antiphon.aio.streams.outgoing import ENOUGH, MANY


async def gone(task: "asyncio.Task[None]") -> str:
    try:
        await task
    except ConnectionError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def draining(one: Fake) -> "asyncio.Task[None]":
    async def drain() -> None:
        await one.stream.drain()

    return asyncio.create_task(drain())


def test_what_is_written_within_a_turn_leaves_in_one_piece(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.stream.write(b"a")
        one.stream.writelines([b"b", b"c"])
        assert one.transport.sent == []
        await turns()
        one.stream.write(b"d")
        await turns()
        assert one.transport.sent == [b"abc", b"d"]
        one.lose()

    run(main())


def test_what_is_large_leaves_at_once_behind_what_there_is(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.stream.write(b"a")
        one.stream.write(bytes(ENOUGH))
        assert one.transport.sent == [b"a", bytes(ENOUGH)]
        one.lose()

    run(main())


def test_what_adds_up_leaves_before_the_turn_ends(run: Run) -> None:
    async def main() -> None:
        one = fake()
        for _ in range(4):
            one.stream.write(bytes(ENOUGH // 4))
        assert list(map(len, one.transport.sent)) == [ENOUGH]
        for _ in range(MANY):
            one.stream.write(b"a")
        assert list(map(len, one.transport.sent)) == [ENOUGH, MANY]
        one.lose()

    run(main())


def test_without_writing_nothing_is_sent(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.stream.write(b"")
        await turns()
        one.incoming.outgoing.flush()
        assert one.transport.sent == []
        one.lose()

    run(main())


def test_draining_does_not_wait_while_the_transport_takes_more(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.stream.write(b"a")
        coroutine = one.stream.drain()
        with pytest.raises(StopIteration):
            coroutine.send(None)
        one.lose()

    run(main())


def test_draining_waits_until_the_transport_takes_more(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.incoming.pause_writing()
        tasks = [draining(one), draining(one)]
        cancelled = draining(one)
        await turns()
        cancelled.cancel()
        one.incoming.resume_writing()
        await asyncio.gather(*tasks)
        assert (await asyncio.gather(cancelled, return_exceptions=True))[
            0
        ].__class__ is asyncio.CancelledError
        coroutine = one.stream.drain()
        with pytest.raises(StopIteration):
            coroutine.send(None)
        one.lose()

    run(main())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, "ConnectionResetError: wanted to send, found the connection lost"),
        (BrokenPipeError("broken"), "BrokenPipeError: broken"),
    ],
)
def test_who_drains_is_told_that_the_connection_is_lost(run: Run, error: Exception | None, told: str) -> None:
    async def main() -> None:
        one = fake()
        one.incoming.pause_writing()
        waiting = draining(one)
        await turns()
        one.lose(error)
        assert await gone(waiting) == told
        assert await gone(draining(one)) == told
        one.stream.write(b"x")
        await turns()
        assert one.transport.sent == []

    run(main())


class Breaking(FakeTransport):
    """Fails when it is written to, and says so in the next turn, as asyncio's do."""

    def write(self, data: Any) -> None:
        super().write(data)
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.tell)

    def tell(self) -> None:
        raise NotImplementedError


def test_who_does_nothing_but_write_and_drain_comes_to_hear_that_the_connection_is_gone(run: Run) -> None:
    async def main() -> None:
        one = fake()
        transport = Breaking()
        transport.tell = lambda: one.lose(BrokenPipeError())  # type: ignore[method-assign]
        one.incoming.use_transport(transport)

        async def send() -> None:
            while len(transport.sent) < 10:
                one.stream.write(bytes(ENOUGH))
                await one.stream.drain()

        with pytest.raises(BrokenPipeError):
            await send()
        assert len(transport.sent) < 10

    run(main())


def test_who_drains_while_it_closes_gives_the_loop_its_turn(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.stream.close()
        turned: list[bool] = []
        asyncio.get_running_loop().call_soon(turned.append, True)
        await one.stream.drain()
        assert turned
        one.lose()

    run(main())


def test_after_closing_nothing_is_sent(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.stream.write(b"a")
        one.stream.close()
        one.stream.close()
        one.stream.write(b"b")
        one.stream.write(bytes(ENOUGH))
        await turns()
        assert one.transport.sent == [b"a"]
        one.lose()

    run(main())


def test_after_closing_no_end_is_sent_either(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.stream.close()
        one.stream.write_eof()
        assert one.transport.calls == ["close"]
        one.stream.write(b"dropped")
        one.lose()
        one.stream.write_eof()
        assert one.transport.calls == ["close"]

    run(main())


def test_the_end_is_sent_once(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.stream.write_eof()
        one.stream.write_eof()
        assert one.transport.calls == ["write_eof"]
        one.lose()

    run(main())


def test_aborting_drops_what_waits(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.stream.write(b"a")
        one.stream.abort()
        await turns()
        assert (one.transport.sent, one.transport.calls) == ([], ["abort"])
        one.lose()

    run(main())


def test_the_end_follows_what_was_written_and_nothing_follows_it(run: Run) -> None:
    async def main() -> None:
        one = fake()
        assert one.stream.can_write_eof()
        one.stream.write(b"a")
        one.stream.write_eof()
        assert (one.transport.sent, one.transport.calls) == ([b"a"], ["write_eof"])
        with pytest.raises(RuntimeError, match=r"wanted nothing more to be written after write_eof\(\)"):
            one.stream.write(b"b")
        one.lose()

    run(main())
