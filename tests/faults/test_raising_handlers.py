"""Every handler, exception and poller: who is told, what leaves the loop, and whether anything is lost.

Nothing is lost: when the loop was entered again, each byte and each call has come once.
"""

import logging
from typing import Any

import pytest

import loop_support
from antiphon import asyncore, calls, failures, pollers
from antiphon.logs import LimitedLog
from effort import some
from faults import handlers
from faults.handlers import SCENES, Scene, Stage
from loop_support import Wires, raising

wires = loop_support.wires
use_poll = loop_support.use_poll

#: Handled by the channel.
CONTAINED = [ValueError, MemoryError]
#: What leaves the loop.
LEAVING = [asyncore.ExitNow, KeyboardInterrupt, SystemExit]
#: There is no channel to tell.
OF_NOBODY = [handlers.timer_of_the_loop, handlers.call_soon_threadsafe_of_the_loop]
PRODUCERS = [
    handlers.more,
    handlers.more_in_the_middle,
    handlers.more_in_the_middle_with_a_size,
    handlers.more_of_an_answer,
    handlers.more_at_the_end,
]


@pytest.fixture(params=[*some(pollers.offered()), "plain map"])
def channels(request: pytest.FixtureRequest, wires: Wires, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A map for each poller, and one that doesn't tell its loop of changes."""
    if request.param != "plain map":
        monkeypatch.setenv(pollers.ENVIRONMENT_VARIABLE, request.param)
    channels = wires.plain_map() if request.param == "plain map" else wires.map()
    asyncore.get_loop(channels).slow_callback = None  # A busy machine is not what is looked for.
    return channels


@pytest.fixture(autouse=True)
def _every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left out of the log because another test has said it."""
    for module, logger in (failures, "antiphon.channels"), (calls, "antiphon.loop"):
        monkeypatch.setattr(module, "_limited", LimitedLog(logging.getLogger(logger), burst=10))


def play(stage: Stage, scene: Scene, use_poll: bool) -> tuple[list[BaseException], object]:
    """What has left the loop, and what the scene says after the loop was entered again each time."""
    left: list[BaseException] = []
    stage.add_bystander()
    outcome = scene(stage)
    stage.add_bystander()
    for word in b"first ", b"second":
        stage.speak(word)
        for _ in range(3):
            try:
                asyncore.loop(0, use_poll, stage.channels, 8)
            except BaseException as error:
                left.append(error)
    return left, outcome()


def undisturbed(stage: Stage) -> bool:
    """Whether the bystanders got everything once, and nothing else."""
    loop = asyncore.get_loop(stage.channels)
    return stage.heard() == {(b"first second", frozenset({"read"}))} and not loop.in_turn()


@pytest.mark.parametrize("kind", CONTAINED)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_an_error_is_told_to_its_channel_once_and_disturbs_nobody(
    wires: Wires,
    channels: Any,
    use_poll: bool,
    scene: Scene,
    kind: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = kind("as asked")
    stage = Stage(wires, channels, raising(error))
    left, complete = play(stage, scene, use_poll)

    assert stage.acted
    assert left == []
    if scene in OF_NOBODY:
        assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]
    else:
        assert stage.told == [error]
        assert caplog.records == []
    if scene not in PRODUCERS:  # They close their channel: the peer would mistake what follows.
        assert complete
    assert undisturbed(stage)


@pytest.mark.parametrize("kind", LEAVING)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_what_leaves_the_loop_leaves_it_once_and_everything_goes_on_from_there(
    wires: Wires,
    channels: Any,
    use_poll: bool,
    scene: Scene,
    kind: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = kind("as asked")
    stage = Stage(wires, channels, raising(error))
    left, complete = play(stage, scene, use_poll)

    assert stage.acted
    assert left == [error]
    assert stage.told == []
    assert complete
    assert undisturbed(stage)
    assert caplog.records == []


@pytest.mark.parametrize("kind", [*CONTAINED, *LEAVING])
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_what_handle_error_raises_ends_its_channel_or_leaves_the_loop(
    wires: Wires,
    channels: Any,
    use_poll: bool,
    scene: Scene,
    kind: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = kind("in handle_error")

    class Failing(Stage):
        def note_error(self) -> None:
            super().note_error()
            raise error

    stage = Failing(wires, channels, raising(LookupError("as asked")))
    left, _ = play(stage, scene, use_poll)

    if scene in OF_NOBODY:
        assert (stage.told, left) == ([], [])
    else:
        assert [type(told) for told in stage.told] == [LookupError]
        assert left == ([error] if kind in LEAVING else [])
    if scene in OF_NOBODY or kind in CONTAINED:
        assert len(caplog.records) == 1
    assert undisturbed(stage)
