"""What the soak says of its numbers; and a short one, with all its processes."""

import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from robustness.processes import ROOT, Process, ProcessError, Server
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


def test_a_server_that_never_becomes_quiet_is_waited_for_no_longer_than_there_is_time() -> None:
    busy = cast(Server, SimpleNamespace(report=lambda: {"channels": 3, "worst_turn": 0.1}))
    assert soak._when_quiet(busy, 2, time.monotonic())["channels"] == 3


def test_a_crowd_that_says_nothing_is_waited_for_no_longer_than_there_is_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = Process("-c", "import sys; sys.stdin.read()")
    monkeypatch.setattr(soak, "Process", lambda *arguments: silent)
    there = room()
    there.server.port = 80
    with pytest.raises(ProcessError, match="wanted a line within 0 s, found not a word"):
        soak._send_crowd(there, 300, time.monotonic())
    assert not silent.running


def hang_up(listener: socket.socket) -> None:
    listener.accept()[0].close()


def test_a_server_that_ends_before_the_start_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = room()
        there.server.port = listener.getsockname()[1]
        thread = threading.Thread(target=hang_up, args=[listener])
        thread.start()
        with pytest.raises((ProcessError, ConnectionError)):
            soak._furnish(there)
        thread.join()


def test_what_keeps_the_soak_from_going_on_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(peers: int, seconds: float) -> list[str]:
        raise ProcessError("wanted a line within 0 s, found not a word")

    monkeypatch.setattr(soak, "_soak", fail)
    assert soak.main(["--peers", "40", "--seconds", "1"]) == 1
    assert "WRONG: wanted a line within 0 s, found not a word" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.load
@pytest.mark.timeout(10 + soak.GRACE)
def test_a_short_soak_leaves_nothing_behind() -> None:
    command = [sys.executable, "-m", "robustness.soak", "--seconds", "10", "--peers", "200"]
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(", 0 lost") == 3
