"""Names and addresses: what has to be looked up, how, and in which order the answers are tried."""

import os
import queue
import socket
import sys
import threading
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import resolving
from antiphon.resolving import interleaved, is_name, resolve


@pytest.mark.parametrize(
    "address",
    [("example.org", 80), ("localhost", 80), ("localhost", 80, 0, 0), ("1.2.3", 80), ("a b", 80)],
)
def test_a_host_that_is_no_number_is_a_name(address: Any) -> None:
    assert is_name(address)


@pytest.mark.parametrize(
    "address",
    [
        ("127.0.0.1", 80),
        ("::1", 80),
        ("::1", 80, 0, 0),
        ("fe80::1%lo", 80, 0, 1),
        ("", 80),
        ("<broadcast>", 80),
        "/run/socket",
        b"\0abstract",
        (),
        (b"example.org", 80),
        (1, 2),
        None,
    ],
)
def test_anything_else_is_none(address: Any) -> None:
    assert not is_name(address)


def found_for(host: str, port: int, family: int, kind: int) -> Any:
    results: queue.Queue[Any] = queue.Queue()
    resolve(host, port, family, kind, results.put)
    return results.get(timeout=30)


def test_a_name_is_looked_up_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[bool] = []

    def getaddrinfo(*asked: Any) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        assert asked == ("name", 80, socket.AF_UNSPEC, socket.SOCK_STREAM)
        entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))
        return [entry, entry]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    found = found_for("name", 80, socket.AF_UNSPEC, socket.SOCK_STREAM)
    assert (found, threads) == ([(socket.AF_INET, ("192.0.2.1", 80))], [False])


def test_localhost_is_found() -> None:
    found = found_for("localhost", 80, socket.AF_INET, socket.SOCK_STREAM)
    assert found == [(socket.AF_INET, ("127.0.0.1", 80))]


@pytest.mark.parametrize("name", ["no.such.invalid", "a" * 70 + ".invalid", "dots..invalid"])
def test_a_name_that_is_not_found_is_an_error(name: str) -> None:
    assert isinstance(found_for(name, 80, socket.AF_UNSPEC, socket.SOCK_STREAM), socket.gaierror)


@pytest.mark.parametrize("trouble", [RuntimeError("out of order"), []])
def test_whatever_goes_wrong_is_an_error_and_ends_the_search(
    monkeypatch: pytest.MonkeyPatch, trouble: Any
) -> None:
    def getaddrinfo(*_: Any) -> Any:
        if isinstance(trouble, Exception):
            raise trouble
        return trouble

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    found = found_for("example.org", 80, socket.AF_UNSPEC, socket.SOCK_STREAM)
    assert isinstance(found, OSError)
    assert found.strerror == ("out of order" if trouble else "no address")


def test_only_so_many_are_looked_up_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    release, running = threading.Event(), threading.Semaphore(0)
    most = 0

    def getaddrinfo(*_: Any) -> Any:
        running.release()
        release.wait(30)
        return [(socket.AF_INET, 1, 6, "", ("192.0.2.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    results: queue.Queue[Any] = queue.Queue()
    for _ in range(20):
        resolve("name", 80, socket.AF_INET, socket.SOCK_STREAM, results.put)
    while running.acquire(timeout=0.2 if most == 16 else 30):
        most += 1
    assert most == 16
    release.set()
    for _ in range(20):
        results.get(timeout=30)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_forked_child_has_all_of_its_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [resolving._slots.acquire(blocking=False) for _ in range(16)]
    assert all(taken)
    resolving._start_over()
    assert resolving._slots.acquire(blocking=False)
    resolving._slots.release()
    assert os.getpid()


@given(st.lists(st.tuples(st.sampled_from([2, 10]), st.integers()), unique=True))
def test_families_take_turns_and_keep_their_order(addresses: list[tuple[int, Any]]) -> None:
    order = interleaved(addresses)
    assert sorted(order) == sorted(addresses)
    for family in 2, 10:
        mine = [address for address in addresses if address[0] == family]
        assert [address for address in order if address[0] == family] == mine
    shorter = min(sum(address[0] == family for address in addresses) for family in (2, 10))
    families = [family for family, _ in order[: 2 * shorter]]
    assert all(before != after for before, after in pairwise(families))
    assert order[:1] == addresses[:1]
