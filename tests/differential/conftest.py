"""The comparisons with the originals, once with a poller and once with the turns of an asyncio loop."""

from collections.abc import Iterator
from typing import Any

import pytest

from asyncio_engine import turns_of_asyncio


@pytest.fixture(params=["poller", "asyncio"], autouse=True)
def engine(request: Any) -> Iterator[None]:
    """What waits for the channels of ours."""
    if request.param == "poller":
        yield
    else:
        with turns_of_asyncio():
            yield
