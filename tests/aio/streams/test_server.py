"""Handlers that run, fail and end; servers that close with grace."""

import asyncio
import logging
from typing import Any

import pytest

from aio_support import Run, fake, turns
from antiphon.aio import ChatServer, ChatStream, open_connection, start_server


async def echo(stream: ChatStream) -> None:
    async for message in stream:
        stream.write(message + b"\r\n")


async def client(server: ChatServer) -> ChatStream:
    return await open_connection(*server.sockets[0].getsockname()[:2])


def reported() -> list[dict[str, Any]]:
    """What the running loop's exception handler is told from now on."""
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    return contexts


def test_each_connection_has_its_handler(run: Run) -> None:
    async def main() -> None:
        async with await start_server(echo, "127.0.0.1", 0) as server:
            streams = [await client(server) for _ in range(3)]
            for number, stream in enumerate(streams):
                stream.write(b"%d\r\n" % number)
            assert [await stream.read_message() for stream in streams] == [b"0", b"1", b"2"]
            for stream in streams:
                stream.close()
                await stream.wait_closed()

    run(main())


def test_a_connection_is_closed_when_its_handler_ends_behind_what_was_written(run: Run) -> None:
    async def greet(stream: ChatStream) -> None:
        stream.write(b"hello\r\n")

    async def main() -> None:
        async with await start_server(greet, "127.0.0.1", 0) as server, await client(server) as stream:
            assert [message async for message in stream] == [b"hello"]

    run(main())


def test_serving_for_ever_ends_when_the_server_is_closed_and_its_handlers_have_ended(run: Run) -> None:
    async def main() -> None:
        server = await start_server(echo, "127.0.0.1", 0)
        serving = asyncio.create_task(server.serve_forever())
        async with await client(server) as stream:
            stream.write(b"one\r\n")
            assert await stream.read_message() == b"one"
            server.close()
            await turns(10)
            assert not serving.done()
            stream.write(b"two\r\n")
            assert await stream.read_message() == b"two"
        with pytest.raises(asyncio.CancelledError, match="was closed"):
            await serving

    run(main())


def test_closing_with_grace_is_not_cut_short_by_who_serves_for_ever(run: Run) -> None:
    ended: list[str] = []

    async def main() -> None:
        may_end = asyncio.Event()

        async def work(stream: ChatStream) -> None:
            stream.write(b"begun\r\n")
            await may_end.wait()
            ended.append("work")

        server = await start_server(work, "127.0.0.1", 0)
        serving = asyncio.create_task(server.serve_forever())
        async with await client(server) as stream:
            assert await stream.read_message() == b"begun"
            closing = asyncio.create_task(server.shutdown(None))
            await turns(10)
            assert not closing.done()
            may_end.set()
            await closing
        assert ended == ["work"]
        with pytest.raises(asyncio.CancelledError):
            await serving

    run(main())


def test_who_serves_for_ever_after_closing_and_is_cancelled_cancels_the_handlers(run: Run) -> None:
    async def main() -> None:
        server = await start_server(echo, "127.0.0.1", 0)
        serving = asyncio.create_task(server.serve_forever())
        async with await client(server) as stream:
            stream.write(b"one\r\n")
            assert await stream.read_message() == b"one"
            server.close()
            await turns()
            serving.cancel()
            assert [message async for message in stream] == []
        with pytest.raises(asyncio.CancelledError):
            await serving

    run(main())


def test_a_server_is_served_for_ever_once_and_not_after_it_was_closed(run: Run) -> None:
    async def main() -> None:
        server = await start_server(echo, "127.0.0.1", 0)
        serving = asyncio.create_task(server.serve_forever())
        await turns()
        with pytest.raises(RuntimeError, match=r"found <ChatServer serving .* served for ever"):
            await server.serve_forever()
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await serving
        for serve in (server.serve_forever, server.start_serving):
            with pytest.raises(RuntimeError, match="wanted a server that is open, found <ChatServer closed"):
                await serve()

    run(main())


def test_a_server_that_has_not_begun_to_serve_says_so(run: Run) -> None:
    async def main() -> None:
        async with await start_server(echo, "127.0.0.1", 0, start_serving=False) as server:
            assert repr(server).startswith("<ChatServer idle handlers=0 sockets=")

    run(main())


# -- what handlers raise -------------------------------------------------------------------------------


def test_an_exception_of_a_handler_goes_to_the_exception_handler_of_the_loop(run: Run) -> None:
    async def fail(stream: ChatStream) -> None:
        stream.write(b"before\r\n")
        await stream.read_message()
        raise LookupError("in the handler")

    async def main() -> None:
        contexts = reported()
        async with await start_server(fail, "127.0.0.1", 0) as server, await client(server) as stream:
            stream.write(b"go\r\n")
            assert [message async for message in stream] == [b"before"]
        [context] = contexts
        assert isinstance(context["exception"], LookupError)
        assert context["message"].startswith("Unhandled exception in the handler of <ChatStream ")
        assert isinstance(context["task"], asyncio.Task)
        assert isinstance(context["transport"], object)

    run(main())


def test_a_handler_that_is_no_coroutine_function_is_told_so(run: Run) -> None:
    async def main() -> None:
        contexts = reported()
        handle: Any = lambda stream: None  # noqa: E731 (a name for what is passed)
        async with await start_server(handle, "127.0.0.1", 0) as server, await client(server) as stream:
            assert [message async for message in stream] == []
        [context] = contexts
        assert isinstance(context["exception"], TypeError)

    run(main())


def test_what_a_peer_does_to_its_connection_is_noted_and_no_more(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        contexts = reported()
        async with await start_server(echo, "127.0.0.1", 0) as server:
            broken = await client(server)
            broken.write(b"one\r\ntw")
            assert await broken.read_message() == b"one"
            broken.close()
            await broken.wait_closed()
            while server._running:
                await turns()
        assert contexts == []

    run(main())
    [record] = [record for record in caplog.records if record.name == "antiphon.aio"]
    assert record.levelno == logging.INFO
    assert "IncompleteRead: wanted a terminator, found the end after 2 bytes: b'tw'" in record.getMessage()
    assert record.exc_info is None


def test_a_connection_that_is_lost_behind_its_handler_is_noted(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def end(stream: ChatStream) -> None:
        stream.write(bytes(50_000_000))  # Which nobody takes.

    async def main() -> None:
        async with await start_server(end, "127.0.0.1", 0) as server:
            stream = await client(server)
            await stream.peek()
            stream.abort()

    run(main())
    assert all(record.exc_info is None for record in caplog.records if record.name == "antiphon.aio")


# -- as asyncio.Server ---------------------------------------------------------------------------------


def test_what_a_peer_does_is_noted_once(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server = ChatServer(echo)
        one = fake()
        server.connected(one.incoming)
        await turns()
        one.lose(ConnectionResetError(104, "reset"))
        await turns(5)

    caplog.set_level(logging.INFO, "antiphon.aio")
    run(main())
    assert len(caplog.records) == 1


def test_it_is_asked_as_a_server_of_asyncio(run: Run) -> None:
    async def main() -> None:
        server = await start_server(echo, "127.0.0.1", 0, start_serving=False)
        assert server.get_loop() is asyncio.get_running_loop()
        assert not server.is_serving()
        await server.start_serving()
        assert server.is_serving()
        assert len(server.sockets) == 1
        server.close()
        assert not server.is_serving()
        assert list(server.sockets) == []
        await server.wait_closed()

    run(main())


@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
def test_clients_may_be_closed(run: Run, how: str) -> None:
    async def main() -> None:
        server = await start_server(echo, "127.0.0.1", 0)
        async with await client(server) as stream:
            stream.write(b"one\r\n")
            assert await stream.read_message() == b"one"
            getattr(server, how)()
            assert [message async for message in stream] == []
        server.close()
        await server.wait_closed()

    run(main())


def test_serving_for_ever_ends_with_its_handlers_when_it_is_cancelled(run: Run) -> None:
    ended: list[str] = []

    async def stubborn(stream: ChatStream) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("cancelled")

    async def main() -> None:
        server = await start_server(stubborn, "127.0.0.1", 0, start_serving=False)
        task = asyncio.create_task(server.serve_forever())
        await turns()
        async with await client(server) as stream:
            while not server._running:
                await turns()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()
            assert ended == ["cancelled"]
            assert [message async for message in stream] == []

    run(main())


# -- closing with grace --------------------------------------------------------------------------------


def test_shutting_down_lets_what_was_begun_be_completed(run: Run) -> None:
    working = asyncio.Event()
    go_on = asyncio.Event()

    async def work(stream: ChatStream) -> None:
        async for message in stream:
            working.set()
            await go_on.wait()
            stream.write(message + b"\r\n")

    async def main() -> None:
        server = await start_server(work, "127.0.0.1", 0)
        async with await client(server) as busy, await client(server) as idle:
            busy.write(b"one\r\ntwo\r\nthr")
            await working.wait()
            shutting = asyncio.create_task(server.shutdown())
            assert [message async for message in idle] == []
            assert not shutting.done()
            go_on.set()
            assert [await busy.read_message() for _ in range(2)] == [b"one", b"two"]
            busy.write(b"ee\r\n")
            assert [message async for message in busy] == [b"three"]
            await shutting

    run(main())


def test_what_is_left_after_the_time_is_cancelled(run: Run) -> None:
    async def stubborn(stream: ChatStream) -> None:
        stream.write(b"hello\r\n" + bytes(50_000_000))
        await asyncio.sleep(3600)

    async def main() -> None:
        server = await start_server(stubborn, "127.0.0.1", 0)
        async with await client(server) as stream:
            assert await stream.read_message() == b"hello"
            await server.shutdown(0.01)
            assert not server._running
            stream.abort()

    run(main())


def test_a_handler_may_shut_its_server_down(run: Run) -> None:
    async def main() -> None:
        async def end(stream: ChatStream) -> None:
            async for message in stream:
                stream.write(message + b"\r\n")
                await server.shutdown()

        server = await start_server(end, "127.0.0.1", 0)
        async with await client(server) as stream, await client(server) as other:
            stream.write(b"stop\r\n")
            assert [message async for message in stream] == [b"stop"]
            assert [message async for message in other] == []
        await server.wait_closed()

    run(main())


def test_a_connection_that_comes_while_it_shuts_down_finds_the_end(run: Run) -> None:
    """One that was accepted, but not made known yet."""

    async def main() -> None:
        server = await start_server(echo, "127.0.0.1", 0)
        await server.shutdown()
        one = fake()
        server.connected(one.incoming)
        await turns()
        assert one.transport.calls == ["close"]
        one.lose()
        await server.wait_closed()

    run(main())
