"""Runs programs under `python` and under `antiphon run`: neither they nor their caller can tell which."""

import doctest
import os
import py_compile
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import pytest

from antiphon import asyncore
from antiphon.tools import run

SOURCES = Path(__file__).parents[2] / "src"

TELL = """
import __main__, sys
print(sys.argv, sys.path, sys.flags.safe_path)
print(sorted(globals()), __name__, __package__, globals().get("__file__"), type(__loader__))
print(__spec__ and (__spec__.name, __spec__.origin))
print(vars(__main__) is globals(), sys.modules["__main__"] is __main__, type(__builtins__))
"""

SPAWNING = """
import multiprocessing
def tell(): print(__name__)
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=tell)
    child.start()
    child.join()
"""

#: Programs by what they end with.
ENDINGS = {
    "the last line": "print('done')",
    "a status": "raise SystemExit(7)",
    "a message": "raise SystemExit('no such luck')",
    "an exception": "def fail():\n    raise ValueError('no')\nfail()",
    "an exception with a cause": "try:\n    1 / 0\nexcept Exception as e:\n    raise ValueError from e",
    "an interrupt": "raise KeyboardInterrupt",
    "a syntax error": "print(1\n",
    "a hook of its own": "import sys\nsys.excepthook = lambda kind, value, tb: print(tb.tb_lineno)\n1 / 0",
    "an exit handler": "import atexit\nx = 5\natexit.register(lambda: print(__import__('__main__').x))",
    "a future statement": "from __future__ import annotations\nx: undefined = 1\nprint(x)",
    "a process of its own, which finds the program's functions": SPAWNING,
    "annotations": "x: int = 1\nprint(__annotations__ if 'x' in __annotations__ else 0)",
}


class Ending(NamedTuple):
    status: int
    output: str
    errors: str


Compare = Callable[..., tuple[Ending, Ending]]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Ends of the same program, first under `python` and then under `antiphon run`."""

    def end_of(command: list[str], options: list[str], source: str) -> Ending:
        environment = os.environ | {"PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, *options, *command],
            cwd=tmp_path,
            check=False,
            env=environment,
            input=source,
            capture_output=True,
            text=True,
        )
        return Ending(done.returncode, done.stdout, done.stderr)

    def both(*words: str, options: list[str] | None = None, source: str = "") -> tuple[Ending, Ending]:
        options = options or []
        launcher = ["-m", "antiphon", "run", *words]
        return end_of(list(words), options, source), end_of(launcher, options, source)

    return both


@pytest.fixture
def undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undoes what running a program changes in the interpreter."""
    names = ("__main__", "asyncore", "asynchat")
    before = {name: sys.modules.get(name) for name in names}
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    yield
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def test_the_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(run) == (0, 2)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_ends_as_under_python(ending: str, compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(ENDINGS[ending])

    assert len(set(compare("program.py"))) == 1


def test_a_script_finds_the_same_surroundings(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "program.py").write_text(TELL)
    (tmp_path / "link.py").symlink_to(tmp_path / "folder" / "program.py")

    for words in (["folder/program.py", "-x", "--", "-m"], ["link.py"], ["./folder/../folder/program.py"]):
        python, ours = compare(*words)
        assert python == ours
        assert python.status == 0


def test_safe_path_keeps_the_scripts_folder_off_the_path(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TELL)

    python, ours = compare("program.py", options=["-P"])

    assert python == ours
    assert python.status == 0


def test_a_module_finds_the_same_surroundings(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(TELL)
    (tmp_path / "package" / "module.py").write_text(TELL + "1 / 0")

    for name in ("package", "package.module", "package.absent", "absent"):
        python, ours = compare("-m", name, "-m", "--help")
        assert python == ours


@pytest.mark.parametrize("options", [[], ["-P"]])
def test_a_folder_and_an_archive_find_the_same_surroundings(
    options: list[str], compare: Compare, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__main__.py").write_text(TELL + "1 / 0")
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", TELL)

    for name in ("folder", "./folder", "archive.zip", "empty"):
        python, ours = compare(name, "-x", options=options)
        assert python == ours


def test_a_compiled_script_finds_the_same_surroundings(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TELL)
    py_compile.compile(str(tmp_path / "program.py"), str(tmp_path / "program.pyc"))

    python, ours = compare("program.pyc")

    assert python == ours
    assert python.status == 0


def test_a_command_and_the_standard_input_find_the_same_surroundings(compare: Compare) -> None:
    for words in (["-c", TELL, "-c", "x"], ["-", "-x"]):
        python, ours = compare(*words, source=TELL)
        assert python == ours
        assert python.status == 0


def test_a_script_that_is_not_there_is_reported_as_python_reports_it(compare: Compare) -> None:
    python, ours = compare("absent.py")

    assert python == ours
    assert python.status == 2


@pytest.mark.parametrize("words", [["program.py"], ["-m", "program"]])
def test_the_program_gets_our_modules_and_no_warning(
    words: list[str], compare: Compare, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(
        "import asynchat, asyncore\n"
        "from antiphon import asynchat as our_asynchat, asyncore as our_asyncore\n"
        "print(asynchat is our_asynchat, asyncore is our_asyncore)\n"
    )

    _, ours = compare(*words, options=["-W", "error"])

    assert ours == Ending(0, "True True\n", "")


def test_a_program_that_comes_to_its_end_gives_status_0(undone: None, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import asyncore, sys\nfound = asyncore, sys.argv, sys.path[0]\n")

    assert run.main([str(program), "-v"]) == 0
    found = vars(sys.modules["__main__"])["found"]
    assert found == (asyncore, [str(program), "-v"], str(tmp_path.resolve()))


def test_only_the_exception_that_ended_the_program_is_shown_from_its_first_frame(
    undone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program.py"
    program.write_text("\n1 / 0\n")
    first_lines: list[tuple[str, int]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, tb: first_lines.append(place(tb)))

    with pytest.raises(ZeroDivisionError) as caught:
        run.main([str(program)])
    whole = caught.tb
    sys.excepthook(caught.type, caught.value, whole)
    sys.excepthook(ValueError, ValueError(), whole)

    assert first_lines == [(str(program), 2), place(whole)]


def place(traceback: TracebackType) -> tuple[str, int]:
    """Where it begins."""
    return traceback.tb_frame.f_code.co_filename, traceback.tb_lineno


@pytest.mark.parametrize("words", [[], [""], ["-m"], ["-c"], ["-W", "error"]])
def test_words_without_a_program_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run.main(words)

    assert "wanted a program, found" in capsys.readouterr().err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run.main(["--help"])

    assert "-m MODULE" in capsys.readouterr().out
