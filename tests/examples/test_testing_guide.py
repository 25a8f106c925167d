"""The programs of docs/testing.md run, and print what stands below them."""

import contextlib
import io
import re

import pytest

from examples.program import PROJECT

TEXT = (PROJECT / "docs" / "testing.md").read_text()
#: (program, what it prints)
PROGRAMS = re.findall(r"^```python\n(.*?)^```\n```\n(.*?)^```\n", TEXT, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("program", "printed"), PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_prints_what_stands_below_it(program: str, printed: str) -> None:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(program, {"__name__": "__main__"})

    assert output.getvalue() == printed


def test_the_first_program_has_ten_lines() -> None:
    assert len([line for line in PROGRAMS[0][0].splitlines() if line.strip()]) <= 10


def test_there_are_programs() -> None:
    assert len(PROGRAMS) == TEXT.count("```python") >= 7
