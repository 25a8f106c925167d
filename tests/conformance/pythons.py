"""Finds an interpreter by its version: the originals live in Python 3.11 only."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def _candidates(version: str) -> Iterator[str]:
    """Where an interpreter of `version` may be, nearest first."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        yield sys.executable
    on_path = shutil.which(f"python{version}")
    if on_path is not None:
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True))


def _runs(python: str, version: str) -> bool:
    """Whether `python` starts and is what its name says; a launcher on the path may do neither."""
    try:
        return _answer(python, "import sys; print('%d.%d' % sys.version_info[:2])") == version
    except (OSError, subprocess.SubprocessError):
        return False


def _answer(python: str, question: str) -> str:
    """What `python` prints when it runs `question`."""
    command = [python, "-c", question]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


@functools.cache
def find_python(version: str) -> str | None:
    """The path of an interpreter of `version` ("3.11"): the running one, on the path, or of pyenv."""
    return next((python for python in _candidates(version) if _runs(python, version)), None)


@functools.cache
def standard_library(version: str) -> Path | None:
    """The folder of the standard library's modules of `version`, or None without such an interpreter."""
    python = find_python(version)
    if python is None:
        return None
    return Path(_answer(python, "import sysconfig; print(sysconfig.get_path('stdlib'))"))
