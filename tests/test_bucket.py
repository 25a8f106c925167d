"""Tokens by the second: never more than the rate and the burst allow, and never for nothing."""

from hypothesis import given
from hypothesis import strategies as st

from antiphon.bucket import Bucket

rates = st.floats(0.01, 1e9)


def test_a_bucket_is_full_at_first_and_of_one_second_s_worth() -> None:
    assert Bucket(1000, now=5.0).available(5.0) == 1000
    assert Bucket(1000, now=5.0).available(500.0) == 1000


def test_a_bucket_holds_a_byte_at_least() -> None:
    bucket = Bucket(0.5, now=0.0)
    assert bucket.available(0.0) == 1
    bucket.take(1)
    assert bucket.next_at() == 2.0
    assert bucket.available(1.9) == 0
    assert bucket.available(2.0) == 1


def test_an_empty_bucket_waits_for_more_than_a_byte() -> None:
    bucket = Bucket(1000, now=0.0)
    bucket.take(bucket.available(0.0))
    assert bucket.is_empty
    assert bucket.next_at() == 0.05
    assert bucket.available(0.05) == 50
    assert not bucket.is_empty


def test_a_clock_that_stands_still_brings_nothing() -> None:
    bucket = Bucket(10, now=1.0)
    bucket.take(10)
    assert bucket.available(1.0) == bucket.available(0.5) == 0


@given(rates, st.lists(st.floats(0.0, 100.0), max_size=50))
def test_no_more_passes_than_the_rate_and_one_burst(rate: float, pauses: list[float]) -> None:
    bucket, now, passed = Bucket(rate, now=0.0), 0.0, 0
    for pause in pauses:
        now += pause
        size = bucket.available(now)
        bucket.take(size)
        passed += size
        assert passed <= max(rate, 1.0) + rate * now + 1e-3 + 1e-9 * passed


@given(rates, st.floats(0.0, 1e6))
def test_when_the_time_has_come_there_is_at_least_a_byte(rate: float, start: float) -> None:
    bucket, now = Bucket(rate, now=start), start
    for _ in range(20):
        bucket.take(bucket.available(now))
        assert bucket.next_at() > now
        now = bucket.next_at()
        assert bucket.available(now) >= 1
