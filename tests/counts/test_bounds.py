"""The work of counting what a message has, and of dropping it: linear in the bytes that arrive."""

from typing import Any

import pytest

from antiphon import MessageChannel
from antiphon.errors import MessageTooLong
from chat_support import ScriptedSocket, fed
from counts.counters import functions_entered, steps
from counts.test_scanning import BEGINNINGS, Listening, halves

POLICIES = ["discard", "pieces"]


class Bounded(Listening):
    """Counts what is too long."""

    def __init__(self, terminator: Any, limit: int, policy: str) -> None:
        super().__init__(terminator)
        self.max_message_size, self.overflow_policy = limit, policy
        self.overflows = 0

    def handle_overflow(self, error: MessageTooLong) -> None:
        self.overflows += 1


class Whole(MessageChannel):
    """The same for a channel that keeps its messages."""

    def __init__(self, terminator: Any, limit: int, policy: str) -> None:
        super().__init__(ScriptedSocket(), {})
        self.max_message_size, self.overflow_policy = limit, policy
        self.bytes = self.messages = self.overflows = self.most_waiting = 0
        self.set_terminator(terminator)

    def message_received(self, message: bytes) -> None:
        self.messages += 1

    def message_part_received(self, part: bytes, last: bool) -> None:
        self.bytes += len(part)
        self.messages += last

    def handle_overflow(self, error: MessageTooLong) -> None:
        self.overflows += 1


each_kind = pytest.mark.parametrize("made", [Bounded, Whole])


@each_kind
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("limit", [10, 1 << 30], ids=["exceeded", "kept"])
@pytest.mark.parametrize(("terminator", "pieces"), BEGINNINGS.values(), ids=BEGINNINGS)
def test_beginnings_of_a_terminator_cost_the_same_however_many_came_before(
    made: Any, terminator: bytes, pieces: list[bytes], limit: int, policy: str
) -> None:
    channel = made(terminator, limit, policy)
    first, second = halves(channel, pieces)
    assert channel.messages == 0
    assert channel.overflows == (limit == 10)
    # Pieces of what is kept are put together now and then.
    assert second <= 1.1 * first + (200 if made is Whole else 0)
    looked_at = sum(min(len(piece), len(terminator)) for piece in pieces) / 2
    assert second <= 300 * len(pieces) / 2 + 30 * looked_at, "some steps for a read, and a few for a byte"


@each_kind
@pytest.mark.parametrize("policy", POLICIES)
def test_messages_that_are_too_long_cost_the_same_each_however_many_a_read_has(
    made: Any, policy: str
) -> None:
    def read(count: int, data: bytes) -> None:
        channel = made(b"\n", 1, policy)
        channel.ac_in_buffer_size = 1 << 20
        fed(channel, data * count)
        assert channel.overflows == count

    for data in b"xx\n", b"x" * 100 + b"\n":
        few, many = (steps(lambda: read(count, data)) for count in (500, 5000))  # noqa: B023
        assert many <= 10.5 * few


@each_kind
@pytest.mark.parametrize("policy", POLICIES)
def test_a_message_that_is_too_long_costs_the_same_however_long_it_is(made: Any, policy: str) -> None:
    channel = made(b"\n", 1, policy)
    channel.ac_in_buffer_size = 1 << 20
    fed(channel, b"xxx\n")  # What is made once is not counted.
    costs = [steps(lambda: fed(channel, b"x" * size + b"\n")) for size in (10, 1000, 100_000)]  # noqa: B023
    assert channel.overflows == 4
    assert max(costs) <= 2 * min(costs), costs  # Finalizers of earlier tests may run among them.


def test_a_channel_without_a_limit_enters_nothing_of_it() -> None:
    channel = Listening(b"\n")
    for data in b"one\n", b"one\ntwo\nthree\n", b"begun", b" and ended\n":
        entered = functions_entered(lambda: fed(channel, data))  # noqa: B023
        assert not [name for name in entered if "bounded" in name or "room" in name or "aside" in name]
