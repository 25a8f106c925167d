"""Writes docs/faults.md from the fault table: `scripts/faults`."""

from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Final

from faults.errors_of_calls import ERRORS_OF_CALLS
from faults.table import SCENES, Rule, Scene

__all__ = ["PAGE", "page"]

PAGE: Final = Path(__file__).parents[2] / "docs" / "faults.md"
_TEMPLATE: Final = Path(__file__).with_name("faults.template.md")


def page() -> str:
    """The text of the page."""
    calls = list(dict.fromkeys(scene.call for scene in SCENES))
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(tables="".join(map(_section, calls)))


def _section(call: str) -> str:
    sources = "".join(
        f"- {source}: {_words(names.split())}\n" for source, names in ERRORS_OF_CALLS[call].items()
    )
    scenes = "".join(_scene(scene) for scene in SCENES if scene.call == call)
    return f"\n## {call}\n\n{sources}{scenes}"


def _scene(scene: Scene) -> str:
    differs = any(rule.with_poll is not None for rule in scene.rules)
    columns = ["errors", "handlers", *(["with `use_poll=True`"] if differs else []), "the channel"]
    rows = [_row(scene, rule, differs) for rule in scene.rules if _errors(scene, rule)]
    lines = [columns, ["---"] * len(columns), *rows]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    notes = []
    if scene.left_out:
        notes.append(f"Not {_words(scene.left_out)}.")
    if scene.not_on:
        notes.append(f"The {' and '.join(sorted(scene.not_on))} poller can't tell of it.")
    note = "".join(f"\n{text}\n" for text in notes)
    return f"\n### {scene.text[0].upper()}{scene.text[1:]}: {', '.join(scene.kinds)}\n\n{table}{note}"


def _row(scene: Scene, rule: Rule, differs: bool) -> list[str]:
    errors = _words(_errors(scene, rule)) if rule.errors is not None else "anything else"
    if scene.rules == (rule,):
        errors = "any"
    handlers = [_handlers(rule.expected(False)), *([_handlers(rule.expected(True))] if differs else [])]
    return [errors, *handlers, rule.then]


def _errors(scene: Scene, rule: Rule) -> list[str]:
    """The errors of the scene that the rule decides for."""
    return [name for name in scene.errors if scene.rule(name) is rule]


def _handlers(calls: tuple[str, ...]) -> str:
    return ", ".join(f"`{call}`" for call in calls) or "none"


def _words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
