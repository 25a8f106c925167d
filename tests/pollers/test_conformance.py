"""Every poller against the one suite, and what they must do alike beyond it."""

import os
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from loop_support import fork

assert not TYPE_CHECKING or sys.platform != "win32"

from antiphon.pollers import make, offered  # noqa: E402
from antiphon.pollers.base import ERROR, READ, WRITE, Poller  # noqa: E402
from antiphon.pollers.kqueue import KqueuePoller  # noqa: E402
from antiphon.pollers.select import SelectPoller  # noqa: E402
from antiphon.testing.kqueue import SimulatedKqueue  # noqa: E402
from antiphon.testing.poller import CHECKS, Check, check_poller  # noqa: E402


def make_kqueue() -> KqueuePoller:
    return KqueuePoller(SimulatedKqueue())


#: The system's own pollers, and the one of the BSDs on a simulated kernel.
MAKERS: dict[str, Callable[[], Poller]] = {
    **{name: partial(make, name) for name in offered()},
    "simulated kqueue": make_kqueue,
}


@pytest.fixture(params=MAKERS)
def make_poller(request: pytest.FixtureRequest) -> Callable[[], Poller]:
    return MAKERS[request.param]


@pytest.fixture
def descriptor_above_1024() -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 3000)), hard))
    here, there = socket.socketpair()
    with closing(here), closing(there):
        os.dup2(here.fileno(), 2000, inheritable=False)
        yield 2000
        os.close(2000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_poller_conforms(make_poller: Callable[[], Poller], check: Check) -> None:
    poller = make_poller()
    try:
        check(poller)
    finally:
        poller.close()


def test_the_suite_passes_as_a_whole(make_poller: Callable[[], Poller]) -> None:
    check_poller(make_poller)


@pytest.mark.parametrize("name", sorted(MAKERS.keys() - {"select"}))
def test_descriptors_above_1024_are_watched(name: str, descriptor_above_1024: int) -> None:
    poller = MAKERS[name]()
    poller.watch(descriptor_above_1024, WRITE)
    assert poller.wait(10) == [(descriptor_above_1024, WRITE)]
    poller.close()


def test_select_refuses_descriptors_above_1024_and_says_what_to_use(descriptor_above_1024: int) -> None:
    poller = SelectPoller()
    with pytest.raises(
        ValueError, match=r"descriptor 2000: .* below 1024 only; use the epoll, kqueue or poll"
    ):
        poller.watch(descriptor_above_1024, READ)
    assert poller.interest(descriptor_above_1024) == 0
    assert poller.wait(0) == []


def test_a_forked_child_can_close_without_disturbing_its_parent(make_poller: Callable[[], Poller]) -> None:
    poller = make_poller()
    here, there = socket.socketpair()
    with closing(here), closing(there):
        poller.watch(here.fileno(), READ)
        child = fork()
        if child == 0:  # pragma: no cover: the child reports through its exit status
            status = 1
            try:
                poller.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        there.send(b"x")
        assert poller.wait(10) == [(here.fileno(), READ)]
    poller.close()


def test_a_poller_that_sees_errors_reports_them() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for poller in map(make, sorted({"epoll", "poll"} & {*offered()})):
        poller.watch(writer, WRITE)
        assert poller.wait(10) == [(writer, WRITE | ERROR)]
        poller.close()
    os.close(writer)
