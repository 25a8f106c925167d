import gc
import mmap
import weakref
from array import array
from collections.abc import Callable, Iterator

import pytest

from antiphon.producers import (
    ChainedProducer,
    ChunkedProducer,
    CompressedProducer,
    FileProducer,
    IterableProducer,
    LinesProducer,
    Producer,
    TransformedProducer,
)
from antiphon.producers.base import (
    GeneratedProducer,
    chunks_of,
    close_producer,
    is_bytes_like,
    require_integer,
    snapshot,
)
from producers.fakes import PlainProducer, ScriptedProducer

Make = Callable[[Iterator[bytes]], Producer]


class SourceFile:
    """A file whose reads are what an iterator yields."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks
        self.closed = False

    def read(self, size: int, /) -> bytes:
        return next(self.chunks, b"") if size else b""

    def seek(self, offset: int, /) -> int:
        raise AssertionError("nobody asked for an offset")

    def close(self) -> None:
        getattr(self.chunks, "close", lambda: None)()


EVERY: dict[str, Make] = {
    "file": lambda chunks: FileProducer(SourceFile(chunks)),
    "iterable": IterableProducer,
    "lines": LinesProducer,
    "chained": lambda chunks: ChainedProducer(b"head", chunks, b"tail"),
    "chunked": ChunkedProducer,
    "compressed": lambda chunks: CompressedProducer(chunks, flush=True),
    "transformed": lambda chunks: TransformedProducer(chunks, bytes.upper),
    "all": lambda chunks: ChunkedProducer(TransformedProducer(CompressedProducer(chunks), bytes.upper)),
}


@pytest.fixture(params=list(EVERY.values()), ids=list(EVERY))
def make(request: pytest.FixtureRequest) -> Make:
    function: Make = request.param
    return function


class Rows:
    """A generator that says whether its `finally` has run."""

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self.finished = 0
        self.chunks = self._generate(chunks, error)

    def _generate(self, chunks: tuple[bytes, ...], error: Exception | None) -> Iterator[bytes]:
        try:
            yield from chunks
            if error is not None:
                raise error
        finally:
            self.finished += 1


def test_every_producer_ends_once_and_for_all(make: Make) -> None:
    producer = make(iter([b"ping", b"pong"]))
    assert b"".join(producer)
    assert [producer.more(), producer.more()] == [b"", b""]


def test_every_producer_closes_what_it_has_used_up(make: Make) -> None:
    rows = Rows(b"ping")
    assert list(make(rows.chunks))
    assert rows.finished == 1


def test_every_producer_closes_what_it_has_begun(make: Make) -> None:
    rows = Rows(b"ping", b"pong")
    next(rows.chunks)
    producer = make(rows.chunks)
    producer.close()
    producer.close()
    assert rows.finished == 1
    assert [producer.more(), producer.more()] == [b"", b""]


def test_every_producer_has_nothing_more_after_close(make: Make) -> None:
    producer = make(iter([b"ping"] * 3))
    assert producer.more()
    producer.close()
    assert [producer.more(), producer.more()] == [b"", b""]


def test_every_producer_that_has_failed_stays_failed_until_closed(make: Make) -> None:
    rows = Rows(b"ping", error=KeyError("row"))
    producer = make(rows.chunks)
    with pytest.raises(KeyError, match="row"):
        list(producer)
    assert rows.finished == 1
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"failed before, with KeyError\('row'\)"):
            producer.more()
    producer.close()
    assert producer.more() == b""


@pytest.mark.parametrize("name", sorted(EVERY.keys() - {"file", "lines"}))
def test_a_producer_goes_on_after_an_empty_chunk(name: str) -> None:
    with_gap, without = (EVERY[name](iter(chunks)) for chunks in ([b"a", b"", b"b"], [b"a", b"b"]))
    assert b"".join(with_gap) == b"".join(without)


def test_every_producer_can_be_closed_from_inside_its_source(make: Make) -> None:
    def rows() -> Iterator[bytes]:
        try:
            yield b"ping"
            producer.close()
            assert not finished  # It waits for this generator to be at rest.
            yield b"pong"
        finally:
            finished.append(True)

    finished: list[bool] = []
    producer = make(rows())
    list(producer)
    assert finished == [True]
    assert producer.more() == b""


def test_an_error_after_a_close_from_inside_is_raised_once() -> None:
    def rows() -> Iterator[bytes]:
        producer.close()
        raise KeyError("row")
        yield b""

    producer = IterableProducer(rows())
    with pytest.raises(KeyError):
        producer.more()
    assert producer.more() == b""


def test_every_producer_frees_its_source_when_closed(make: Make) -> None:
    def rows() -> Iterator[bytes]:
        yield b"ping"
        yield b"pong"

    source = rows()
    dead = weakref.ref(source)
    producer = make(source)
    producer.more()
    del source
    gc.disable()
    try:
        producer.close()
        del producer
        assert dead() is None
    finally:
        gc.enable()


def test_a_failing_close_at_the_end_is_raised_once_and_not_repeated() -> None:
    class Sticky(GeneratedProducer):
        def _chunks(self) -> Iterator[bytes]:
            yield b"ping"

        def _release(self) -> None:
            raise OSError("disk full")

    producer = Sticky()
    assert producer.more() == b"ping"
    with pytest.raises(OSError, match="disk full"):
        producer.more()
    producer.close()
    assert producer.more() == b""


def test_a_subclass_that_holds_nothing_has_nothing_to_release() -> None:
    class Ping(GeneratedProducer):
        def _chunks(self) -> Iterator[bytes]:
            yield from [b"", b"ping", b""]

    assert list(Ping()) == [b"ping"]


def test_a_producer_needs_more() -> None:
    class Silent(Producer):
        pass

    with pytest.raises(TypeError, match="more"):
        Silent()  # type: ignore[abstract]  # That is the question.


def test_a_producer_of_ones_own_needs_nothing_but_more() -> None:
    class Ping(Producer):
        chunks = (b"ping", b"pong")

        def more(self) -> bytes:
            chunk, self.chunks = (self.chunks or (b"",))[0], self.chunks[1:]  # type: ignore[assignment]
            return chunk

    producer = Ping()
    producer.close()
    producer.close()
    assert list(producer) == [b"ping", b"pong"]


def test_bytes_are_not_copied() -> None:
    data = b"ping" * 1000
    assert snapshot(data, "a chunk") is data


@pytest.mark.parametrize("make_data", [bytearray, memoryview, lambda data: array("B", data)])
def test_a_snapshot_does_not_follow_later_changes(make_data: Callable[[bytearray], bytearray]) -> None:
    data = make_data(bytearray(b"ping"))
    copy = snapshot(data, "a chunk")
    data[0] = 0
    assert copy == b"ping"


def test_a_snapshot_leaves_the_original_free_to_grow() -> None:
    data = bytearray(b"ping")
    assert is_bytes_like(data)
    snapshot(data, "a chunk")
    data += b"pong"  # BufferError if a view of it were left.


def test_a_snapshot_of_a_strided_view_has_its_items_in_order() -> None:
    assert snapshot(memoryview(b"p.i.n.g.")[::2], "a chunk") == b"ping"


@pytest.mark.parametrize("data", ["ping", 4, None, [1], PlainProducer()])
def test_what_has_no_bytes_is_refused(data: object) -> None:
    with pytest.raises(TypeError, match=f"wanted a chunk to be bytes-like, found {type(data).__name__}"):
        snapshot(data, "a chunk")


def test_a_memory_map_is_bytes_like() -> None:
    with mmap.mmap(-1, 4) as memory:
        assert is_bytes_like(memory)


def test_chunks_of_a_plain_producer_end_at_its_first_empty_one() -> None:
    assert list(chunks_of(PlainProducer(b"one", b"two"))) == [b"one", b"two"]


def test_chunks_of_a_producer_that_reuses_its_buffer_stay_as_they_were() -> None:
    buffer = bytearray(b"one")
    chunks = chunks_of(ScriptedProducer(buffer, buffer))
    first = next(chunks)
    buffer[:] = b"two"
    assert [first, *chunks] == [b"one", b"two"]


def test_a_producer_that_returns_text_is_named() -> None:
    class Texts:
        def more(self) -> str:
            return "ping"

    with pytest.raises(TypeError, match=r"what Texts.more\(\) returned to be bytes-like, found str"):
        next(chunks_of(Texts()))  # type: ignore[arg-type]  # That is the question.


def test_only_producers_that_say_so_are_closed() -> None:
    plain, ours = PlainProducer(), ScriptedProducer()
    close_producer(plain)
    close_producer(ours)
    assert (plain.closings, ours.closings) == (0, 1)


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_what_is_no_int_is_no_number(value: object) -> None:
    with pytest.raises(TypeError, match=f"wanted an int as size, found {type(value).__name__}"):
        require_integer("size", value, least=0)


def test_a_number_may_be_the_least_and_no_less() -> None:
    require_integer("size", 1, least=1)
    with pytest.raises(ValueError, match="wanted 1 or more as size, found 0"):
        require_integer("size", 0, least=1)
