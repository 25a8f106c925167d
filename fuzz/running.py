"""Runs a harness in libFuzzer, in a process of its own, and reads what that says in the end."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from fuzz.harnesses import Harness

__all__ = ["Outcome", "fuzz", "read_outcome"]

#: Seconds that one input may take, after which it counts as a crash; and that libFuzzer may take to end.
LONGEST: Final = 20

#: What `-print_final_stats=1` prints, and the lines that tell of progress.
_TRIED: Final = re.compile(r"^stat::number_of_executed_units:\s*([0-9]+)", re.MULTILINE)
_COVERED: Final = re.compile(r"\bcov: ([0-9]+) ft: ([0-9]+)")
_SAVED: Final = re.compile(r"Test unit written to (\S+)")
_COMPLAINT: Final = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*", re.MULTILINE)


class Outcome(NamedTuple):
    """What became of a run.

    Attributes:
        tried: how many inputs.
        places: of the code that they have reached.
        features: places told apart by how often and in which order they were reached.
        crash: the file with the input that failed; None if none did.
        complaint: what was wrong with it; "" if nothing was.
    """

    tried: int
    places: int
    features: int
    crash: Path | None
    complaint: str

    @property
    def failed(self) -> bool:
        """Whether there is anything wrong."""
        return bool(self.crash or self.complaint)


def fuzz(harness: Harness, seconds: int, kept: Path) -> Outcome:
    """Try new inputs for so long.

    Args:
        harness: what with.
        seconds: how long.
        kept: a folder for the inputs that reach what no other has reached, which are tried first the next
            time; those that fail are put beside it.
    """
    kept.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "fuzz.target", harness.name,
        f"-max_total_time={seconds}", f"-max_len={harness.longest}", f"-timeout={LONGEST}",
        f"-artifact_prefix={kept}-", "-print_final_stats=1", str(kept), str(harness.folder),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, timeout=2 * seconds + 60, check=False
    )
    return read_outcome(
        done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace"), done.returncode
    )


def read_outcome(output: str, status: int) -> Outcome:
    """What libFuzzer has printed, and its exit status, in numbers."""
    tried, saved = _TRIED.search(output), _SAVED.search(output)
    places, features = (_COVERED.findall(output) or [("0", "0")])[-1]
    complaints = _COMPLAINT.findall(output)
    complaint = "" if not status else (complaints or [f"ended with status {status}"])[-1][:500]
    return Outcome(
        int(tried[1]) if tried else 0,
        int(places),
        int(features),
        Path(saved[1]) if saved else None,
        complaint,
    )
