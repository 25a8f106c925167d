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


class Play(Stage):
    """A scene that is played with a handler that raises.

    Attributes:
        failure: what `handle_error` raises, if anything.
        left: what has left the loop.
        complete: what the scene says after the loop was entered again each time.
    """

    failure: BaseException | None = None
    complete: object

    def __init__(self, wires: Wires, channels: Any, scene: Scene, use_poll: bool) -> None:
        super().__init__(wires, channels, lambda channel: None)
        self.scene, self.use_poll = scene, use_poll
        self.left: list[BaseException] = []

    @property
    def of_nobody(self) -> bool:
        """Whether there is no channel to tell."""
        return self.scene in OF_NOBODY

    @property
    def undisturbed(self) -> bool:
        """Whether the bystanders got everything once, and nothing else."""
        loop = asyncore.get_loop(self.channels)
        return self.heard() == {(b"first second", frozenset({"read"}))} and not loop.in_turn()

    def note_error(self) -> None:
        super().note_error()
        if self.failure is not None:
            raise self.failure

    def raises(self, error: BaseException) -> None:
        """Play it, with a handler that raises this."""
        self.act = raising(error)
        self.add_bystander()
        outcome = self.scene(self)
        self.add_bystander()
        for word in b"first ", b"second":
            self.speak(word)
            for _ in range(3):
                try:
                    asyncore.loop(0, self.use_poll, self.channels, 8)
                except BaseException as leaving:
                    self.left.append(leaving)
        self.complete = outcome()
        assert self.acted


@pytest.fixture(params=SCENES, ids=lambda scene: scene.__name__)
def play(request: pytest.FixtureRequest, wires: Wires, channels: Any, use_poll: bool) -> Play:
    return Play(wires, channels, request.param, use_poll)


@pytest.mark.parametrize("kind", CONTAINED)
def test_an_error_is_told_to_its_channel_once_and_disturbs_nobody(
    play: Play, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    error = kind("as asked")
    play.raises(error)

    assert play.left == []
    if play.of_nobody:
        assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]
    else:
        assert play.told == [error]
        assert caplog.records == []
    if play.scene not in PRODUCERS:  # They close their channel: the peer would mistake what follows.
        assert play.complete
    assert play.undisturbed


@pytest.mark.parametrize("kind", LEAVING)
def test_what_leaves_the_loop_leaves_it_once_and_everything_goes_on_from_there(
    play: Play, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    error = kind("as asked")
    play.raises(error)

    assert play.left == [error]
    assert play.told == []
    assert play.complete
    assert play.undisturbed
    assert caplog.records == []


@pytest.mark.parametrize("kind", [*CONTAINED, *LEAVING])
def test_what_handle_error_raises_ends_its_channel_or_leaves_the_loop(
    play: Play, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    play.failure = kind("in handle_error")
    play.raises(LookupError("as asked"))

    if play.of_nobody:
        assert (play.told, play.left) == ([], [])
    else:
        assert [type(told) for told in play.told] == [LookupError]
        assert play.left == ([play.failure] if kind in LEAVING else [])
    if play.of_nobody or kind in CONTAINED:
        assert len(caplog.records) == 1
    assert play.undisturbed
