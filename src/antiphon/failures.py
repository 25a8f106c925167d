"""Handlers that raise: what passes through the loop, and where everything else ends."""

import logging
from typing import Any, Final

__all__ = ["ESCAPING", "ExitNow", "contain"]

_log = logging.getLogger("antiphon")


class ExitNow(Exception):  # noqa: N818 (the name that programs raise and catch)
    """Raise it in a handler to leave the loop: it passes through instead of going to `handle_error`."""


#: What a handler may raise to leave the loop.
ESCAPING: Final[tuple[type[BaseException], ...]] = (ExitNow, KeyboardInterrupt, SystemExit)


def contain(channel: Any) -> None:
    """Hand the exception that is being handled to the channel, and close it if even that fails."""
    try:
        channel.handle_error()
    except ESCAPING:
        raise
    except Exception:
        _log.exception("handle_error of %r failed; closing it", type(channel))
        try:
            channel.close()
        except ESCAPING:
            raise
        except Exception:
            _log.exception("close of %r failed; dropping it", type(channel))
            _drop(channel)


def _drop(channel: Any) -> None:
    """Take a channel that can't be closed out of its map: what is ready and not dealt with stays ready."""
    loop, fd = getattr(channel, "_ac_loop", None), getattr(channel, "_fileno", None)
    if loop is not None and loop.map.get(fd) is channel:
        del loop.map[fd]
