"""Maps of every kind: what they tell their loop, and that channels work in each."""

import copy
import gc
import sys
import weakref
from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import loop_support
from antiphon import asyncore
from antiphon.loop import Loop
from antiphon.maps import ChannelMap, loop_of
from loop_support import Foreign, Noting, Wires, spin

wires = loop_support.wires


class Telltale(Loop):
    """A loop that only notes what its map reports."""

    def __init__(self, channels: ChannelMap) -> None:
        self.told: list[tuple[str, int]] = []
        super().__init__(channels, tells=True)

    def added(self, fd: int) -> None:
        self.told.append(("added", fd))

    def removed(self, fd: int) -> None:
        self.told.append(("removed", fd))


def telltale(*content: Any) -> tuple[ChannelMap, Telltale]:
    channels = ChannelMap(*content)
    channels.loop = loop = Telltale(channels)
    return channels, loop


def test_a_map_tells_of_each_change() -> None:
    channels, loop = telltale()
    channels[3] = "a"
    channels.update({4: "b"})
    channels |= {5: "c"}
    assert channels.setdefault(6, "d") == "d"
    assert loop.told == [("added", 3), ("added", 4), ("added", 5), ("added", 6)]
    loop.told.clear()
    del channels[3]
    assert channels.pop(4) == "b"
    assert channels.popitem() == (6, "d")
    channels.clear()
    assert loop.told == [("removed", 3), ("removed", 4), ("removed", 6), ("removed", 5)]
    assert channels == {}


def test_a_channel_that_takes_the_place_of_another_is_told_as_both() -> None:
    channels, loop = telltale({3: "a"})
    channels[3] = "b"
    assert loop.told == [("removed", 3), ("added", 3)]


def test_a_channel_lives_in_a_map_of_a_class_of_ones_own(wires: Wires) -> None:
    class Counting(ChannelMap):
        joined = 0

        def __setitem__(self, fd: int, channel: Any) -> None:
            self.joined += 1
            super().__setitem__(fd, channel)

    channels = Counting()
    here, there = wires.pair()
    channel = wires.keep(Noting(here, channels))
    there.send(b"x")
    spin(channels)
    assert (channels.joined, channel.events) == (1, ["read"])
    channel.close()
    assert channels == {}


def test_a_map_does_not_tell_of_what_is_no_change() -> None:
    channels, loop = telltale({3: "a"})
    assert channels.setdefault(3, "b") == "a"
    assert channels.pop(4, None) is None
    channels.clear()
    channels.clear()
    assert loop.told == [("removed", 3)]


@pytest.mark.parametrize("remove", [lambda m: m.pop(3), lambda m: m.popitem(), lambda m: m.__delitem__(3)])
def test_taking_from_an_empty_map_is_a_key_error_as_with_a_dict(remove: Callable[[Any], Any]) -> None:
    channels, loop = telltale()
    with pytest.raises(KeyError):
        remove(channels)
    assert loop.told == []


def test_a_map_can_be_updated_with_pairs_and_is_equal_to_a_dict() -> None:
    channels, loop = telltale()
    channels.update([(3, "a"), (4, "b")])
    channels.update()
    assert channels == {3: "a", 4: "b"}
    assert loop.told == [("added", 3), ("added", 4)]
    assert type(channels | {}) is dict


operation = st.one_of(
    st.tuples(st.just("__setitem__"), st.integers(0, 4), st.sampled_from("xyz")),
    st.tuples(st.just("pop"), st.integers(0, 4), st.none()),
    st.tuples(st.just("setdefault"), st.integers(0, 4), st.sampled_from("xyz")),
    st.tuples(st.just("update"), st.dictionaries(st.integers(0, 4), st.sampled_from("xyz"))),
    st.tuples(st.just("clear")),
)


@given(st.dictionaries(st.integers(0, 4), st.just("x")), st.lists(operation))
def test_whoever_listens_knows_what_the_map_holds(content: dict[int, Any], operations: list[Any]) -> None:
    channels, loop = telltale(content)
    plain = dict(content)
    for name, *arguments in operations:
        assert getattr(channels, name)(*arguments) == getattr(plain, name)(*arguments)
    known = set(content)
    for what, fd in loop.told:
        (known.add if what == "added" else known.discard)(fd)
    assert channels == plain
    assert known == set(plain)


# -- channels in maps of every kind ------------------------------------------------------------------------


class Hooked(dict[int, Any]):
    """A dict with hooks, as some programs put in the place of `socket_map`."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[str, int]] = []

    def __setitem__(self, fd: int, channel: Any) -> None:
        self.written.append(("set", fd))
        super().__setitem__(fd, channel)

    def __delitem__(self, fd: int) -> None:
        self.written.append(("del", fd))
        super().__delitem__(fd)


MAPS: list[Callable[[], Any]] = [ChannelMap, dict, Hooked, UserDict, weakref.WeakValueDictionary]


@pytest.fixture(params=MAPS, ids=lambda make: make.__name__)
def channels(request: pytest.FixtureRequest) -> Any:
    return request.param()


def test_an_empty_map_is_taken_as_given(wires: Wires, channels: Any) -> None:
    near, _ = wires.pair()
    channel = wires.keep(Noting(near, channels))
    assert dict(channels) == {near.fileno(): channel}
    assert channel not in asyncore.socket_map.values()
    assert channel._map is channels


def test_a_channel_lives_its_life(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Noting, channels)
    spin(channels)
    far.send(b"one")
    spin(channels)
    far.close()
    spin(channels, turns=3)
    assert channel.events == ["read", "read", "close"]
    assert channel.received == b"one"
    assert len(channels) == 0


def test_an_object_that_is_put_into_the_map_is_watched_from_then_on(wires: Wires, channels: Any) -> None:
    asleep, _ = wires.channel(Noting, channels)
    spin(channels)
    near, far = wires.pair()
    foreign = Foreign(near)
    far.send(b"hello")
    channels[near.fileno()] = foreign
    spin(channels)
    assert foreign.events == ["read b'hello'"]
    assert asleep.events == []


@pytest.mark.parametrize("remove", ["del", "pop", "clear"])
def test_an_object_that_is_taken_from_the_map_is_watched_no_more(
    wires: Wires, channels: Any, remove: str
) -> None:
    channel, far = wires.channel(Noting, channels)
    spin(channels)
    far.send(b"hello")
    fd = channel._fileno
    match remove:
        case "del":
            del channels[fd]
        case "pop":
            channels.pop(fd)
        case _:
            channels.clear()
    spin(channels, turns=2)
    other, _ = wires.channel(Noting, channels)
    spin(channels, turns=2)
    assert channel.events == other.events == []
    channels[fd] = channel
    spin(channels)
    assert channel.events == ["read"]


def test_another_object_may_take_over_a_descriptor_in_the_map(wires: Wires, channels: Any) -> None:
    near, far = wires.pair()
    first, second = Foreign(near), Foreign(near)
    channels[near.fileno()] = first
    spin(channels)
    channels.update({near.fileno(): second})
    far.send(b"x")
    spin(channels)
    assert (first.events, second.events) == ([], ["read b'x'"])


def test_writes_go_through_the_methods_of_the_map(wires: Wires) -> None:
    channels = Hooked()
    near, _ = wires.pair()
    fd = near.fileno()
    wires.keep(Noting(near, channels)).close()
    assert channels.written == [("set", fd), ("del", fd)]


def test_a_map_with_weak_values_owns_its_channels_no_more_than_anything_else_does(wires: Wires) -> None:
    channels: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
    near, far = wires.pair()
    remembered = weakref.ref(Noting(near, channels))
    assert remembered() is None, "something held the channel that was only put into the map"
    channel = Noting(near, channels)
    spin(channels, turns=2)
    far.send(b"x")
    spin(channels)
    assert channel.received == b"x"
    remembered = weakref.ref(channel)
    del channel
    gc.collect()
    assert remembered() is None, "the loop held a channel"
    spin(channels, turns=2)


@pytest.mark.parametrize("make", [ChannelMap, dict, Hooked, UserDict], ids=lambda make: make.__name__)
def test_only_the_map_owns_a_channel(wires: Wires, make: Callable[[], Any]) -> None:
    channels = make()
    near, far = wires.pair()
    fd = near.fileno()
    remembered = weakref.ref(Noting(near, channels))
    far.send(b"x")
    spin(channels, turns=2)
    assert remembered() is channels[fd]
    dict.pop(channels, fd) if isinstance(channels, dict) else channels.pop(fd)
    gc.collect()
    assert remembered() is None
    spin(channels, turns=2)


def test_the_default_map_is_looked_up_whenever_it_is_needed(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: list[Callable[[], Any]] = [ChannelMap, dict, UserDict]
    for channels in (make() for make in kinds):
        monkeypatch.setattr(asyncore, "socket_map", channels)
        near, far = wires.pair()
        channel = wires.keep(Noting(near))
        assert dict(channels) == {near.fileno(): channel}
        far.send(b"x")
        asyncore.loop(0, count=1)
        asyncore.poll(0)
        asyncore.poll2(0)
        assert channel.received == b"x"
        assert asyncore.get_loop().map is channels
        asyncore.close_all()
        assert channel.closing


def test_a_key_that_is_no_descriptor_ends_in_its_own_object(wires: Wires, channels: Any) -> None:
    healthy, far = wires.channel(Noting, channels)
    odd = Foreign(wires.pair()[0])
    channels["no descriptor"] = odd
    far.send(b"x")
    spin(channels, turns=2)
    assert healthy.received == b"x"
    assert odd.events
    assert "descriptor" in odd.events[0] or "integer" in odd.events[0] or "int" in odd.events[0]


def test_a_map_that_lost_a_channel_without_a_word_does_not_spin(wires: Wires) -> None:
    channels = ChannelMap()
    channel, far = wires.channel(Noting, channels)
    spin(channels)
    dict.pop(channels, channel._fileno)
    far.send(b"x")
    waits = []
    for _ in range(3):
        spin(channels)
        channels.loop.turn(0, lambda turning, batch: waits.append(batch))
    assert waits == []
    assert channel.events == []


# -- the loop of a map -------------------------------------------------------------------------------------


def test_a_map_has_one_loop_as_long_as_it_is_held(wires: Wires, channels: Any) -> None:
    loop = loop_of(channels)
    assert loop_of(channels) is loop
    assert loop.map is channels
    assert loop_of(type(channels)()) is not loop


def test_equal_maps_have_loops_of_their_own() -> None:
    one: dict[int, Any] = {}
    other: dict[int, Any] = {}
    first, second = loop_of(one), loop_of(other)
    assert one == other
    assert first is not second


def test_a_map_in_the_place_of_a_dead_one_does_not_get_its_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    channels: dict[int, Any] = {}
    stranger = Loop({})
    monkeypatch.setitem(sys.modules["antiphon.maps"]._loops, id(channels), weakref.ref(stranger))
    assert loop_of(channels).map is channels


def test_the_end_of_a_loop_is_no_end_of_the_one_that_took_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    channels: dict[int, Any] = {}
    loop_of(channels)  # Nobody holds it.
    stranger = Loop({})
    first = loop_of(channels)
    monkeypatch.setitem(sys.modules["antiphon.maps"]._loops, id(channels), weakref.ref(stranger))
    del first
    gc.collect()
    assert sys.modules["antiphon.maps"]._loops[id(channels)]() is stranger


@pytest.mark.parametrize("make", MAPS, ids=lambda make: make.__name__)
def test_a_loop_goes_with_its_map(wires: Wires, make: Callable[[], Any]) -> None:
    channels = make()
    channel, _ = wires.channel(Noting, channels)
    spin(channels)
    loop = weakref.ref(loop_of(channels))
    poller = loop()._poller  # type: ignore[union-attr]
    channel.close()
    wires.close()
    del channel, channels
    gc.collect()
    assert loop() is None
    with pytest.raises(ValueError, match="closed"):
        poller.wait(0)  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["call", "timer", "closing call"])
def test_a_plain_map_and_its_loop_go_when_all_is_done(wires: Wires, how: str) -> None:
    class Map(dict[int, Any]):
        """Can be referred to weakly."""

    channels = Map()
    loop = asyncore.get_loop(channels)
    if how == "call":
        loop.call_soon_threadsafe(int)
    elif how == "timer":
        loop.call_later(0, int)
    else:
        loop.call_soon_threadsafe(wires.channel(Noting, channels)[0].close)
    asyncore.loop(map=channels)
    remembered = weakref.ref(loop), weakref.ref(channels)
    wires.close()
    del loop, channels
    gc.collect()
    assert [reference() for reference in remembered] == [None, None]


def test_a_map_without_channels_lives_as_long_as_its_timers() -> None:
    channels: dict[int, Any] = {}
    called: list[int] = []
    asyncore.get_loop(channels).call_later(0, called.append, 1)
    gc.collect()
    asyncore.loop(0, map=channels, count=5)
    assert called == [1]


def test_a_channel_may_change_its_map(wires: Wires) -> None:
    here: dict[int, Any] = {}
    there = ChannelMap()
    channel, far = wires.channel(Noting, here)
    spin(here)
    channel.del_channel()
    channel._map = there
    channel._fileno = channel.socket.fileno()
    channel.add_channel()
    far.send(b"x")
    spin(here)
    assert (channel.events, here) == ([], {})
    spin(there)
    assert channel.received == b"x"
    channel.close()
    assert there == {}


def test_a_channel_may_be_in_two_maps(wires: Wires) -> None:
    first, second = ChannelMap(), ChannelMap()
    channel, far = wires.channel(Noting, first)
    channel.add_channel(second)
    far.send(b"x")
    spin(first)
    far.send(b"y")
    spin(second)
    far.send(b"z")
    spin(first)
    assert channel.received == b"xyz"
    channel.del_channel(second)
    assert (len(first), second) == (1, {})
    first.clear()


def test_a_copy_of_a_map_is_a_plain_dict(wires: Wires) -> None:
    channels = ChannelMap()
    channel, _ = wires.channel(Noting, channels)
    for copied in copy.copy(channels), channels.copy(), dict(channels):
        assert type(copied) is dict
        assert copied == {channel._fileno: channel}
