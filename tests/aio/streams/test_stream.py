"""Closing, TLS, and what asyncio's users ask a stream for."""

import asyncio
import gc
import socket
import ssl
from typing import Any

import pytest

from aio_support import Contexts, Run, connected, fake, turns
from antiphon.aio import ChatStream, open_connection, start_server
from antiphon.errors import PlaintextReceived


def test_it_knows_its_ends(run: Run) -> None:
    async def main() -> None:
        async with connected() as (stream, _, writer):
            assert stream.get_extra_info("peername") == writer.get_extra_info("sockname")
            assert stream.get_extra_info("nothing", 5) == 5
            assert stream.transport.get_extra_info("socket") is not None
            assert repr(stream) == f"<ChatStream open peer={stream.get_extra_info('peername')!r}>"
            stream.close()
            assert repr(stream).startswith("<ChatStream closing ")
            await stream.wait_closed()
            assert repr(stream).startswith("<ChatStream lost ")

    run(main())


# -- closing -------------------------------------------------------------------------------------------


def test_closing_sends_what_was_written_and_lets_what_has_arrived_be_read(run: Run) -> None:
    async def main() -> None:
        async with connected() as (stream, reader, writer):
            writer.write(b"one\r\n")
            await stream.peek()
            stream.write(b"answer")
            stream.close()
            assert stream.is_closing()
            assert await reader.read() == b"answer"
            await asyncio.gather(stream.wait_closed(), stream.wait_closed())
            assert await stream.read_message() == b"one"

    run(main())


def test_a_block_that_ends_closes(run: Run) -> None:
    async def main() -> None:
        async with connected() as (stream, reader, _):
            async with stream:
                stream.write(b"answer")
            assert repr(stream).startswith("<ChatStream lost")
            assert await reader.read() == b"answer"

    run(main())


def test_a_block_that_is_cancelled_does_not_wait_for_the_peer(run: Run) -> None:
    async def main() -> None:
        async with connected() as (stream, _, _):

            async def block() -> None:
                async with stream:
                    stream.write(bytes(50_000_000))  # Which nobody takes.
                    await stream.read_message()

            task = asyncio.create_task(block())
            await turns()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()

    run(main())


@pytest.mark.parametrize(
    ("error", "passes"), [(ConnectionResetError(104, "reset"), True), (OSError(5, "io"), False)]
)
def test_a_block_does_not_end_by_what_the_network_does(run: Run, error: OSError, passes: bool) -> None:
    async def block() -> None:
        one = fake()
        async with one.stream:
            one.lose(error)

    async def main() -> None:
        if passes:
            await block()
        else:
            with pytest.raises(OSError, match="io"):
                await block()

    run(main())


def test_several_may_wait_for_it_to_be_closed(run: Run) -> None:
    async def main() -> None:
        one = fake()
        tasks = [asyncio.create_task(one.stream.wait_closed()) for _ in range(2)]
        await turns()
        tasks[0].cancel()
        one.lose()
        await tasks[1]
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tasks[0].cancelled()

    run(main())


def test_who_waits_for_it_to_be_closed_is_told_how_it_was_lost(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.lose(ConnectionResetError("reset"))
        with pytest.raises(ConnectionResetError, match="reset"):
            await one.stream.wait_closed()

    run(main())


def test_one_that_is_forgotten_says_so_and_closes(run: Run) -> None:
    async def main() -> None:
        transports = []

        def forget() -> None:
            transports.append(fake().transport)
            gc.collect()

        with pytest.warns(ResourceWarning, match="unclosed <ChatStream open peer='peer'>"):
            forget()
        assert transports[0].calls == ["abort"]

    run(main())


def test_one_that_is_forgotten_after_its_loop_says_so_too(run: Run) -> None:
    async def main() -> Any:
        return fake()

    kept = [run(main())]
    transport = kept[0].transport

    def forget() -> None:
        kept.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed <ChatStream"):
        forget()
    assert transport.calls == []


def test_it_may_be_asked_and_printed_when_it_is_closed(run: Run) -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        stream = await open_connection(sock=near)
        stream.close()
        await stream.wait_closed()
        assert repr(stream).startswith("<ChatStream lost peer=")
        assert stream.get_extra_info("nothing", "default") == "default"
        far.close()

    run(main())


def test_one_that_is_closed_may_be_forgotten(run: Run) -> None:
    async def main() -> None:
        one = fake()
        one.stream.close()
        del one
        gc.collect()

    run(main())


# -- TLS -----------------------------------------------------------------------------------------------


def test_tls_from_the_beginning(run: Run, contexts: Contexts) -> None:
    async def handle(stream: ChatStream) -> None:
        async for message in stream:
            stream.write(message.upper() + b"\r\n")

    async def main() -> None:
        server = await start_server(handle, "127.0.0.1", 0, ssl=contexts.server)
        port = server.sockets[0].getsockname()[1]
        stream = await open_connection("127.0.0.1", port, ssl=contexts.client, server_hostname="localhost")
        async with server, stream:
            for size in (1, 100, 300_000):
                stream.write(b"a" * size + b"\r\n")
                assert await stream.read_message() == b"A" * size
            assert not stream.can_write_eof()
            with pytest.raises(
                NotImplementedError, match="wanted a connection that can end in one direction"
            ):
                stream.write_eof()
            stream.write(b"goes on\r\n")
            assert await stream.read_message() == b"GOES ON"

    run(main())


async def start_tls_when_asked(stream: ChatStream, context: ssl.SSLContext) -> None:
    async for message in stream:
        stream.write(message.upper() + b"\r\n")
        if message == b"starttls":
            await stream.start_tls(context)


def test_tls_may_be_started_behind_a_command(run: Run, contexts: Contexts) -> None:
    async def main() -> None:
        server = await start_server(
            lambda stream: start_tls_when_asked(stream, contexts.server), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        async with server, await open_connection("127.0.0.1", port) as stream:
            stream.write(b"clear\r\n")
            assert await stream.read_message() == b"CLEAR"
            stream.write(b"starttls\r\n")
            assert await stream.read_message() == b"STARTTLS"
            assert stream.get_extra_info("ssl_object") is None
            await stream.start_tls(contexts.client, server_hostname="localhost")
            assert stream.get_extra_info("ssl_object") is not None
            stream.write(b"secret\r\n")
            assert await stream.read_message() == b"SECRET"
            stream.write(b"x" * 200_000 + b"\r\n")
            assert len(await stream.read_message()) == 200_000

    run(main())


def test_what_was_sent_in_the_clear_does_not_count_as_sent_under_tls(run: Run, contexts: Contexts) -> None:
    found: list[Exception] = []

    async def handle(stream: ChatStream) -> None:
        try:
            await start_tls_when_asked(stream, contexts.server)
        except PlaintextReceived as error:
            found.append(error)

    async def main() -> None:
        server = await start_server(handle, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(b"starttls\r\ninjected\r\n")
            assert await asyncio.gather(reader.read(), return_exceptions=True)
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    run(main())
    assert [str(error) for error in found] == [
        "wanted nothing from the peer before the handshake of TLS, found 10 bytes "
        r"that begin with b'injected\r\n'"
    ]


def test_a_handshake_that_fails_closes(run: Run, contexts: Contexts) -> None:
    async def main() -> None:
        server = await start_server(
            lambda stream: start_tls_when_asked(stream, contexts.server), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        async with server:
            stream = await open_connection("127.0.0.1", port)
            stream.write(b"starttls\r\n")
            await stream.read_message()
            with pytest.raises(ssl.SSLCertVerificationError):
                await stream.start_tls(ssl.create_default_context(), server_hostname="localhost")
            with pytest.raises(ssl.SSLCertVerificationError):
                await stream.wait_closed()
            with pytest.raises(ConnectionResetError, match="wanted an open connection to start TLS on"):
                await stream.start_tls(contexts.client, server_hostname="localhost")

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_handshake_that_is_cancelled_closes(run: Run, contexts: Contexts) -> None:
    async def main() -> None:
        async with connected() as (stream, _, _):
            task = asyncio.create_task(stream.start_tls(contexts.client, server_hostname="localhost"))
            await turns()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()
            assert stream.is_closing()
            await stream.wait_closed()

    run(main())


def test_a_connection_that_is_lost_in_the_handshake_is_told(run: Run, contexts: Contexts) -> None:
    """uvloop and some of asyncio's versions return None then."""

    async def main() -> None:
        one = fake()

        async def start_tls(*given: Any, **named: Any) -> None:
            return None

        loop = type("Loop", (), {"start_tls": staticmethod(start_tls)})()
        one.incoming.loop = loop
        with pytest.raises(ConnectionResetError, match="wanted a TLS handshake, found the connection lost"):
            await one.stream.start_tls(contexts.client, server_hostname="localhost")
        assert one.transport.calls == ["pause", "abort"]

    run(main())


def test_a_name_to_check_the_certificate_for_is_wanted(run: Run, contexts: Contexts) -> None:
    async def main() -> None:
        one = fake()
        with pytest.raises(ValueError, match="wanted server_hostname"):
            await one.stream.start_tls(contexts.client)
        one.lose()

    run(main())
