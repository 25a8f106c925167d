"""The queue by itself: whatever is in it, the bytes that leave are those that went in, in order."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import outbox as module
from antiphon.outbox import CLOSE, LARGEST_PIECE, CloseMark, Outbox, ProducerFailed, fifo
from chat_support import Chunks, ClosingChunks, shown


def view_of(value: bytes) -> Any:
    return memoryview(value)


data = st.binary(max_size=9)
chunks = st.lists(data.filter(bool), max_size=5)
item = st.one_of(
    data,
    data.map(bytearray),
    data.map(view_of),
    chunks.map(lambda pieces: Chunks(*pieces)),
    chunks.map(lambda pieces: Chunks(*map(bytearray, pieces))),
)
#: What each attempt to send takes of what it is offered.
takes = st.lists(st.integers(0, 12), max_size=20)


def bytes_of(items: Iterable[Any]) -> bytes:
    """What should leave."""
    return b"".join(b"".join(item.script) if isinstance(item, Chunks) else bytes(item) for item in items)


def emptied(
    outbox: Outbox, takes: Iterable[int] = (), size: int = 1, limit: int | None = None
) -> list[bytes]:
    """The pieces as they leave, when each attempt takes so many bytes and the later ones all."""
    left, attempts = [], iter(takes)
    while (piece := outbox.next_piece(size, limit)) is not None and not isinstance(piece, CloseMark):
        assert len(piece) > 0
        assert limit is None or len(piece) <= limit
        taken = min(next(attempts, len(piece)), len(piece))
        left.append(bytes(piece[:taken]))
        outbox.put_back(piece, taken)
    return left


# -- what leaves


@given(st.lists(item, max_size=9), takes, st.integers(1, 12), st.one_of(st.none(), st.integers(1, 5)))
def test_what_leaves_is_what_went_in(
    items: list[Any], takes: list[int], size: int, limit: int | None
) -> None:
    expected = bytes_of(items)
    outbox = Outbox(items)
    assert b"".join(emptied(outbox, takes, size, limit)) == expected
    assert not outbox


@given(st.lists(item, max_size=5), st.lists(item, max_size=5), takes, st.integers(1, 12))
def test_the_close_mark_comes_when_all_before_it_has_left(
    before: list[Any], after: list[Any], takes: list[int], size: int
) -> None:
    expected, rest = bytes_of(before), bytes_of(after)
    outbox = Outbox([*before, None, *after])
    assert b"".join(emptied(outbox, takes, size)) == expected
    assert b"".join(emptied(outbox, takes, size)) == rest


def test_an_empty_queue_has_no_piece() -> None:
    assert Outbox().next_piece(1, None) is None


@pytest.mark.parametrize(
    "empty", [b"", bytearray(), memoryview(b""), Chunks(), Chunks(bytearray())], ids=shown
)
def test_what_is_empty_is_passed_over(empty: Any) -> None:
    outbox = Outbox([empty, b"one", empty])
    assert outbox.next_piece(1, None) == b"one"
    assert outbox.next_piece(1, None) is None
    assert not outbox


def test_the_close_mark_is_taken_off_the_queue() -> None:
    outbox = Outbox([None, b"after"])
    assert outbox.next_piece(1, None) is CLOSE
    assert list(outbox) == [b"after"]


def test_what_was_not_sent_is_put_back_without_a_copy() -> None:
    chunk = bytes(1000)
    outbox = Outbox([b"after"])
    outbox.put_back(chunk, 300)
    first = outbox[0]
    assert isinstance(first, memoryview)
    assert (first.obj is chunk, len(first)) == (True, 700)
    piece = outbox.next_piece(1, None)
    assert isinstance(piece, memoryview)
    outbox.put_back(piece, 699)
    assert (outbox[0].obj is chunk, len(outbox[0])) == (True, 1)


def test_of_what_was_sent_nothing_is_put_back() -> None:
    outbox = Outbox()
    outbox.put_back(b"one", 3)
    assert not outbox


# -- joining


def test_small_pushes_leave_together() -> None:
    assert emptied(Outbox([b"one", b"two", b"three"])) == [b"onetwothree"]


def test_pushes_are_joined_up_to_a_bounded_size() -> None:
    pieces = emptied(Outbox([bytes(1000)] * 1000))
    assert sum(map(len, pieces)) == 1_000_000
    assert max(map(len, pieces)) < LARGEST_PIECE + 1000
    assert len(pieces) <= 4


@pytest.mark.parametrize(
    "others", [[b"head"], [b"head", b"er"], [Chunks(b"head")], [bytearray(b"head")]], ids=shown
)
def test_a_large_push_is_not_copied_to_be_joined(others: list[Any]) -> None:
    large = bytes(LARGEST_PIECE)
    outbox = Outbox([*others, large, b"tail"])
    pieces = []
    while (piece := outbox.next_piece(1, None)) is not None:
        pieces.append(piece)
    assert any(piece is large for piece in pieces)


def test_small_chunks_are_joined_up_to_the_size_that_is_asked_for() -> None:
    producer = Chunks(*[b"x" * 10] * 10)
    outbox = Outbox([producer])
    assert [len(piece) for piece in emptied(outbox, size=25)] == [30, 30, 30, 10]


def test_no_chunk_is_asked_for_before_it_is_needed() -> None:
    producer = Chunks(b"x" * 10, b"y" * 10)
    outbox = Outbox([producer])
    outbox.next_piece(10, None)
    assert producer.calls == 1
    assert list(outbox) == [producer]


def test_a_large_chunk_is_passed_on_as_it_is() -> None:
    large = bytes(LARGEST_PIECE)
    assert Outbox([Chunks(large)]).next_piece(1, None) is large


def test_a_large_chunk_behind_small_ones_is_passed_on_as_it_is() -> None:
    large = bytes(LARGEST_PIECE)
    outbox = Outbox([Chunks(b"head", large, b"tail")])
    pieces: list[Any] = []
    while (piece := outbox.next_piece(4096, None)) is not None:
        pieces.append(piece)
    assert b"".join(pieces) == b"head" + large + b"tail"
    assert any(piece is large for piece in pieces)


def test_a_limit_cuts_without_a_copy() -> None:
    chunk = bytes(100)
    outbox = Outbox([chunk])
    for size in (30, 30, 30, 10):
        piece = outbox.next_piece(4096, 30)
        assert isinstance(piece, memoryview)
        assert (piece.obj is chunk, len(piece)) == (True, size)


# -- producers


def test_a_producer_is_closed_when_it_is_exhausted() -> None:
    producer = ClosingChunks(b"one")
    outbox = Outbox([producer])
    emptied(outbox)
    assert producer.closings == 1
    assert not outbox


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ([LookupError("as asked")], LookupError),
        (["text"], TypeError),
        ([5], TypeError),
        ([[b"list"]], TypeError),
        ([object()], TypeError),
    ],
    ids=shown,
)
def test_a_producer_that_fails_is_taken_off_the_queue_and_closed(
    script: list[Any], cause: type[Exception]
) -> None:
    producer = ClosingChunks(*script)
    outbox = Outbox([producer, b"after"])
    with pytest.raises(ProducerFailed, match="failed") as failed:
        outbox.next_piece(1, None)
    assert isinstance(failed.value.__cause__, cause)
    assert producer.closings == 1
    assert list(outbox) == [b"after"]


def test_a_producer_that_empties_the_queue_and_fails_is_closed() -> None:
    class Leaving(ClosingChunks):
        def more(self) -> Any:
            outbox.clear()
            return super().more()

    producer = Leaving(LookupError("as asked"))
    outbox = Outbox([producer, b"after"])
    with pytest.raises(ProducerFailed):
        outbox.next_piece(1, None)
    assert producer.closings == 1
    assert not outbox


def test_something_that_is_no_producer_fails_as_one() -> None:
    outbox = Outbox([object()])
    with pytest.raises(ProducerFailed):
        outbox.next_piece(1, None)
    assert not outbox


def test_what_leaves_the_loop_leaves_the_queue() -> None:
    class Leaving:
        def more(self) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Outbox([Leaving()]).next_piece(1, None)


def test_a_producer_that_changes_the_queue_does_not_lose_what_is_behind_it() -> None:
    outbox = Outbox()

    class Impatient(Chunks):
        def more(self) -> Any:
            if self.calls == 1:
                outbox.appendleft(b"first ")
            return super().more()

    outbox.extend([Impatient(b"one "), b"two"])
    assert sorted(b"".join(emptied(outbox)).split()) == [b"first", b"one", b"two"]


def test_with_an_encoding_text_is_encoded() -> None:
    outbox = Outbox(["\u00e9", Chunks("\u00e9", b"x")])
    outbox.encoding = "utf-8"
    assert b"".join(emptied(outbox)) == b"\xc3\xa9\xc3\xa9x"


def test_discarding_closes_all_producers_and_empties_the_queue() -> None:
    producers = [ClosingChunks(b"one"), ClosingChunks(b"two")]
    outbox = Outbox([b"x", producers[0], None, Chunks(b"y"), producers[1], bytearray(b"z")])
    outbox.discard()
    assert [producer.closings for producer in producers] == [1, 1]
    assert not outbox


# -- what the channel learns of


@pytest.mark.parametrize(
    "change",
    [
        lambda queue: queue.append(b"x"),
        lambda queue: queue.appendleft(b"x"),
        lambda queue: queue.extend([b"x"]),
        lambda queue: queue.extendleft([b"x"]),
        lambda queue: queue.insert(0, b"x"),
        lambda queue: queue.__iadd__([b"x"]),
        lambda queue: queue.__setitem__(0, b"x"),
        lambda queue: queue.clear(),
    ],
)
def test_its_owner_learns_of_a_change(change: Callable[[Outbox], object]) -> None:
    outbox = Outbox([b"before"])
    expected = deque([b"before"])
    change(expected)  # type: ignore[arg-type]
    seen: list[list[Any]] = []
    outbox.changed = lambda: seen.append(list(outbox))
    change(outbox)
    assert seen == [list(expected)]


def test_without_an_owner_it_may_be_changed_all_the_same() -> None:
    outbox = Outbox()
    outbox.append(b"one")
    outbox += [b"two"]
    assert list(outbox) == [b"one", b"two"]


def test_taking_pieces_is_no_change_to_tell_of() -> None:
    outbox = Outbox([b"one", bytearray(b"two"), Chunks(b"three"), None])
    outbox.changed = lambda: pytest.fail("told")
    assert b"".join(emptied(outbox, [1, 1, 1], limit=2)) == b"onetwothree"


# -- the queue of older versions


def test_a_fifo_of_older_versions_is_first_in_first_out() -> None:
    queue = fifo()
    assert (len(queue), queue.is_empty(), queue.pop()) == (0, True, (0, None))
    queue.push(b"one")
    queue.push(b"two")
    assert (len(queue), queue.is_empty(), queue.first()) == (2, False, b"one")
    assert [queue.pop(), queue.pop(), queue.pop()] == [(1, b"one"), (1, b"two"), (0, None)]


def test_a_fifo_may_be_made_of_a_list() -> None:
    items: list[Any] = [None, b"", b"two"]
    queue = fifo(items)
    assert [queue.pop() for _ in range(4)] == [(1, None), (1, b""), (1, b"two"), (0, None)]
    assert items == [None, b"", b"two"]


def test_an_empty_fifo_has_no_first_item() -> None:
    with pytest.raises(IndexError):
        fifo().first()


def test_the_module_offers_what_it_says() -> None:
    assert all(hasattr(module, name) for name in module.__all__)


# -- large pieces -----------------------------------------------------------------------------------------

large_or_small = st.integers(0, 3).flatmap(
    lambda kind: st.integers((0, 4095, 4096, 70_000)[kind], (10, 4097, 20_000, 70_001)[kind])
)


@given(st.lists(large_or_small, max_size=80), st.data())
def test_of_the_large_pieces_none_is_lost_whatever_is_sent(sizes: list[int], data: st.DataObject) -> None:
    items = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    outbox = Outbox(items)
    taken = outbox.take_large()
    whole = b"".join(items)
    assert taken == [] or (len(taken) > 1 and min(map(len, taken)) >= 4096)
    assert sum(map(len, taken)) <= LARGEST_PIECE + 70_001
    sent = data.draw(st.integers(0, sum(map(len, taken))))
    outbox.put_back_several(taken, sent)
    assert b"".join(outbox) == whole[sent:]


@pytest.mark.parametrize("items", [[], [bytes(100_000)], [bytes(4096)] * 15, [bytes(4095)] * 20, [None] * 20])
def test_few_or_small_items_are_not_taken_as_large_pieces(items: list[Any]) -> None:
    outbox = Outbox(items)
    assert outbox.take_large() == []
    assert list(outbox) == items


# -- what waits


class Plain(deque[Any]):
    """What a queue with the same contents weighs."""

    def weigh(self) -> int:
        return sum(map(module.weight, self))


changes = st.lists(
    st.one_of(
        st.tuples(st.just("append"), data),
        st.tuples(st.just("appendleft"), data),
        st.tuples(st.just("extend"), st.lists(data, max_size=4)),
        st.tuples(st.just("extendleft"), st.lists(data, max_size=4)),
        st.tuples(st.just("insert"), st.integers(0, 9), data),
        st.tuples(st.just("rotate"), st.integers(-3, 3)),
        st.tuples(st.just("reverse")),
        st.tuples(st.just("popleft")),
        st.tuples(st.just("pop")),
        st.tuples(st.just("clear")),
        st.tuples(st.just("__setitem__"), st.just(-1), data),
        st.tuples(st.just("__delitem__"), st.just(0)),
        st.tuples(st.just("weigh")),
        st.tuples(st.just("send"), st.integers(0, 12), st.one_of(st.none(), st.integers(1, 5))),
        st.tuples(st.just("send all")),
        st.tuples(st.just("produce"), chunks),
    ),
    max_size=30,
)


@given(changes)
def test_what_waits_is_known_whatever_has_happened_to_it(changes: list[Any]) -> None:
    outbox = Outbox()
    for name, *arguments in changes:
        if name == "produce":
            outbox.append(Chunks(*arguments[0]))
        elif name == "send":
            take, limit = arguments
            piece = outbox.next_piece(4, limit)
            if isinstance(piece, (bytes, memoryview)):
                outbox.put_back(piece, min(take, len(piece)))
        elif name == "send all":
            outbox.take_pushed()
        elif name in ("popleft", "pop", "__setitem__", "__delitem__") and not outbox:
            continue
        else:
            getattr(outbox, name)(*arguments)
        if name == "weigh":
            assert outbox.weigh() == Plain(outbox).weigh()
    assert outbox.weigh() == Plain(outbox).weigh()


def test_to_weigh_again_looks_at_what_is_new() -> None:
    looked: list[Any] = []

    class Counted(bytearray):
        def __len__(self) -> int:
            looked.append(self)
            return super().__len__()

    outbox = Outbox(Counted(b"ab") for _ in range(100))
    for new in (100, 0, 1, 2):
        looked.clear()
        outbox.extend(Counted(b"ab") for _ in range(new if new < 100 else 0))
        assert outbox.weigh() == 2 * len(outbox)
        assert len(looked) == new


def test_large_pieces_that_come_back_are_known() -> None:
    outbox = Outbox([bytes(50_000)] * 4)
    assert outbox.weigh() == 200_000
    pieces = outbox.take_large()
    assert outbox.weigh() == 0
    outbox.put_back_several(pieces, 60_000)
    assert outbox.weigh() == 140_000


def test_a_queue_that_is_weighed_may_be_given_up() -> None:
    outbox = Outbox([b"abc", ClosingChunks(b"x")])
    outbox.weigh()
    outbox.discard()
    assert outbox.weigh() == 0


@pytest.mark.parametrize("change", ["popleft", "pop", "reverse", "rotate"])
def test_changes_at_any_place_are_told(change: str) -> None:
    told: list[str] = []
    outbox = Outbox([b"a", b"b"])
    outbox.changed = lambda: told.append(change)
    getattr(outbox, change)()
    outbox.remove(b"b") if b"b" in outbox else outbox.remove(b"a")
    assert told == [change] * 2
