"""Streams of messages for asyncio: a coroutine reads and writes, antiphon's framing is underneath."""

import sys

from antiphon.aio.streams.errors import IncompleteRead
from antiphon.aio.streams.opening import open_connection, start_server
from antiphon.aio.streams.server import ChatServer
from antiphon.aio.streams.stream import ChatStream
from antiphon.errors import MessageTooLong

__all__ = ["ChatServer", "ChatStream", "IncompleteRead", "MessageTooLong", "open_connection", "start_server"]

if sys.platform != "win32":  # pragma: no branch: the tests of this branch need Windows
    from antiphon.aio.streams.opening import open_unix_connection, start_unix_server

    __all__ += ["open_unix_connection", "start_unix_server"]
