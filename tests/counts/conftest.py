"""What is counted is what programs have that set nothing."""

import pytest


@pytest.fixture(autouse=True)
def default_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow handlers are looked for, as they are by default."""
    monkeypatch.setattr("antiphon.calls.SLOW", 0.1)
