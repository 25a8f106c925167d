import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import antiphon
from antiphon import asynchat, asyncore

SOURCES = Path(__file__).parent.parent / "src"


def output_of(program: str) -> str:
    """What a fresh interpreter, which has our sources on its path, prints for a program."""
    command = [sys.executable, "-W", "error", "-c", program]
    environment = {"PYTHONPATH": str(SOURCES)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_install_provides_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "asyncore", raising=False)
    monkeypatch.delitem(sys.modules, "asynchat", raising=False)

    antiphon.install()

    assert sys.modules["asyncore"] is asyncore
    assert sys.modules["asynchat"] is asynchat


def test_install_replaces_modules_that_are_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncore", ModuleType("asyncore"))
    monkeypatch.setitem(sys.modules, "asynchat", ModuleType("asynchat"))

    antiphon.install()
    antiphon.install()

    assert sys.modules["asyncore"] is asyncore
    assert sys.modules["asynchat"] is asynchat


@pytest.mark.parametrize("name", ["asyncore", "asynchat"])
def test_the_shim_is_the_very_module(name: str) -> None:
    assert output_of(f"import {name}; from antiphon import {name} as ours; print({name} is ours)") == "True\n"


def test_what_is_rebound_through_the_shim_the_module_sees() -> None:
    program = (
        "import asyncore, antiphon.asyncore; asyncore.socket_map = 1; print(antiphon.asyncore.socket_map)"
    )

    assert output_of(program) == "1\n"


def test_importing_the_package_imports_none_of_its_modules() -> None:
    program = "import antiphon, sys; print([name for name in sys.modules if name.startswith('antiphon')])"

    assert output_of(program) == "['antiphon']\n"


@pytest.mark.parametrize("module", [asyncore, asynchat], ids=["asyncore", "asynchat"])
def test_what_type_checkers_are_told_of_a_module_is_what_it_has(module: ModuleType) -> None:
    name = module.__name__.removeprefix("antiphon.")
    told: dict[str, object] = {}
    exec((SOURCES.parent / "stubs" / f"{name}.pyi").read_text(), told)
    del told["__builtins__"]
    assert told == {each: getattr(module, each) for each in told}
    assert told.keys() >= set(module.__all__)
