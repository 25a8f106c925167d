import math

import pytest

from antiphon.pollers.base import (
    ERROR,
    HANGUP,
    INVALID,
    LONGEST_WAIT,
    READ,
    URGENT,
    WRITE,
    check_interest,
    milliseconds,
)


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(0, 0), (-1.5, 0), (1e-9, 1), (0.001, 1), (0.0104, 11), (2, 2000), (1e12, LONGEST_WAIT * 1000)],
)
def test_milliseconds_are_rounded_up_and_kept_in_the_kernels_range(seconds: float, wanted: int) -> None:
    assert milliseconds(seconds) == wanted


def test_the_longest_wait_fits_the_kernels_int() -> None:
    assert milliseconds(math.inf) < 2**31


@pytest.mark.parametrize("interest", range(1, 8))
def test_every_sum_of_the_three_wishes_is_an_interest(interest: int) -> None:
    check_interest(interest)


@pytest.mark.parametrize("interest", [0, -1, ERROR, HANGUP | READ, INVALID])
def test_any_other_interest_is_refused_by_its_number(interest: int) -> None:
    with pytest.raises(ValueError, match=f"not {interest};"):
        check_interest(interest)


def test_each_bit_is_a_bit_of_its_own() -> None:
    assert READ + URGENT + WRITE + ERROR + HANGUP + INVALID == 63
