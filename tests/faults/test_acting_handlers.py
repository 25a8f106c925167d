"""Every handler, every poller: it closes a channel, opens it anew, runs the loop, replaces its socket."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

import loop_support
from antiphon import asyncore, pollers
from effort import some
from faults import handlers
from faults.handlers import SCENES, Scene, Stage
from loop_support import Wires

wires = loop_support.wires
use_poll = loop_support.use_poll

#: Nothing of a channel is called here.
WITHOUT_CHANNEL = [
    handlers.timer_of_a_channel,
    handlers.timer_of_the_loop,
    handlers.call_soon_threadsafe_of_a_channel,
    handlers.call_soon_threadsafe_of_the_loop,
]
#: Their channels listen.
NOT_OPENED_ANEW = [handlers.handle_accept, handlers.handle_accepted]
OF_CHANNELS = [scene for scene in SCENES if scene not in WITHOUT_CHANNEL]
named: dict[str, Any] = {"ids": lambda scene: scene.__name__}


@pytest.fixture(params=[*some(pollers.offered()), "plain map"])
def channels(request: pytest.FixtureRequest, wires: Wires, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A map for each poller, and one that doesn't tell its loop of changes."""
    if request.param == "plain map":
        return wires.plain_map()
    monkeypatch.setenv(pollers.ENVIRONMENT_VARIABLE, request.param)
    return wires.map()


class Strict(Stage):
    """Notes whenever a handler is called of a channel that is closed."""

    def __init__(self, wires: Wires, channels: Any, act: Callable[[Any], object]) -> None:
        super().__init__(wires, channels, act)
        self.late: list[str] = []

    def kind(self, made: type, **body: Any) -> Any:
        return super().kind(
            made, **{name: self._watched(name, value) for name, value in self._handlers(made, body)}
        )

    def _handlers(self, made: type, body: dict[str, Any]) -> list[tuple[str, Any]]:
        inherited = {
            name: getattr(made, name)
            for name in ("handle_read", "handle_write", "handle_close", "found_terminator")
            if hasattr(made, name)
        }
        return list({**inherited, **body}.items())

    def _watched(self, name: str, method: Any) -> Any:
        if not callable(method) or name in {"readable", "writable"}:
            return method

        def handler(channel: Any, *arguments: Any) -> Any:
            if channel.closing:
                self.late.append(name)
            return method(channel, *arguments)

        return handler


def play(stage: Stage, scene: Scene, use_poll: bool) -> object:
    stage.add_bystander()
    outcome = scene(stage)
    stage.add_bystander()
    for word in b"first ", b"second":
        stage.speak(word)
        asyncore.loop(0, use_poll, stage.channels, 12)
    assert stage.acted
    assert stage.told == []
    return outcome()


def undisturbed(stage: Stage) -> bool:
    return stage.heard() == {(b"first second", frozenset({"read"}))}


@pytest.mark.parametrize("scene", OF_CHANNELS, **named)
def test_who_closes_its_own_channel_hears_nothing_more_and_nobody_else_notices(
    wires: Wires, channels: Any, use_poll: bool, scene: Scene
) -> None:
    stage = Strict(wires, channels, lambda channel: channel.close())
    play(stage, scene, use_poll)
    assert stage.late == []
    assert undisturbed(stage)
    assert len(channels) == len(stage.bystanders)


@pytest.mark.parametrize("scene", SCENES, **named)
def test_who_closes_others_goes_on_and_they_hear_nothing_more(
    wires: Wires, channels: Any, use_poll: bool, scene: Scene
) -> None:
    def close_others(channel: Any) -> None:
        for bystander, _ in stage.bystanders:
            bystander.close()
            bystander.events.append("closed")

    stage = Strict(wires, channels, close_others)
    assert play(stage, scene, use_poll)
    assert {bystander.events[-1] for bystander, _ in stage.bystanders} == {"closed"}


@pytest.mark.parametrize("scene", [scene for scene in OF_CHANNELS if scene not in NOT_OPENED_ANEW], **named)
def test_who_opens_its_channel_anew_under_the_same_number_hears_only_the_new_socket(
    wires: Wires, channels: Any, use_poll: bool, scene: Scene
) -> None:
    opened: list[Any] = []

    def reopen(channel: Any) -> None:
        near, far = wires.pair()
        number = channel._fileno
        channel.close()
        spare = socket.socket(fileno=near.detach())
        if spare.fileno() != number:  # The lowest is given out next, as the system does.
            spare, moved = spare.dup(), spare
            moved.close()
        assert spare.fileno() == number
        wires.owned(spare)
        channel.set_socket(spare, channels)
        channel.__dict__.get("incoming", []).clear()  # What was collected is the program's.
        channel.connected = True
        far.send(b"fresh\n")
        opened.append(channel)

    stage = Strict(wires, channels, reopen)
    play(stage, scene, use_poll)
    assert undisturbed(stage)
    [channel] = opened
    assert channel in channels.values()
    if hasattr(channel, "lines"):
        assert b"".join(channel.lines).strip().endswith(b"fresh")
    else:
        assert channel.received.endswith(b"fresh\n")


@pytest.mark.parametrize(
    "turn", [asyncore.poll, asyncore.poll2, asyncore.loop], ids=lambda turn: turn.__name__
)
@pytest.mark.parametrize("scene", SCENES, **named)
def test_who_runs_the_loop_gets_everything_once_and_so_do_the_others(
    wires: Wires, channels: Any, use_poll: bool, scene: Scene, turn: Any
) -> None:
    def run(channel: Any) -> None:
        for _ in range(3):
            turn(0, map=channels, **({"count": 2} if turn is asyncore.loop else {}))

    stage = Strict(wires, channels, run)
    assert play(stage, scene, use_poll)
    assert stage.late == []
    assert undisturbed(stage)


class Wrapped:
    """What a program uses as a socket, around one."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.mark.parametrize("scene", OF_CHANNELS, **named)
def test_who_replaces_its_socket_loses_nothing(
    wires: Wires, channels: Any, use_poll: bool, scene: Scene
) -> None:
    def replace(channel: Any) -> None:
        channel.socket = Wrapped(channel.socket)

    stage = Strict(wires, channels, replace)
    assert play(stage, scene, use_poll)
    assert undisturbed(stage)
