from pathlib import Path
from typing import Any

import pytest
from bench.results import Results, load, merged, save


def test_what_is_saved_is_loaded(document: dict[str, Any], tmp_path: Path) -> None:
    save(tmp_path / "results.json", document)

    assert load(tmp_path / "results.json") == document


def test_a_sample_takes_one_line(document: dict[str, Any], tmp_path: Path) -> None:
    save(tmp_path / "results.json", document)
    lines = (tmp_path / "results.json").read_text().splitlines()

    assert sum('"latency_us"' in line for line in lines) == sum('"round"' in line for line in lines) - 1


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"format": 2}')

    with pytest.raises(ValueError, match="wanted format 1, found 2"):
        load(tmp_path / "results.json")


def test_the_ratio_is_the_median_of_those_of_the_rounds(results: Results) -> None:
    assert results.ratio("antiphon", "pingpong100", "climit") == 0.75
    assert results.ratio("antiphon", "idle9000", "uvloop protocol") is None


def test_memory_is_the_growth_divided_by_the_connections(results: Results) -> None:
    assert results.bytes_per_connection("antiphon", "idle9000", 9000) == 1024


def test_points_are_by_the_number_of_idle_connections(results: Results) -> None:
    found = results.points("uvloop protocol")

    assert {count: [point["cpu_us"] for point in points] for count, points in found.items()} == {
        10: [5],
        100: [6],
    }


def test_merging_replaces_what_was_measured_now_and_nothing_else(document: dict[str, Any]) -> None:
    now = document | {
        "samples": {"antiphon": {"pingpong100": [{"round": 0, "cpu_us": 1}], "idle9000": []}, "gevent": {}},
        "left_out": {},
        "calls": [],
        "profile": [],
    }

    both = merged(document, now)

    assert both["samples"]["antiphon"]["pingpong100"] == [{"round": 0, "cpu_us": 1}]
    assert both["samples"]["antiphon"]["idle9000"] == document["samples"]["antiphon"]["idle9000"]
    assert both["samples"]["climit"] == document["samples"]["climit"]
    assert both["calls"] == document["calls"]
    assert both["profile"] == document["profile"]
    assert both["left_out"] == {}
    assert len(both["runs"]) == 2
