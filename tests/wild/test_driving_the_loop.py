"""How programs have the loop go round, and what they replace in it."""

import weakref
from typing import Any
from unittest import mock

import pytest

from antiphon.pollers import READ, WRITE  # The bits of poll(2), also on systems that have none.
from faults.originals import Modules, ours
from wild.parts import STEPS, connected_pair, noting, received, step

every_step = pytest.mark.parametrize("go", STEPS.values(), ids=STEPS)


def echo_class(modules: Modules) -> Any:
    """An echo of each line, upper case."""

    class Echo(modules.asynchat.async_chat):  # type: ignore[misc, name-defined]
        def __init__(self, sock: Any, channels: Any) -> None:
            super().__init__(sock, channels)
            self.set_terminator(b"\n")

        collect_incoming_data = modules.asynchat.async_chat._collect_incoming_data

        def found_terminator(self) -> None:
            self.push(self._get_data().upper() + b"\n")

    return Echo


@every_step
def test_one_step_again_and_again(modules: Modules, go: Any) -> None:
    """hazelcast, cassandra-driver, bacpypes, pysnmp, mlat-client and CPython's test servers drive it so."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        echo_class(modules)(near, channels)
        for _ in range(20):
            go(modules, channels)
        answers = b""
        for line in (b"one\n", b"two\nth", b"ree\n"):
            far.sendall(line)
            for _ in range(3):
                go(modules, channels)
            answers += received(far)
        far.close()
        for _ in range(3):
            go(modules, channels)

        assert answers == b"ONE\nTWO\nTHREE\n"
        assert channels == {}


@every_step
def test_a_step_with_an_empty_map_returns_at_once(modules: Modules, go: Any) -> None:
    """zope.server, PodSixNet and pysnmp step whether or not there is a connection."""
    with mock.patch("select.select", side_effect=AssertionError("waited")):
        go(modules, {})


def test_the_loop_ends_when_the_map_is_empty(modules: Modules) -> None:
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher, handle_read=lambda self: self.close())(near, channels)
        far.sendall(b"x")
        modules.asyncore.loop(30, map=channels, count=1000)

        assert channel.events == []
        assert channels == {}


@pytest.mark.parametrize(("count", "turns"), [(0, 0), (-1, 0), (True, 1), (2.0, 2), (1.5, 2)])
def test_a_number_of_turns_may_be_what_a_division_gave(
    modules: Modules, monkeypatch: pytest.MonkeyPatch, count: Any, turns: int
) -> None:
    """`loop(timeout=0.1, count=seconds / 0.1)`, of a program that was made for Python 2 or not."""
    steps: list[None] = []
    monkeypatch.setattr(modules.asyncore, "poll", lambda timeout, channels: steps.append(None))
    modules.asyncore.loop(0, map={0: object()}, count=count)

    assert len(steps) == turns


def test_the_default_map_is_the_one_that_is_stepped(modules: Modules, socket_map: Any) -> None:
    """`asyncore.poll(timeout)` and `asyncore.loop(count=1)` without a map: fail2ban, IRC bots."""
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher)(near)
        for go in (modules.asyncore.poll, modules.asyncore.poll2, modules.asyncore.poll3):
            far.sendall(b"x")
            go(0.001)
        far.sendall(b"x")
        modules.asyncore.loop(timeout=0.001, count=1)

        assert channel.read() == b"xxxx"


@pytest.mark.parametrize(("name", "use_poll"), [("poll", False), ("poll2", True)])
def test_the_step_itself_may_be_replaced(
    modules: Modules, monkeypatch: pytest.MonkeyPatch, name: str, use_poll: bool
) -> None:
    """fail2ban's tests replace `asyncore.poll` and put it back; loop() must call what is there now."""
    calls: list[Any] = []
    channels = {1: object()}

    def replacement(timeout: float, map: Any) -> None:
        calls.append((timeout, map))
        map.clear()

    monkeypatch.setattr(modules.asyncore, name, replacement)
    modules.asyncore.loop(0.5, use_poll, channels)

    assert calls == [(0.5, channels)]


def test_the_loop_itself_may_be_replaced(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    """ZODB's ThreadedAsync puts its own main loop in place of asyncore's."""
    monkeypatch.setattr(modules.asyncore, "loop", lambda *arguments, **named: "theirs")

    assert modules.asyncore.loop(30.0, map={}) == "theirs"


@pytest.mark.parametrize("go", [STEPS["poll"], STEPS["loop with count"]], ids=["poll", "loop"])
@pytest.mark.parametrize("name", ["read", "write"])
def test_read_and_write_may_be_replaced(
    modules: Modules, monkeypatch: pytest.MonkeyPatch, name: str, go: Any
) -> None:
    """A wrapper of unit tests replaces `asyncore.read` and `asyncore.write` to see what they are
    called with.
    """
    calls: list[Any] = []
    original = getattr(modules.asyncore, name)

    def replacement(obj: Any) -> None:
        calls.append(obj)
        original(obj)

    monkeypatch.setattr(modules.asyncore, name, replacement)
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher, writable=lambda self: True)(near, channels)
        far.sendall(b"x")
        go(modules, channels)

        assert calls == [channel]
        assert channel.events == [("read", b"x"), ("write", None)]


@pytest.mark.parametrize("go", [STEPS["poll2"], STEPS["loop with use_poll"]], ids=["poll2", "loop"])
def test_readwrite_may_be_replaced(modules: Modules, monkeypatch: pytest.MonkeyPatch, go: Any) -> None:
    """The epoll patches that go round replace `asyncore.readwrite`; flags are those of poll(2)."""
    calls: list[Any] = []
    original = modules.asyncore.readwrite

    def replacement(obj: Any, flags: int) -> None:
        calls.append((obj, flags))
        original(obj, flags)

    monkeypatch.setattr(modules.asyncore, "readwrite", replacement)
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher)(near, channels)
        far.sendall(b"x")
        go(modules, channels)

        assert calls == [(channel, READ)]
        assert channel.read() == b"x"


def test_events_can_be_passed_to_any_object(modules: Modules) -> None:
    """pyftpdlib, ZEO and asyncore-wsgi call read(), write(), _exception() and readwrite() from
    loops of their own.
    """

    class Anything:
        def __init__(self) -> None:
            self.calls: list[str] = []

        def handle_read_event(self) -> None:
            self.calls.append("read")

        def handle_write_event(self) -> None:
            self.calls.append("write")
            raise LookupError("as asked")

        def handle_expt_event(self) -> None:
            self.calls.append("expt")

        def handle_error(self) -> None:
            self.calls.append("error")

    obj = Anything()
    modules.asyncore.read(obj)
    modules.asyncore.write(obj)
    modules.asyncore._exception(obj)
    assert obj.calls == ["read", "write", "error", "expt"]
    obj.calls.clear()
    modules.asyncore.readwrite(obj, READ | WRITE)
    assert obj.calls == ["read", "write", "error"]


def test_functions_of_the_module_can_be_kept_under_other_names(modules: Modules) -> None:
    """pyftpdlib: `_read = asyncore.read` at the top of its own loop."""
    _read = modules.asyncore.read
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher)(near, {})
        far.sendall(b"x")
        _read(channel)

        assert channel.read() == b"x"


@pytest.mark.parametrize("end", ["del_channel", "close"])
def test_predicates_are_asked_once_a_turn_and_may_act(modules: Modules, end: str) -> None:
    """async_http and waitress do their housekeeping in readable(), and end other channels there."""
    if modules != ours() and end == "close":
        pytest.skip("the old select() got a bad file descriptor then")
    channels: dict[int, Any] = {}
    asked: list[str] = []

    def readable(self: Any) -> bool:
        asked.append("readable")
        if len(asked) > 2:
            getattr(victim, end)()
        return True

    def writable(self: Any) -> bool:
        asked.append("writable")
        return False

    with connected_pair() as (near, _), connected_pair() as (other, peer):
        noting(modules.asyncore.dispatcher, readable=readable, writable=writable)(near, channels)
        victim = noting(modules.asyncore.dispatcher)(other, channels)
        peer.sendall(b"x")
        step(modules, channels)
        assert asked == ["readable", "writable"]
        peer.sendall(b"y")
        step(modules, channels)

        assert asked == ["readable", "writable"] * 2
        assert list(channels) == [near.fileno()]
        assert victim.read() == b"x"


@pytest.mark.parametrize("name", ["poll_fun", "async_map"])
def test_names_that_nobody_reads_may_be_set(
    modules: Modules, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Old programs set attributes on the module, and on its classes, for versions that no longer
    read them.
    """
    monkeypatch.setattr(modules.asyncore, name, object(), raising=False)
    monkeypatch.setattr(modules.asyncore.dispatcher, name, object(), raising=False)

    step(modules, {})


def test_a_plain_dict_has_a_loop_only_as_long_as_it_lives() -> None:
    """email-oauth2-proxy makes a map for each connection: nothing must remain of it."""
    modules = ours()
    channels: dict[int, Any] = {}
    with connected_pair() as (near, _):
        channel = noting(modules.asyncore.dispatcher)(near, channels)
        step(modules, channels)
        loop = weakref.ref(modules.asyncore.get_loop(channels))
        channel.close()
        del channel, channels

        assert loop() is None
