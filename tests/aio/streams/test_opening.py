import asyncio
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aio_support import Run
from antiphon import aio
from antiphon.aio import ChatStream, open_connection, start_server

assert not TYPE_CHECKING or sys.platform != "win32"

needs_unix_sockets = pytest.mark.skipif(sys.platform == "win32", reason="has no Unix sockets to speak of")

CASES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"terminator": 2_000_000}, ValueError, "wanted a length of 1 to 1048576 bytes, max_message_size"),
    ({"terminator": "x"}, TypeError, "wanted bytes, a tuple of bytes, a length or None as the terminator"),
    ({"max_message_size": 0}, ValueError, "wanted 1 byte or more as max_message_size, found 0"),
    ({"overflow": "drop"}, ValueError, 'wanted "raise" or "discard" as overflow'),
    ({"limit": 100}, TypeError, "wanted max_message_size= and read_ahead=, found limit="),
    ({"read_ahead": 0}, ValueError, "wanted 1 byte or more as read_ahead, found 0"),
]


@pytest.mark.parametrize(("settings", "error", "complaint"), CASES)
def test_bad_settings_are_refused_before_anything_is_opened(
    run: Run, settings: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    async def handle(stream: ChatStream) -> None:
        raise AssertionError

    async def main() -> None:
        with pytest.raises(error, match=complaint):
            await open_connection("127.0.0.1", 9, **settings)
        with pytest.raises(error, match=complaint):
            await start_server(handle, "127.0.0.1", 0, **settings)

    run(main())


def test_a_connection_that_is_not_to_be_had_is_an_error_of_the_system(run: Run) -> None:
    async def main() -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError):
                await open_connection(*closed.getsockname())

    run(main())


def test_the_settings_of_a_server_are_those_of_its_streams(run: Run) -> None:
    async def handle(stream: ChatStream) -> None:
        async for message in stream:
            stream.write(b"%d %s\r\n" % (stream.discarded, message))

    async def main() -> None:
        server = await start_server(
            handle, "127.0.0.1", 0, terminator=(b"\n", b"\r\n"), max_message_size=5, overflow="discard"
        )
        async with server, await open_connection(*server.sockets[0].getsockname()[:2]) as stream:
            stream.write(b"one\n123456\ntwo\r\n")
            assert [await stream.read_message(), await stream.read_message()] == [b"0 one", b"1 two"]

    run(main())


@needs_unix_sockets
def test_any_stream_socket_will_do(run: Run) -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        async with await open_connection(sock=near) as stream:
            _, writer = await asyncio.open_connection(sock=far)
            writer.write(b"one\r\n")
            assert await stream.read_message() == b"one"
            writer.close()
            await writer.wait_closed()

    run(main())


@needs_unix_sockets
@pytest.mark.parametrize("kind", [str, Path])
def test_unix_sockets_carry_streams(run: Run, tmp_path: Path, kind: type[Any]) -> None:
    where = kind(tmp_path / "socket")

    async def answer(stream: ChatStream) -> None:
        async for message in stream:
            stream.write(b"%d %s\n" % (stream.discarded, message))

    async def main() -> None:
        limits: dict[str, Any] = {"max_message_size": 5, "overflow": "discard"}
        server = await aio.start_unix_server(answer, where, terminator=b"\n", **limits)
        assert server.sockets[0].getsockname() == str(where)
        assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)
        async with server, await aio.open_unix_connection(where, terminator=b"\n", read_ahead=100) as stream:
            stream.writelines([b"one\n", b"123456\n", b"two\n"])
            assert [await stream.read_message(), await stream.read_message()] == [b"0 one", b"1 two"]

    run(main())


@needs_unix_sockets
def test_unix_sockets_that_are_open_already_will_do(run: Run, tmp_path: Path) -> None:
    async def answer(stream: ChatStream) -> None:
        stream.write(await stream.read_message())

    async def main() -> None:
        listening, calling = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "socket"))
        async with await aio.start_unix_server(answer, sock=listening):
            calling.connect(str(tmp_path / "socket"))
            async with await aio.open_unix_connection(sock=calling) as stream:
                stream.write(b"one\r\n")
                assert await stream.read_exactly(3) == b"one"

    run(main())


@needs_unix_sockets
def test_a_unix_socket_that_is_not_there_is_an_error_of_the_system(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await aio.open_unix_connection(tmp_path / "none")

    run(main())


@needs_unix_sockets
@pytest.mark.parametrize(("settings", "error", "complaint"), CASES)
def test_bad_settings_of_unix_sockets_are_refused_before_anything_is_opened(
    run: Run, settings: dict[str, Any], error: type[Exception], complaint: str, tmp_path: Path
) -> None:
    async def handle(stream: ChatStream) -> None:
        raise AssertionError

    async def main() -> None:
        with pytest.raises(error, match=complaint):
            await aio.open_unix_connection(tmp_path / "socket", **settings)
        with pytest.raises(error, match=complaint):
            await aio.start_unix_server(handle, tmp_path / "socket", **settings)
        assert not (tmp_path / "socket").exists()

    run(main())


@pytest.mark.skipif(sys.platform != "win32", reason="is about Windows")
def test_windows_has_no_names_for_unix_sockets() -> None:
    assert not {"open_unix_connection", "start_unix_server"} & {*vars(aio), *aio.__all__}


def test_a_slow_program_slows_its_peer_down(run: Run) -> None:
    """Neither end keeps what the other one does not take."""

    async def main() -> None:
        taken = asyncio.Event()

        async def handle(stream: ChatStream) -> None:
            await stream.read_message()
            await taken.wait()
            total.extend([len(message) async for message in stream])

        total: list[int] = []
        server = await start_server(handle, "127.0.0.1", 0)
        stream = await open_connection(*server.sockets[0].getsockname()[:2])
        line, count = b"x" * 1022 + b"\r\n", 40_000

        async def send() -> None:
            stream.write(b"begin\r\n")
            for _ in range(count):
                stream.write(line)
                await stream.drain()
            stream.close()

        sending = asyncio.create_task(send())
        kept = await settled(stream)
        assert not sending.done()
        assert kept < 1_000_000
        taken.set()
        await sending
        await stream.wait_closed()
        server.close()
        await server.wait_closed()
        assert sum(total) == count * 1022

    run(main())


async def settled(stream: ChatStream) -> int:
    """Bytes that the transport keeps when it takes no more for a while."""
    before, same = -1, 0
    while same < 50:
        await asyncio.sleep(0)
        kept = stream.transport.get_write_buffer_size()
        same, before = (same + 1, before) if kept == before and kept else (0, kept)
    return before
