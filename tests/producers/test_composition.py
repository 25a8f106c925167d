import doctest
import importlib
import io
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from antiphon.producers import (
    ChainedProducer,
    ChunkedProducer,
    CompressedProducer,
    FileProducer,
    IterableProducer,
    Source,
    SupportsMore,
    TransformedProducer,
)
from producers.fakes import PlainProducer, ScriptedProducer, decoded


class Layer(NamedTuple):
    """A producer to put around another, and what undoes it."""

    apply: Callable[[Source], SupportsMore]
    undo: Callable[[bytes], bytes]


def aes_ctr() -> Cipher[modes.CTR]:
    return Cipher(algorithms.AES(b"k" * 16), modes.CTR(b"n" * 16))


def inflated(data: bytes) -> bytes:
    return zlib.decompress(data, -15)


def mutable_halves(source: Source) -> SupportsMore:
    """A transformation in mutable chunks, some of them empty."""

    def transform(chunk: bytes) -> bytearray:
        held.append(chunk)
        return bytearray(held.pop(0) if len(held) % 2 else b"")

    held: list[bytes] = []
    return TransformedProducer(source, transform, lambda: b"".join(held))


LAYERS = {
    "gzip": Layer(CompressedProducer, lambda data: zlib.decompress(data, 31)),
    "deflate": Layer(lambda source: CompressedProducer(source, "deflate", flush=True), zlib.decompress),
    "raw": Layer(lambda source: CompressedProducer(source, "raw", level=0), inflated),
    "aes": Layer(
        lambda source: TransformedProducer(source, aes_ctr().encryptor().update),
        lambda data: aes_ctr().decryptor().update(data),
    ),
    "chunked": Layer(ChunkedProducer, decoded),
    "chained": Layer(lambda source: ChainedProducer(b"head", source, b"tail"), lambda data: data[4:-4]),
    "held back": Layer(mutable_halves, bytes),
}

SOURCES: dict[str, Callable[[list[bytes]], Source]] = {
    "list": list,
    "generator": lambda chunks: (chunk for chunk in chunks),
    "bytes": b"".join,
    "bytearray": lambda chunks: bytearray().join(chunks),
    "memoryview": lambda chunks: memoryview(b"".join(chunks)),
    "file": lambda chunks: io.BytesIO(b"".join(chunks)),
    "small reads": lambda chunks: FileProducer(io.BytesIO(b"".join(chunks)), size=3),
    "plain producer": lambda chunks: PlainProducer(*filter(None, chunks)),
    "chain": lambda chunks: ChainedProducer(*chunks),
}


@given(
    st.lists(st.binary(max_size=40)),
    st.sampled_from(list(SOURCES.values())),
    st.lists(st.sampled_from(list(LAYERS.values())), max_size=4),
)
def test_whatever_was_put_around_it_can_be_undone_in_reverse(
    chunks: list[bytes], make_source: Callable[[list[bytes]], Source], layers: list[Layer]
) -> None:
    source = make_source(chunks)
    for layer in layers:
        source = layer.apply(source)
    data = b"".join(ChainedProducer(source))
    for layer in reversed(layers):
        data = layer.undo(data)
    assert data == b"".join(chunks)


@given(st.lists(st.sampled_from(list(LAYERS.values())), min_size=1, max_size=5), st.integers(0, 6))
def test_whatever_was_put_around_it_is_closed_through_all_layers(layers: list[Layer], asked: int) -> None:
    innermost = ScriptedProducer(b"ping" * 100, b"pong" * 100, b"last")
    source: Source = innermost
    for layer in layers:
        source = layer.apply(source)
    producer = ChainedProducer(source)
    for _ in range(asked):
        producer.more()
    producer.close()
    producer.close()
    assert innermost.closings == 1
    assert producer.more() == b""


@given(st.lists(st.sampled_from(list(LAYERS.values())), min_size=1, max_size=5))
def test_an_error_passes_through_all_layers_and_closes_them(layers: list[Layer]) -> None:
    innermost = ScriptedProducer(b"ping", KeyError("row"))
    source: Source = innermost
    for layer in layers:
        source = layer.apply(source)
    producer = ChainedProducer(source)
    with pytest.raises(KeyError, match="row"):
        list(producer)
    assert innermost.closings == 1


def test_an_endless_source_is_asked_for_no_more_than_is_sent() -> None:
    def rows() -> Iterator[bytes]:
        while True:
            asked.append(True)
            yield b"row"

    asked: list[bool] = []
    producer = ChunkedProducer(TransformedProducer(IterableProducer(rows()), bytes.upper))
    assert [producer.more() for _ in range(3)] == [b"3\r\nROW\r\n"] * 3
    assert len(asked) == 3
    producer.close()


@pytest.mark.parametrize("name", ["base", "sources", "lines", "filters", "chunked"])
def test_the_examples_in_the_documentation_are_right(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"antiphon.producers.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
