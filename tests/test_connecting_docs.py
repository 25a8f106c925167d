"""The programs of docs/connecting.md run."""

import re
import subprocess
import sys

from examples.program import ENVIRONMENT, PROJECT

TEXT = (PROJECT / "docs" / "connecting.md").read_text()
NAMES, HALVES, AGAIN = re.findall(r"^```python\n(.*?)^```\n", TEXT, flags=re.DOTALL | re.MULTILINE)


def output_of(program: str) -> str:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_name_is_connected_to_and_another_is_not_found() -> None:
    lines = sorted(output_of(NAMES).splitlines())
    assert lines[1] == "connected to 127.0.0.1"
    assert lines[0].startswith("cannot connect to no.such.invalid port 80: no.such.invalid port 80: ")


def test_a_peer_that_has_sent_all_is_answered() -> None:
    assert output_of(HALVES) == "b'QUESTION'\n"


def test_a_connection_that_fails_is_tried_again() -> None:
    assert output_of(AGAIN) == ""
