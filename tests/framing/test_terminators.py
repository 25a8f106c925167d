"""Against a model that tries each place and each alternative; the errors; the work is counted."""

import doctest
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.framing import terminators
from antiphon.framing.terminators import Begun, End, as_terminator, kind_of

text = st.lists(st.sampled_from([b"a", b"b"]), max_size=40).map(b"".join)
word = st.lists(st.sampled_from([b"a", b"b"]), min_size=1, max_size=5).map(b"".join)
words = st.lists(word, min_size=1, max_size=4).map(tuple)


def earliest_end(data: bytes, alternatives: tuple[bytes, ...]) -> End | None:
    for stop in range(1, len(data) + 1):
        ending = [one for one in alternatives if data[:stop].endswith(one)]
        if ending:
            longest = max(ending, key=len)
            return End(stop - len(longest), stop, longest)
    return None


def test_the_examples_of_the_documentation_are_true() -> None:
    failures, examples = doctest.testmod(terminators)
    assert (failures, bool(examples)) == (0, True)


@pytest.mark.parametrize(
    ("data", "alternatives", "end"),
    [
        (b"abcd", (b"abcd", b"bc"), End(1, 3, b"bc")),
        (b"x\r\n", (b"\n", b"\r\n"), End(1, 3, b"\r\n")),
        (b"x\r\n", (b"\r\n", b"\r"), End(1, 2, b"\r")),
        (b"abcabd", (b"abd", b"cab", b"c"), End(2, 3, b"c")),
        (b"a.b", (b".",), End(1, 2, b".")),
        (b"axb", (b".", b"+"), None),
        (b"aaa", (b"aa", b"aa"), End(0, 2, b"aa")),
    ],
)
def test_the_earliest_end_wins_and_the_longest_that_ends_there(
    data: bytes, alternatives: tuple[bytes, ...], end: End | None
) -> None:
    assert kind_of(alternatives).search(data, 0, 0) == end
    assert earliest_end(data, alternatives) == end


@given(text, words)
def test_the_search_for_alternatives_finds_what_trying_each_place_finds(
    data: bytes, alternatives: tuple[bytes, ...]
) -> None:
    assert kind_of(alternatives).search(data, 0, 0) == earliest_end(data, alternatives)


@given(text, st.one_of(word, words, st.integers(0, 5), st.none()))
def test_a_split_is_one_search_after_the_other(data: bytes, term: Any) -> None:
    kind = kind_of(term)
    messages, ends, size = kind.split(data)
    position = 0
    for number, (message, ending) in enumerate(zip(messages, ends, strict=True), 1):
        end = kind.search(data, position, 0)
        assert end is not None
        assert (data[position : end.start], end.terminator) == (message, ending)
        position = end.stop
        assert kind.behind(data, 0, size, number) == position
    assert size == position
    assert not term or kind.search(data, position, 0) is None


@given(text, text, st.one_of(word, words))
def test_a_cut_anywhere_changes_no_end(before: bytes, after: bytes, term: Any) -> None:
    alternatives = (term,) if isinstance(term, bytes) else term
    kind = kind_of(term)
    if earliest_end(before, alternatives) is not None:
        return
    begun = kind.begun(before)
    found = None if begun is None else kind.resume(begun, after)
    end = earliest_end(before + after, alternatives)
    if isinstance(found, Begun):
        assert end is None
        assert found == kind.begun(before + after)
    else:
        found = found or kind.search(after, 0, len(before))
        if found is None:
            assert kind.begun(after) == kind.begun(before + after)
        shifted = found and End(found.start + len(before), found.stop + len(before), found.terminator)
        assert shifted == end


def test_a_length_needs_so_many_bytes_together_with_those_before() -> None:
    kind = kind_of(5)
    assert kind.search(b"abc", 0, 3) == End(2, 2, b"")
    assert kind.search(b"abc", 2, 0) is None
    assert kind.begun(b"abc") is None
    assert kind.resume(Begun(b"a", 1), b"") is None


def test_without_a_terminator_all_is_a_message_and_nothing_is_begun() -> None:
    kind = kind_of(None)
    assert kind.search(b"abc", 0, 0) == End(3, 3, b"")
    assert kind.behind(b"abc", 0, 3, 1) == 3
    assert kind.begun(b"abc") is None
    assert kind.resume(Begun(b"a", 1), b"") is None


def test_alternatives_are_compiled_once() -> None:
    assert kind_of((b"\r\n", b"\n")) is kind_of((b"\r\n", b"\n"))


@pytest.mark.parametrize("endless", [b"\n", (b"\n", b"\r")])
def test_only_what_has_to_be_looked_for_may_have_no_end(endless: Any) -> None:
    assert kind_of(endless).endless
    assert not kind_of(5).endless
    assert not kind_of(None).endless


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        (b"\n", b"\n"),
        (bytearray(b"\n"), b"\n"),
        (memoryview(b"\n"), b"\n"),
        ((b"\r\n", memoryview(b"\n")), (b"\r\n", b"\n")),
        ([b"\r\n"], (b"\r\n",)),
        (0, 0),
        (7, 7),
        (None, None),
    ],
)
def test_a_terminator_is_made_immutable(given: Any, checked: Any) -> None:
    assert as_terminator(given) == checked
    assert type(as_terminator(given)) is type(checked)


@pytest.mark.parametrize(
    ("term", "error", "words"),
    [
        (b"", ValueError, "wanted bytes, a tuple of bytes, a length or None as the terminator, found an"),
        ((), ValueError, "found () with nothing in it"),
        ((b"\n", b""), ValueError, r"found an empty one: (b'\\n', b'')"),
        (-1, ValueError, "wanted a length of 0 bytes or more as the terminator, found -1"),
        ("\n", TypeError, "found str: '\\\\n'"),
        ((b"\n", "\n"), TypeError, "found str: (b'\\\\n', '\\\\n')"),
        (True, TypeError, "found bool: True"),
        (1.5, TypeError, "found float: 1.5"),
        ((b"\n", 5), TypeError, "found int: (b'\\\\n', 5)"),
    ],
)  # fmt: skip
def test_what_is_no_terminator_is_refused(term: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        as_terminator(term)
    assert words.replace("\\\\", "\\") in str(raised.value)


def calls_in(function: Any) -> int:
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def test_a_terminator_of_16_kib_that_arrives_byte_by_byte_costs_the_same_for_each() -> None:
    long = b"a" * (2**14 - 1) + b"b"
    kind = kind_of(long)
    begun = kind.begun(b"a")
    worst = 0
    for _ in range(len(long) - 2):
        assert begun is not None
        worst = max(worst, calls_in(lambda begun=begun: kind.resume(begun, b"a")))
        found = kind.resume(begun, b"a")
        assert isinstance(found, Begun)
        begun = found
    assert begun is not None
    assert kind.resume(begun, b"b") == End(1 - len(long), 1, long)
    assert worst < 20
