from typing import Any

from bench.bars import BARS, judge, shown
from bench.results import Results
from bench.rows import ROWS


def found(results: Results) -> dict[tuple[str, str], tuple[str, bool | None]]:
    verdicts = [judge(bar, results) for bar in BARS]
    return {(one.bar.subject, one.bar.wanted): (shown(one), one.reached) for one in verdicts}


def test_a_bar_against_a_reference_is_reached_by_the_ratio(results: Results) -> None:
    pingpong = "ping-pong, 100 connections"

    assert found(results)[pingpong, "≥ 1.05 × uvloop"] == ("1.25", True)
    assert found(results)[pingpong, "≥ 0.72 × C"] == ("0.75", True)


def test_a_bar_on_a_figure_is_missed_above_it(results: Results) -> None:
    assert found(results)["memory of an idle connection", "≤ 900 bytes"] == ("1024", False)


def test_what_was_not_measured_is_neither_reached_nor_missed(results: Results) -> None:
    assert found(results)["connection churn", "≥ 1.1 × uvloop"] == ("not measured", None)


def test_against_several_references_the_cheapest_counts(document: dict[str, Any]) -> None:
    cheap, dear = [{"round": 0, "cpu_us": 3}], [{"round": 0, "cpu_us": 9}]
    document["samples"] = {
        "antiphon": {"upload": [{"round": 0, "cpu_us": 6}]},
        "gevent": {"upload": dear},
        "asyncio protocol": {"upload": cheap},
    }
    wanted = "≥ 1 × the best of the old modules, asyncio and gevent"

    assert found(Results(document))["upload, 1 MiB bodies by length", wanted] == ("0.50", False)


def test_the_worst_call_and_the_turns_are_told_apart(results: Results) -> None:
    verdicts = {subject: verdict for (subject, _), verdict in found(results).items()}
    calls = next(verdict for subject, verdict in verdicts.items() if subject.startswith("`loop("))

    assert calls == ("1.50", True)
    assert verdicts["a turn with 16,000 idle channels"] == ("1.10", True)


def test_bars_ask_for_rows_that_there_are(document: dict[str, Any]) -> None:
    """With every row measured in every mode, no bar is left without a figure."""
    sample = {
        "round": 0,
        "cpu_us": 1,
        "faults": 1,
        "growth": 2,
        "rss0_kb": 0,
        "rss1_kb": 9000,
    }
    modes = ("pingpong100", "pingpong1000", "pipeline", "upload", "download", "churn", "drip", "idle9000")
    document["samples"] = {row.name: {mode: [sample] for mode in modes} for row in ROWS}

    assert [reached for _, reached in found(Results(document)).values() if reached is None] == []
