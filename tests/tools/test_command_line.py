import argparse
import sys
from types import ModuleType

import pytest

import antiphon
from antiphon import servers
from antiphon.tools import doctor, run
from antiphon.tools.command_line import main


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])

    assert capsys.readouterr().out == f"antiphon {antiphon.__version__}\n"


@pytest.mark.parametrize("words", [[], ["dance"], ["--dance", "run"]])
def test_a_wrong_subcommand_ends_with_status_2_and_the_right_ones(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)

    assert "SUBCOMMAND" in capsys.readouterr().err


def test_the_words_are_those_of_the_process_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "main", lambda words: 1 if words == [] else 0)
    monkeypatch.setattr(sys, "argv", ["antiphon", "doctor"])

    assert main() == 1


@pytest.mark.parametrize(
    "words", [["x.py", "--version"], ["-m", "x", "-h", "--", "y"], ["--help"], ["-c", "1"]]
)
def test_run_gets_every_word_that_follows_it(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(run, "main", seen.extend)

    main(["run", *words])
    assert seen == words


def test_a_server_declares_its_arguments_and_runs_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    http = ModuleType("antiphon.servers.http")
    vars(http)["add_arguments"] = lambda parser: parser.add_argument("--port", type=int)
    vars(http)["run"] = run_with_port
    monkeypatch.setattr(servers, "http", http, raising=False)

    assert main(["serve", "http", "--port", "8017"]) == 8017


def run_with_port(arguments: argparse.Namespace) -> int:
    port: int = arguments.port
    return port


def test_serve_without_a_server_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["serve"])

    assert "http" in capsys.readouterr().err
