"""The deliberate differences: what the old modules do, what ours do instead, and why."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest

from differential.traces import TURNS, Producer, Reaction, Trace, chat_class, connected_pair, take
from faults.originals import Modules, ours, the_originals


class Difference(NamedTuple):
    """A deliberate difference.

    Attributes:
        reason: why it is right.
        scene: what shows it.
        original: what happens in it with the old modules.
        wanted: what happens with ours.
    """

    reason: str
    scene: Callable[[Modules], object]
    original: object
    wanted: object


def conversation(modules: Modules, pieces: list[bytes], first: Any, **reactions: list[Reaction]) -> Trace:
    """What a channel notes that gets `pieces`; it ignores nothing, and goes on after errors."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat_class(modules)(near, channels)
        channel.set_terminator(first)
        for name, wanted in reactions.items():
            setattr(channel, name, wanted)
        channel.notes_all = True
        for piece in pieces:
            far.sendall(piece)
            for _ in range(3):
                TURNS["loop"](modules, channels)
        channel.close()
        trace: Trace = channel.trace
        return trace


def lines_after_close_when_done(modules: Modules) -> object:
    return conversation(modules, [b"one\ntwo\n"], b"\n", to_found=[Reaction("close_when_done")])


def lines_after_close(modules: Modules) -> object:
    return conversation(modules, [b"one\ntwo\n"], b"\n", to_found=[Reaction("close")])


def a_terminator_set_while_the_last_counted_bytes_are_collected(modules: Modules) -> object:
    return conversation(modules, [b"one", b"two\n"], 3, to_data=[Reaction("set_terminator", (b"\n",))])


def a_terminator_set_while_counted_bytes_are_collected(modules: Modules) -> object:
    return conversation(modules, [b"on", b"two\n"], 3, to_data=[Reaction("set_terminator", (b"\n",))])


def closing_after_close(modules: Modules) -> object:
    channel = modules.asyncore.dispatcher(map={})
    channel.create_socket()
    channel.close()
    return channel.closing


def events_after_the_peer_hung_up(modules: Modules) -> object:
    """With poll(2) flags, whose hang-up comes together with readiness to read and write."""
    channels: dict[int, Any] = {}
    calls: list[str] = []

    class Noting(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def handle_read(self) -> None:
            calls.append(f"read {self.recv(9)!r}")

        def handle_write(self) -> None:
            calls.append("write")

        def handle_close(self) -> None:
            calls.append("close")
            self.close()

    with connected_pair() as (near, far):
        Noting(near, channels)
        far.close()
        TURNS["poll2"](modules, channels)
    return calls


def bytes_before_a_hang_up(modules: Modules) -> object:
    """With poll(2) flags, the peer closes after it has sent more than one recv() takes."""
    channels: dict[int, Any] = {}
    received: list[bytes] = []

    class Reading(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def handle_read(self) -> None:
            received.append(self.recv(3))

        def writable(self) -> bool:
            return False

        def handle_close(self) -> None:
            self.close()

    with connected_pair() as (near, far):
        Reading(near, channels)
        far.sendall(b"onetwo")
        far.close()
        for _ in range(4):
            TURNS["poll2"](modules, channels)
    return b"".join(received)


def chunks_before_close(modules: Modules) -> object:
    """A producer with two chunks is pushed, and the channel closed at once."""
    wire: Trace = []
    with connected_pair() as (near, far):
        channel = chat_class(modules)(near, {})
        channel.push_with_producer(Producer([b"one", b"two"]))
        channel.close()
        take(far, wire)
    return wire


def calls_of_handle_close_that_does_not_close(modules: Modules) -> object:
    channels: dict[int, Any] = {}
    calls: list[str] = []

    class Careless(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def handle_read(self) -> None:
            self.recv(9)

        def writable(self) -> bool:
            return False

        def handle_close(self) -> None:
            calls.append("close")

    with connected_pair() as (near, far):
        channel = Careless(near, channels)
        far.close()
        for _ in range(3):
            TURNS["loop"](modules, channels)
        channel.close()
    return len(calls)


def turns_for_a_write_that_nobody_handles(modules: Modules) -> object:
    """A dispatcher without a handle_write of its own, which overrides no predicate either."""
    channels: dict[int, Any] = {}
    told: list[str] = []

    class Reading(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def handle_read(self) -> None:
            self.recv(9)

        def log_info(self, message: str, type: str = "info") -> None:
            told.append(message)

    with connected_pair() as (near, _):
        channel = Reading(near, channels)
        for _ in range(3):
            TURNS["loop"](modules, channels)
        channel.close()
    return told


DIFFERENCES: Final[dict[str, Difference]] = {
    "nothing is delivered after close()": Difference(
        "A channel that has decided to close must not carry out what was pipelined behind the decision.",
        lines_after_close,
        [("data", b"one"), ("found", b"\n"), ("data", b"two"), ("found", b"\n")],
        [("data", b"one"), ("found", b"\n")],
    ),
    "nothing is delivered after close_when_done()": Difference(
        "The same, for a channel that has still something to send before it closes.",
        lines_after_close_when_done,
        [("data", b"one"), ("found", b"\n"), ("data", b"two"), ("found", b"\n"), ("close",)],
        [("data", b"one"), ("found", b"\n"), ("close",)],
    ),
    "a terminator set while the last counted bytes are collected holds": Difference(
        "Both callbacks may set the terminator; the old module overwrites it with 0.",
        a_terminator_set_while_the_last_counted_bytes_are_collected,
        [("data", b"one"), ("found", 0), ("data", b"two\n")],
        [("data", b"one"), ("found", b"\n"), ("data", b"two"), ("found", b"\n")],
    ),
    "a terminator set while counted bytes are collected holds": Difference(
        "Both callbacks may set the terminator; the old module then subtracts from it, whatever it is.",
        a_terminator_set_while_counted_bytes_are_collected,
        [("data", b"on"), ("error", "TypeError"), ("data", b"two"), ("found", b"\n")],
        [("data", b"ontwo"), ("found", b"\n")],
    ),
    "closing is set by close()": Difference(
        "The attribute is there for that; the old module never sets it.",
        closing_after_close,
        False,
        True,
    ),
    "no handler of a closed channel is called": Difference(
        "Its descriptor may already be another channel's.",
        events_after_the_peer_hung_up,
        ["close", "read b''", "write", "close"],
        ["close", "read b''"],
    ),
    "what has arrived before a hang-up is read": Difference(
        "The peer sent it and was not told that it was lost; the old select() loop reads it as well.",
        bytes_before_a_hang_up,
        b"one",
        b"onetwo",
    ),
    "all that the kernel takes at once is sent at once": Difference(
        "Otherwise a chunk, however small, costs a turn of the loop, and close() loses the rest.",
        chunks_before_close,
        [("received", b"one"), ("end",)],
        [("received", b"onetwo"), ("end",)],
    ),
    "handle_close is called once": Difference(
        "A connection ends once; the old modules repeat it for ever, as fast as they can.",
        calls_of_handle_close_that_does_not_close,
        3,
        1,
    ),
    "a channel without a handle_write of its own is not woken to write": Difference(
        "The event would reach nobody, and a connected socket is nearly always writable.",
        turns_for_a_write_that_nobody_handles,
        ["unhandled write event"] * 3,
        [],
    ),
}


@pytest.mark.parametrize("difference", DIFFERENCES.values(), ids=DIFFERENCES)
def test_the_old_modules_do_otherwise(difference: Difference) -> None:
    assert difference.scene(the_originals()) == difference.original


@pytest.mark.parametrize("difference", DIFFERENCES.values(), ids=DIFFERENCES)
def test_antiphon_does_as_is_said(difference: Difference) -> None:
    assert difference.scene(ours()) == difference.wanted
