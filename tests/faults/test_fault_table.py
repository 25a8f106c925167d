"""Every error of every system call, on every poller: what is called, and that nothing is left."""

import errno

import pytest

from antiphon import asyncore, listener
from faults.errors_of_calls import ERRORS_OF_CALLS, errors_of
from faults.page import PAGE, page
from faults.playing import complaints
from faults.stage import POLLERS, without_noise
from faults.table import CLOSED, EXHAUSTED, LOST, SCENES, STAYS, TRY_AGAIN, Rule, Scene

ROWS = [
    pytest.param(scene, kind, poller, id=f"{scene.call}: {scene.text}, {kind}, {poller}".replace("`", ""))
    for scene in SCENES
    for kind in scene.kinds
    for poller in POLLERS
    if poller not in scene.not_on
]


@pytest.mark.parametrize("use_poll", [False, True], ids=["poll", "poll2"])
@pytest.mark.parametrize(("scene", "kind", "poller"), ROWS)
def test_each_error_has_the_consequences_that_its_rule_says(
    scene: Scene, kind: str, poller: str, use_poll: bool
) -> None:
    with without_noise():
        assert complaints(scene, kind, poller, use_poll) == []


@pytest.mark.parametrize("wrong", [Rule(None, (), STAYS), Rule(None, ("handle_close",), CLOSED)])
def test_a_rule_that_does_not_hold_is_found_out(wrong: Rule) -> None:
    [scene] = [scene for scene in SCENES if scene.text == "input arrives"]
    false = Scene("recv", "another", scene.kinds, scene.play, (wrong,))
    with without_noise():
        found = complaints(false, "dispatcher", next(iter(POLLERS)), use_poll=False)
    assert {complaint.split(":")[0] for complaint in found} >= {"EIO", "EAGAIN"}


def test_each_call_and_each_of_its_errors_is_played() -> None:
    played = {
        call: {name for scene in SCENES if scene.call == call for name in scene.errors}
        for call in ERRORS_OF_CALLS
    }
    assert played == {call: set(errors_of(call)) for call in ERRORS_OF_CALLS}


def numbers(names: frozenset[str]) -> set[int]:
    return {getattr(errno, name) for name in names if hasattr(errno, name)}


def test_the_groups_of_the_rules_are_those_of_the_modules() -> None:
    assert numbers(LOST) == asyncore._DISCONNECTED
    assert numbers(EXHAUSTED) == listener.EXHAUSTED
    assert numbers(TRY_AGAIN) - {errno.EALREADY} == listener.PEER_GONE


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "docs/faults.md is out of date: run scripts/faults"
