"""One sample: a run of the load generator, and how far other processes disturbed it."""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from bench.processes import Server, Setting
from bench.system import busy_seconds, cpu_seconds, pinned

__all__ = ["Sample", "check", "measure", "measure_once"]

#: What the load generator printed, and what was added here.
Sample = dict[str, Any]

#: CPU, in cores, that other processes may use during a sample; above, it is taken again.
QUIET = 0.08

#: Times that a sample is taken at most.
ATTEMPTS = 3

#: Seconds of set-up above which a sample is not taken again.
COSTLY = 8

#: Seconds after which the load generator is ended, whatever its own limits are.
GENERATOR_LIMIT = 150


def _run_generator(command: Sequence[str], core: int) -> Sample:
    try:
        with pinned(core):
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=GENERATOR_LIMIT
            )
    except subprocess.TimeoutExpired:
        return {"error": f"the load generator took over {GENERATOR_LIMIT} s"}
    try:
        sample: Sample = json.loads(done.stdout)
    except ValueError:
        return {"error": f"the load generator failed with status {done.returncode}: {done.stderr[-200:]}"}
    return sample


def measure_once(server: Server, setting: Setting, arguments: Sequence[str]) -> Sample:
    """Run the load generator once.

    Returns:
        what it found; with a member "error" if that is a failure, and then "server" if the server said
        something.
    """
    command = [
        str(setting.tools / setting.generator),
        *arguments,
        "-p",
        str(server.port),
        "-P",
        str(server.pid),
    ]
    times = ["-t", str(setting.seconds), "-w", str(setting.warm_up)]
    sample = _run_generator([*command, *times], setting.cores[1])
    if "error" in sample:
        time.sleep(0.2)  # The server may be about to say why.
        said = server.last_words()
        if said or not server.running:
            sample["server"] = said or "ended without a word"
    return sample


def _measure_with_disturbance(server: Server, setting: Setting, arguments: Sequence[str]) -> Sample:
    """A sample with "foreign": the CPU, in cores, that processes other than ours used meanwhile."""
    busy, used, begin, times = busy_seconds(), cpu_seconds(server.pid), time.monotonic(), os.times()
    sample = measure_once(server, setting, arguments)
    wall = max(time.monotonic() - begin, 0.05)
    ours = cpu_seconds(server.pid) - used + sum(os.times()[:4]) - sum(times[:4])
    sample["foreign"] = round(max(0.0, (busy_seconds() - busy - ours) / wall), 3)
    return sample


def measure(server: Server, setting: Setting, arguments: Sequence[str]) -> Sample:
    """The least disturbed of up to three samples; one is enough if it is quiet, costly or a failure."""
    first = best = _measure_with_disturbance(server, setting, arguments)
    for _ in range(ATTEMPTS - 1):
        if "error" in best or best["foreign"] < QUIET or best.get("setup_s", 0) > COSTLY:
            break
        again = _measure_with_disturbance(server, setting, arguments)
        if again["foreign"] < best["foreign"]:
            best = again
    if "rss0_kb" in first and "error" not in best:  # Only the first had a process as it starts.
        best |= {name: first[name] for name in ("rss0_kb", "rss1_kb", "setup_s")}
    return best


def check(server: Server, setting: Setting) -> None:
    """See that the server speaks the protocol.

    Raises:
        ValueError: it does not; nothing of it can be compared then.
    """
    found = measure_once(server, setting, ["check"])
    if "error" in found:
        raise ValueError(f"{server.row.name} fails the correctness check: {found}")
