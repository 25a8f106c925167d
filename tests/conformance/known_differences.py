"""Tests of CPython's suites that antiphon fails on purpose: test id → reason.

An entry whose test passes is an error, as is a failure that has no entry.
"""

from typing import Final

KNOWN_DIFFERENCES: Final[dict[str, str]] = {}
