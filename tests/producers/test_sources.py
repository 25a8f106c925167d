import io
import os
import tempfile
import weakref
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.producers import FileProducer, IterableProducer, as_producer
from antiphon.producers.base import chunks_of
from antiphon.producers.sources import iterator_of
from producers.fakes import PlainProducer, ScriptedProducer, WatchedFile


@given(data=st.binary(max_size=200), size=st.integers(1, 64), offset=st.integers(0, 220))
def test_a_file_is_produced_from_the_offset_to_its_end(data: bytes, size: int, offset: int) -> None:
    chunks = list(FileProducer(io.BytesIO(data), size=size, offset=offset))
    assert b"".join(chunks) == data[offset:]
    assert all(len(chunk) <= size for chunk in chunks)


@given(
    data=st.binary(max_size=200), size=st.integers(1, 64), bounds=st.tuples(st.integers(0), st.integers(0))
)
def test_a_range_is_produced_exactly(data: bytes, size: int, bounds: tuple[int, int]) -> None:
    start, stop = sorted(bound % (len(data) + 1) for bound in bounds)
    file = WatchedFile(data)
    assert b"".join(FileProducer(file, size=size, offset=start, count=stop - start)) == data[start:stop]
    assert sum(asked or 0 for asked in file.sizes) == stop - start


def test_a_file_is_read_from_where_it_stands() -> None:
    file = io.BytesIO(b"ping pong")
    file.seek(5)
    assert b"".join(FileProducer(file)) == b"pong"


def test_a_pipe_can_be_produced_without_an_offset() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"ping")
    os.close(writing)
    assert b"".join(FileProducer(os.fdopen(reading, "rb", buffering=0), count=4)) == b"ping"


def test_a_pipe_has_no_offset() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as file, pytest.raises(io.UnsupportedOperation, match="seek"):
        FileProducer(file, offset=1)


def test_a_file_that_ends_early_is_an_error() -> None:
    file = WatchedFile(b"ping")
    producer = FileProducer(file, count=10)
    assert producer.more() == b"ping"
    with pytest.raises(EOFError, match="the 10 bytes of the file that were promised, found its end 6 bytes"):
        producer.more()
    assert file.closings == 1


def test_what_the_file_grew_beyond_the_count_is_not_sent() -> None:
    file = io.BytesIO(b"ping")
    producer = FileProducer(file, offset=0, count=4, size=2)
    assert producer.more() == b"pi"
    file.seek(4)
    file.write(b"pong")
    assert b"".join(producer) == b"ng"


def test_producers_can_share_a_file() -> None:
    with io.BytesIO(b"ping pong") as file:
        first = FileProducer(file, offset=5, count=4, size=1, close_file=False)
        second = FileProducer(file, offset=0, count=4, size=1, close_file=False)
        assert b"".join(a + b for a, b in zip(first, second, strict=True)) == b"ppoinngg"
        assert not file.closed


def test_a_file_says_where_it_is() -> None:
    file = io.BytesIO(b"ping pong")
    producer = FileProducer(file, offset=2, count=5, size=3)
    assert (producer.file, producer.offset, producer.remaining) == (file, 2, 5)
    producer.more()
    assert (producer.offset, producer.remaining) == (5, 2)
    producer.close()


def test_a_file_without_limits_has_none_to_say() -> None:
    producer = FileProducer(io.BytesIO(b"ping"))
    producer.more()
    assert (producer.offset, producer.remaining) == (None, None)


def test_a_file_is_closed_at_its_end_and_only_once() -> None:
    file = WatchedFile(b"ping")
    producer = FileProducer(file)
    assert list(producer) == [b"ping"]
    producer.close()
    assert file.closings == 1


def test_a_file_that_is_not_to_be_closed_stays_open() -> None:
    with io.BytesIO(b"ping") as file:
        producer = FileProducer(file, close_file=False)
        assert list(producer) == [b"ping"]
        producer.close()
        assert not file.closed


def test_an_empty_range_reads_nothing() -> None:
    file = WatchedFile(b"ping")
    assert FileProducer(file, count=0).more() == b""
    assert file.sizes == [0]


def test_a_file_that_delivers_more_than_asked_for_is_an_error() -> None:
    class Generous(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return b"ping" if size else b""

    with pytest.raises(ValueError, match=r"wanted 3 bytes from file.read\(\) at most, found 4"):
        FileProducer(Generous(), count=3).more()


def test_a_file_that_would_block_is_an_error() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)  # type: ignore[attr-defined,unused-ignore] # POSIX
    producer = FileProducer(os.fdopen(reading, "rb", buffering=0))
    with pytest.raises(TypeError, match=r"what file.read\(\) returned to be bytes-like, found NoneType"):
        producer.more()
    os.close(writing)


def test_a_text_file_is_refused_at_the_call() -> None:
    with pytest.raises(TypeError, match="wanted a binary file, found one that reads str"):
        FileProducer(io.StringIO("ping"))  # type: ignore[arg-type]  # That is the question.


@pytest.mark.parametrize("file", [b"ping", "index.html", 3, io.BytesIO])
def test_what_is_no_file_is_refused_at_the_call(file: io.BytesIO) -> None:
    with pytest.raises(TypeError, match=f"wanted a binary file, found {type(file).__name__}"):
        FileProducer(file)


def test_a_closed_file_is_refused_at_the_call() -> None:
    file = io.BytesIO()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        FileProducer(file)


def test_a_file_for_writing_is_refused_at_the_call(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file, pytest.raises(io.UnsupportedOperation, match="read"):
        FileProducer(file)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"size": 0}, "wanted 1 or more as size, found 0"),
        ({"offset": -1}, "wanted 0 or more as offset, found -1"),
        ({"count": -1}, "wanted 0 or more as count, found -1"),
        ({"count": True}, "wanted an int as count, found bool"),
        ({"offset": "0"}, "wanted an int as offset, found str"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_at_the_call(limits: dict[str, int], message: str) -> None:
    file = io.BytesIO(b"ping")
    with pytest.raises((TypeError, ValueError), match=message):
        FileProducer(file, **limits)  # type: ignore[arg-type]  # mypy can't tell which limits they are.
    assert not file.closed


@given(st.lists(st.binary(max_size=4)))
def test_the_chunks_of_an_iterable_arrive_as_they_are_but_for_empty_ones(chunks: list[bytes]) -> None:
    assert list(IterableProducer(chunks)) == [chunk for chunk in chunks if chunk]


def test_a_huge_chunk_is_not_copied() -> None:
    chunk = bytes(1 << 26)
    assert IterableProducer([chunk]).more() is chunk
    assert as_producer(chunk).more() is chunk


def test_a_reused_buffer_does_not_change_what_was_produced() -> None:
    def rows() -> Iterator[bytearray]:
        buffer = bytearray(1)
        for number in range(3):
            buffer[0] = number
            yield buffer

    assert list(IterableProducer(rows())) == [b"\0", b"\1", b"\2"]


@pytest.mark.parametrize("chunk", ["ping", 4, None])
def test_a_chunk_without_bytes_is_an_error(chunk: bytes) -> None:
    producer = IterableProducer([b"ping", chunk])
    assert producer.more() == b"ping"
    with pytest.raises(TypeError, match=f"wanted a chunk to be bytes-like, found {type(chunk).__name__}"):
        producer.more()


@pytest.mark.parametrize("iterable", ["ping", b"ping", bytearray(b"ping"), 4, None])
def test_what_has_no_chunks_is_refused_at_the_call(iterable: list[bytes]) -> None:
    with pytest.raises(TypeError, match=f"wanted an iterable of chunks, found {type(iterable).__name__}"):
        IterableProducer(iterable)


def test_a_generator_that_was_never_asked_is_closed_without_running() -> None:
    def rows() -> Iterator[bytes]:
        raise AssertionError("ran")
        yield b""

    generator = rows()
    IterableProducer(generator).close()
    assert list(generator) == []


def test_a_closed_producer_does_not_keep_what_it_was_made_from() -> None:
    class Rows(list[bytes]):
        pass

    rows = Rows([b"ping", b"pong"])
    dead = weakref.ref(rows)
    producer = IterableProducer(rows)
    del rows
    producer.close()
    assert dead() is None


def test_a_producer_stands_for_itself_even_if_it_is_false() -> None:
    for producer in (PlainProducer(b"ping"), ScriptedProducer(b"ping")):
        assert as_producer(producer) is producer


@pytest.mark.parametrize("data", [b"ping", bytearray(b"ping"), memoryview(b"ping"), array("B", b"ping")])
def test_data_are_produced_whole(data: bytes) -> None:
    assert list(chunks_of(as_producer(data))) == [b"ping"]


def test_data_are_taken_as_they_are_at_the_call() -> None:
    data = bytearray(b"ping")
    producer = as_producer(data)
    data[:] = b"pong!"
    assert producer.more() == b"ping"


def test_no_data_are_no_chunk() -> None:
    assert as_producer(b"").more() == b""


def test_a_file_is_produced_and_closed() -> None:
    file = WatchedFile(b"ping")
    assert list(chunks_of(as_producer(file))) == [b"ping"]
    assert file.closings == 1


def test_a_temporary_file_which_only_delegates_is_a_file() -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"ping")
        file.seek(0)
        producer = as_producer(file)
        assert isinstance(producer, FileProducer)
        assert producer.more() == b"ping"


def test_an_iterable_is_produced_by_its_chunks() -> None:
    assert list(chunks_of(as_producer(iter([b"ping", b"pong"])))) == [b"ping", b"pong"]


@pytest.mark.parametrize("source", ["ping", 4, None, Path("file"), PlainProducer, io.BytesIO])
def test_what_stands_for_no_producer_is_refused_at_the_call(source: bytes) -> None:
    with pytest.raises(TypeError, match=f"wanted a producer, .* found {type(source).__name__}"):
        as_producer(source)


def test_text_in_a_file_is_refused_at_the_call() -> None:
    with pytest.raises(TypeError, match="found one that reads str"):
        as_producer(io.StringIO("ping"))  # type: ignore[arg-type]  # That is the question.


def test_an_iterable_is_iterated_over() -> None:
    assert list(iterator_of((1, 2), "numbers")) == [1, 2]
