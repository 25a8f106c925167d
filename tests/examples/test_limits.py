"""The programs of docs/limits.md run, and print what stands below them."""

import re
import subprocess
import sys

import pytest

from antiphon import MessageChannel
from antiphon.asynchat import async_chat
from examples.program import ENVIRONMENT, PROJECT

TEXT = (PROJECT / "docs" / "limits.md").read_text()
#: (program, what it prints)
PROGRAMS = re.findall(r"^```python\n(.*?)^```\n```\n(.*?)^```\n", TEXT, flags=re.DOTALL | re.MULTILINE)
#: (attribute, its value in async_chat, its value in MessageChannel), as the table has them
DEFAULTS = re.findall(r"^\| `(\w+)` \|[^|]*\| `?([^|`]+)`? \| `?([^|`]+)`? \|", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize(("program", "printed"), PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_prints_what_stands_below_it(program: str, printed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


def test_all_programs_say_what_they_print() -> None:
    assert len(PROGRAMS) == TEXT.count("```python") >= 3


@pytest.mark.parametrize(("name", "of_chats", "of_messages"), DEFAULTS)
def test_the_table_has_the_defaults(name: str, of_chats: str, of_messages: str) -> None:
    for cls, said in (async_chat, of_chats), (MessageChannel, of_messages):
        value = getattr(cls, name)
        shown = (
            f'"{value}"' if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else str(value)
        )
        assert shown == said


def test_there_are_limits_in_the_table() -> None:
    assert len(DEFAULTS) >= 2
