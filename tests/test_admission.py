"""Whom a connection is counted for, and until when."""

import gc
import socket
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from antiphon import admission
from antiphon.admission import Census, adopt, network_of, unadopted, wrapped


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("192.0.2.1", 1), ("192.0.2.1", 2)),
        (("192.0.2.1", 1), ("::ffff:192.0.2.1", 1, 0, 0)),
        (("192.0.2.1", 1), ("64:ff9b::c000:201", 1, 0, 0)),
        (("2001:db8::1", 1, 0, 0), ("2001:db8:0:0:ffff::1", 1, 0, 0)),
        (("fe80::1%lo", 1, 0, 1), ("fe80::1%lo", 2, 0, 1)),
        (("::1", 1, 0, 0), ("::1", 2, 0, 0)),
    ],
)
def test_these_two_are_one_peer(one: Any, other: Any) -> None:
    assert network_of(one) == network_of(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("192.0.2.1", 1), ("192.0.2.2", 1)),
        (("192.0.2.1", 1), ("::ffff:192.0.2.2", 1, 0, 0)),
        (("64:ff9b::c000:202", 1, 0, 0), ("64:ff9b::c000:201", 1, 0, 0)),
        (("2001:db8::1", 1, 0, 0), ("2001:db8:0:1::1", 1, 0, 0)),
        (("fe80::1%lo", 1, 0, 1), ("fe80::2%lo", 1, 0, 1)),
        (("fe80::1%lo", 1, 0, 1), ("fe80::1%eth0", 1, 0, 2)),
        (("::1", 1, 0, 0), ("127.0.0.1", 2)),
    ],
)
def test_these_are_two_peers(one: Any, other: Any) -> None:
    assert network_of(one) != network_of(other)


@pytest.mark.parametrize("address", ["", "/run/socket", b"\0abstract", None, (3, 1024), ("a", "b", "c")])
def test_these_are_no_peer_that_could_be_counted(address: Any) -> None:
    assert network_of(address) is None


def test_a_peer_has_as_many_connections_as_have_entered_and_not_left() -> None:
    census = Census()
    near, far = socket.socketpair()
    with near, far:
        places = [census.enter(sock, ("192.0.2.1", 1), "192.0.2.1") for sock in (near, far)]
        assert (len(census), census.of("192.0.2.1"), census.of("192.0.2.2")) == (2, 2, 0)
        census.move(places[0], "192.0.2.2")
        assert (len(census), census.of("192.0.2.1"), census.of("192.0.2.2")) == (2, 1, 1)
        census.move(places[0], None)
        assert (len(census), census.of("192.0.2.2")) == (2, 0)
        for place in places * 2:
            place.leave()
        assert (len(census), census.of("192.0.2.1")) == (0, 0)
    assert census._peers == {}


def test_whoever_waits_for_room_is_told_of_it() -> None:
    census = Census()
    told: list[int] = []
    near, far = socket.socketpair()
    with far:
        census.enter(near, None, None)
        census.waiting.add(lambda: told.append(len(census)))
        near.close()
        del near
        gc.collect()
    assert told == [0]


def test_a_place_is_given_up_in_any_thread() -> None:
    census = Census()
    pairs = [socket.socketpair() for _ in range(20)]
    for near, far in pairs:
        census.enter(near, ("192.0.2.1", 1), "192.0.2.1")
        far.close()

    def drop() -> None:
        while pairs:
            pairs.pop()[0].close()

    threads = [threading.Thread(target=drop) for _ in range(4)]
    del near
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    gc.collect()
    assert (len(census), census.of("192.0.2.1")) == (0, 0)


def test_places_leave_nothing_behind() -> None:
    census = Census()
    near, far = socket.socketpair()
    far.close()
    fd = near.fileno()
    place = census.enter(near, None, None)
    assert unadopted[fd] is place
    near.close()
    census.sweep()
    assert (len(census), fd in unadopted) == (0, False)


def test_a_closed_socket_s_number_does_not_give_its_place_to_another_connection() -> None:
    census = Census()
    near, far = socket.socketpair()
    place = census.enter(near, "not the peer of the other one", None)
    with far:
        near.close()
        assert not place.is_of(far)
        far.detach()
        assert not place.is_of(far)
        assert not place.is_of(None)


def test_the_cost_of_looking_again_does_not_grow_with_the_places() -> None:
    looks = []

    class Counting(Census):
        def sweep(self) -> None:
            looks.append(len(self._places))

    census = Counting()
    census._places = set(range(1600))  # type: ignore[arg-type] # nothing is asked of them
    for _ in range(1000):
        census.look_again()
    assert len(looks) == 10


def test_a_channel_whose_socket_has_no_place_is_given_none() -> None:
    channel = SimpleNamespace(_fileno=-7)
    admission.adopt(channel, None)
    assert not hasattr(channel, "_ac_place")


class Wrapper:
    """Is used in the place of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def fileno(self) -> int:
        return self.sock.fileno()


def test_a_connection_is_found_by_what_it_was_wrapped_in_and_not_by_itself_any_more() -> None:
    census = Census()
    near, far = socket.socketpair()
    with near, far:
        wrapped(far, Wrapper(far))  # Nothing counts that.
        place = census.enter(near, "", None)
        wrapper = Wrapper(near)
        wrapped(near, wrapper)
        assert place.is_of(wrapper)
        assert not place.is_of(near)
        channel: Any = type("Channel", (), {})()
        channel._fileno, channel._ac_socket = near.fileno(), wrapper
        adopt(channel, near)
        assert not hasattr(channel, "_ac_place")
        adopt(channel, wrapper)
        assert channel._ac_place is place
        assert place.is_held
    assert not place.is_held
    place.leave()
    assert len(census) == 0


def test_what_wraps_another_socket_of_the_same_descriptor_is_not_it() -> None:
    census = Census()
    near, far = socket.socketpair()
    with near, far:
        place = census.enter(near, "", None)
        other: Any = SimpleNamespace(fileno=near.fileno)
        wrapped(other, Wrapper(near))
        assert place.is_of(near)
        place.leave()
