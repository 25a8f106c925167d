"""What a channel waits for, and how its loop learns that this has changed without asking.

Most channels answer `readable()` and `writable()` with a plain rule over their own state.  Those are
*tracked*: they are asked once when they join a map and again only when that state changes.  A class or an
instance with predicates of its own is *polled*: it is asked once in every turn of the loop.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident
from types import MethodType
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

from antiphon.pollers.base import READ, URGENT, WRITE

__all__ = [
    "Noticed",
    "Traits",
    "Watched",
    "interest_of",
    "noticed",
    "tracked_interest",
    "traits_of",
    "unhandled",
    "watched",
]


_Function = TypeVar("_Function", bound=Callable[..., Any])


class Watched:
    """What `watched` makes.

    Attributes:
        default: what the attribute is before it is assigned.
        stored: where an assigned value is kept.
    """

    stored: str

    def __init__(self, default: Any) -> None:
        self.default: Any = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.stored = f"_ac_{name}"

    def __get__(self, channel: Any, owner: type | None = None) -> Any:
        return self.default if channel is None else getattr(channel, self.stored, self.default)

    def __set__(self, channel: Any, value: Any) -> None:
        if value is not getattr(channel, self.stored, self.default):
            setattr(channel, self.stored, value)
            channel._ac_state_changed()

    def __delete__(self, channel: Any) -> None:
        self.__set__(channel, self.default)


def watched(default: bool) -> Any:
    """A state attribute with a class-level default; the loop learns when it is assigned.

    A subclass may shadow it with an ordinary attribute; its channels are then polled.
    """
    return Watched(default)


class Noticed:
    """What `noticed` makes.

    Attributes:
        function: the method.
        replacement: where what replaces it is kept.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function: Callable[..., Any] = function
        self.__doc__ = function.__doc__
        self.replacement: str = f"_ac_{function.__name__}_replaced"
        setattr(function, _OWN, True)

    def __get__(self, channel: Any, owner: type | None = None) -> Any:
        if channel is None:
            return self.function
        if channel._ac_untracked:
            replacement = getattr(channel, self.replacement, None)
            if replacement is not None:
                return replacement
        return MethodType(self.function, channel)

    def __set__(self, channel: Any, value: Any) -> None:
        setattr(channel, self.replacement, value)
        channel._ac_untracked = True
        channel._ac_state_changed()

    def __delete__(self, channel: Any) -> None:
        delattr(channel, self.replacement)


def noticed(function: _Function) -> _Function:
    """A method whose replacement on an instance (`channel.writable = f`) makes that channel a polled one."""
    made: Any = Noticed(function)
    return cast(_Function, made)


_OWN: Final = "_antiphon_own"
_UNHANDLED: Final = "_antiphon_unhandled"
_PATIENT: Final = "_antiphon_patient"
_STATE: Final = ("connected", "connecting", "accepting")
_READING: Final = ("handle_read_event", "handle_read", "recv")


def unhandled(function: _Function) -> _Function:
    """Mark a default handler that does nothing: an event that would only reach it need not be waited for."""
    setattr(function, _UNHANDLED, True)
    return function


def patient(function: _Function) -> _Function:
    """Mark a method by which a channel reads, and which bears it if nothing has arrived."""
    setattr(function, _PATIENT, True)
    return function


@dataclass(frozen=True, slots=True)
class Traits:
    """What the class of a channel tells about all of its instances.

    Attributes:
        readable: the class's predicate that this was found out for.
        writable: likewise.
        tracked: whether the interest of its channels changes only with their state.
        read: the bits that a readable channel waits for; URGENT only where somebody handles it.
        writes: whether a connected channel has any use for being writable.
        patient: whether its channels bear it to be read from when nothing has arrived.
    """

    readable: Any
    writable: Any
    tracked: bool
    read: int
    writes: bool
    patient: bool


_traits: WeakKeyDictionary[type, Traits] = WeakKeyDictionary()
#: What was asked for last, since channels of one class tend to come together.
_latest: tuple[type, Traits | None] = (object, None)


def traits_of(cls: type) -> Traits:
    """The traits of a class, found out once and again if its predicates were replaced."""
    global _latest  # noqa: PLW0603 (one slot of memory)
    known = _latest[0] is cls
    traits = _latest[1] if known else _traits.get(cls)
    readable, writable = getattr(cls, "readable", None), getattr(cls, "writable", None)
    if traits is None or traits.readable is not readable or traits.writable is not writable:
        _traits[cls] = traits = _find_out(cls, readable, writable)
        known = False
    if not known:
        _latest = cls, traits
    return traits


def _find_out(cls: type, readable: Any, writable: Any) -> Traits:
    own_state = all(isinstance(_static(cls, name), Watched) for name in _STATE)
    return Traits(
        readable=readable,
        writable=writable,
        tracked=own_state and _is_own(readable) and _is_own(writable),
        read=READ if _ignores(cls, "handle_expt") else READ | URGENT,
        writes=not _ignores(cls, "handle_write"),
        patient=all(getattr(getattr(cls, name, None), _PATIENT, False) for name in _READING),
    )


def _static(cls: type, name: str) -> Any:
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def _is_own(function: Any) -> bool:
    return getattr(function, _OWN, False)


def _ignores(cls: type, handler: str) -> bool:
    """Whether an event that ends in `handler` meets nobody's code but our default."""
    event = getattr(cls, f"{handler}_event", None)
    return _is_own(event) and getattr(getattr(cls, handler, None), _UNHANDLED, False)


def interest_of(channel: Any, traits: Traits) -> int:
    """READ, URGENT and WRITE bits that the channel waits for now; 0 for none.

    Asks its `readable()` and `writable()` once each, in this order.
    """
    interest = 0
    everything = getattr(channel, "_ac_untracked", True)
    reads = channel.readable() and not getattr(channel, "_ac_hung_up", False)
    if reads and not (
        getattr(channel, "_ac_reading_paused", 0) or getattr(channel, "_ac_input_ended", False)
    ):
        interest = READ | URGENT if everything else traits.read
    writes = channel.writable() and not getattr(channel, "accepting", False)
    if writes and (everything or traits.writes or not channel.connected):
        interest |= WRITE
    guard = getattr(channel, "_ac_guard", None)
    if guard is not None:
        interest &= guard.interest
    if getattr(channel, "_ac_paused", False) or (
        getattr(channel, "_ac_maker", 0) and _is_in_the_making(channel)
    ):
        return 0
    tls = getattr(channel, "_ac_tls", None)
    return interest if tls is None else tls.interest(channel, interest)


def _is_in_the_making(channel: Any) -> bool:
    """Whether another thread has made the socket, and goes on to connect it or to listen.

    Until then poll(2) and epoll(7) report a hang-up, which would be taken for the end.
    """
    if channel.connected or channel.connecting or channel.accepting or channel._ac_maker == get_ident():
        channel._ac_maker = 0
        return False
    return True


def tracked_interest(channel: Any, traits: Traits) -> int:
    """The same for a channel whose predicates and states are our own.

    Each `readable` of ours says True unless reading is paused.
    """
    if channel._ac_paused or (channel._ac_maker and _is_in_the_making(channel)):
        return 0
    interest = (
        0 if channel._ac_hung_up or channel._ac_reading_paused or channel._ac_input_ended else traits.read
    )
    if (
        traits.writable(channel)
        and (traits.writes or not channel._ac_connected)
        and not channel._ac_accepting
    ):
        interest |= WRITE
    if channel._ac_guard is not None:
        interest &= channel._ac_guard.interest
    return interest if channel._ac_tls is None else channel._ac_tls.interest(channel, interest)
