"""Ends of connections: our direction first, and whether everything was acknowledged."""

import contextlib
import socket
import sys
from typing import Any

import pytest

import loop_support
from antiphon.lingering import half_close, unacknowledged
from loop_support import Wires

wires = loop_support.wires
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="SIOCOUTQ is Linux's")


@pytest.mark.parametrize("family", [None, socket.AF_INET])
def test_the_peer_of_a_half_closed_socket_finds_its_end_and_can_still_send(
    wires: Wires, family: int | None
) -> None:
    near, far = wires.pair(family)
    near.send(b"last words")
    assert half_close(near)
    far.setblocking(True)
    assert [far.recv(100), far.recv(100)] == [b"last words", b""]
    far.send(b"thanks")
    near.setblocking(True)
    assert near.recv(100) == b"thanks"


class NoSocket:
    """Used as a socket."""

    def shutdown(self, how: int) -> None:
        raise AssertionError("not asked")


def test_what_is_no_plain_connection_is_not_half_closed(wires: Wires) -> None:
    datagrams = wires.owned(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    closed, _ = wires.pair()
    closed.close()
    others: list[Any] = [None, NoSocket(), datagrams, closed, wires.owned(socket.socket())]
    assert [half_close(other) for other in others] == [False] * 5


@on_linux
def test_bytes_for_which_the_peer_has_no_room_are_not_acknowledged(wires: Wires) -> None:
    near, far = wires.pair(socket.AF_INET)
    near.setblocking(True)
    near.send(b"one")
    far.setblocking(True)
    assert far.recv(10) == b"one"
    near.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += near.send(bytes(65536))
    assert 0 < unacknowledged(near) <= sent
    while sent:
        sent -= len(far.recv(1 << 20))
    # What it read last is acknowledged with what it sends.
    far.send(b"all read")
    near.setblocking(True)
    assert near.recv(10) == b"all read"
    assert unacknowledged(near) == 0


def test_of_other_sockets_nobody_knows_what_is_acknowledged(wires: Wires) -> None:
    near, _ = wires.pair()
    near.send(b"unread")
    assert unacknowledged(near) == 0


@on_linux
def test_of_a_closed_socket_nothing_is_missing(wires: Wires) -> None:
    near, _ = wires.pair(socket.AF_INET)
    near.close()
    assert unacknowledged(near) == 0
