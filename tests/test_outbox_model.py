"""The queue against a plain list: whatever is put in, taken and put back, the same bytes leave in order."""

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from antiphon.outbox import CLOSE, Outbox, ProducerFailed
from antiphon.producers import Producer
from effort import effort

#: Large enough, some of them, for sendmsg(2), and for not being joined.
sizes = st.sampled_from([0, 1, 3, 100, 4095, 4096, 5000, 16_384, 40_000, 70_000])
kinds = st.sampled_from([bytes, bytes, bytes, bytearray, memoryview])


class Pieces(Producer):
    """Gives chunks, then perhaps fails; is closed once."""

    def __init__(self, chunks: list[bytes], fails: bool) -> None:
        self.chunks, self.fails = chunks, fails
        self.closings = 0

    def more(self) -> Any:
        if self.chunks:
            return self.chunks.pop(0)
        if self.fails:
            raise LookupError("as asked")
        return b""

    def close(self) -> None:
        self.closings += 1


class OutboxAgainstAList(RuleBasedStateMachine):
    """The model is a list of bytes, of CLOSE for the mark, and of ProducerFailed where one fails."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.model: list[Any] = []
        self.producers: list[Pieces] = []
        self.numbers = 0

    def data(self, size: int) -> bytes:
        """Bytes that are found nowhere else."""
        self.numbers += 1
        return (b"%d," % self.numbers * (size // 2 + 1))[:size]

    # -- what goes in

    def put(self, how: Callable[[Any], None], item: Any, expected: list[Any], at: int | None = None) -> None:
        how(item)
        if at is None:
            self.model += expected
        else:
            self.model[at:at] = expected

    @rule(size=sizes, kind=kinds)
    def append(self, size: int, kind: Any) -> None:
        data = self.data(size)
        self.put(self.outbox.append, kind(data), [data])

    @rule(size=sizes, times=st.integers(2, 30))
    def append_many(self, size: int, times: int) -> None:
        pieces = [self.data(size) for _ in range(times)]
        self.put(self.outbox.extend, pieces, pieces)

    @rule(size=sizes, kind=kinds)
    def append_before_all(self, size: int, kind: Any) -> None:
        data = self.data(size)
        self.put(self.outbox.appendleft, kind(data), [data], at=0)

    @rule(sizes=st.lists(sizes.filter(bool), max_size=5), fails=st.booleans())
    def append_producer(self, sizes: list[int], fails: bool) -> None:
        chunks = [self.data(size) for size in sizes]
        self.producers.append(Pieces(list(chunks), fails))
        expected = [*chunks, ProducerFailed] if fails else chunks
        self.put(self.outbox.append, self.producers[-1], expected)

    @rule()
    def append_mark(self) -> None:
        self.put(self.outbox.append, None, [CLOSE])

    # -- what leaves

    def leaves(self, data: bytes) -> None:
        """`data` leaves: it is the beginning of the model, and before the first mark or failure."""
        while data:
            first = self.model.pop(0)
            assert isinstance(first, bytes), "something overtook it"
            size = min(len(first), len(data))
            assert first[:size] == data[:size]
            data = data[size:]
            if first[size:]:
                self.model.insert(0, first[size:])

    def special(self) -> Any:
        """What comes next that is no data."""
        while self.model and self.model[0] == b"":
            del self.model[0]
        return self.model.pop(0) if self.model else None

    @rule(
        size=st.sampled_from([1, 4096, 262_144]), limit=st.none() | st.integers(1, 5000), part=st.floats(0, 1)
    )
    def take_piece(self, size: int, limit: int | None, part: float) -> None:
        try:
            piece: Any = self.outbox.next_piece(size, limit)
        except ProducerFailed:
            assert self.special() is ProducerFailed
            return
        if piece is CLOSE or piece is None:
            assert self.special() is piece
            return
        assert 0 < len(piece) <= (limit or len(piece))
        sent = int(len(piece) * part)
        self.leaves(bytes(piece[:sent]))
        self.outbox.put_back(piece, sent)

    @precondition(lambda self: self.outbox)
    @rule(part=st.floats(0, 1))
    def take_pushed(self, part: float) -> None:
        before = list(self.outbox)
        piece = self.outbox.take_pushed()
        if piece is None:
            assert all(one is other for one, other in zip(before, self.outbox, strict=True))
            return
        sent = int(len(piece) * part)
        self.leaves(piece[:sent])
        self.outbox.put_back(piece, sent)

    @rule(part=st.floats(0, 1))
    def take_large(self, part: float) -> None:
        pieces = self.outbox.take_large()
        data = b"".join(pieces)
        sent = int(len(data) * part)
        self.leaves(data[:sent])
        self.outbox.put_back_several(pieces, sent)

    @rule()
    def discard(self) -> None:
        self.outbox.discard()
        self.model.clear()
        assert [producer.closings for producer in self.producers] == [1] * len(self.producers)

    @invariant()
    def it_is_empty_when_the_model_is(self) -> None:
        if not self.outbox:
            assert all(item == b"" for item in self.model)

    @invariant()
    def no_producer_is_closed_twice(self) -> None:
        assert all(producer.closings <= 1 for producer in self.producers)

    def teardown(self) -> None:
        while self.outbox:
            self.take_piece(4096, None, 1.0)
        assert self.special() is None
        assert [producer.closings for producer in self.producers] == [1] * len(self.producers)


TestOutboxAgainstAList = OutboxAgainstAList.TestCase
TestOutboxAgainstAList.settings = settings(
    max_examples=effort(60, 10_000), stateful_step_count=30, deadline=None
)
