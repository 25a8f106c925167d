"""Against models that try everything; and the work is counted, since nobody sees it otherwise."""

import itertools
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.framing import Resumed, prefix_at_end, resume

#: Two letters, so that delimiters begin without ending, overlap, and repeat themselves.
text = st.lists(st.sampled_from([b"a", b"b"]), max_size=60).map(b"".join)
short = st.lists(st.sampled_from([b"a", b"b"]), min_size=1, max_size=8).map(b"".join)
long = st.builds(lambda unit, times, end: unit * times + end, short, st.integers(3, 9), short)
delimiters = st.one_of(short, long)


def longest_prefix(data: bytes, delimiter: bytes) -> int:
    """The same question, answered by trying."""
    return max(size for size in range(len(delimiter)) if data.endswith(delimiter[:size]))


def resumed(delimiter: bytes, held: int, data: bytes) -> Resumed:
    """What goes on with a delimiter that began before `data`, found by looking at each start in turn."""
    everything = delimiter[:held] + data
    for start in range(held):
        rest = everything[start:]
        if rest.startswith(delimiter):
            return Resumed(start, start + len(delimiter) - held, 0)
        if delimiter.startswith(rest):
            return Resumed(start, 0, len(rest))
    return Resumed(held, 0, 0)


def calls_in(function: Callable[[], object]) -> int:
    """How many calls, of Python and of C functions, `function` makes."""
    calls = itertools.count()

    def count(frame: Any, event: str, argument: Any) -> None:
        if event in {"call", "c_call"}:
            next(calls)

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return next(calls)


@given(text, delimiters)
def test_the_prefix_at_the_end_is_the_longest_that_there_is(data: bytes, delimiter: bytes) -> None:
    assert prefix_at_end(data, delimiter) == longest_prefix(data, delimiter)


@given(st.integers(0, 40), delimiters)
def test_a_prefix_at_the_end_is_found_behind_anything(size: int, delimiter: bytes) -> None:
    data = b"bab" + delimiter[: min(size, len(delimiter) - 1)]
    assert prefix_at_end(data, delimiter) == longest_prefix(data, delimiter)


@given(text, delimiters)
def test_text_is_treated_as_bytes_are(data: bytes, delimiter: bytes) -> None:
    assert prefix_at_end(data.decode(), delimiter.decode()) == prefix_at_end(data, delimiter)


@pytest.mark.parametrize(
    ("data", "delimiter", "size"),
    [
        (b"qwerty\r", b"\r\n", 1),
        (b"qwertydkjf", b"\r\n", 0),
        (b"", b"\r\n", 0),
        (b"data", b"", 0),
        (b"\n", b"\n", 0),
        (b"\r\n", b"\r\n", 0),
        (b"\r\n\r", b"\r\n\r\n", 3),
        (b"x" * 99 + b"ab" * 20, b"ab" * 20 + b"c", 40),
        (b"x" * 99, b"ab" * 20 + b"c", 0),
        (b"ab" * 20 + b"x", b"ab" * 20 + b"c", 0),
    ],
)
def test_a_prefix_at_the_end_never_is_the_whole_delimiter(data: bytes, delimiter: bytes, size: int) -> None:
    assert prefix_at_end(data, delimiter) == size


@given(delimiters.filter(lambda delimiter: len(delimiter) > 1), st.data(), text.filter(bool))
def test_a_delimiter_that_has_begun_goes_on_as_if_it_had_never_been_cut(
    delimiter: bytes, draw: st.DataObject, data: bytes
) -> None:
    held = draw.draw(st.integers(1, len(delimiter) - 1))
    assert resume(delimiter, held, data) == resumed(delimiter, held, data)


@given(delimiters.filter(lambda delimiter: len(delimiter) > 1), st.data(), text)
def test_a_delimiter_that_has_begun_ends_with_its_rest(
    delimiter: bytes, draw: st.DataObject, following: bytes
) -> None:
    held = draw.draw(st.integers(1, len(delimiter) - 1))
    missing = delimiter[held:]
    assert resume(delimiter, held, missing + following) == Resumed(0, len(missing), 0)


#: A delimiter of 16 KiB whose every beginning recurs in it.
LONG = b"a" * (2**14 - 1) + b"b"


def test_the_work_for_a_long_delimiter_is_linear_in_what_is_looked_at() -> None:
    prefix_at_end(b"a" * 99, LONG)  # The table of the delimiter is made once.
    for size in (1000, 16000):
        assert calls_in(lambda size=size: prefix_at_end(b"a" * size, LONG)) < 3 * size + 30  # type: ignore[misc]


class Measured(bytes):
    """Bytes that add up how many of them are copied."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if isinstance(part, bytes):
            Measured.copied += len(part)
        return part


def test_no_more_of_a_long_delimiter_is_copied_than_there_is_data() -> None:
    Measured.copied = 0
    assert prefix_at_end(Measured(b"a" * 15_999 + b"b"), Measured(LONG)) == 0
    assert Measured.copied < 20_000


def test_dribbled_bytes_cost_the_same_each_however_much_is_held() -> None:
    held, worst = 1, 0
    for _ in range(len(LONG) - 2):
        calls = calls_in(lambda held=held: resume(LONG, held, b"a"))  # type: ignore[misc]
        worst = max(worst, calls)
        held = resume(LONG, held, b"a").held
    assert held == len(LONG) - 1
    assert worst < 12


def test_going_on_with_a_long_delimiter_copies_none_of_it() -> None:
    resume(LONG, 9, b"aa")
    tracemalloc.start()
    try:
        resume(LONG, 9, b"aa")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1024


def test_a_delimiter_that_nearly_ends_again_and_again_is_not_looked_at_again_and_again() -> None:
    resume(LONG, len(LONG) - 1, b"ac")
    calls = calls_in(lambda: [resume(LONG, len(LONG) - 1, b"a") for _ in range(1000)])
    assert calls < 12_000
