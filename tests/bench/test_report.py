import hashlib
from pathlib import Path
from typing import Any

import pytest
from bench.report import page, write_page
from bench.results import Results, save


def plot(results: Results, folder: Path) -> dict[str, Path]:
    (folder / "latency.svg").write_text("<svg/>")
    return {"latency": folder / "latency.svg"}


def written(results: Results, folder: Path) -> str:
    write_page(results, folder / "performance.md", plot)
    return (folder / "performance.md").read_text(encoding="utf-8")


def test_the_page_has_the_machine_the_figures_and_the_plots(results: Results, tmp_path: Path) -> None:
    text = written(results, tmp_path)

    assert "- processor: Abacus" in text
    assert "- main interpreter: Python 3.13.0, uvloop 0.22" in text
    assert "| antiphon | 6 · 0.75 · 1.25 | 5 · 0.80 · - |" in text
    assert "| antiphon | 5 | 5 | 6 |" in text
    assert "| uvloop protocol | 5 | 6 | - |" in text
    assert "![latency](performance/latency.svg)" in text
    assert "$" not in text


def test_the_page_says_what_failed_and_what_is_left_out(results: Results, tmp_path: Path) -> None:
    text = written(results, tmp_path)

    assert "| uvloop protocol | 7.5 · 0.60 · 1.00 | fails |" in text
    assert "- uvloop protocol, idle9000: closed (OSError)" in text
    assert "- gevent is left out: No module named 'gevent'" in text


def test_the_page_says_what_an_operation_executes(results: Results, tmp_path: Path) -> None:
    text = written(results, tmp_path)

    assert "| server | ping-pong | connection |" in text
    assert "| antiphon | 421 / 11.4 | 1744 / 70.1 |" in text
    assert "| pyasynchat poll | 366 / 12.2 | - |" in text
    assert "| ping-pong | `Incoming.handle_read` | 91 | 1 |" in text
    assert "| ping-pong | `poll2`" not in text


def test_the_weak_spots_are_the_bars_that_are_missed(results: Results, tmp_path: Path) -> None:
    weak = written(results, tmp_path).partition("## Weak spots")[2].partition("Where pure Python")[0]

    assert "- memory of an idle connection: 1024, where the bar is ≤ 900 bytes." in weak
    assert "ping-pong, 100" not in weak


def test_results_of_nothing_make_a_page(document: dict[str, Any], tmp_path: Path) -> None:
    empty = Results(document | {"samples": {}, "calls": [], "profile": [], "left_out": {}})

    text = written(empty, tmp_path)

    assert "Not measured." in text
    assert "Nothing failed." in text
    assert "Every bar that was measured is reached." in text


def test_a_template_that_names_a_part_that_there_is_not_is_refused(results: Results) -> None:
    with pytest.raises(KeyError, match="nonsense"):
        page(results, "$nonsense", {})


def test_the_same_results_give_the_same_plots(document: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plots = pytest.importorskip("bench.plots")
    save(tmp_path / "results.json", document)

    def drawn() -> dict[str, str]:
        files = plots.draw_all(Results(document), tmp_path)
        return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}

    assert drawn() == drawn()
    assert set(drawn()) == {"cpu_against_C", "cost_beside_idle_connections", "latency"}


def test_what_was_not_measured_is_not_drawn(document: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plots = pytest.importorskip("bench.plots")

    assert plots.draw_all(Results(document | {"samples": {}}), tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
