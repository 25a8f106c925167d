"""Defects of the old modules in what they send: D7, D8, D9 and D14."""

import socket
from typing import Any

import pytest

from faults.originals import Modules, ours, the_originals
from faults.scenes import Defect, connected_pair, defect, line_channel, listening, received

pytestmark = pytest.mark.usefixtures("engine")


class FalsyProducer:
    """Gives three pieces, and calls itself empty all the while."""

    def __init__(self) -> None:
        self.pieces = [b"one", b"two", b"three"]

    def __len__(self) -> int:
        return 0

    def more(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


def d07_a_producer_that_is_false(modules: Modules) -> object:
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = line_channel(modules)(near, channels)
        channel.push_with_producer(FalsyProducer())
        modules.asyncore.loop(0, map=channels, count=6)
        return received(far)


def d08_a_bytearray_changed_after_it_was_pushed(modules: Modules) -> object:
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = line_channel(modules)(near, channels)
        data = bytearray(b"good")
        channel.connected = False  # As while connecting: what is pushed has to wait.
        channel.push(data)
        data[:] = b"EVIL"
        channel.connected = True
        modules.asyncore.loop(0, map=channels, count=1)
        return received(far)


def d09_the_error_of_a_wrong_push_is_unformatted(modules: Modules) -> object:
    with connected_pair() as (near, _), pytest.raises(TypeError) as caught:
        line_channel(modules)(near, {}).push("text")
    return "%r" in str(caught.value), "str" in str(caught.value)


def d14_one_send_for_each_writable_event(modules: Modules) -> object:
    """The peer's kernel has room for all of it; how much has left after one push and one turn?"""
    channels: dict[int, Any] = {}
    size = 5 << 15
    with connected_pair() as (near, far):
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * size)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * size)
        channel = line_channel(modules)(near, channels)
        channel.push(bytes(size))
        modules.asyncore.loop(0, map=channels, count=1)
        return len(received(far)) == size


def d14_turns_to_send_a_mebibyte(modules: Modules) -> object:
    """The peer reads all there is after each turn."""
    channels: dict[int, Any] = {}
    turns, arrived = 0, 0
    with connected_pair() as (near, far), listening():
        channel = line_channel(modules)(near, channels)
        channel.push(bytes(1 << 20))
        while arrived < 1 << 20 and turns < 1000:
            modules.asyncore.loop(0, map=channels, count=1)
            arrived += len(received(far))
            turns += 1
    return arrived, turns < 12


DEFECTS = [
    defect(d07_a_producer_that_is_false, original=b"one", wanted=b"onetwothree"),
    defect(d08_a_bytearray_changed_after_it_was_pushed, original=b"EVIL", wanted=b"good"),
    defect(d09_the_error_of_a_wrong_push_is_unformatted, original=(True, True), wanted=(False, True)),
    defect(d14_one_send_for_each_writable_event, original=False, wanted=True),
    defect(d14_turns_to_send_a_mebibyte, original=(1 << 20, False), wanted=(1 << 20, True)),
]


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_old_modules_have_the_defect(defect: Defect) -> None:
    assert defect.scene(the_originals()) == defect.original


@pytest.mark.parametrize("defect", DEFECTS)
def test_antiphon_is_free_of_the_defect(defect: Defect) -> None:
    assert defect.scene(ours()) == defect.wanted
