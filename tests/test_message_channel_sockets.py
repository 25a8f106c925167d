"""Real connections, cut by the system as it likes, and handed from one channel to another."""

import contextlib
import itertools
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon import MessageChannel, asyncore
from chat_support import connected, received, transferred


class Echo(MessageChannel):
    """Answers each message with itself, in brackets, and goes to another protocol when it is told to."""

    protocol: Any = None

    def __init__(self, sock: Any, map: Any = None) -> None:
        super().__init__(sock, {} if map is None else map)
        self.messages: list[bytes] = []
        self.other: Any = None

    def message_received(self, message: bytes) -> None:
        self.messages.append(message)
        if message == b"SWITCH":
            self.other = self.hand_over(self.protocol)
        else:
            self.push(b"[" + message + b"]")

    def hand_over(self, make: Any) -> Any:
        """As docs/messages.md has it."""
        sock = self.socket
        rest, unsent = self.take_buffer(), list(self.producer_fifo)
        self.producer_fifo.clear()
        self.del_channel()
        self.socket = None
        self.close()
        other = make(sock, self._map)
        other.producer_fifo.extend(unsent)
        other.feed(rest)
        return other


class Blocks(Echo):
    terminator = 4


class Lines(Echo):
    protocol = Blocks


def exchanged(channel: Any, peer: socket.socket, pieces: list[bytes]) -> bytes:
    """What comes back when the pieces are sent one by one, with a turn of the loop after each."""
    answers = []
    for piece in pieces:
        peer.send(piece)
        asyncore.loop(0, map=channel._map, count=1)
        answers.append(received(peer))
    return b"".join(answers)


def every_cut(data: bytes) -> Iterator[list[bytes]]:
    for cut in range(1, len(data)):
        yield [data[:cut], data[cut:]]
    yield [data]
    yield [bytes([byte]) for byte in data]


@pytest.mark.parametrize("tcp", [False, True])
def test_lines_come_back(tcp: bool) -> None:
    for pieces in every_cut(b"one\r\n\r\ntwo\r\n"):
        with connected(Lines, tcp=tcp) as (channel, peer):
            assert transferred_answers(channel, peer, pieces) == b"[one][][two]"


def transferred_answers(channel: Any, peer: socket.socket, pieces: list[bytes]) -> bytes:
    answers = exchanged(channel, peer, pieces)
    return answers + transferred(channel, peer, len(b"[one][][two]") - len(answers))


def test_a_connection_is_handed_over_wherever_its_bytes_are_cut() -> None:
    for pieces in every_cut(b"one\r\nSWITCH\r\nabcdefgh\r\n"):
        with connected(Lines) as (channel, peer):
            sock = channel.socket
            assert exchanged(channel, peer, pieces) == b"[one][abcd][efgh]"
            assert channel.other.socket is sock
            assert channel.other.ac_in_buffer == b"\r\n"
            assert channel.closing
            assert list(channel._map.values()) == [channel.other]
            channel.other.close()


def test_what_the_system_has_not_taken_is_handed_over_too() -> None:
    with connected(Lines) as (channel, peer):
        channel.backpressure = False  # It is to read, though the peer doesn't.
        large = bytes(itertools.islice(itertools.cycle(b"0123456789"), 4_000_000))
        channel.push(large)
        assert channel.producer_fifo
        answers = exchanged(channel, peer, [b"one\r\nSWITCH\r\nabcd"])
        assert channel.other.producer_fifo
        expected = large + b"[one][abcd]"
        answers += transferred(channel.other, peer, len(expected) - len(answers))
        assert answers == expected
        channel.other.close()


def test_a_connection_handed_over_hears_what_comes_later() -> None:
    with connected(Lines) as (channel, peer):
        assert exchanged(channel, peer, [b"SWITCH\r\n", b"ab", b"cdSWI"]) == b"[abcd]"
        assert channel.messages == [b"SWITCH"]
        peer.close()
        asyncore.loop(0, map=channel._map, count=2)
        assert channel.other.closing


@pytest.mark.parametrize("term", [b"\r\n", (b"\r\n", b"\n"), 2_000_000])
def test_a_message_larger_than_any_buffer_arrives(term: Any) -> None:
    class Large(Echo):
        max_message_size = 2_000_000
        terminator = term

    message = bytes(itertools.islice(itertools.cycle(b"0123456789"), 2_000_000))
    with connected(Large) as (channel, peer):
        waiting = memoryview(message if isinstance(term, int) else message + b"\r\n")
        while waiting or not channel.messages:
            with contextlib.suppress(BlockingIOError):
                waiting = waiting[peer.send(waiting) :]
            asyncore.loop(0, map=channel._map, count=1)
        assert channel.messages == [message]


def test_a_message_that_is_too_long_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    class Short(Echo):
        max_message_size = 3

    with connected(Short) as (channel, peer):
        assert exchanged(channel, peer, [b"one\r\nfour\r\nsix\r\n"]) == b"[one]"
        assert channel.closing
        assert channel._map == {}
    assert "wanted a message of at most 3 bytes" in caplog.text


def test_a_handler_may_wait_for_the_next_message_in_a_loop_of_its_own() -> None:
    class Asking(Echo):
        def message_received(self, message: bytes) -> None:
            self.messages.append(message)
            if message == b"LOGIN":
                while self.messages[-1] == b"LOGIN":
                    asyncore.loop(0.1, map=self._map, count=1)
                self.push(b"hello " + self.messages[-1])

    with connected(Asking) as (channel, peer):
        peer.send(b"LOGIN\r\nan")
        channel.call_later(0, lambda: peer.send(b"n\r\n"))
        assert transferred(channel, peer, len(b"hello ann")) == b"hello ann"


def test_an_idle_connection_takes_little_memory() -> None:
    with connected(Lines) as (channel, peer):
        exchanged(channel, peer, [b"x" * 100, b"\r\n"])
        received(peer)
        kept = [value for name, value in vars(channel).items() if name.startswith("_ac_")]
        assert sum(sys.getsizeof(value) for value in kept if isinstance(value, (bytes, list, dict))) < 300
