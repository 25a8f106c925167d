"""Runs one of CPython's own test suites, unmodified, and writes the outcome of each test as JSON.

Run as a program, in an interpreter of its own, by test_cpython_suites.py. Imports nothing but the
standard library and what the path gives it as `asyncore` and `asynchat`.

    python run_suite.py SUITE RESULT.json [asyncio]

With "asyncio", the turns of `asyncore.loop()` are those of an asyncio loop.
"""

import contextlib
import faulthandler
import importlib
import importlib.util
import json
import sys
import unittest
from pathlib import Path
from typing import Any

NAMES = ("asyncore", "asynchat")


def turns_of_asyncio() -> contextlib.AbstractContextManager[Any]:
    """See asyncio_engine.py, which stands in the folder above."""
    sys.path.append(str(Path(__file__).parents[1]))
    made: contextlib.AbstractContextManager[Any] = importlib.import_module(
        "asyncio_engine"
    ).turns_of_asyncio()
    return made


#: Seconds after which a suite that hangs is ended, with what each of its threads is doing on standard error.
PATIENCE = 150


class Outcomes(unittest.TestResult):
    """What became of each test, by id: "ok", "failure", "error", "skipped", ….

    The worst that happens to a test or to one of its subtests stands.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[str, str] = {}
        self.details: dict[str, str] = {}

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self.by_id.setdefault(test.id(), "ok")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self.by_id.setdefault(test.id(), "skipped")

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self.by_id.setdefault(test.id(), "expected failure")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self.by_id[test.id()] = "unexpected success"

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._fail(test, "failure", err)

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._fail(test, "error", err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:  # noqa: N802
        if err is not None:
            self._fail(test, "failure", err)

    def _fail(self, test: unittest.TestCase, outcome: str, err: Any) -> None:
        self.by_id[test.id()] = outcome
        self.details[test.id()] = self._exc_info_to_string(err, test)  # type: ignore[attr-defined]


def put_in_place() -> None:
    """Let CPython's suites of 3.12 and later, which bring copies of the modules, meet the path's instead."""
    for name in NAMES:
        try:
            module = __import__(name)
        except ImportError:
            continue  # Nothing on the path to put in place: the suite runs on its own copies.
        sys.modules[f"test.support.{name}"] = module


def copies() -> set[str]:
    """The files of every asyncore and asynchat that was loaded, under whatever name."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return {str(Path(file).resolve()) for file in files if file is not None and Path(file).stem in NAMES}


def suite_is_installed(target: str) -> bool:
    """Whether this interpreter came with `target`'s module; distributors may leave `test` out."""
    try:
        return importlib.util.find_spec(".".join(target.split(".")[:2])) is not None
    except ModuleNotFoundError:
        return False


def run(target: str, *, on_asyncio: bool) -> dict[str, Any]:
    """Run `target` ("test.test_asyncore", "test.test_os.TestSendfile") and tell how each test ended."""
    put_in_place()
    if not suite_is_installed(target):
        return {"missing": target}
    support = importlib.import_module("test.support")
    # As `python -m test -u walltime`: nothing that needs a network, a screen or a lot of anything.
    vars(support)["use_resources"] = {"walltime": None}
    outcomes = Outcomes()
    suite = unittest.defaultTestLoader.loadTestsFromName(target)
    with turns_of_asyncio() if on_asyncio else contextlib.nullcontext():
        suite.run(outcomes)
    return {"outcomes": outcomes.by_id, "details": outcomes.details, "files": sorted(copies())}


if __name__ == "__main__":
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    Path(sys.argv[2]).write_text(json.dumps(run(sys.argv[1], on_asyncio="asyncio" in sys.argv[3:])))
