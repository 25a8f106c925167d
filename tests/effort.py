"""How much the tests try: ANTIPHON_TEST_EFFORT is unset for a run of a minute or two, or `nightly`."""

import os
from typing import TypeVar

__all__ = ["IS_NIGHTLY", "effort"]

_T = TypeVar("_T")

_wanted = os.environ.get("ANTIPHON_TEST_EFFORT") or "quick"
if _wanted not in ("quick", "nightly"):
    raise ValueError(f"wanted ANTIPHON_TEST_EFFORT to be quick or nightly, found {_wanted!r}")

IS_NIGHTLY = _wanted == "nightly"


def effort(quick: _T, nightly: _T) -> _T:
    """What a test takes of something: examples, rounds, seconds."""
    return nightly if IS_NIGHTLY else quick
