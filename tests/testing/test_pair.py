import socket

import pytest

from antiphon.testing import socket_pair


@pytest.mark.parametrize("size", [None, 4096, 65_536])
def test_a_pair_is_full_after_the_bytes_that_it_names(size: int | None) -> None:
    with socket_pair(size) as pair:
        for _ in range(3):
            assert pair.near.send(bytes(10_000_000)) == pair.capacity
            with pytest.raises(BlockingIOError):
                pair.near.send(b"x")
            assert len(pair.drain()) == pair.capacity


def test_small_buffers_are_full_sooner() -> None:
    with socket_pair(4096) as small, socket_pair(65_536) as large:
        assert 0 < small.capacity < 30_000 < large.capacity


def test_what_is_filled_can_be_drained() -> None:
    with socket_pair(4096) as pair:
        filled = pair.fill()
        assert filled >= pair.capacity
        assert pair.fill() == 0
        assert pair.drain() == bytes(filled)
        assert pair.drain() == b""


def test_both_ends_are_connected_and_do_not_block() -> None:
    with socket_pair() as (near, far):
        assert near.gettimeout() == far.gettimeout() == 0
        near.send(b"to far")
        far.send(b"to near")
        assert (far.recv(10), near.recv(10)) == (b"to far", b"to near")


def test_both_ends_are_closed_in_the_end() -> None:
    with socket_pair() as pair:
        far = pair.far
        pair.near.close()
        assert pair.drain() == b""
    assert far.fileno() == pair.near.fileno() == -1


def test_a_peer_that_was_reset_has_nothing_to_drain() -> None:
    with socket_pair() as pair:
        pair.far.send(b"unread")
        pair.near.close()  # On a Unix socket with unread data, the other end gets ECONNRESET.
        assert pair.drain() == b""


def test_an_end_may_be_asked_for_its_buffers() -> None:
    with socket_pair(4096) as pair:
        assert pair.near.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < 20_000
