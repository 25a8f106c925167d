"""Streams of messages for asyncio: a coroutine reads and writes, antiphon's framing is underneath."""

from antiphon.aio.streams.errors import IncompleteRead
from antiphon.aio.streams.opening import open_connection, start_server
from antiphon.aio.streams.server import ChatServer
from antiphon.aio.streams.stream import ChatStream
from antiphon.errors import MessageTooLong

__all__ = ["ChatServer", "ChatStream", "IncompleteRead", "MessageTooLong", "open_connection", "start_server"]
