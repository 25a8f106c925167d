"""What a map held when it was last looked at, for maps that don't tell of their changes.  Owns no channel."""

import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from operator import call, is_
from typing import Any, Final

__all__ = ["Mirror"]

#: How often a map is read that raises RuntimeError because another thread changes it meanwhile.
_ATTEMPTS: Final = 100


class Mirror:
    """Remembers the keys of a map and, weakly, its values."""

    def __init__(self) -> None:
        self._keys: list[int] = []
        self._references: list[Callable[[], Any]] = []
        self._doubted: set[int] = set()

    def forget(self, fd: int) -> None:
        """Report `fd` as a difference next time, whatever the map then holds."""
        self._doubted.add(fd)

    def _is_same(self, channels: Mapping[int, Any]) -> bool:
        """Whether nothing has changed; False also where another thread is changing it at this moment."""
        if len(channels) != len(self._keys):
            return False
        try:
            return list(channels) == self._keys and all(
                map(is_, channels.values(), map(call, self._references))
            )
        except RuntimeError:
            return False

    def differences(self, channels: Mapping[int, Any]) -> list[int]:
        """Descriptors whose channel came, went or changed since the last call."""
        if not self._doubted and self._is_same(channels):
            return []
        keys, values = _contents(channels)
        before = dict(zip(self._keys, self._references, strict=True))
        after = dict(zip(keys, values, strict=True))
        changed = [
            fd
            for fd, channel in after.items()
            if fd in self._doubted or fd not in before or before[fd]() is not channel
        ]
        changed += [fd for fd in before if fd not in after]
        self._keys, self._references = keys, [_reference(channel) for channel in values]
        self._doubted.clear()
        return changed


def _contents(channels: Mapping[int, Any]) -> tuple[list[int], list[Any]]:
    if type(channels) is dict:  # Its copy is made in one step: other threads may be changing it.
        channels = channels.copy()
        return list(channels), list(channels.values())
    keys = _keys(channels)
    found = [(fd, channel) for fd in keys if (channel := channels.get(fd)) is not None]
    return [fd for fd, _ in found], [channel for _, channel in found]


def _keys(channels: Mapping[int, Any]) -> list[int]:
    for _ in range(_ATTEMPTS - 1):
        with suppress(RuntimeError):
            return list(channels)
    return list(channels)


def _reference(channel: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(channel)
    except TypeError:
        return lambda: channel
