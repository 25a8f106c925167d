"""Handlers that raise: what passes through the loop, and where everything else ends."""

import logging
from typing import Any, Final

from antiphon.endings import ERROR, because, tell_of_error
from antiphon.errors import ESCAPING, ExitNow
from antiphon.logs import LimitedLog, origin_of

__all__ = ["ESCAPING", "ExitNow", "contain"]

_limited: Final = LimitedLog(logging.getLogger("antiphon.channels"), burst=10)


def contain(channel: Any) -> None:
    """Hand the exception that is being handled to the channel, and close it if even that fails."""
    try:
        tell_of_error(channel)
    except ESCAPING:
        raise
    except Exception as error:
        _log(channel, "handle_error of %r failed; closing it", error)
        try:
            because(ERROR, channel, channel.close)
        except ESCAPING:
            raise
        except Exception as error:
            _log(channel, "close of %r failed; dropping it", error)
            _drop(channel)


def _log(channel: Any, message: str, error: Exception) -> None:
    kind = message, type(channel), origin_of(error)
    _limited.log(logging.ERROR, kind, message, type(channel), exc_info=error)


def _drop(channel: Any) -> None:
    """Take a channel that can't be closed out of its map: what is ready and not dealt with stays ready."""
    loop, fd = getattr(channel, "_ac_loop", None), getattr(channel, "_fileno", None)
    if loop is not None and loop.map.get(fd) is channel:
        del loop.map[fd]
