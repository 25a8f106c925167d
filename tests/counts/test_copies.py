"""Bytes copied: none that are handed over or sent whole, each once that is cut out or joined."""

import contextlib
from collections.abc import Iterable
from typing import Any

import pytest

import loop_support
from chat_support import Chat, Chunks, ScriptedSocket, fed
from counts.counters import Copies, peak_memory
from counts.dialogues import LARGE, Echo, Upload, served
from loop_support import Wires

wires = loop_support.wires

MIB = 1 << 20


class Keeping(Upload):
    """Keeps what its socket gave and what it was handed over, the very objects."""

    def __init__(self, sock: Any, map: Any) -> None:
        self.received: list[bytes] = []
        self.handed_over: list[bytes] = []
        super().__init__(sock, map)

    def recv(self, buffer_size: int) -> bytes:
        data = super().recv(buffer_size)
        self.received.append(data)
        return data

    def collect_incoming_data(self, data: bytes) -> None:
        self.handed_over.append(data)
        super().collect_incoming_data(data)


def are_the_same(some: Iterable[object], others: Iterable[object]) -> bool:
    return all(one is other for one, other in zip(some, others, strict=True))


class Drain:
    """A socket that takes up to `size` bytes of what it is offered, and keeps that without a copy."""

    def __init__(self, size: int = 1 << 30) -> None:
        self.size = size
        self.offered: list[Any] = []
        self.total = 0

    def send(self, data: Any) -> int:
        self.offered.append(data)
        taken = min(len(data), self.size)
        self.total += taken
        return taken

    def fileno(self) -> int:
        return 1_000_000

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def close(self) -> None:
        """Nothing is open."""


def drained(channel: Chat) -> Drain:
    """The socket of a channel, after it was sent everything."""
    while channel.writable():
        channel.handle_write()
    drain: Drain = channel.sock
    return drain


def base_of(piece: Any) -> Any:
    return piece.obj if isinstance(piece, memoryview) else piece


# -- received ----------------------------------------------------------------------------------------------


def test_a_body_is_handed_over_as_what_recv_returned(wires: Wires) -> None:
    channels = wires.map()
    channel, client = wires.channel(Keeping, channels)
    client.send(b"%d\r\n" % LARGE)
    served(channels)
    left = memoryview(bytes(LARGE))
    while channel.get_terminator() != b"\r\n":
        with contextlib.suppress(BlockingIOError):
            left = left[client.send(left) :]
        served(channels)
    _, *body = channel.received
    _, *handed_over = channel.handed_over
    assert sum(map(len, body)) == LARGE
    assert are_the_same(handed_over, body)


def test_what_has_no_terminator_is_handed_over_as_what_recv_returned() -> None:
    channel = Keeping(ScriptedSocket(), {})
    fed(channel, *[b"x" * 1000] * 5)
    assert are_the_same(channel.handed_over, channel.received)
    channel.set_terminator(None)
    fed(channel, *[b"x\r\n" * 1000] * 5)
    assert are_the_same(channel.handed_over, channel.received)


class Looking(Echo):
    """Has what is copied looked at in each callback, and keeps all that it is given."""

    def __init__(self, copies: Copies, sock: Any) -> None:
        super().__init__(sock, {})
        self.copies = copies

    def collect_incoming_data(self, data: bytes) -> None:
        self.pieces.append(data)
        self.copies.look()

    def found_terminator(self) -> None:
        self.found += 1
        self.copies.look()


#: What CPython takes for a bytes object, its place in a list, and what is noted about it.
BESIDE = 200


@pytest.mark.parametrize("lines", [1, 2, 8, 64])
def test_lines_are_cut_out_of_what_was_received_with_three_copies_at_most(lines: int) -> None:
    """What follows the first line, the part that is being split, and the line itself."""
    line = b"x" * (65_536 // lines - 2) + b"\r\n"
    copies = Copies()
    channel = Looking(copies, ScriptedSocket(line * lines))
    channel.ac_in_buffer_size = 65_536
    copied = copies.of(channel.handle_read_event)
    assert channel.found == lines
    assert copied < 3.1 * 65_536 + BESIDE * lines


@pytest.mark.parametrize("size", [500, 5000])
def test_messages_of_a_length_are_cut_out_of_what_was_received_with_one_copy(size: int) -> None:
    class Counting(Looking):
        def found_terminator(self) -> None:
            super().found_terminator()
            self.set_terminator(size)

    copies = Copies()
    channel = Counting(copies, ScriptedSocket(bytes(65_536 // size * size)))
    channel.ac_in_buffer_size = 65_536
    channel.set_terminator(size)
    copied = copies.of(channel.handle_read_event)
    assert channel.found == 65_536 // size
    assert copied < 1.1 * 65_536 + BESIDE * channel.found


# -- sent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 10_000, 64 * MIB])
def test_a_push_reaches_the_socket_as_it_is(size: int) -> None:
    data = bytes(size)
    channel = Chat(Drain())
    channel.push(data)
    assert are_the_same(channel.sock.offered, [data])


def test_a_huge_push_is_not_copied_however_little_the_system_takes() -> None:
    data = bytes(64 * MIB)
    channel = Chat(Drain(MIB - 1))

    def pushed() -> None:
        channel.push(data)
        drained(channel)

    assert peak_memory(pushed) < MIB // 16
    assert channel.sock.total == len(data)
    assert all(base_of(piece) is data for piece in channel.sock.offered)


def test_what_was_sent_in_part_is_never_joined_again() -> None:
    first, others = bytes(100_000), [bytes(100)] * 1000
    channel = Chat(Drain(1000))
    channel.connected = False
    for data in first, *others:
        channel.push(data)
    channel.connected = True
    drained(channel)
    assert channel.sock.total == 200_000
    of_the_first = [len(piece) for piece in channel.sock.offered if base_of(piece) is first]
    assert of_the_first == list(range(100_000, 0, -1000))
    joined = {id(base): len(base) for piece in channel.sock.offered if (base := base_of(piece)) is not first}
    assert sum(joined.values()) == 100_000, "each byte of the small ones was joined once"


def test_answers_are_joined_once() -> None:
    size, lines = 1000, 60

    class Answering(Echo):
        def answer(self, message: bytes) -> None:
            self.push(answers.pop())

    answers = [bytes(size) for _ in range(lines)]
    sock: Any = Drain()
    sock.recv = lambda limit: b"x\r\n" * lines
    channel = Answering(sock, {})
    peak = peak_memory(channel.handle_read_event)
    assert sock.total == size * lines
    assert peak < 1.2 * size * lines


@pytest.mark.parametrize("size", [16_384, 65_536, MIB])
def test_a_large_chunk_of_a_producer_reaches_the_socket_as_it_is(size: int) -> None:
    chunks = [bytes(size) for _ in range(10)]
    channel = Chat(Drain())
    channel.push_with_producer(Chunks(*chunks))
    assert are_the_same(drained(channel).offered, chunks)


def test_small_chunks_of_a_producer_are_joined_once() -> None:
    chunks = [bytes(1000) for _ in range(1000)]
    channel = Chat(Drain(50_000))

    def produced() -> None:
        channel.push_with_producer(Chunks(*chunks))
        drained(channel)

    peak = peak_memory(produced)
    assert channel.sock.total == 1_000_000
    assert peak < 1.1 * 1_000_000, "the socket of this test keeps what it was offered"


def test_what_may_change_is_copied_once() -> None:
    data = bytearray(4 * MIB)
    channel = Chat(Drain(100_000))
    assert peak_memory(lambda: channel.push(data)) < 1.1 * len(data)
