import gzip
import random
import zlib
from collections.abc import Callable
from typing import cast

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from antiphon.producers import ChainedProducer, CompressedProducer, TransformedProducer
from antiphon.producers.filters import COMPRESSION_STEP, WINDOW_BITS, Coding
from producers.fakes import PlainProducer, ScriptedProducer, WatchedFile

CHUNKS = st.lists(st.binary(max_size=50))
CODINGS = st.sampled_from(cast(list[Coding], list(WINDOW_BITS)))


def aes_ctr() -> Cipher[modes.CTR]:
    return Cipher(algorithms.AES(b"k" * 32), modes.CTR(b"n" * 16))


@given(st.lists(CHUNKS))
def test_a_chain_is_its_sources_in_order(sources: list[list[bytes]]) -> None:
    assert list(ChainedProducer(*sources)) == [chunk for source in sources for chunk in source if chunk]


def test_a_chain_takes_every_kind_of_source() -> None:
    chain = ChainedProducer(b"a", bytearray(b"b"), WatchedFile(b"c"), PlainProducer(b"d"), iter([b"e"]), ())
    assert b"".join(chain) == b"abcde"


def test_a_chain_of_nothing_is_nothing() -> None:
    assert ChainedProducer().more() == b""


def test_each_of_a_chain_is_closed_as_soon_as_it_is_exhausted() -> None:
    first, second = ScriptedProducer(b"one"), ScriptedProducer(b"two")
    chain = ChainedProducer(first, second)
    chain.more()
    assert (first.closings, second.closings) == (0, 0)
    chain.more()
    assert (first.closings, second.closings) == (1, 0)
    chain.more()
    chain.close()
    assert (first.closings, second.closings) == (1, 1)


def test_a_chain_that_fails_closes_the_rest_once() -> None:
    links = [ScriptedProducer(b"one"), ScriptedProducer(KeyError("two")), ScriptedProducer(b"three")]
    chain = ChainedProducer(*links)
    chain.more()
    with pytest.raises(KeyError, match="two"):
        chain.more()
    chain.close()
    assert [link.closings for link in links] == [1, 1, 1]


def test_a_chain_closes_the_rest_though_one_fails_to_close() -> None:
    links = [ScriptedProducer(close_error=OSError(name)) for name in ("first", "second")]
    links += [ScriptedProducer()]
    chain = ChainedProducer(*links)
    with pytest.raises(OSError, match="second") as caught:
        chain.close()
    assert str(caught.value.__context__) == "first"
    chain.close()
    assert [link.closings for link in links] == [1, 1, 1]


def test_a_link_that_fails_to_close_at_its_end_is_closed_once() -> None:
    links = [ScriptedProducer(close_error=OSError("disk")), ScriptedProducer(b"two")]
    chain = ChainedProducer(*links)
    with pytest.raises(OSError, match="disk"):
        chain.more()
    assert [link.closings for link in links] == [1, 1]


def test_a_chain_refuses_text_at_the_call() -> None:
    with pytest.raises(TypeError, match="found str"):
        ChainedProducer(b"ping", "pong")  # type: ignore[arg-type]  # That is the question.


@given(CHUNKS, CODINGS, st.integers(-1, 9), st.booleans())
def test_what_was_compressed_can_be_decompressed(
    chunks: list[bytes], coding: Coding, level: int, flush: bool
) -> None:
    compressed = b"".join(CompressedProducer(chunks, coding, level=level, flush=flush))
    decompressor = zlib.decompressobj(WINDOW_BITS[coding])
    assert decompressor.decompress(compressed) == b"".join(chunks)
    assert decompressor.eof
    assert decompressor.unused_data == b""


def test_the_default_is_what_gzip_reads() -> None:
    assert gzip.decompress(b"".join(CompressedProducer([b"ping"] * 1000))) == b"ping" * 1000


def test_a_flushed_chunk_can_be_read_before_the_next_one() -> None:
    decompressor = zlib.decompressobj(WINDOW_BITS["deflate"])
    producer = CompressedProducer([b"ping", b"pong"], "deflate", flush=True)
    heard = b""
    while not heard.endswith(b"ping"):
        heard += decompressor.decompress(producer.more())
    assert heard == b"ping"


def test_a_huge_chunk_is_compressed_bit_by_bit() -> None:
    noise = random.Random(0).randbytes(8 * COMPRESSION_STEP)
    producer = CompressedProducer([noise])
    first = producer.more()
    assert 0 < len(first) < 2 * COMPRESSION_STEP
    assert gzip.decompress(first + b"".join(producer)) == noise


def test_a_compressing_producer_closes_its_source_once() -> None:
    source = ScriptedProducer(b"ping")
    producer = CompressedProducer(source)
    assert b"".join(producer)
    producer.close()
    assert source.closings == 1


def test_an_unknown_coding_is_refused_at_the_call() -> None:
    with pytest.raises(ValueError, match="wanted one of gzip, deflate, raw as coding, found 'br'"):
        CompressedProducer(b"", "br")  # type: ignore[arg-type]  # That is the question.


@pytest.mark.parametrize(
    ("level", "message"),
    [
        (10, "wanted 9 or less as level, found 10"),
        (-2, "wanted -1 or more as level, found -2"),
        ("9", "wanted an int as level, found str"),
    ],
)
def test_an_unknown_level_is_refused_at_the_call(level: int, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        CompressedProducer(b"", level=level)


@given(CHUNKS)
def test_what_was_encrypted_can_be_decrypted(chunks: list[bytes]) -> None:
    encryptor, decryptor = aes_ctr().encryptor(), aes_ctr().decryptor()
    encrypted = b"".join(TransformedProducer(chunks, encryptor.update, encryptor.finalize))
    assert decryptor.update(encrypted) + decryptor.finalize() == b"".join(chunks)


def test_what_was_encrypted_is_not_what_it_was() -> None:
    encrypted = b"".join(TransformedProducer(b"ping pong", aes_ctr().encryptor().update))
    assert len(encrypted) == 9
    assert encrypted != b"ping pong"


def test_a_transformation_may_hold_back_what_it_likes() -> None:
    held: list[bytes] = []

    def hold(chunk: bytes) -> bytes:
        held.append(chunk)
        return b""

    assert list(TransformedProducer([b"ping", b"pong"], hold, lambda: b"".join(held))) == [b"pingpong"]


def test_a_transformation_may_reuse_its_buffer() -> None:
    buffer = bytearray()

    def fill(chunk: bytes) -> bytearray:
        buffer[:] = chunk
        return buffer

    assert list(TransformedProducer([b"ping", b"pong"], fill, lambda: buffer)) == [b"ping", b"pong", b"pong"]


def test_a_transformation_is_finished_once_even_of_nothing() -> None:
    calls: list[bytes] = []

    def finish() -> bytes:
        calls.append(b"")
        return b"end"

    producer = TransformedProducer([], bytes.upper, finish)
    assert [producer.more(), producer.more(), producer.more()] == [b"end", b"", b""]
    assert len(calls) == 1


def test_a_transformation_that_was_broken_off_is_not_finished() -> None:
    def finish() -> bytes:
        raise AssertionError("finished")

    producer = TransformedProducer([b"ping", b"pong"], bytes.upper, finish)
    producer.more()
    producer.close()
    assert producer.more() == b""


@pytest.mark.parametrize(
    ("transform", "finish", "message"),
    [
        (bytes.decode, None, r"what transform\(\) returned to be bytes-like, found str"),
        (bytes.upper, str, r"what finish\(\) returned to be bytes-like, found str"),
    ],
)
def test_a_transformation_into_text_is_an_error(
    transform: Callable[[bytes], bytes], finish: Callable[[], bytes] | None, message: str
) -> None:
    source = ScriptedProducer(b"ping")
    with pytest.raises(TypeError, match=message):
        list(TransformedProducer(source, transform, finish))
    assert source.closings == 1


def test_what_can_not_be_called_is_refused_at_the_call() -> None:
    with pytest.raises(TypeError, match="wanted a function as transform, found bytes"):
        TransformedProducer(b"", b"key")  # type: ignore[arg-type]  # That is the question.
    with pytest.raises(TypeError, match="wanted a function or None as finish, found int"):
        TransformedProducer(b"", bytes.upper, 0)  # type: ignore[arg-type]  # That is the question.


def test_a_callback_may_close_its_own_producer() -> None:
    def close(chunk: bytes) -> bytes:
        producer.close()
        assert source.closings == 0
        return chunk

    source = ScriptedProducer(b"ping")
    producer = TransformedProducer(source, close)
    assert producer.more() == b""
    assert source.closings == 1
