"""The defects of the original modules, once with a poller and once with the turns of an asyncio loop."""

from collections.abc import Iterator
from typing import Any

import pytest

from asyncio_engine import ON_UVLOOP, turns_of_asyncio

#: What a scene is about that is not so with asyncio.
NOT_ON_ASYNCIO = {
    "d03_the_clients_that_waited": "without a descriptor, a turn comes after a tenth of a second",
    "d17_a_timeout_below_a_millisecond": "asyncio waits with its own selector",
}
if ON_UVLOOP:
    NOT_ON_ASYNCIO["d03_a_listener_after_one_emfile"] = "uvloop needs two descriptors to be run at all"


@pytest.fixture(params=["poller", "asyncio"])
def engine(request: Any) -> Iterator[None]:
    """What waits for the channels of ours."""
    if request.param == "poller":
        yield
    else:
        for scene, reason in NOT_ON_ASYNCIO.items():
            if scene in request.node.name:
                pytest.skip(reason)
        with turns_of_asyncio():
            yield
