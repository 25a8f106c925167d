"""What libFuzzer says, read; and the command line, as far as it goes without libFuzzer."""

from pathlib import Path

import pytest
from fuzz.running import Outcome, read_outcome

from fuzz import command_line

DONE = """\
INFO: seed corpus: files: 12
#2	INITED cov: 3 ft: 4 corp: 1/1b exec/s: 0 rss: 50Mb
#1024	DONE   cov: 309 ft: 1280 corp: 150/4781b lim: 70 exec/s: 944 rss: 54Mb
Done 1024 runs in 10 second(s)
stat::number_of_executed_units: 1024
stat::average_exec_per_sec:     102
"""

CRASHED = """\
#8	NEW    cov: 5 ft: 7 corp: 2/3b exec/s: 0 rss: 50Mb

 === Uncaught Python exception: ===
AssertionError: wanted 1, found 2
Traceback (most recent call last):
  File "fuzz/resp.py", line 3, in try_resp
    assert found == expected, f"wanted {expected}, found {found}"
AssertionError: wanted 1, found 2

==12== ERROR: libFuzzer: fuzz target exited
artifact_prefix='.fuzz/resp-'; Test unit written to .fuzz/resp-crash-0123
stat::number_of_executed_units: 9
"""


def test_of_a_run_without_failure_the_numbers_are_read() -> None:
    outcome = read_outcome(DONE, 0)
    assert outcome == Outcome(1024, 309, 1280, None, "")
    assert not outcome.failed


def test_of_a_failure_the_input_and_the_complaint_are_told() -> None:
    outcome = read_outcome(CRASHED, 77)
    assert outcome == Outcome(9, 5, 7, Path(".fuzz/resp-crash-0123"), "AssertionError: wanted 1, found 2")
    assert outcome.failed


def test_a_run_that_says_nothing_has_failed() -> None:
    assert read_outcome("", 1).failed


def test_the_table_tells_of_all_and_the_status_of_failures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = {"chat": read_outcome(DONE, 0), "resp": read_outcome(CRASHED, 77)}
    monkeypatch.setattr(command_line, "fuzz", lambda harness, seconds, kept: outcomes[harness.name])
    monkeypatch.setattr(command_line, "find_spec", lambda name: object())
    assert command_line.main(["chat", "--seconds", "1"]) == 0
    assert command_line.main(["chat", "resp"]) == 1
    output = capsys.readouterr().out
    assert "together        1033" in output
    assert "once more: scripts/fuzz resp --replay .fuzz/resp-crash-0123" in output


def test_one_input_is_tried_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"PING\r\n")
    assert command_line.main(["resp", "--replay", str(path)]) == 0
    assert capsys.readouterr().out == "nothing is wrong with it\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nope"], "wanted delimiter, messages, chat, requests, paths, resp, found nope"),
        (["--seconds", "0"], "wanted 1 to 86400 whole seconds, found '0'"),
        (["--replay", "x"], "wanted one harness for --replay, found 0"),
        (["resp"], "wanted atheris, which this Python doesn't have"),
    ],
)
def test_a_wrong_command_line_is_explained(
    arguments: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        command_line.main(arguments)
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err
