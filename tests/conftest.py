"""What holds for all tests: how much they try, and how long one may take."""

import pytest
from hypothesis import settings

from effort import IS_NIGHTLY, effort

settings.register_profile("quick")
settings.register_profile("nightly", max_examples=10_000, deadline=None)
settings.load_profile(effort("quick", "nightly"))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Ten thousand examples take their time."""
    if IS_NIGHTLY and config.getoption("timeout", None) is None:
        config.option.timeout = 3600
