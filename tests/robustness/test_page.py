"""docs/robustness.md: its commands exist, and it tells of what there is."""

import itertools
import os
import re

import pytest
from fuzz.harnesses import HARNESSES
from robustness.attacks import ATTACKS
from robustness.processes import ROOT

from robustness import soak

PAGE = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"`(?:[A-Z_]+=\w+ )?(scripts/[^`]+)`", PAGE)))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_can_be_run(command: str) -> None:
    script, *arguments = command.split()
    assert os.access(ROOT / script, os.X_OK)
    for argument in arguments:
        if "/" in argument:
            assert (ROOT / argument).exists()


def test_each_row_of_the_page_ends_in_its_command() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    heads = [row for row, below in itertools.pairwise(rows) if below.startswith("|---")]
    assert len(heads) == 3
    for row in rows:
        if row not in heads and not row.startswith("|---"):
            assert re.search(r"\| `([A-Z_]+=\w+ )?scripts/[^`]+` \|$", row), row


def test_the_page_tells_how_long_the_soak_may_take() -> None:
    assert soak.GRACE == 4 * 60
    assert "four minutes more than it was asked to, at most" in PAGE


def test_the_page_has_a_command_for_each_thing_that_is_shown() -> None:
    scripts = {command.split()[0] for command in COMMANDS}
    assert {f"scripts/{name}" for name in ("attacks", "fuzz", "slow-loris", "soak", "test")} <= scripts


@pytest.mark.parametrize("name", [*HARNESSES, *(attack.name for attack in ATTACKS)])
def test_the_page_tells_of_each_harness_and_each_attack(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_the_page_tells_how_exact_the_soak_is() -> None:
    assert f"{soak.MEMORY_TOLERANCE >> 20} MiB" in PAGE
    assert f"{soak.BLOCKS_TOLERANCE:,} blocks" in PAGE
