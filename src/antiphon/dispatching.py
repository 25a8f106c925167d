"""A batch of events -> calls of the channels' handlers, in the way of select(2) or of poll(2).

The functions for one event are looked up for each batch, by their names, in the module that programs know
them by: there they are replaced.
"""

from collections.abc import Mapping
from typing import Any

from antiphon.events import TROUBLE, failed, lost
from antiphon.failures import ESCAPING
from antiphon.loop import Batch, Dispatch, Loop
from antiphon.pollers.base import INVALID, READ, URGENT, WRITE

__all__ = ["as_poll_does", "as_select_does", "exception", "read", "write"]


def read(obj: Any) -> None:
    """Have `obj` handle that it can be read from; its exceptions go to its `handle_error`."""
    try:
        obj.handle_read_event()
    except ESCAPING:
        raise
    except Exception as error:
        failed(obj, error)


def write(obj: Any) -> None:
    """Have `obj` handle that it can be written to; its exceptions go to its `handle_error`."""
    try:
        obj.handle_write_event()
    except ESCAPING:
        raise
    except Exception as error:
        failed(obj, error)


def exception(obj: Any) -> None:
    """Have `obj` handle out-of-band data, or an error; its exceptions go to its `handle_error`."""
    try:
        obj.handle_expt_event()
    except ESCAPING:
        raise
    except Exception as error:
        failed(obj, error)


def as_select_does(functions: Mapping[str, Any]) -> Dispatch:
    """How to deal with a batch in the way of select(2): trouble is for the next read or write to find.

    Args:
        functions: where `read`, `write` and `_exception` are found, each called with a channel.
    """

    def dispatch(turning: Loop, batch: Batch) -> None:
        channels, stale = turning.map, turning.stale
        turning.read_one = read = functions["read"]
        watch = turning.watch
        if watch is not None:
            clock, which, limit = watch.clock, watch.which, watch.limit
            last = clock(which)
            alarm = last + limit
        for fd, flags in batch:
            if stale and fd in stale:
                continue
            if (channel := channels.get(fd)) is None:
                turning.stray(fd)
            elif flags == READ:
                read(channel)
            else:
                _dispatch_rest(functions, turning, fd, flags, channel)
            if watch is not None:
                now = clock(which)
                if now > alarm:
                    watch.look(channel, flags, now - last)
                    alarm = now + limit
                last = now

    return dispatch


def _dispatch_rest(functions: Mapping[str, Any], turning: Loop, fd: int, flags: int, channel: Any) -> None:
    if flags & INVALID:
        # Somebody else has closed the descriptor, and select(2) fails until nobody asks for it.
        lost(channel)
        flags = 0
    reads = turning.waits_for(fd) & READ
    if flags & READ or (reads and flags & TROUBLE):
        functions["read"](channel)
    if turning.has(fd, channel) and (flags & WRITE or (flags & TROUBLE and not reads)):
        functions["write"](channel)
    if turning.has(fd, channel) and flags & URGENT:
        functions["_exception"](channel)
    if turning.has(fd, channel):
        turning.changed(fd)


def as_poll_does(functions: Mapping[str, Any]) -> Dispatch:
    """How to deal with a batch in the way of poll(2): trouble alone is the end of the channel.

    Together with data it isn't: what has arrived is read first, and its end after it.

    Args:
        functions: where `readwrite` is found, called with a channel and the bits of poll(2).
    """

    def read_one(channel: Any) -> None:
        functions["readwrite"](channel, READ)

    def dispatch(turning: Loop, batch: Batch) -> None:
        turning.read_one = read_one
        channels, stale, readwrite = turning.map, turning.stale, functions["readwrite"]
        watch = turning.watch
        if watch is not None:
            clock, which, limit = watch.clock, watch.which, watch.limit
            last = clock(which)
            alarm = last + limit
        for fd, flags in batch:
            if stale and fd in stale:
                continue
            if (channel := channels.get(fd)) is None:
                turning.stray(fd)
            elif flags == READ:
                readwrite(channel, READ)
            else:
                readwrite(channel, flags & ~TROUBLE if flags & READ else flags)
                if channels.get(fd) is channel:
                    turning.changed(fd)
            if watch is not None:
                now = clock(which)
                if now > alarm:
                    watch.look(channel, flags, now - last)
                    alarm = now + limit
                last = now

    return dispatch
