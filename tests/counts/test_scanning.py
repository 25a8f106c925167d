r"""The work of looking for terminators in input that is made to cost much: linear in the bytes that arrive.

Steps of the interpreter are counted, and beside them what waits between two reads: work that CPython does at
one go, such as to look through what waits or to copy it, is no step, and bounded by that.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from antiphon.asynchat import async_chat
from chat_support import ScriptedSocket, fed
from counts.counters import calls_made, steps


class Listening(async_chat):
    """Counts bytes and messages.

    Attributes:
        most_waiting: bytes that waited after a read, at most.
    """

    def __init__(self, terminator: Any) -> None:
        super().__init__(ScriptedSocket(), {})
        self.bytes = self.messages = self.most_waiting = 0
        self.set_terminator(terminator)

    def collect_incoming_data(self, data: bytes) -> None:
        self.bytes += len(data)

    def found_terminator(self) -> None:
        self.messages += 1


def halves(channel: Listening, pieces: Sequence[bytes]) -> tuple[int, int]:
    """Steps for the first and for the second half of the pieces, each received by itself.

    Before that, the first one comes until a terminator would have been complete: from then on it may fail.
    """
    terminator = channel.get_terminator()
    for _ in range(1 + (len(terminator) // len(pieces[0]) if isinstance(terminator, bytes) else 0)):
        read(channel, pieces[:1])
    middle = len(pieces) // 2
    return steps(lambda: read(channel, pieces[:middle])), steps(lambda: read(channel, pieces[middle:]))


def read(channel: Listening, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        channel.socket.script.append(piece)
        channel.handle_read_event()
        channel.most_waiting = max(channel.most_waiting, len(channel.ac_in_buffer))


BEGINNINGS = {
    "carriage returns one by one": (b"\r\n", [b"\r"] * 2000),
    "carriage returns": (b"\r\n", [b"\r" * 1000] * 500),
    "every second byte a carriage return": (b"\r\n", [b"x\r"] * 1000),
    "the end of a header, never": (b"\r\n\r\n", [b"\r\n\r", b"\r\n\rx"] * 500),
    "the end of a letter, never": (b"\r\n.\r\n", [b"\r\n.\r"] * 1000),
    "dots": (b"\r\n.\r\n", [b"..\r\n."] * 1000),
    "all but the last of 1 KiB": (b"a" * 1023 + b"b", [b"a" * 100] * 200),
    "all but the last of 16 KiB": (b"a" * 16_383 + b"b", [b"a" * 1000] * 100),
    "half of 16 KiB, then not": (b"ab" * 8192, [b"ab" * 2000 + b"b"] * 20),
}


@pytest.mark.parametrize(("terminator", "pieces"), BEGINNINGS.values(), ids=BEGINNINGS)
def test_beginnings_of_a_terminator_cost_the_same_however_many_came_before(
    terminator: bytes, pieces: list[bytes]
) -> None:
    channel = Listening(terminator)
    first, second = halves(channel, pieces)
    assert channel.messages == 0
    assert second <= 1.1 * first
    assert channel.most_waiting < len(terminator)
    looked_at = sum(min(len(piece), len(terminator)) for piece in pieces) / 2
    assert second <= 200 * len(pieces) / 2 + 13 * looked_at, "some steps for a read, and a few for a byte"


@pytest.mark.parametrize("size", [1, 10, 1000, 4096])
@pytest.mark.parametrize(
    "terminator",
    [b"\n", b"\r\n", b"x" * 99 + b"\n", 10**9, None],
    ids=["1 byte", "2 bytes", "100 bytes", "a length", "none"],
)
def test_a_long_message_in_small_reads_costs_the_same_for_each(terminator: Any, size: int) -> None:
    channel = Listening(terminator)
    first, second = halves(channel, [b"y" * size] * 400)
    assert second <= 1.1 * first
    assert channel.most_waiting == 0
    assert channel.bytes >= 400 * size


def test_a_read_costs_the_same_however_long_it_is() -> None:
    """What it holds is looked through by CPython, at one go."""
    channel = Listening(b"\r\n")
    channel.ac_in_buffer_size = 1 << 20
    costs = [calls_made(lambda: fed(channel, b"y" * size)) for size in (10, 1000, 100_000)]  # noqa: B023
    assert len(set(costs)) == 1, costs


def test_lines_that_dribble_in_cost_the_same_for_each_byte() -> None:
    channel = Listening(b"\r\n")
    first, second = halves(channel, [b"%c" % byte for byte in b"some words\r\n" * 100])
    assert second <= 1.1 * first
    assert channel.messages == 100


def test_empty_lines_cost_the_same_each_however_many_a_read_has() -> None:
    channel = Listening(b"\n")
    channel.ac_in_buffer_size = 1 << 20
    few, many = (steps(lambda: fed(channel, b"\n" * lines)) for lines in (2000, 20_000))  # noqa: B023
    assert many <= 10 * few
