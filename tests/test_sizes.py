import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.sizes import ADAPTIVE, FIRST, LARGEST, STEADY, adapted, sized

sizes = st.integers(12, 18).map(lambda power: 2**power)


def test_a_size_that_nobody_has_set_is_the_number_that_the_documentation_names() -> None:
    assert ADAPTIVE == 4096
    assert type(ADAPTIVE) is int
    assert b"x" * ADAPTIVE == b"x" * 4096


def test_4096_from_anywhere_else_is_a_size_that_somebody_has_set() -> None:
    literal, computed = 4096, ADAPTIVE * 2 // 2
    assert literal is not ADAPTIVE
    assert computed is not ADAPTIVE
    assert int("4096") is not ADAPTIVE


def test_a_size_that_was_needed_whole_is_doubled() -> None:
    assert adapted(FIRST, FIRST) == 2 * FIRST


def test_more_than_all_of_it_counts_as_all_of_it() -> None:
    assert adapted(FIRST, FIRST + 1) == 2 * FIRST


def test_it_does_not_grow_beyond_the_largest() -> None:
    assert adapted(LARGEST, LARGEST) == LARGEST == 256 * 1024


def test_a_size_of_which_a_quarter_was_needed_stays() -> None:
    assert adapted(4 * FIRST, FIRST) == 4 * FIRST


def test_a_size_of_which_less_than_a_quarter_was_needed_is_halved() -> None:
    assert adapted(4 * FIRST, FIRST - 1) == 2 * FIRST


@pytest.mark.parametrize("used", [0, STEADY, 2 * STEADY - 1])
def test_a_size_beyond_the_steady_one_is_kept_only_while_all_of_it_is_needed(used: int) -> None:
    assert adapted(2 * STEADY, used) == STEADY


def test_it_does_not_fall_below_the_first() -> None:
    assert adapted(FIRST, 0) == FIRST


@given(sizes, st.data())
def test_it_stays_between_the_first_and_the_largest(size: int, draw: st.DataObject) -> None:
    assert FIRST <= adapted(size, draw.draw(st.integers(0, size))) <= LARGEST


@given(sizes, st.integers(0, LARGEST))
def test_it_settles_for_a_peer_that_always_sends_the_same_amount(size: int, amount: int) -> None:
    for _ in range(20):
        size = adapted(size, min(amount, size))
    if amount < STEADY:
        assert amount < size == adapted(size, amount)
    else:
        assert STEADY <= size <= 2 * amount


@pytest.mark.parametrize(
    ("missing", "size", "wanted"),
    [
        (20_000, FIRST, 20_000),
        (1 << 20, FIRST, STEADY),
        (1 << 20, 2 * STEADY, 2 * STEADY),
        (100_000, LARGEST, 100_000),
    ],
)
def test_of_a_length_what_is_missing_is_asked_for_and_little_beyond_what_arrives(
    missing: int, size: int, wanted: int
) -> None:
    assert sized(missing, size) == wanted
