"""Each habit is tried on our modules and, where Python 3.11 is installed, on the ones that it was
made for.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from faults.originals import Modules, ours, the_originals


@pytest.fixture(params=["antiphon", "original"])
def modules(request: pytest.FixtureRequest) -> Modules:
    """Both implementations, one after the other."""
    return ours() if request.param == "antiphon" else the_originals()


@pytest.fixture
def socket_map(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A default map that this test has for itself, empty."""
    fresh = type(modules.asyncore.socket_map)()
    monkeypatch.setattr(modules.asyncore, "socket_map", fresh)
    yield fresh
    modules.asyncore.close_all(fresh, ignore_all=True)
