"""What holds for each module: a bounded length, and a test module.  pyproject.toml has the import rules."""

from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "src" / "antiphon"
TESTS = PROJECT / "tests"

#: Longer than this, a module is two.
LONGEST = 500

MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def mirror_of(module: Path) -> list[Path]:
    """Its test modules: tests/x/test_y.py for x/y.py, all of tests/x for x/__init__.py."""
    folder = TESTS / module.relative_to(PACKAGE).parent
    name = "*" if module.stem == "__init__" else module.stem.strip("_")
    return list(folder.glob(f"test_{name}.py"))


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_is_not_too_long(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_has_its_test_module(module: Path) -> None:
    assert mirror_of(module)


def test_there_are_modules_to_look_at() -> None:
    assert PACKAGE / "asyncore.py" in MODULES
