"""The programs of the documents: blocks of Python. What one prints is the block right below it."""

import re
import subprocess
import sys
import textwrap

import pytest

from examples.program import ENVIRONMENT, PROJECT

_BLOCKS = re.compile(
    r"^( *)```python\n(.*?)^\1```\n(?:\1```\n(.*?)^\1```\n)?", flags=re.DOTALL | re.MULTILINE
)


def text_of(name: str) -> str:
    """The text of docs/`name`."""
    return (PROJECT / "docs" / name).read_text()


def programs_of(text: str) -> list[tuple[str, str]]:
    """(program, what it prints), without the space that they are indented by; "" if nothing is said."""
    return [
        (textwrap.dedent(program), textwrap.dedent(printed)) for _, program, printed in _BLOCKS.findall(text)
    ]


def lines_of_code(program: str) -> int:
    """How many of its lines are not empty."""
    return len([line for line in program.splitlines() if line.strip()])


def output_of(program: str) -> str:
    """What it prints as a program of its own, which is not to fail, to warn or to log."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def each_program(programs: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """Runs a test with the `program` and what is `printed` of each."""
    return pytest.mark.parametrize(("program", "printed"), programs, ids=range(len(programs)))
