"""The same bytes, however they are cut, give the same callbacks with the old modules as with ours."""

from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from differential.traces import DIFFERENTIAL, TURNS, Reaction, Trace, chat_class, connected_pair, cuts, take
from faults.originals import Modules, ours, the_originals

#: Few different bytes, so that terminators occur, begin without ending, and overlap.
stream = st.lists(st.sampled_from([b"a", b"b", b"\r", b"\n", b"\r\n"]), max_size=40).map(b"".join)
delimiter = st.lists(st.sampled_from([b"a", b"b", b"\r", b"\n"]), min_size=1, max_size=4).map(b"".join)
usual = st.sampled_from([b"\r\n", b"\n", b""])
terminator = st.one_of(delimiter, usual, st.integers(0, 6), st.none())
sizes = st.lists(st.integers(1, 9), max_size=12)
turn = st.sampled_from(list(TURNS.values()))
buffer_size = st.sampled_from([None, 1, 2, 3, 7])

#: The old modules need a turn for each chunk of a producer.
TURNS_TO_SEND: Final = 40

change = st.builds(lambda value: Reaction("set_terminator", (value,)), terminator)
#: While counted bytes are collected, only ours lets the terminator be changed (see differences.py).
no_count = st.builds(lambda value: Reaction("set_terminator", (value,)), delimiter)
answer = st.builds(lambda data: Reaction("push", (data,)), stream.filter(bool))
produce = st.builds(lambda chunks: Reaction("produce", (chunks,)), st.lists(stream.filter(bool), max_size=3))
close = st.sampled_from([Reaction("close"), Reaction("handle_close")])
close_when_done = st.just(Reaction("close_when_done"))
end = st.one_of(close, close_when_done)
failure = st.just(Reaction("raise", ("as asked",)))
look, drop = st.just(Reaction("look")), st.just(Reaction("replace"))
buffers = st.one_of(look, drop, st.builds(lambda data: Reaction("replace", (data,)), stream))
nothing = st.just(Reaction("nothing_happens"))


def conversation(
    modules: Modules,
    pieces: list[bytes],
    first: Any,
    to_found: list[Reaction],
    to_data: list[Reaction],
    turn: Any,
    buffer_size: int | None,
) -> Trace:
    """Send `pieces` one after the other to a channel; what it notes, and what the peer gets."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat_class(modules)(near, channels)
        channel.nothing_happens = lambda: None
        channel.set_terminator(first)
        channel.to_found, channel.to_data = list(to_found), list(to_data)
        if buffer_size is not None:
            channel.ac_in_buffer_size = buffer_size
        answers: Trace = []
        for piece in pieces:
            if channel not in channels.values():
                break
            far.sendall(piece)
            for _ in range(len(piece) // (buffer_size or len(piece)) + 2):
                turn(modules, channels)
                take(far, answers)
            if channel in channels.values() and not channel.over:
                channel.trace.append(("terminator", channel.get_terminator()))
        for _ in range(TURNS_TO_SEND):
            turn(modules, channels)
            take(far, answers)
        open_after_all = channel in channels.values()
        channel.close()
        return [*channel.trace, *answers, ("open", open_after_all)]


def alike(*arguments: Any) -> None:
    """Play the same conversation with both."""
    assert conversation(ours(), *arguments) == conversation(the_originals(), *arguments)


@DIFFERENTIAL
@given(stream, sizes, terminator, turn, buffer_size)
def test_one_terminator(
    data: bytes, sizes: list[int], first: Any, turn: Any, buffer_size: int | None
) -> None:
    alike(cuts(data, sizes), first, [], [], turn, buffer_size)


@DIFFERENTIAL
@given(stream, sizes, terminator, st.lists(change, max_size=8), turn, buffer_size)
def test_terminators_changed_when_one_is_found(
    data: bytes, sizes: list[int], first: Any, to_found: list[Reaction], turn: Any, buffer_size: int | None
) -> None:
    alike(cuts(data, sizes), first, to_found, [], turn, buffer_size)


@DIFFERENTIAL
@given(stream, delimiter, st.lists(st.one_of(no_count, nothing), max_size=8), change, turn)
def test_terminators_changed_while_data_is_collected(
    data: bytes, first: Any, to_data: list[Reaction], last: Any, turn: Any
) -> None:
    # In one piece: how data is split between calls of collect_incoming_data is nobody's promise.
    alike(cuts(data, []), first, [], [*to_data, last], turn, None)


@DIFFERENTIAL
@given(stream, sizes, delimiter, st.lists(st.one_of(change, answer, produce), max_size=8), turn)
def test_answers_to_each_message(
    data: bytes, sizes: list[int], first: Any, to_found: list[Reaction], turn: Any
) -> None:
    alike(cuts(data, sizes), first, to_found, [], turn, None)


@DIFFERENTIAL
@given(stream, sizes, terminator, st.lists(st.one_of(buffers, change), max_size=8), turn)
def test_the_input_buffer_seen_and_replaced_when_a_terminator_is_found(
    data: bytes, sizes: list[int], first: Any, to_found: list[Reaction], turn: Any
) -> None:
    alike(cuts(data, sizes), first, to_found, [], turn, None)


@DIFFERENTIAL
@given(stream, sizes, delimiter, st.lists(st.one_of(answer, nothing), max_size=4), close, turn)
def test_close_after_some_answers(
    data: bytes, sizes: list[int], first: Any, to_found: list[Reaction], close: Reaction, turn: Any
) -> None:
    alike(cuts(data, sizes), first, [*to_found, close], [], turn, None)


@DIFFERENTIAL
@given(stream, sizes, delimiter, st.lists(st.one_of(answer, produce), max_size=4), close_when_done, turn)
def test_close_when_done_after_some_answers(
    data: bytes, sizes: list[int], first: Any, to_found: list[Reaction], close: Reaction, turn: Any
) -> None:
    alike(cuts(data, sizes), first, [*to_found, close], [], turn, None)


@DIFFERENTIAL
@given(stream, delimiter, st.lists(nothing, max_size=3), end, turn)
def test_the_end_while_data_is_collected(
    data: bytes, first: Any, to_data: list[Reaction], end: Reaction, turn: Any
) -> None:
    alike(cuts(data, []), first, [], [*to_data, end], turn, None)


@DIFFERENTIAL
@given(stream, sizes, terminator, st.lists(st.one_of(change, answer, failure), max_size=8), turn)
def test_failing_found_terminator(
    data: bytes, sizes: list[int], first: Any, to_found: list[Reaction], turn: Any
) -> None:
    alike(cuts(data, sizes), first, to_found, [], turn, None)


@DIFFERENTIAL
@given(stream, terminator, st.lists(nothing, max_size=8), turn)
def test_failing_collect_incoming_data(data: bytes, first: Any, to_data: list[Reaction], turn: Any) -> None:
    # By default an error closes the channel; what comes after one that doesn't is in differences.py.
    alike(cuts(data, []), first, [], [*to_data, Reaction("raise", ("as asked", True))], turn, None)


@DIFFERENTIAL
@given(st.binary(min_size=1, max_size=3), st.integers(1, 3000), sizes, delimiter, buffer_size)
def test_more_than_one_buffer_full(
    unit: bytes, repeats: int, sizes: list[int], first: Any, buffer_size: int | None
) -> None:
    data = unit * repeats + first + unit
    alike(cuts(data, [size * 997 for size in sizes]), first, [], [], TURNS["loop"], buffer_size)
