"""Why a channel ended: what its loop counts the ends of channels by.

The first reason is the one that counts: a channel whose handler for an overlong message fails has ended for
the message.
"""

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

from antiphon.errors import is_network_error

__all__ = ["ERROR", "OVERFLOW", "OWN", "PEER", "REASONS", "TIMEOUT", "because", "tell_of_error"]

#: The peer or the network: the end of the stream, a reset, a connection that was refused or not made.
PEER: Final = "peer"
#: A limit in time.
TIMEOUT: Final = "timeout"
#: A limit in size.
OVERFLOW: Final = "overflow"
#: An exception in the program.
ERROR: Final = "error"
#: The program, by `close()` or `close_when_done()`.
OWN: Final = "own"

REASONS: Final = (PEER, TIMEOUT, OVERFLOW, ERROR, OWN)

_Result = TypeVar("_Result")


def because(reason: str, channel: Any, handler: Callable[..., _Result], *arguments: Any) -> _Result:
    """Call a handler of `channel`; if it ends the channel, now or when all is sent, that was for `reason`.

    Args:
        reason: one of REASONS.
        channel: any object of a map; of one that is no channel of ours nothing is noted.
        handler: what may end it.
        arguments: for the handler.

    Returns:
        What the handler returns.
    """
    if getattr(channel, "_ac_ending", reason) is not None:
        return handler(*arguments)
    channel._ac_ending = reason
    try:
        return handler(*arguments)
    finally:
        is_paused = getattr(channel, "_ac_reading_paused", 0)
        if not channel.closing and (is_paused or not getattr(channel, "_ac_deaf", False)):
            channel._ac_ending = None


def tell_of_error(channel: Any) -> None:
    """Have `channel` handle the exception that is being handled, with its `handle_error`."""
    because(PEER if is_network_error(sys.exc_info()[1]) else ERROR, channel, channel.handle_error)
