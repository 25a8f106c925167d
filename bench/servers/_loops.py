"""Runs a coroutine on the event loop that `--loop` names."""

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any


def run(main: Coroutine[Any, Any, None], loop: str) -> None:
    """Run on "asyncio", "uvloop" or "rloop"."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if loop != "asyncio":
        factory = import_module(loop).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)
