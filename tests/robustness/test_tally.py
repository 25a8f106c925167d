import json

import pytest
from robustness.tally import Tally


def test_what_is_owed_and_has_not_come_is_lost() -> None:
    tally = Tally(owed=10)
    tally.check(b"1234", b"1234")
    assert (tally.exchanges, tally.arrived, tally.lost) == (1, 4, 6)


def test_what_has_come_otherwise_does_not_count() -> None:
    tally = Tally(owed=4)
    with pytest.raises(ValueError, match="wanted 4 bytes b'1234', found 4 b'1243'"):
        tally.check(b"1234", b"1243")
    assert tally.lost == 4


def test_of_failures_all_are_counted_and_some_told() -> None:
    tally = Tally()
    for number in range(20):
        tally.fail("fast", number)
    assert tally.failed == 20
    assert tally.failures[0] == "fast: 0"
    assert len(tally.failures) == 10


def test_it_survives_json() -> None:
    tally = Tally(exchanges=3, owed=5)
    tally.sessions["fast"] += 1
    tally.fail("slow", "late")
    assert Tally.of(json.dumps(tally.as_dict())) == tally
