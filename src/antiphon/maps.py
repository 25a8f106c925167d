"""Maps of channels that tell their loop what joins and leaves, and the loop of any map."""

from collections.abc import MutableMapping
from typing import Any, Final
from weakref import ReferenceType, ref

from antiphon.loop import Loop

__all__ = ["ChannelMap", "loop_of"]

_MISSING: Any = object()

#: Each of these runs for every connection: super() has them looked up for each.
_set: Final = dict.__setitem__
_delete: Final = dict.__delitem__


class ChannelMap(dict[int, Any]):
    """A dict of descriptor -> channel that reports its changes, so that its loop need not look for them."""

    __slots__ = ("__weakref__", "loop")

    def __init__(self, *others: Any, **named: Any) -> None:
        super().__init__(*others, **named)
        #: The loop that waits for the channels of this map.
        self.loop: Loop = Loop(self, tells=True)

    def __setitem__(self, fd: int, channel: Any) -> None:
        if fd in self:
            self.loop.removed(fd)
        _set(self, fd, channel)
        self.loop.added(fd)

    def __delitem__(self, fd: int) -> None:
        _delete(self, fd)
        self.loop.removed(fd)

    def __copy__(self) -> dict[int, Any]:
        return self.copy()  # A plain dict: the loop is this map's.

    def __ior__(self, other: Any) -> "ChannelMap":  # type: ignore[override,misc] # dict's own overloads
        self.update(other)
        return self

    def pop(self, fd: int, default: Any = _MISSING) -> Any:
        """As dict.pop."""
        if default is _MISSING or fd in self:
            channel = super().pop(fd)
        else:
            return default
        self.loop.removed(fd)
        return channel

    def popitem(self) -> tuple[int, Any]:
        """As dict.popitem."""
        item = super().popitem()
        self.loop.removed(item[0])
        return item

    def clear(self) -> None:
        """As dict.clear."""
        descriptors = list(self)
        super().clear()
        for fd in descriptors:
            self.loop.removed(fd)

    def setdefault(self, fd: int, default: Any = None) -> Any:
        """As dict.setdefault."""
        if fd not in self:
            self[fd] = default
        return self[fd]

    def update(self, *others: Any, **named: Any) -> None:
        """As dict.update."""
        for fd, channel in dict(*others, **named).items():
            self[fd] = channel


#: By the identity of the map; a reference that is dead, or to the loop of another map, counts for nothing.
_loops: dict[int, "ReferenceType[Loop]"] = {}


def loop_of(channels: MutableMapping[int, Any]) -> Loop:
    """The loop that waits for the channels of `channels`.

    A map that is no `ChannelMap` has one as long as it is used: its channels, pending timers and whoever
    asked for it hold it.
    """
    if isinstance(channels, ChannelMap):
        return channels.loop
    key = id(channels)
    reference = _loops.get(key)
    loop = None if reference is None else reference()
    if loop is None or loop.map is not channels:
        loop = Loop(channels)
        _loops[key] = ref(loop, lambda dead: _forget(key, dead))
    return loop


def _forget(key: int, dead: "ReferenceType[Loop]") -> None:
    if _loops.get(key) is dead:
        del _loops[key]
