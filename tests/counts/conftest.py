"""What is counted is what programs have that set nothing."""

import pytest

from antiphon import watching


@pytest.fixture(autouse=True)
def default_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow handlers are looked for, as they are by default."""
    monkeypatch.delenv(watching.ENVIRONMENT_VARIABLE, raising=False)
