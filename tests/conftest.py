"""What holds for all tests: how much they try, how long one may take, and what is garbage."""

import gc
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import EFFORT, IS_NIGHTLY

# A busy machine would have the loop say that handlers are slow, where a test counts what is logged.
os.environ.setdefault("ANTIPHON_SLOW_CALLBACK", "0")

settings.register_profile("brief", max_examples=25, deadline=None)
settings.register_profile("quick", deadline=None)
settings.register_profile("nightly", max_examples=10_000, deadline=None)
settings.load_profile(EFFORT)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Ten thousand examples take their time."""
    if IS_NIGHTLY and config.getoption("timeout", None) is None:
        config.option.timeout = 3600


def pytest_collection_finish() -> None:
    """Keep the tests themselves, a million objects, out of the collections that tests ask for."""
    # At its first example, Hypothesis looks for what refers to its random numbers, and finds nothing frozen.
    given(st.none())(lambda _: None)()
    gc.collect()
    gc.freeze()
