import asyncio
import types
from collections.abc import Generator
from contextvars import ContextVar

import pytest

from aio_support import Run, turns
from antiphon.aio.streams.waiter import CANCELLED, IDLE, WAITING, Waiter, raise_it


@types.coroutine
def on(waiter: Waiter) -> Generator[Waiter, None, None]:
    waiter.state = WAITING
    waiter._asyncio_future_blocking = True
    yield waiter


def new() -> Waiter:
    return Waiter(asyncio.get_running_loop())


def test_a_task_takes_it_for_a_future(run: Run) -> None:
    async def main() -> None:
        assert asyncio.isfuture(new())
        assert new().get_loop() is asyncio.get_running_loop()

    run(main())


def test_a_task_that_waits_goes_on_in_the_next_turn(run: Run) -> None:
    async def main() -> None:
        waiter, done = new(), []

        async def reader() -> None:
            for _ in range(2):
                await on(waiter)
                done.append(waiter.state)

        task = asyncio.create_task(reader())
        for number in range(2):
            await turns()
            assert waiter.state == WAITING
            waiter.wake_later()
            assert len(done) == number
        await task
        assert done == [IDLE, IDLE]

    run(main())


def test_it_keeps_the_context_of_the_task(run: Run) -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)

    async def main() -> None:
        waiter = new()

        async def reader() -> None:
            variable.set(1)
            await on(waiter)

        task = asyncio.create_task(reader())
        await turns()
        assert waiter.context[variable] == 1
        waiter.wake_later()
        await task

    run(main())


@pytest.mark.parametrize("message", [None, "enough"])
def test_a_task_may_be_cancelled(run: Run, message: str | None) -> None:
    async def main() -> None:
        waiter = new()

        async def reader() -> None:
            await on(waiter)

        task = asyncio.create_task(reader())
        await turns()
        task.cancel(message)
        assert waiter.state == CANCELLED
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == (() if message is None else (message,))

    run(main())


def test_a_task_that_was_woken_is_cancelled_as_any_other(run: Run) -> None:
    async def main() -> None:
        waiter = new()

        async def reader() -> None:
            await on(waiter)

        task = asyncio.create_task(reader())
        await turns()
        waiter.wake_later()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waiter.state == IDLE

    run(main())


def test_an_exception_can_be_raised_by_a_call() -> None:
    with pytest.raises(KeyboardInterrupt):
        raise_it(KeyboardInterrupt())
