"""`run`: the loops that streams are tested on. `contexts`: for TLS."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any

import pytest
import trustme

import aio_support
from aio_support import SECONDS, Contexts, Run
from antiphon.maps import ChannelMap
from loop_support import Wires, wires

__all__ = ["wires"]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on a loop of its own."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
        factory = import_module("uvloop").new_event_loop

    def run_it(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(asyncio.wait_for(main, SECONDS))

    return run_it


@pytest.fixture(params=["asyncio", "uvloop", "no readers"])
def each_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has `new_loop` of aio_support make each kind of asyncio loops."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
        monkeypatch.setattr(aio_support, "make_loop", import_module("uvloop").new_event_loop)
    elif request.param == "no readers":
        monkeypatch.setattr(aio_support, "make_loop", aio_support.WithoutReaders)


@pytest.fixture(params=[ChannelMap, dict])
def channels(request: pytest.FixtureRequest, wires: Wires) -> Any:
    """A map that tells its loop of changes, and one that doesn't."""
    return wires.map() if request.param is ChannelMap else {}


@pytest.fixture(params=[False, True], ids=["descriptor", "thread"])
def in_thread(request: pytest.FixtureRequest) -> bool:
    """How the asyncio loop waits for the channels."""
    return bool(request.param)


@pytest.fixture(scope="session")
def contexts() -> Contexts:
    """A server's context, and that of a client which trusts it."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return Contexts(server, client)
