import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.producers import LinesProducer
from antiphon.producers.lines import CHUNK_SIZE

LINE = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=20)


@given(st.lists(LINE))
def test_the_peer_finds_the_lines_that_were_given(lines: list[str]) -> None:
    wire = b"".join(LinesProducer(lines, encoding="utf-8"))
    assert wire.split(b"\r\n") == [line.encode() for line in [*lines, ""]]


@given(st.lists(st.binary(max_size=6)), st.binary(min_size=1, max_size=3))
def test_the_peer_finds_the_lines_or_nobody_sends_them(lines: list[bytes], terminator: bytes) -> None:
    try:
        wire = b"".join(LinesProducer(lines, terminator))
    except ValueError:
        assert any(
            (line + terminator).index(terminator) < len(line) or {*line} & {*b"\r\n"} for line in lines
        )
    else:
        assert wire.split(terminator) == [*lines, b""]


def test_lines_leave_together() -> None:
    lines = [b"x" * 98] * 1000
    chunks = list(LinesProducer(lines))
    assert len(chunks) == -(-1000 * 100 // CHUNK_SIZE)
    assert all(CHUNK_SIZE <= len(chunk) < CHUNK_SIZE + 100 for chunk in chunks[:-1])


def test_lines_are_not_gathered_without_bound() -> None:
    def lines() -> Iterator[bytes]:
        for number in range(1 << 30):
            taken.append(number)
            yield b"x" * 1022

    taken: list[int] = []
    producer = LinesProducer(lines())
    producer.more()
    producer.close()
    assert len(taken) == CHUNK_SIZE // 1024


def test_empty_lines_are_lines() -> None:
    assert b"".join(LinesProducer([b"", "", b""], encoding="ascii")) == b"\r\n" * 3


def test_no_lines_are_nothing() -> None:
    assert LinesProducer([]).more() == b""


@pytest.mark.parametrize(
    ("line", "terminator"),
    [
        (b"MAIL\r\nRCPT", b"\r\n"),
        (b"MAIL\r\n", b"\r\n"),
        (b"MAIL\n.\n", b"\r\n"),
        (b"MAIL\r", b"\r\n"),
        (b"one\0two", b"\0"),
        (b"xab", b"abab"),
    ],
)
def test_no_line_smuggles_another_one_in(line: bytes, terminator: bytes) -> None:
    producer = LinesProducer([b"good", line], terminator)
    found = re.escape(repr(terminator))
    with pytest.raises(
        ValueError, match=rf"wanted one line as line 2, found \(part of\) the terminator {found}"
    ):
        producer.more()


def test_a_line_may_hold_the_newlines_of_others() -> None:
    assert LinesProducer([b"one\rtwo"], b"\n").more() == b"one\rtwo\n"


def test_text_needs_an_encoding() -> None:
    with pytest.raises(TypeError, match="wanted line 1 to be bytes-like, as there is no encoding, found str"):
        LinesProducer(["ping"]).more()


def test_a_line_is_text_or_bytes() -> None:
    with pytest.raises(TypeError, match="wanted line 2 to be bytes-like, found int"):
        LinesProducer([b"ping", 4], encoding="ascii").more()  # type: ignore[list-item]  # The question.


def test_what_can_not_be_encoded_is_an_error() -> None:
    with pytest.raises(UnicodeEncodeError):
        LinesProducer(["\xe9"], encoding="ascii").more()


@pytest.mark.parametrize("lines", ["ping", b"ping", 4])
def test_a_single_line_is_refused_at_the_call(lines: list[str]) -> None:
    with pytest.raises(TypeError, match=f"wanted an iterable of lines, found {type(lines).__name__}"):
        LinesProducer(lines)


def test_an_empty_terminator_is_refused_at_the_call() -> None:
    with pytest.raises(ValueError, match="wanted a terminator of 1 byte or more, found an empty one"):
        LinesProducer([], b"")


def test_a_terminator_of_text_is_refused_at_the_call() -> None:
    with pytest.raises(TypeError, match="wanted the terminator to be bytes-like, found str"):
        LinesProducer([], "\r\n")  # type: ignore[arg-type]  # That is the question.


def test_an_unknown_encoding_is_refused_at_the_call() -> None:
    with pytest.raises(LookupError, match="utf-9"):
        LinesProducer([], encoding="utf-9")
