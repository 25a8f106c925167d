"""What a channel allows its peer and its own output: seconds, bytes, bytes a second.

The attributes, and what is called when a limit is reached.  `guard` watches them.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from inspect import getattr_static
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from antiphon.endings import OVERFLOW, TIMEOUT
from antiphon.flow import NO_LIMITS, Limits, waiting
from antiphon.guard import Guard
from antiphon.logs import LimitedLog, name_of
from antiphon.reporting import Reporting
from antiphon.timers import seconds

__all__ = ["Limited", "computed", "limit_of"]

_limited: Final = LimitedLog(logging.getLogger("antiphon.limits"), burst=10)


class _Limit:
    """An attribute with a default for the class; what is assigned to a channel takes effect at once."""

    def __init__(self, default: Any, check: Callable[[str, Any], None]) -> None:
        self.default = default
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.stored = f"_ac_{name}"

    def __get__(self, channel: Any, owner: type | None = None) -> Any:
        if channel is None:
            global _asked  # noqa: PLW0603 (the quickest way to tell)
            _asked += 1
            return self.default
        return getattr(channel, self.stored, self.default)

    def __set__(self, channel: Any, value: Any) -> None:
        self.check(self.name, value)
        setattr(channel, self.stored, value)
        channel._ac_note_limit()

    def __delete__(self, channel: Any) -> None:
        if vars(channel).pop(self.stored, self) is self:
            raise AttributeError(f"{type(channel).__name__} has no {self.name} of its own to delete")
        channel._ac_note_limit()

    def with_default(self, default: Any) -> "_Limit":
        """The same for a subclass that says something else."""
        return self._made(_Limit, default)

    def told_late(self, default: Any) -> "_Limit":
        """The same for a class that was assigned something else."""
        return self._made(_LateLimit, default)

    def _made(self, kind: "type[_Limit]", default: Any) -> "_Limit":
        self.check(self.name, default)
        limit = kind(default, self.check)
        limit.__set_name__(object, self.name)
        return limit


class _LateLimit(_Limit):
    """One in the place of what a class was assigned, which its channels may have hidden by an attribute."""

    def __get__(self, channel: Any, owner: type | None = None) -> Any:
        if channel is not None and self.name in (own := vars(channel)):
            return own[self.name]
        return super().__get__(channel, owner)

    def __set__(self, channel: Any, value: Any) -> None:
        self.check(self.name, value)
        vars(channel).pop(self.name, None)
        super().__set__(channel, value)

    def __delete__(self, channel: Any) -> None:
        if vars(channel).pop(self.name, self) is self:
            super().__delete__(channel)
        else:
            channel._ac_note_limit()


def _check_seconds(name: str, value: Any) -> None:
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if value is not None:
        seconds(name, value, above=0)


def _check_bytes(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"wanted a number of bytes or None as {name}, found {value!r:.60}")
    if value < 0:
        raise ValueError(f"wanted 0 bytes or more as {name}, found {value}")


def _check_rate(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"wanted bytes a second or None as {name}, found {value!r:.60}")
    if not 0 < value < float("inf"):
        raise ValueError(f"wanted more than 0 bytes a second as {name}, found {value!r}")


def _check_switch(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"wanted True or False as {name}, found {value!r:.60}")


def _seconds() -> Any:
    return _Limit(None, _check_seconds)


def _bytes() -> Any:
    return _Limit(None, _check_bytes)


def _rate() -> Any:
    return _Limit(None, _check_rate)


if TYPE_CHECKING:
    computed = property
else:

    class computed:  # noqa: N801 (used like `property`)
        """Like a property, but a program may keep something of its own under this name."""

        def __init__(self, function: Callable[[Any], Any]) -> None:
            self.function = function
            self.__doc__ = function.__doc__

        def __get__(self, channel: Any, owner: type | None = None) -> Any:
            return self if channel is None else self.function(channel)


class Limited(Reporting):
    """The limits of a channel. Each is None unless a class or a channel says otherwise: then there is none.

    They may be assigned to a class, and to a channel at any time. They hold while the channel is in a map,
    from the next turn of its loop on. A timeout is never early; it is late by what the loop is busy with when
    the time has come, and by less than the turn in which the clock began to run.

    Attributes:
        idle_timeout: seconds without a byte in either direction.
        message_timeout: seconds from the first byte of a message to its end. While reading is paused, for
            whatever reason, the clock stands still or begins anew. For `async_chat`.
        connect_timeout: seconds from `connect()` to `handle_connect()`.
        send_timeout: seconds in which the peer takes nothing, although something waits to be sent.
        close_timeout: seconds from `close_when_done()` to the end. It counts also when the peer takes what
            is sent to it: leave time enough for the largest answer. For `async_chat`.
        high_water: bytes: when more than these wait to be sent, `handle_output_full()` is called.
        low_water: bytes: when no more than these are left of them, `handle_output_drained()` is called. None
            is a quarter of `high_water`; one above `high_water` counts as that.
        max_outgoing: bytes: when more than these wait to be sent, they are dropped and the channel is closed.
        backpressure: whether nothing is read from the peer from the one call to the other.
        rate_in: bytes received in a second. After a pause, what one second brings may come at once.
        rate_out: bytes sent in a second, likewise.
    """

    idle_timeout: float | None = _seconds()
    message_timeout: float | None = _seconds()
    connect_timeout: float | None = _seconds()
    send_timeout: float | None = _seconds()
    close_timeout: float | None = _seconds()
    high_water: int | None = _bytes()
    low_water: int | None = _bytes()
    max_outgoing: int | None = _bytes()
    backpressure: bool = _Limit(False, _check_switch)  # type: ignore[assignment] # what it gets and takes
    rate_in: float | None = _rate()
    rate_out: float | None = _rate()

    closing: bool
    _ac_socket: Any
    _ac_guard: Guard | None
    _ac_loop: Any
    _ac_do: Callable[..., None]
    #: Whether one was assigned to the channel itself.
    _ac_limited = False

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        for name in _NAMES:
            # Of the class or of any base: one that is no channel hides ours.
            value = next(vars(base)[name] for base in cls.__mro__ if name in vars(base))
            if not isinstance(value, _Limit) and not _is_the_programs_own(value):
                setattr(cls, name, _LIMITS[name].with_default(value))

    @computed
    def outgoing(self) -> int:
        """The bytes that wait to be sent, in the thread of the loop. A producer counts as none."""
        return waiting(self)

    # -- what is called ------------------------------------------------------------------------------

    def handle_timeout(self, which: str) -> None:
        """Called when a time is over; by default logs that (`antiphon.limits`, INFO) and closes.

        A channel that an override leaves open has the same time again.

        Args:
            which: "idle", "message", "connect", "send" or "close", the attribute's name without "_timeout".
        """
        allowed = getattr(self, f"{which}_timeout")
        self._ac_end(TIMEOUT, f"{which}_timeout", f"{allowed} seconds are over")

    def handle_output_full(self) -> None:
        """Called once when more than `high_water` bytes wait to be sent. Meant to be overridden."""

    def handle_output_drained(self) -> None:
        """Called once when, after that, no more than `low_water` bytes are left. Meant to be overridden."""

    def _ac_overflowed(self, size: int) -> None:
        found = f"wanted {self.max_outgoing} bytes at most that wait to be sent, found {size}"
        self._ac_end(OVERFLOW, "max_outgoing", found)

    def _ac_end(self, reason: str, limit: str, found: str) -> None:
        """Have the program know that it is the end of this connection, and see to it that it is."""
        if self._ac_has_own_log_info():
            self.log_info(f"{name_of(self)}: {limit}: {found}; closing it")
        else:
            kind = type(self), limit
            _limited.log(logging.INFO, kind, "%s: %s: %s; closing it", name_of(self), limit, found)
        sock = self._ac_socket
        self._ac_hang_up(reason)
        if self._ac_socket is sock and not self.closing:
            self.close()

    # -- the guard -----------------------------------------------------------------------------------

    @classmethod
    def _ac_find_limits(cls) -> tuple[Any, ...] | None:
        """What the class says, None if it has no limit. Asked anew for each turn in which channels join."""
        before = _asked
        values = _values(cls)
        if _asked - before != len(_NAMES):  # One isn't ours, so that a channel's own would have no effect.
            _take_in(cls)
        return None if values == NO_LIMITS else values

    def _ac_guard_in(self, loop: Any, values: tuple[Any, ...] | None) -> None:
        """Have the limits watched in the turns of `loop`, if there are any.

        Args:
            loop: a loop whose turn it is.
            values: what the class says.
        """
        if self._ac_guard is not None:
            if self._ac_guard.loop is loop:
                return
            self._ac_unguard()
        limits = _limits_of(self) if self._ac_limited or values != _latest else _latest
        if limits is not None:
            self._ac_guard = guard = Guard(loop, limits)
            guard.begin(self)

    def _ac_unguard(self) -> None:
        """Have nothing watched any more."""
        guard, self._ac_guard = self._ac_guard, None
        if guard is not None:
            guard.end(self)

    def _ac_note_limit(self) -> None:
        """Notice that one was assigned to the channel, or taken from it."""
        self._ac_limited = True
        if self._ac_loop is not None:
            self._ac_do(self._ac_limits_changed)

    def _ac_limits_changed(self) -> None:
        guard, loop, limits = self._ac_guard, self._ac_loop, _limits_of(self)
        if guard is not None and guard.loop is loop:
            guard.configure(self, limits or NO_LIMITS)
        if limits is None:
            self._ac_unguard()
        elif loop is not None:
            self._ac_guard_in(loop, None)

    def _ac_look_at_limits(self) -> None:
        """Notice what has changed in the channel's state."""
        if self._ac_guard is not None:
            self._ac_guard.changed(self)

    def _ac_tells_input(self) -> bool:
        """Whether the guard is told of everything that is received."""
        return False

    def _ac_keeps_message(self) -> bool:
        """Whether an unfinished message is known from before there was a guard."""
        return False

    def _ac_owes_message(self) -> bool:
        """Whether the peer has begun a message and not ended it."""
        return False


_LIMITS: Final = {name: value for name, value in vars(Limited).items() if isinstance(value, _Limit)}
_NAMES: Final = Limits._fields
assert tuple(_LIMITS) == _NAMES
_values: Final[Callable[[Any], tuple[Any, ...]]] = attrgetter(*_NAMES)

#: How often a class was asked for a limit that is ours.
_asked = 0
#: The last ones that were asked for: channels of a class share them.
_latest = NO_LIMITS


def _is_the_programs_own(value: Any) -> bool:
    """Whether a class has a method, or something computed, by the name of a limit."""
    return callable(value) or hasattr(value, "__get__")


def _take_in(cls: type[Limited]) -> None:
    """Make limits of what the class, or a base, was assigned after its definition. What is none stays."""
    for name in _NAMES:
        owner = next(base for base in cls.__mro__ if name in vars(base))
        value = vars(owner)[name]
        if not isinstance(value, _Limit) and not _is_the_programs_own(value):
            made: Any = owner if issubclass(owner, Limited) else cls
            with suppress(TypeError, ValueError):  # For each of its channels to be told.
                setattr(made, name, _LIMITS[name].told_late(value))
                made._ac_limited = True  # Its channels are asked one by one from now on.


def _checked(channel: Limited, name: str, value: Any) -> Any:
    static = getattr_static(type(channel), name)
    if not isinstance(static, _Limit) and _is_the_programs_own(static):
        return getattr(NO_LIMITS, name)
    _LIMITS[name].check(name, value)
    return value


def limit_of(channel: Limited, name: str) -> Any:
    """One limit of a channel; none where its name is that of something of the program's own.

    Raises:
        TypeError, ValueError: something was assigned to its class that is no limit.
    """
    return _checked(channel, name, getattr(channel, name))


def _limits_of(channel: Limited) -> Limits | None:
    """The limits of a channel; None if it has none.

    Raises:
        TypeError, ValueError: something was assigned to its class that is no limit.
    """
    global _latest  # noqa: PLW0603 (one slot of memory)
    values = _values(channel)
    if values != _latest:
        _latest = Limits(
            *(_checked(channel, name, value) for name, value in zip(_NAMES, values, strict=True))
        )
    return None if _latest == NO_LIMITS else _latest
