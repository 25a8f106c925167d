"""Opening streams: `open_connection` and `start_server`, and the same by Unix sockets."""

import asyncio
import functools
import os
import sys
from typing import Any, Final, TypeAlias

from antiphon.aio.streams.incoming import Incoming
from antiphon.aio.streams.protocol import Limits
from antiphon.aio.streams.reader import as_message_terminator
from antiphon.aio.streams.server import ChatServer, Handler
from antiphon.aio.streams.stream import ChatStream
from antiphon.framing.parser import AnyTerminator, Overflow, as_limit, as_overflow

__all__ = ["open_connection", "start_server"]

_Path: TypeAlias = str | bytes | os.PathLike[str]

_CRLF: Final = b"\r\n"
_MESSAGE_SIZE: Final = 1_048_576
_READ_AHEAD: Final = 65_536


def _protocol(
    terminator: AnyTerminator,
    max_message_size: int | None,
    overflow: Overflow,
    read_ahead: int,
    named: dict[str, Any],
) -> functools.partial[Incoming]:
    """What makes the connections that are opened so; it takes what is called for each that is made."""
    if "limit" in named:
        raise TypeError(
            "wanted max_message_size= and read_ahead=, found limit=, which only asyncio's streams have"
        )
    if read_ahead < 1:
        raise ValueError(f"wanted 1 byte or more as read_ahead, found {read_ahead}")
    limits = Limits(as_limit(max_message_size, "max_message_size"), as_overflow(overflow), read_ahead)
    return functools.partial(Incoming, limits, as_message_terminator(terminator, limits.message_size))


async def open_connection(
    host: str | None = None,
    port: int | str | None = None,
    *,
    terminator: AnyTerminator = _CRLF,
    max_message_size: int | None = _MESSAGE_SIZE,
    overflow: Overflow = "raise",
    read_ahead: int = _READ_AHEAD,
    **named: Any,
) -> ChatStream:
    """Connect to a server.

    Args:
        host: its name or address.
        port: its port.
        terminator: what ends a message, as `ChatStream.set_terminator` takes it.
        max_message_size: bytes of a message at most, without its terminator; None for any number.
        overflow: what happens to a longer one, which is skipped in any case: "raise" a MessageTooLong to the
            reader, or "discard" it in silence. What is too long by its length is raised, too.
        read_ahead: bytes that nobody has asked for at which reading pauses. What a reader waits for, a long
            message or a number of bytes, may be longer. What arrives while the messages of one read are
            handled comes on top.
        **named: what `loop.create_connection` takes besides: `ssl`, `server_hostname`, `sock`, `local_addr`
            and others.

    Raises:
        OSError: there was no connection to be had.
        TypeError: the terminator or `max_message_size` is of another type, or `limit` is given.
        ValueError: they are none.
    """
    incoming = _protocol(terminator, max_message_size, overflow, read_ahead, named)()
    where: tuple[Any, Any] = host, port
    await asyncio.get_running_loop().create_connection(lambda: incoming, *where, **named)
    return ChatStream(incoming)


async def start_server(
    handle: Handler,
    host: str | None = None,
    port: int | str | None = None,
    *,
    terminator: AnyTerminator = _CRLF,
    max_message_size: int | None = _MESSAGE_SIZE,
    overflow: Overflow = "raise",
    read_ahead: int = _READ_AHEAD,
    **named: Any,
) -> ChatServer:
    """Listen, and serve each connection by a task of its own.

    A connection is closed when its handler ends, behind what was written. Exceptions of a handler go to the
    loop's exception handler, but for those by which a peer or the network ends a connection (IncompleteRead,
    and the ConnectionErrors), which are noted by the logger `antiphon.aio`, level INFO.

    Args:
        handle: called with the stream of each connection, and awaited.
        host: the address to listen on; None for all.
        port: the port; 0 for any that is free.
        terminator: as of `open_connection`, for each connection; likewise the other three.
        max_message_size: likewise.
        overflow: likewise.
        read_ahead: likewise.
        **named: what `loop.create_server` takes besides: `ssl`, `sock`, `backlog`, `reuse_port` and others.

    Raises:
        OSError: it can't listen there.
        TypeError: the terminator or `max_message_size` is of another type, or `limit` is given.
        ValueError: they are none.
    """
    protocol = _protocol(terminator, max_message_size, overflow, read_ahead, named)
    server = ChatServer(handle)
    return await server.listen(lambda: protocol(server.connected), host, port, **named)


# As in asyncio: where there are none, the names are not there.
if sys.platform != "win32":  # pragma: no branch: the tests of this branch need Windows
    __all__ += ["open_unix_connection", "start_unix_server"]

    async def open_unix_connection(
        path: _Path | None = None,
        *,
        terminator: AnyTerminator = _CRLF,
        max_message_size: int | None = _MESSAGE_SIZE,
        overflow: Overflow = "raise",
        read_ahead: int = _READ_AHEAD,
        **named: Any,
    ) -> ChatStream:
        """Connect to a server on this machine. Not on Windows.

        Args:
            path: of its socket; an abstract one (unix(7)) begins with a null byte.
            terminator: as of `open_connection`; likewise the other three.
            max_message_size: likewise.
            overflow: likewise.
            read_ahead: likewise.
            **named: what `loop.create_unix_connection` takes besides: `ssl`, `server_hostname`, `sock` and
                others.

        Raises:
            OSError: there was no connection to be had.
            TypeError: the terminator or `max_message_size` is of another type, or `limit` is given.
            ValueError: they are none.
        """
        incoming = _protocol(terminator, max_message_size, overflow, read_ahead, named)()
        where: Any = path
        await asyncio.get_running_loop().create_unix_connection(lambda: incoming, where, **named)
        return ChatStream(incoming)

    async def start_unix_server(
        handle: Handler,
        path: _Path | None = None,
        *,
        terminator: AnyTerminator = _CRLF,
        max_message_size: int | None = _MESSAGE_SIZE,
        overflow: Overflow = "raise",
        read_ahead: int = _READ_AHEAD,
        **named: Any,
    ) -> ChatServer:
        """As `start_server`, by a Unix socket. Not on Windows.

        Args:
            handle: as of `start_server`.
            path: where the socket is to be; one that is there is replaced. Closing the server removes it from
                Python 3.13 on.
            terminator: as of `open_connection`, for each connection; likewise the other three.
            max_message_size: likewise.
            overflow: likewise.
            read_ahead: likewise.
            **named: what `loop.create_unix_server` takes besides: `ssl`, `sock`, `backlog` and others.

        Raises:
            OSError: it can't listen there.
            TypeError: the terminator or `max_message_size` is of another type, or `limit` is given.
            ValueError: they are none.
        """
        protocol = _protocol(terminator, max_message_size, overflow, read_ahead, named)
        server = ChatServer(handle)
        return await server.listen_unix(lambda: protocol(server.connected), path, **named)
