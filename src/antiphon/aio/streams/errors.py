"""The end of a stream where a program wanted more, as asyncio's users and antiphon's both know it."""

import asyncio

from antiphon.errors import MessageIncomplete

__all__ = ["IncompleteRead"]


class IncompleteRead(MessageIncomplete, asyncio.IncompleteReadError):
    """The stream has ended before what was to be read was there.

    Attributes:
        partial: the bytes that were there, which are taken by that; b"" if it ended between two messages.
        expected: bytes that were asked for; None if a terminator was to end them.
    """
