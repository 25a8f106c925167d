"""Whose types are checked: that of all Python there is, but for what pyproject.toml names with a reason."""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_the_types_of_every_folder_are_checked() -> None:
    options = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    folders = {path.parent.name for path in PROJECT.glob("[!.]*/*.py")}
    assert {"src", "tests", "fuzz", "robustness"} <= folders
    assert folders == set(options["files"])
    for pattern in options["exclude"]:
        assert not any(re.search(pattern, f"{folder}/") for folder in folders)
