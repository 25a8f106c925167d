"""What programs do with `socket_map`, and with maps of their own."""

import gc
import weakref
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

from faults.originals import Modules
from wild.parts import connected_pair, noting, received, step


class Hooked(dict[int, Any]):
    """A dict whose program wants to know of each change, as the socket maps of MUD drivers do."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[tuple[str, int]] = []

    def __setitem__(self, fd: int, channel: Any) -> None:
        self.changes.append(("set", fd))
        super().__setitem__(fd, channel)

    def __delitem__(self, fd: int) -> None:
        self.changes.append(("delete", fd))
        super().__delitem__(fd)


class NoDict(MutableMapping[int, Any]):
    """A mapping that is no dict at all, as the one that joins asyncore to GTK."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, Any]] = []

    def __getitem__(self, fd: int) -> Any:
        for key, channel in self.entries:
            if key == fd:
                return channel
        raise KeyError(fd)

    def __setitem__(self, fd: int, channel: Any) -> None:
        self.pop(fd, None)
        self.entries.append((fd, channel))

    def __delitem__(self, fd: int) -> None:
        self.entries.remove((fd, self[fd]))

    def __iter__(self) -> Iterator[int]:
        return iter([fd for fd, _ in self.entries])

    def __len__(self) -> int:
        return len(self.entries)


MAPS = [dict, Hooked, NoDict, weakref.WeakValueDictionary]


def test_the_map_is_read_iterated_and_measured(modules: Modules, socket_map: Any) -> None:
    """Status pages (medusa, ZServer, supervisor) list it; zope.server's tests count it."""
    with connected_pair() as (near, far):
        channels = [noting(modules.asyncore.dispatcher)(sock) for sock in (near, far)]

        assert len(socket_map) == 2
        assert list(socket_map) == [near.fileno(), far.fileno()]
        assert list(socket_map.values()) == channels
        assert dict(socket_map.items()) == {channel._fileno: channel for channel in channels}
        assert near.fileno() in socket_map
        assert socket_map.get(-1) is None


def test_a_program_runs_as_long_as_the_map_has_something(modules: Modules, socket_map: Any) -> None:
    """`while asyncore.socket_map: asyncore.poll(...)`, as mlat-client and CPython's test servers do."""
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher)(near)
        far.sendall(b"last words")
        far.close()
        while modules.asyncore.socket_map:
            modules.asyncore.poll(1)

        assert channel.read() == b"last words"
        assert channel.events[-1] == ("close", None)


@pytest.mark.parametrize("own_map", [False, True], ids=["default map", "own map"])
@pytest.mark.parametrize(
    "remove", [lambda m, fd: m.__delitem__(fd), lambda m, fd: m.pop(fd), lambda m, fd: m.clear()]
)
def test_what_was_taken_out_of_the_map_is_left_alone(
    modules: Modules, socket_map: Any, remove: Any, own_map: bool
) -> None:
    """ZServer and ZEO `del socket_map[x._fileno]`, also after the loop has met the channel."""
    channels: Any = {} if own_map else socket_map
    with connected_pair() as (near, far), connected_pair() as (other, _):
        channel, _other = (noting(modules.asyncore.dispatcher)(sock, channels) for sock in (near, other))
        step(modules, channels)
        far.sendall(b"x")
        remove(channels, channel._fileno)
        step(modules, channels, 2)

        assert channel.events == []
        channel.handle_read_event()  # Driven by hand from now on, or by another loop.
        assert channel.read() == b"x"


@pytest.mark.parametrize("own_map", [False, True], ids=["default map", "own map"])
def test_what_is_put_into_the_map_by_hand_is_served(modules: Modules, socket_map: Any, own_map: bool) -> None:
    """ZEO: `self._map = map; map.update(ourmap)`, to move a connection to the loop of another thread."""
    channels: Any = {} if own_map else socket_map
    mine: dict[int, Any] = {}
    with connected_pair() as (near, far), connected_pair() as (other, _):
        noting(modules.asyncore.dispatcher)(other, channels)
        channel = noting(modules.asyncore.dispatcher)(near, mine)
        step(modules, mine)
        step(modules, channels)
        channel._map = channels
        channels.update(mine)
        far.sendall(b"x")
        step(modules, channels)

        assert channel.read() == b"x"
        channel.close()
        assert channel not in channels.values()


def test_another_channel_put_under_the_same_descriptor_takes_over(modules: Modules, socket_map: Any) -> None:
    """An entry replaced in place, without a deletion that anybody could notice."""
    maps: list[Any] = [socket_map, {}]
    for channels in maps:
        with connected_pair() as (near, far):
            first = noting(modules.asyncore.dispatcher)(near, channels)
            step(modules, channels)
            second = noting(modules.asyncore.dispatcher)(None, channels)
            second.socket, second._fileno, second.connected = near, near.fileno(), True
            channels[near.fileno()] = second
            far.sendall(b"x")
            step(modules, channels)

            assert first.events == []
            assert second.read() == b"x"
            channels.clear()


def test_the_name_imported_once_stays_the_map(modules: Modules, socket_map: Any) -> None:
    """`from asyncore import socket_map` at the top, and as a default argument: pysnmp, ZServer,
    medusa's bench.
    """

    def descriptors(map: Any = modules.asyncore.socket_map) -> list[int]:
        return list(map)

    with connected_pair() as (near, _):
        noting(modules.asyncore.dispatcher)(near)
        assert descriptors() == [near.fileno()]
        modules.asyncore.close_all()
        assert descriptors() == []
        assert modules.asyncore.socket_map is socket_map


@pytest.mark.parametrize("make_map", MAPS, ids=lambda cls: cls.__name__)
def test_the_global_may_be_rebound_to_any_mapping(
    modules: Modules, socket_map: Any, monkeypatch: pytest.MonkeyPatch, make_map: Any
) -> None:
    """Stackless' socket module, GTK and MUD drivers put a map of their own in place of the module's."""
    theirs = make_map()
    with connected_pair() as (near, far):
        monkeypatch.setattr(modules.asyncore, "socket_map", theirs)
        channel = noting(modules.asyncore.dispatcher)(near)
        assert dict(theirs) == {near.fileno(): channel}
        far.sendall(b"x")
        modules.asyncore.loop(0, count=1)
        modules.asyncore.poll(0)
        modules.asyncore.poll2(0)

        assert channel.read() == b"x"
        modules.asyncore.close_all()
        assert len(theirs) == 0
        assert len(socket_map) == 0


@pytest.mark.parametrize("make_map", MAPS, ids=lambda cls: cls.__name__)
def test_any_mapping_can_be_a_map_of_one_s_own(modules: Modules, make_map: Any) -> None:
    channels = make_map()
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher)(near, channels)
        far.sendall(b"x")
        step(modules, channels)
        far.close()
        step(modules, channels, 2)

        assert channel.events == [("read", b"x"), ("close", None)]
        assert len(channels) == 0


def test_the_map_s_own_methods_see_every_change(modules: Modules) -> None:
    """A dict subclass with hooks hears of each channel that joins and leaves, once."""
    channels = Hooked()
    with connected_pair() as (near, _):
        fd = near.fileno()
        channel = modules.asyncore.dispatcher(near, channels)
        channel.del_channel()
        channel._fileno = fd
        channel.add_channel()
        channel.close()

        assert channels.changes == [("set", fd), ("delete", fd)] * 2


@pytest.mark.parametrize("own_map", [False, True], ids=["default map", "own map"])
def test_only_the_map_holds_a_channel(
    modules: Modules, socket_map: Any, own_map: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """stacklesssocket: with a WeakValueDictionary, a channel that nobody wants any more is gone."""
    channels: Any = weakref.WeakValueDictionary() if own_map else socket_map
    with connected_pair() as (near, far), connected_pair() as (other, _):
        stays = noting(modules.asyncore.dispatcher)(other, channels)
        channel = noting(modules.asyncore.dispatcher)(near, channels)
        far.sendall(b"x")
        step(modules, channels, 2)
        reference = weakref.ref(channel)
        if not own_map:
            del channels[channel._fileno]
        del channel
        gc.collect()

        assert reference() is None
        assert list(channels.values()) == [stays]
        far.sendall(b"y")
        step(modules, channels, 2)  # Nobody is there to be called, and nobody minds.
        assert received(near) == b"y"


def test_an_empty_map_is_taken_as_given(modules: Modules, socket_map: Any) -> None:
    """hazelcast, cassandra-driver, ZEO and PodSixNet begin with `{}`, which is false, and is still theirs."""
    mine: dict[int, Any] = {}
    with connected_pair() as (near, far):
        noting(modules.asyncore.dispatcher)(near)
        channel = modules.asyncore.dispatcher(map=mine)
        chat = modules.asynchat.async_chat(far, mine)
        assert channel._map is mine
        assert chat._map is mine
        assert list(mine.values()) == [chat]
        modules.asyncore.close_all(mine)
        assert mine == {}
        modules.asyncore.loop(None, map=mine)  # Would not return with the default map.
        modules.asyncore.poll(None, mine)
        modules.asyncore.close_all(mine)

        assert len(socket_map) == 1


def test_set_socket_can_name_the_map(modules: Modules, socket_map: Any) -> None:
    """pysnmp and collective.taskqueue hand over a socket and a map at once."""
    mine: dict[int, Any] = {}
    with connected_pair() as (near, _):
        channel = modules.asyncore.dispatcher()
        channel.set_socket(near, mine)
        assert list(mine.values()) == [channel]
        assert len(socket_map) == 0
        channel.del_channel(mine)
        assert mine == {}
