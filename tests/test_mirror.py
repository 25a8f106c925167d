"""What a map held when it was last looked at, for maps of every kind."""

import gc
import weakref
from collections import UserDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.mirror import Mirror


class Channel:
    """As good as any: can be referred to weakly."""


class Slotted:
    """Cannot be referred to weakly."""

    __slots__ = ()


class Hooked(dict[int, Any]):
    """A dict whose values are looked up by a method of its own."""

    def get(self, fd: int, default: Any = None) -> Any:
        return super().get(fd, default)


class Contrary:
    """Equal to everything, as some programs' channels are to their like."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


class Moving(dict[int, Any]):
    """Another thread changes it while it is looked at, once."""

    moving = False

    def values(self) -> Any:
        if self.moving:
            self.moving = False
            raise RuntimeError("dictionary changed size during iteration")
        return super().values()


def test_a_map_that_changes_while_it_is_looked_at_is_looked_at_again() -> None:
    first, second = Channel(), Channel()
    channels, mirror = Moving({3: first}), Mirror()
    assert mirror.differences(channels) == [3]
    channels[3] = second
    channels.moving = True
    assert mirror.differences(channels) == [3]
    assert mirror.differences(channels) == []


MAPS: list[Callable[[], Any]] = [dict, Hooked, UserDict, weakref.WeakValueDictionary]


@pytest.mark.parametrize("make", MAPS)
def test_what_came_went_and_changed_is_reported_once(make: Callable[[], Any]) -> None:
    channels, mirror = make(), Mirror()
    first, second, third = Channel(), Channel(), Channel()
    assert mirror.differences(channels) == []
    channels[3] = first
    channels[4] = second
    assert mirror.differences(channels) == [3, 4]
    assert mirror.differences(channels) == []
    channels[4] = third
    del channels[3]
    channels[5] = first
    assert sorted(mirror.differences(channels)) == [3, 4, 5]
    assert mirror.differences(channels) == []


@pytest.mark.parametrize("make", MAPS)
def test_another_object_under_the_same_key_is_a_difference_though_it_is_equal(
    make: Callable[[], Any],
) -> None:
    channels, mirror = make(), Mirror()
    channels[3] = former = Contrary()
    mirror.differences(channels)
    channels[3] = latter = Contrary()
    assert former == latter
    assert mirror.differences(channels) == [3]


@pytest.mark.parametrize("make", MAPS)
def test_what_is_forgotten_is_reported_again_whatever_the_map_holds(make: Callable[[], Any]) -> None:
    channels, mirror = make(), Mirror()
    channels[3] = kept = Channel()
    mirror.differences(channels)
    mirror.forget(3)
    mirror.forget(77)
    assert mirror.differences(channels) == [3]
    assert mirror.differences(channels) == []
    assert kept is channels[3]


def test_a_mirror_keeps_no_channel_alive() -> None:
    channels: dict[int, Channel] = {3: Channel()}
    mirror = Mirror()
    mirror.differences(channels)
    remembered = weakref.ref(channels.pop(3))
    gc.collect()
    assert remembered() is None
    assert mirror.differences(channels) == [3]


def test_a_channel_in_the_place_of_a_dead_one_is_a_difference() -> None:
    channels: dict[int, Channel] = {3: Channel()}
    mirror = Mirror()
    mirror.differences(channels)
    del channels[3]
    channels[3] = Channel()
    assert mirror.differences(channels) == [3]


def test_objects_without_weak_references_are_told_apart_too() -> None:
    channels: dict[int, Any] = {3: Slotted()}
    mirror = Mirror()
    assert mirror.differences(channels) == [3]
    assert mirror.differences(channels) == []
    channels[3] = Slotted()
    assert mirror.differences(channels) == [3]


def test_the_order_of_a_map_is_no_difference() -> None:
    first, second = Channel(), Channel()
    channels = {3: first, 4: second}
    mirror = Mirror()
    mirror.differences(channels)
    channels = {4: second, 3: first}
    assert mirror.differences(channels) == []


class Vanishing(UserDict[int, Any]):
    """Loses a channel between the moment it names its keys and the moment it is asked for it."""

    def get(self, fd: int, default: Any = None) -> Any:
        return default if fd == 3 else self.data.get(fd, default)


def test_a_channel_that_vanishes_meanwhile_is_passed_over() -> None:
    channels = Vanishing()
    channels.data = {3: Channel(), 4: Channel()}
    assert Mirror().differences(channels) == [4]


class Restless(UserDict[int, Any]):
    """Is changed by another thread while its keys are listed, the first three times."""

    disturbed = 3

    def __iter__(self) -> Iterator[int]:
        for fd in dict(self.data):
            if self.disturbed:
                self.disturbed -= 1
                raise RuntimeError("dictionary changed size during iteration")
            yield fd


def test_a_map_that_another_thread_changes_meanwhile_is_read_again() -> None:
    channels, mirror = Restless(), Mirror()
    channels.data[3] = Channel()
    assert mirror.differences(channels) == [3]


def test_a_map_that_cannot_be_read_at_all_says_so() -> None:
    channels = Restless({3: Channel()})
    channels.disturbed = 10**9
    with pytest.raises(RuntimeError, match="changed size during iteration"):
        Mirror().differences(channels)


change = st.tuples(st.sampled_from(["put", "drop", "forget", "look"]), st.integers(3, 6))


@given(st.sampled_from(MAPS), st.lists(change, max_size=30))
def test_the_differences_between_two_looks_are_the_changes_between_them(
    make: Callable[[], Any], changes: list[tuple[str, int]]
) -> None:
    channels, mirror = make(), Mirror()
    alive: list[Channel] = []
    before: dict[int, Any] = {}
    doubted: set[int] = set()
    for what, fd in [*changes, ("look", 0)]:
        if what == "put":
            alive.append(Channel())
            channels[fd] = alive[-1]
        elif what == "drop":
            channels.pop(fd, None)
        elif what == "forget":
            mirror.forget(fd)
            doubted.add(fd)
        else:
            now = dict(channels)
            wanted = {fd for fd in before.keys() | now if before.get(fd) is not now.get(fd) or fd in doubted}
            assert sorted(mirror.differences(channels)) == sorted(wanted)
            before, doubted = now, set()
