"""CPython's own suites, unmodified, on our modules: each test's outcome is known in advance."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance.known_differences import KNOWN_DIFFERENCES, SWITCHES
from conformance.pythons import find_python

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
OURS = {str(SOURCE / "antiphon" / f"{name}.py") for name in ("asyncore", "asynchat")}


GREEN = {"ok", "skipped", "expected failure"}


@dataclass(frozen=True)
class Suite:
    """One of CPython's suites.

    Attributes:
        target: its name for unittest.
        at_least: how many of its tests must pass, so that a suite which ran nothing is not green.
        python: the version to run it with; None for the interpreter that runs this test.
            The suites of the modules themselves left CPython together with them.
        on_asyncio: whether the turns of `asyncore.loop()` are those of an asyncio loop.
    """

    target: str
    at_least: int
    python: str | None = None
    on_asyncio: bool = False

    def interpreter(self) -> str:
        """The interpreter to run it with; skips the test where there is none."""
        if self.python is None:
            return sys.executable
        found = find_python(self.python)
        if found is None:
            pytest.skip(f"{self.target} needs Python {self.python}, which is not installed")
        return found


def suite(
    target: str, at_least: int, python: str | None = None, *, slow: bool = False, on_asyncio: bool = False
) -> Any:
    """A `Suite` as a parameter; `slow` ones take longer than a few seconds."""
    made = Suite(target, at_least, python, on_asyncio)
    marks = [pytest.mark.slow] if slow else []
    name = made.target.removeprefix("test.") + ("-asyncio" if on_asyncio else "")
    return pytest.param(made, id=name, marks=marks)


SUITES = [
    suite("test.test_asyncore", 90, "3.11"),
    suite("test.test_asynchat", 25, "3.11"),
    suite("test.test_smtpd", 150, "3.11"),
    suite("test.test_smtplib", 80),
    suite("test.test_logging.SMTPHandlerTest", 1),
    suite("test.test_os.TestSendfile", 5, "3.11"),
    suite("test.test_ssl.ThreadedTests.test_asyncore_server", 1),
    suite("test.test_asyncore", 90, "3.11", on_asyncio=True),
    suite("test.test_asynchat", 25, "3.11", on_asyncio=True),
    suite("test.test_smtpd", 150, "3.11", on_asyncio=True),
    suite("test.test_ftplib", 85, slow=True),
    suite("test.test_poplib", 65, slow=True),
]


def run_suite(suite: Suite, result: Path) -> dict[str, Any]:
    """Run `suite` in an interpreter of its own, with our modules first on its path."""
    switches, _ = SWITCHES.get(suite.target, ({}, ""))
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **switches}
    command = [suite.interpreter(), str(HERE / "run_suite.py"), suite.target, str(result)]
    command += ["asyncio"] if suite.on_asyncio else []
    ended = subprocess.run(
        command, cwd=result.parent, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report: dict[str, Any] = json.loads(result.read_text())
    if "missing" in report:
        pytest.skip(f"this Python came without {report['missing']}")
    return report


@pytest.mark.timeout(300)
@pytest.mark.parametrize("suite", SUITES)
def test_only_the_known_differences_fail(suite: Suite, tmp_path: Path) -> None:
    report = run_suite(suite, tmp_path / "result.json")
    outcomes: dict[str, str] = report["outcomes"]
    assert set(report["files"]) == OURS, "the suite met another copy of the modules"
    failed = {test for test, outcome in outcomes.items() if outcome not in GREEN}
    expected = KNOWN_DIFFERENCES.keys() & outcomes.keys()
    surprises = sorted(failed ^ expected)
    assert surprises == [], "\n".join(report["details"].get(test, test) for test in surprises)
    assert sum(outcome == "ok" for outcome in outcomes.values()) >= suite.at_least


def test_every_known_difference_belongs_to_a_suite() -> None:
    targets = tuple(parameter.values[0].target for parameter in SUITES)
    assert [test for test in KNOWN_DIFFERENCES if not test.startswith(targets)] == []
