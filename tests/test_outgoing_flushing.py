"""What was pushed in a callback leaves before anything else takes effect by which that could be seen."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from chat_support import Chat, Patient, ScriptedSocket, connected, fed, once, received, turn


def chat(*script: Any, takes: Any = ()) -> Patient:
    return Patient(ScriptedSocket(*script, takes=takes))


def wire(channel: Chat) -> bytes:
    data: bytes = channel.sock.wire
    return data


def by_close(channel: Chat) -> None:
    channel.close()


def by_handle_close(channel: Chat) -> None:
    channel.handle_close()


def by_the_socket(channel: Chat) -> None:
    channel.socket.getpeername()


def by_replacing_the_socket(channel: Chat) -> None:
    channel.socket = channel.sock


def by_set_socket(channel: Chat) -> None:
    channel.set_socket(channel.sock)


def by_initiate_send(channel: Chat) -> None:
    channel.initiate_send()


def by_handle_write(channel: Chat) -> None:
    channel.handle_write()


@pytest.mark.parametrize(
    "use",
    [
        by_close,
        by_handle_close,
        by_the_socket,
        by_replacing_the_socket,
        by_set_socket,
        by_initiate_send,
        by_handle_write,
    ],
)
def test_what_was_pushed_in_a_callback_leaves_before_the_effect(use: Callable[[Chat], None]) -> None:
    channel = chat()
    seen: list[bytes] = []

    def answer(message: bytes) -> None:
        channel.push(message)
        channel.push(b"!")
        use(channel)
        seen.append(wire(channel))
        channel.on_found = lambda message: None

    channel.on_found = answer
    fed(channel, b"one\n")
    assert seen == [b"one!"]
    assert channel.sock.sent == [b"one!"]


def test_what_was_pushed_leaves_before_a_direct_send() -> None:
    channel = chat()

    def answer(message: bytes) -> None:
        channel.push(b"pushed ")
        channel.send(b"sent ")
        channel.push(b"pushed again")

    channel.on_found = answer
    fed(channel, b"one\n")
    assert channel.sock.sent == [b"pushed ", b"sent ", b"pushed again"]


def test_what_was_pushed_leaves_before_the_socket_is_shut_down() -> None:
    with connected(Chat) as (channel, peer):

        def answer() -> None:
            channel.push(b"bye")
            channel.socket.shutdown(socket.SHUT_WR)

        channel.on_found = once(answer)
        peer.sendall(b"one\n")
        turn(channel._map)
        assert peer.recv(100) == b"bye"
        assert peer.recv(100) == b""


def test_what_was_pushed_leaves_before_close_on_a_real_socket() -> None:
    with connected(Chat) as (channel, peer):

        def answer() -> None:
            channel.push(b"221 ")
            channel.push(b"bye\r\n")
            channel.close()

        channel.on_found = once(answer)
        peer.sendall(b"QUIT\nNOOP\n")
        turn(channel._map)
        assert received(peer) == b"221 bye\r\n"
        assert channel.messages == [b"QUIT"]


def test_what_is_pushed_after_close_never_leaves() -> None:
    channel = chat()
    channel.close()
    channel.push(b"late")
    assert channel.sock.offered == []


def test_what_was_pushed_leaves_through_the_socket_that_was_there() -> None:
    before, after = ScriptedSocket(), ScriptedSocket()
    channel = Patient(before)

    def start_tls() -> None:
        channel.push(b"220 go ahead")
        channel.socket = after
        channel.push(b"secret")

    channel.on_found = once(start_tls)
    fed(channel, b"STARTTLS\n")
    assert (before.wire, after.wire) == (b"220 go ahead", b"secret")
