"""Handlers that keep everybody waiting: how long each takes, and which one it was.

While one handler runs, no other channel is served.  One look at a clock after each event is what it costs to
know which of them was slow; it is a cheap one.
"""

import logging
import operator
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from antiphon.counting import Counts
from antiphon.logs import LimitedLog, name_of
from antiphon.pollers.base import READ, URGENT, WRITE
from antiphon.timers import seconds

__all__ = ["ENVIRONMENT_VARIABLE", "SLOW", "Watch", "checked", "handlers_of", "name_of_callback", "slow_from"]

_log: Final = logging.getLogger("antiphon.loop")

#: Seconds, for programs that nobody wants to change; 0 switches the watch off.
ENVIRONMENT_VARIABLE: Final = "ANTIPHON_SLOW_CALLBACK"

#: CLOCK_MONOTONIC_COARSE of linux/time.h: the time of the last tick, without asking the hardware.
_COARSE: Final = 6

#: A limit of fewer ticks than these needs a finer clock.
_TICKS: Final = 10


def slow_from(environment: "os._Environ[str] | dict[str, str]") -> float | None:
    """The limit that the environment says, in seconds; 0.1 if it says nothing, None for no watch.

    Raises:
        ValueError: it says something that is no number of seconds.
    """
    said = environment.get(ENVIRONMENT_VARIABLE)
    if said is None:
        return 0.1
    try:
        return checked(float(said) or None)
    except ValueError:
        raise ValueError(f"wanted seconds, or 0, in {ENVIRONMENT_VARIABLE}, found {said!r}") from None


def checked(limit: Any) -> float | None:
    """A limit in seconds, more than 0, or None.

    Raises:
        TypeError: it is something else.
        ValueError: it is 0, negative or no number.
    """
    return None if limit is None else seconds("slow_callback", limit, above=0)


def _tick() -> float:
    """Seconds between two ticks of the coarse clock; infinite where there is none."""
    if sys.platform != "linux":
        return float("inf")
    try:
        return time.clock_getres(_COARSE)
    except OSError:
        return float("inf")


SLOW: Final = slow_from(os.environ)
_TICK: Final = _tick()


class Watch:
    """Tells of what takes longer than a limit.

    Whoever calls a handler looks at the clock before and after it: `watch.clock(watch.which)`.

    Args:
        limit: seconds.
        counts: of the loop.
        now: the clock of the loop.

    Attributes:
        limit: seconds.
        clock: called with `which`, seconds.
        which: the argument of the clock.
    """

    __slots__ = ("_counts", "_limited", "clock", "limit", "which")

    def __init__(self, limit: float, counts: Counts, now: Callable[[], float] = time.monotonic) -> None:
        self.limit: float = limit
        self._counts = counts
        self.clock: Callable[[Any], float] = operator.call
        self.which: Any = now
        if sys.platform == "linux" and now is time.monotonic and limit >= _TICKS * _TICK:
            self.clock, self.which = time.clock_gettime, _COARSE
        self._limited = LimitedLog(_log, now=now)

    def look(self, channel: Any, flags: int, took: float) -> None:
        """Tell of a channel (None: there is none) whose handlers took `took` seconds, if that is too long."""
        backlog = getattr(channel, "_ac_backlog", None)
        if backlog is not None:  # Of what it has accepted, look_at_arrival() has told.
            took -= backlog.early.accounted
        if took > self.limit and channel is not None:
            names = " or ".join(handlers_of(channel, flags)) or f"an event of {type(channel).__qualname__}"
            self._tell(names, took, name_of(channel))

    def look_at_arrival(self, listener: Any, channel: Any, took: float) -> None:
        """Tell of a connection that it took too long to accept, and to deal with what it had sent."""
        names = [*handlers_of(listener, READ), *(() if channel is None else handlers_of(channel, READ))]
        self._tell(" or ".join(names) or "accepting", took, name_of(channel or listener))

    def look_at(self, callback: Callable[..., Any], arguments: tuple[Any, ...], took: float) -> None:
        """The same for a timer, or for what another thread has asked for."""
        if took > self.limit:
            owner = getattr(callback, "__self__", None)
            name, kind = name_of_callback(callback, arguments), "timer or call"
            self._tell(name, took, name_of(owner) if hasattr(owner, "handle_error") else kind)

    def _tell(self, names: str, took: float, whose: str) -> None:
        self._counts.slow += 1
        self._limited.log(logging.WARNING, names, "%s: %s took %.3f s", whose, names, took)


def name_of_callback(callback: Callable[..., Any], arguments: tuple[Any, ...] = ()) -> str:
    """Its class and name, as far as it can be told; what wraps a function is looked through."""
    while True:
        if getattr(callback, "__name__", None) == "_ac_call" and arguments:  # A channel's timer.
            callback, arguments = arguments[0], arguments[1:]
        elif isinstance(callback, partial):
            callback = callback.func
        else:
            break
    owner = getattr(callback, "__self__", None)
    name = getattr(callback, "__name__", None)
    if name is None:
        return f"{type(callback).__qualname__} object"
    if owner is not None and not isinstance(owner, type(sys)):
        return f"{(owner if isinstance(owner, type) else type(owner)).__qualname__}.{name}"
    return str(getattr(callback, "__qualname__", name))


#: What an event may reach, from the outside in: the first that is the program's own has called the others.
_READING: Final = "handle_read_event", "handle_read"
_ACCEPTING: Final = "handle_read_event", "handle_accept", "handle_accepted"
_CONNECTING: Final = "handle_write_event", "handle_connect_event", "handle_connect"
_DATAGRAMS: Final = "datagram_received", "datagram_truncated", "datagram_failed"


def handlers_of(channel: Any, flags: int) -> list[str]:
    """The handlers of the program's own that an event may have called, as `Class.method`.

    Args:
        channel: the channel, after the event.
        flags: the event, in the bits of poll(2).
    """
    names: list[str] = []
    if flags & READ or not flags & (WRITE | URGENT):
        names += _of_reading(channel)
    if flags & WRITE:
        names += [*_own(channel, *_CONNECTING), *_own(channel, "handle_write"), *_producer_of(channel)]
    if flags & URGENT:
        names += _own(channel, "handle_expt_event", "handle_expt")
    return list(dict.fromkeys(names))


def _of_reading(channel: Any) -> list[str]:
    if getattr(channel, "accepting", False):
        return _own(channel, *_ACCEPTING)
    return _own(channel, *_READING) or [
        *_own(channel, "messages_received", "message_received"),
        *_own(channel, "collect_incoming_data"),
        *_own(channel, "found_terminator"),
        *(name for method in _DATAGRAMS for name in _own(channel, method)),
        *(_own(channel, "handle_close") if getattr(channel, "_ac_hung_up", True) else ()),
    ]


def _own(channel: Any, *names: str) -> list[str]:
    """The first of these methods that is the program's own."""
    handlers = (getattr(channel, name, None) for name in names)
    own = next((handler for handler in handlers if handler is not None and not _is_ours(handler)), None)
    return [] if own is None else [name_of_callback(own)]


def _producer_of(channel: Any) -> Iterator[str]:
    """That which is being sent, if it is the program's own."""
    queue = getattr(channel, "_ac_outbox", None)
    more = None if isinstance(queue, bytes) or not queue else getattr(queue[0], "more", None)
    if more is not None and not _is_ours(more):
        yield name_of_callback(more)


def _is_ours(handler: Any) -> bool:
    module = getattr(handler, "__module__", None) or ""
    return module.partition(".")[0] == "antiphon" and not module.startswith("antiphon.servers")
