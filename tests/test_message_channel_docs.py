"""The programs of docs/messages.md run, and print what stands below them."""

import re
import subprocess
import sys

import pytest

from examples.program import ENVIRONMENT, PROJECT, running

TEXT = (PROJECT / "docs" / "messages.md").read_text()
#: (program, what it prints)
PROGRAMS = re.findall(r"^```python\n(.*?)^```\n(?:```\n(.*?)^```\n)?", TEXT, flags=re.DOTALL | re.MULTILINE)
[SERVER, *OTHERS] = PROGRAMS


def test_the_server_greets() -> None:
    program, _ = SERVER
    assert len([line for line in program.splitlines() if line.strip()]) <= 15

    with running("-c", program) as server, server.client() as client:
        client.send("Ann", "")

        assert [client.line(), client.line()] == ["Hello, Ann!", "Hello, !"]


@pytest.mark.parametrize(("program", "printed"), OTHERS, ids=range(len(OTHERS)))
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


def test_there_are_programs() -> None:
    assert len(OTHERS) >= 6
