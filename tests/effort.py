"""How much the tests try: ANTIPHON_TEST_EFFORT is unset for a run of two minutes, `brief` or `nightly`."""

import os
from collections.abc import Sequence
from typing import Final, TypeVar

__all__ = ["EFFORT", "IS_NIGHTLY", "effort", "some"]

_T = TypeVar("_T")

EFFORT: Final = os.environ.get("ANTIPHON_TEST_EFFORT") or "quick"
if EFFORT not in ("brief", "quick", "nightly"):
    raise ValueError(f"wanted ANTIPHON_TEST_EFFORT to be brief, quick or nightly, found {EFFORT!r}")

IS_NIGHTLY = EFFORT == "nightly"


def effort(quick: _T, nightly: _T) -> _T:
    """What a test takes of something: examples, rounds, seconds."""
    return nightly if IS_NIGHTLY else quick


def some(names: Sequence[_T]) -> tuple[_T, ...]:
    """Of the pollers, say, best first: in a brief run that one, else all."""
    return tuple(names[:1] if EFFORT == "brief" else names)
