"""Plays one cell of the fault table, and says what was not as its rule says."""

import errno
from collections.abc import Iterator
from functools import partial

from antiphon.testing import error
from faults.stage import Stage, open_descriptors, staged
from faults.table import CLOSED, LEFT, RAISES, RAISES_CLOSED, REFUSED, RESTS, Rule, Scene

__all__ = ["complaints"]

_RAISING = (RAISES, RAISES_CLOSED, REFUSED, LEFT)
_ENDED = (CLOSED, RAISES_CLOSED)


def complaints(scene: Scene, kind: str, poller: str, use_poll: bool) -> list[str]:
    """What is wrong in a row of cells, one for each error that this system has."""
    found = []
    for name in scene.errors:
        if hasattr(errno, name):
            before = open_descriptors()
            found += [f"{name}: {wrong}" for wrong in _play(scene, kind, poller, use_poll, name)]
            if open_descriptors() != before:
                found.append(f"{name}: descriptors are open: {open_descriptors()}, before {before}")
    return found


def _play(scene: Scene, kind: str, poller: str, use_poll: bool, name: str) -> Iterator[str]:
    rule, number = scene.rule(name), getattr(errno, name)
    with staged(kind, poller, use_poll) as stage:
        raised = None
        try:
            scene.play(stage, partial(error, number))
        except OSError as failure:
            raised = failure.errno
        called = tuple(call for call in stage.trace if call not in scene.unheard)
        wanted = rule.expected(use_poll)
        if called != wanted:
            yield f"called {' '.join(called) or 'nothing'}, wanted {' '.join(wanted) or 'nothing'}"
        if raised != (number if rule.then in _RAISING else None):
            yield f"raised {raised}, and the rule says: {rule.then}"
        stage.trace.clear()
        yield from _afterwards(stage, rule)
        yield from stage.leftovers()
        if stage.reference() is not None:
            yield "something refers to the channel"


def _afterwards(stage: Stage, rule: Rule) -> Iterator[str]:
    """Go on until the channel has ended, in whatever way the rule leaves it to."""
    if rule.then in _ENDED:
        yield from _silence(stage)
    elif rule.then == REFUSED:
        stage.sock.close()
        yield from _silence(stage)
    elif stage.sock.called("listen"):
        yield from _go_on_listening(stage, rule)
    else:
        yield from _end_of_connection(stage, rule)


def _silence(stage: Stage) -> Iterator[str]:
    if not stage.sock.closed:
        yield "the socket is open"
    stage.turn(3)
    if stage.trace:
        yield f"called after the end: {' '.join(stage.trace)}"


def _go_on_listening(stage: Stage, rule: Rule) -> Iterator[str]:
    if rule.then == RESTS:
        stage.turn(2)
        if stage.trace:
            yield f"called while it rests: {' '.join(stage.trace)}"
        stage.clock.advance(1)
    stage.turn(3)
    if stage.trace.count("handle_accepted") != 1:
        yield f"the connection that waits was not accepted: {' '.join(stage.trace)}"
    stage.reference().close()


def _end_of_connection(stage: Stage, rule: Rule) -> Iterator[str]:
    """A channel that stays open hears of the end of its connection, once."""
    if rule.then != LEFT:
        stage.far.close()
    stage.turn(5)
    news = [call for call in stage.trace if call not in ("handle_read", "handle_write")]
    if news != ["handle_close"]:
        yield f"called at the end of the connection: {' '.join(stage.trace)}, wanted handle_close"
    if not stage.sock.closed:
        yield "the socket is open after the end of the connection"
        stage.reference().close()
