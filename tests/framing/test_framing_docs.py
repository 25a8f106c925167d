"""The programs of docs/framing.md run: its servers answer, the others print what stands below them."""

import importlib.util
import re
import subprocess
import sys

import pytest

from examples.program import ENVIRONMENT, PROJECT, running

TEXT = (PROJECT / "docs" / "framing.md").read_text()
#: (program, what it prints)
PROGRAMS = re.findall(r"^```python\n(.*?)^```\n(?:```\n(.*?)^```\n)?", TEXT, flags=re.DOTALL | re.MULTILINE)
#: By the library that each imports first.
SERVERS = {program.split()[1]: program for program, _ in PROGRAMS if "telnet" in program}
OTHERS = [(program, printed) for program, printed in PROGRAMS if "telnet" not in program]


def test_there_are_programs() -> None:
    assert set(SERVERS) == {"socket", "trio", "anyio"}
    assert len(OTHERS) >= 4


@pytest.mark.parametrize("library", SERVERS)
def test_a_server_answers_over_a_real_socket(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"needs {library}")
    with running("-c", SERVERS[library]) as server, server.client() as first, server.client() as second:
        first.send("one", "two", "")
        second.sock.sendall(b"thr")
        assert [first.line(), first.line(), first.line()] == ["ONE", "TWO", ""]
        second.send("ee" + "e" * 200_000)
        assert second.line() == "THREE" + "E" * 200_000


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
