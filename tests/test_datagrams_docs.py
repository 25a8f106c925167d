"""The program of docs/datagrams.md runs, and prints what stands below it."""

import re
import subprocess
import sys

from examples.program import ENVIRONMENT, PROJECT

TEXT = (PROJECT / "docs" / "datagrams.md").read_text()
[(PROGRAM, PRINTED)] = re.findall(
    r"^```python\n(.*?)^```\n```\n(.*?)^```\n", TEXT, flags=re.DOTALL | re.MULTILINE
)


def test_the_program_prints_what_stands_below_it() -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, PRINTED, "")
