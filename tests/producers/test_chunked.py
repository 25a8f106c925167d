from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.producers import ChunkedProducer
from antiphon.producers.chunked import COPIED_SIZE, FORBIDDEN, encode_fields
from producers.fakes import ScriptedProducer, decoded


@given(st.lists(st.binary(max_size=300)))
def test_a_client_reads_the_body(chunks: list[bytes]) -> None:
    assert decoded(b"".join(ChunkedProducer(chunks))) == b"".join(chunks)


@pytest.mark.parametrize("size", [1, 15, 16, COPIED_SIZE, COPIED_SIZE + 1, 1 << 20])
@pytest.mark.parametrize("before", [[], [b"x" * 10], [b"x" * (COPIED_SIZE + 1)]])
def test_a_client_reads_chunks_of_every_size(size: int, before: list[bytes]) -> None:
    chunks = [*before, b"y" * size, b"z"]
    assert decoded(b"".join(ChunkedProducer(chunks))) == b"".join(chunks)


def test_an_empty_body_is_the_last_chunk_alone() -> None:
    assert list(ChunkedProducer([b"", b""])) == [b"0\r\n\r\n"]


def test_a_small_chunk_leaves_in_one_piece() -> None:
    assert list(ChunkedProducer([b"x" * 26])) == [b"1a\r\n" + b"x" * 26 + b"\r\n", b"0\r\n\r\n"]


def test_a_huge_chunk_is_not_copied() -> None:
    chunk = bytes(1 << 26)
    pieces = list(ChunkedProducer([chunk]))
    assert [len(piece) for piece in pieces] == [9, 1 << 26, 7]
    assert pieces[1] is chunk


def test_trailers_follow_the_last_chunk() -> None:
    wire = b"".join(ChunkedProducer(b"ping", [("Checksum", "1234"), ("X-Empty", ""), ("X", "a\tb \xe9")]))
    assert wire.endswith(b"0\r\nChecksum: 1234\r\nX-Empty: \r\nX: a\tb \xe9\r\n\r\n")
    assert decoded(wire) == b"ping"


def test_trailers_can_be_a_checksum_of_the_body() -> None:
    seen: list[bytes] = []

    def body() -> Iterator[bytes]:
        for chunk in (b"ping", b"pong"):
            seen.append(chunk)
            yield chunk

    producer = ChunkedProducer(body(), lambda: [("Length", str(len(b"".join(seen))))])
    assert b"".join(producer).endswith(b"\r\n0\r\nLength: 8\r\n\r\n")


def test_a_failing_source_leaves_the_body_without_an_end() -> None:
    source = ScriptedProducer(b"ping", KeyError("row"))
    producer = ChunkedProducer(source)
    assert producer.more() == b"4\r\nping\r\n"
    with pytest.raises(KeyError):
        producer.more()
    with pytest.raises(RuntimeError):
        producer.more()
    assert source.closings == 1


BAD_TRAILERS: list[tuple[object, type[Exception], str]] = [
    ([("X\r\nY", "1")], ValueError, "wanted a field name"),
    ([("X Y", "1")], ValueError, "wanted a field name"),
    ([("X:", "1")], ValueError, "wanted a field name"),
    ([("X\n", "1")], ValueError, "wanted a field name"),
    ([("", "1")], ValueError, "wanted a field name"),
    ([("X", "1\r\nY: 2")], ValueError, "wanted a field value"),
    ([("X", "1\n")], ValueError, "wanted a field value"),
    ([("X", "a\0b")], ValueError, "wanted a field value"),
    ([("X", " 1")], ValueError, "wanted a field value"),
    ([("X", "1 ")], ValueError, "wanted a field value"),
    ([("X", "\u20ac")], ValueError, "wanted a field value"),
    ([("X", "a\x7f")], ValueError, "wanted a field value"),
    ([("X", 1)], TypeError, r"wanted a \(name, value\) pair of str"),
    ([(b"X", b"1")], TypeError, r"wanted a \(name, value\) pair of str"),
    (["XY"], TypeError, r"wanted a \(name, value\) pair of str"),
    ({"XY": "1"}, TypeError, r"wanted a \(name, value\) pair of str"),
    ([("X", "1", "2")], TypeError, r"wanted a \(name, value\) pair of str"),
    (4, TypeError, r"wanted \(name, value\) pairs"),
]


@pytest.mark.parametrize(("trailers", "error", "message"), BAD_TRAILERS)
def test_a_trailer_that_is_no_field_is_refused_at_the_call(
    trailers: list[tuple[str, str]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ChunkedProducer(b"", trailers)


@pytest.mark.parametrize(("trailers", "error", "message"), BAD_TRAILERS)
def test_a_trailer_that_turns_out_to_be_no_field_is_not_sent(
    trailers: list[tuple[str, str]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ChunkedProducer(b"", lambda: trailers).more()


@pytest.mark.parametrize("change", [str.lower, str.title, str.upper])
@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_a_field_that_must_precede_the_body_is_refused(name: str, change: Callable[[str], str]) -> None:
    with pytest.raises(ValueError, match=rf"section 6.5.1\), found {change(name)}"):
        encode_fields([(change(name), "1")])


def test_what_may_not_stand_after_a_body_includes_how_it_is_cut_and_whose_it_is() -> None:
    assert {
        "transfer-encoding",
        "content-length",
        "host",
        "authorization",
        "set-cookie",
        "trailer",
    } <= FORBIDDEN
