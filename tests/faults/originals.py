"""The old modules of Python 3.11, loaded beside ours, so that one scenario can be run on both.

Their text is never shown: a traceback through them has no source lines.
"""

import functools
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conformance.pythons import standard_library


class Modules(NamedTuple):
    """One implementation: its `asyncore` and its `asynchat`.

    `Any`, not `ModuleType`: scenarios subclass what is in them.
    """

    asyncore: Any
    asynchat: Any


@contextmanager
def _set(owner: Any, name: str, value: Any) -> Iterator[None]:
    """`owner.name` is `value` for a while; afterwards what it was, or nothing."""
    missing = object()
    before = owner.__dict__.get(name, missing)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


@contextmanager
def _imported_as(name: str, module: types.ModuleType) -> Iterator[None]:
    """`import name` gives `module` for a while."""
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before


def _load(folder: Path, name: str) -> types.ModuleType:
    """The module `name` of `folder`, under its own name but not in `sys.modules`."""
    module = types.ModuleType(name)
    # Compiled under a name that is no file's, so that tracebacks cannot quote it.
    code = compile((folder / f"{name}.py").read_bytes(), f"<original {name}>", "exec", dont_inherit=True)
    # Python 3.12 and later refuse to run what announces its removal before them.
    with _set(warnings, "_deprecated", lambda *args, **options: None):
        exec(code, module.__dict__)
    return module


@functools.cache
def originals() -> Modules | None:
    """Python 3.11's modules, or None where no such Python is installed."""
    folder = standard_library("3.11")
    if folder is None:
        return None
    asyncore = _load(folder, "asyncore")
    with _imported_as("asyncore", asyncore):
        return Modules(asyncore, _load(folder, "asynchat"))


def ours() -> Modules:
    """Antiphon's modules."""
    from antiphon import asynchat, asyncore

    return Modules(asyncore, asynchat)


def the_originals() -> Modules:
    """Python 3.11's modules; skips the test where no such Python is installed."""
    found = originals()
    if found is None:
        pytest.skip("the old modules are compared with where Python 3.11 is installed")
    return found
