"""What the soak says of its numbers; and a short one, with all its processes."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest
from robustness.processes import ROOT, Server
from robustness.tally import Tally

from robustness import soak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads proc(5)")

REPORT: dict[str, Any] = {
    "channels": 2,
    "descriptors": 8,
    "memory": 30 << 20,
    "blocks": 100_000,
    "worst_turn": 0.1,
}


def room(tally: Tally | None = None, *complaints: str, **after: Any) -> soak.Room:
    server = cast(Server, SimpleNamespace(complaints=list(complaints)))
    tally = Tally(exchanges=1) if tally is None else tally
    return soak.Room("http", 10, server, REPORT, REPORT | after, tally)


def test_if_all_is_as_before_nothing_is_wrong() -> None:
    assert list(soak.verdicts(room())) == []
    assert list(soak.verdicts(room(memory=1, blocks=1))) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (room(Tally(exchanges=1, owed=7, arrived=5)), "found 2 of 7 missing"),
        (room(Tally(exchanges=1, failed=1, failures=["fast: no"])), "found 1: fast: no"),
        (room(Tally()), "found nothing"),
        (room(channels=3), "as many channels as at the start, 2, found 3"),
        (room(descriptors=9), "as many descriptors as at the start, 8, found 9"),
        (room(memory=REPORT["memory"] + soak.MEMORY_TOLERANCE + 1), "more memory than at the start"),
        (room(blocks=REPORT["blocks"] + soak.BLOCKS_TOLERANCE + 1), "more blocks than at the start"),
        (room(None, "Traceback"), "found 1 lines: Traceback"),
    ],
)
def test_what_is_wrong_is_told(changed: soak.Room, words: str) -> None:
    [verdict] = soak.verdicts(changed)
    assert words in verdict


def test_peers_beyond_the_limit_on_files_stay_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(soak, "raise_file_limit", lambda: 1000)
    assert soak._possible(2000) == 2000
    assert soak._possible(5000) == 2000
    assert capsys.readouterr().out == (
        "wanted 5000 peers; found that a process may open 1000 files: 2000 come\n"
    )


def test_the_worst_turn_is_that_of_all_reports() -> None:
    assert soak._added({"worst_turn": 2.0, "channels": 9}, {"worst_turn": 1.0, "channels": 2}) == {
        "worst_turn": 2.0,
        "channels": 2,
    }


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--peers", "1"]])
def test_a_wrong_command_line_is_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        soak.main(arguments)
    assert "wanted 1 to 86400 seconds and 40 peers or more" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.load
@pytest.mark.timeout(180)
def test_a_short_soak_leaves_nothing_behind() -> None:
    command = [sys.executable, "-m", "robustness.soak", "--seconds", "10", "--peers", "200"]
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(", 0 lost") == 3
