"""A callback that runs the loop itself gets what follows meanwhile: once, in order, and nothing is lost."""

from typing import Any

import pytest

from chat_support import Chat, connected, once, received, turn

#: The callback that nests is the first, or comes when several messages were dealt with alike.
each = pytest.mark.parametrize("before", [0, 1, 5])


def send_and_turn(channel: Chat, peer: Any, data: bytes) -> None:
    peer.sendall(data)
    turn(channel._map)


@each
def test_a_loop_inside_found_terminator_delivers_what_waits_and_what_arrives(before: int) -> None:
    with connected(Chat) as (channel, peer):
        seen: list[list[bytes]] = []

        def nest(message: bytes) -> None:
            if message == b"nest":
                send_and_turn(channel, peer, b"four\nfive\nsi")
                seen.append(list(channel.messages))

        channel.on_found = nest
        send_and_turn(channel, peer, b"zero\n" * before + b"nest\ntwo\nthree\n")
        assert seen == [[b"zero"] * before + [b"nest", b"two", b"three", b"four", b"five"]]
        send_and_turn(channel, peer, b"x\n")
        assert channel.messages == [*seen[0], b"six"]


@each
def test_a_loop_inside_found_terminator_without_anything_new_leaves_all_in_order(before: int) -> None:
    with connected(Chat) as (channel, peer):
        channel.on_found = lambda message: turn(channel._map)
        send_and_turn(channel, peer, b"zero\n" * before + b"one\ntwo\nthr")
        send_and_turn(channel, peer, b"ee\n")
        assert channel.messages == [b"zero"] * before + [b"one", b"two", b"three"]


def test_loops_may_nest_as_deeply_as_messages_come() -> None:
    with connected(Chat) as (channel, peer):

        def nest(message: bytes) -> None:
            if int(message) < 20:
                send_and_turn(channel, peer, b"%d\n" % (int(message) + 1))

        channel.on_found = nest
        send_and_turn(channel, peer, b"0\n")
        assert channel.messages == [b"%d" % number for number in range(21)]


@each
def test_a_terminator_set_inside_a_nested_loop_holds_for_what_waits_outside(before: int) -> None:
    with connected(Chat) as (channel, peer):

        def nest(message: bytes) -> None:
            if message == b"nest":
                send_and_turn(channel, peer, b"binary\nab")
            if message == b"binary":
                channel.set_terminator(4)

        channel.on_found = nest
        send_and_turn(channel, peer, b"zero\n" * before + b"nest\none\n")
        send_and_turn(channel, peer, b"cdef")
        assert channel.messages == [b"zero"] * before + [b"nest", b"one", b"binary", b"abcd"]
        assert channel.unfinished == b"ef"


@each
def test_a_channel_closed_inside_a_nested_loop_gets_nothing_more(before: int) -> None:
    with connected(Chat) as (channel, peer):

        def nest(message: bytes) -> None:
            if message == b"nest":
                send_and_turn(channel, peer, b"more\n")
            if message == b"close":
                channel.close()

        channel.on_found = nest
        send_and_turn(channel, peer, b"zero\n" * before + b"nest\nclose\none\n")
        assert channel.messages == [b"zero"] * before + [b"nest", b"close"]


@pytest.mark.parametrize("term", [10, None, b"\r\n"], ids=repr)
def test_a_loop_inside_collect_incoming_data_delivers_what_arrives(term: Any) -> None:
    with connected(Chat, terminator=term) as (channel, peer):
        channel.on_data = once(lambda: send_and_turn(channel, peer, b"efghi"))
        send_and_turn(channel, peer, b"abcd")
        assert channel.unfinished == b"abcdefghi"


def test_a_loop_inside_collect_incoming_data_does_not_upset_the_count() -> None:
    with connected(Chat, terminator=10) as (channel, peer):
        channel.on_data = once(lambda: send_and_turn(channel, peer, b"efg"))
        send_and_turn(channel, peer, b"abcd")
        assert channel.get_terminator() == 3
        send_and_turn(channel, peer, b"hijkl")
        assert channel.messages == [b"abcdefghij"]
        assert channel.unfinished == b"kl"


def test_a_loop_inside_collect_incoming_data_does_not_mix_up_messages() -> None:
    with connected(Chat) as (channel, peer):
        channel.on_data = lambda piece: (
            send_and_turn(channel, peer, b"two\nthr") if piece == b"nest" else None
        )
        send_and_turn(channel, peer, b"nest\none\n")
        send_and_turn(channel, peer, b"ee\n")
        assert channel.messages == [b"nest", b"one", b"two", b"three"]


def test_what_is_pushed_before_a_nested_loop_leaves_in_it() -> None:
    with connected(Chat) as (channel, peer):
        seen: list[bytes] = []

        def nest() -> None:
            channel.push(b"question")
            turn(channel._map)
            seen.append(received(peer))

        channel.on_found = once(nest)
        send_and_turn(channel, peer, b"one\n")
        assert seen == [b"question"]
