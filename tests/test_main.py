import runpy
import sys

import pytest

import antiphon


def test_python_m_antiphon_is_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["antiphon", "--version"])

    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("antiphon", run_name="__main__")

    assert capsys.readouterr().out == f"antiphon {antiphon.__version__}\n"


def test_importing_the_main_module_starts_nothing() -> None:
    assert "main" in runpy.run_module("antiphon.__main__", run_name="imported")
