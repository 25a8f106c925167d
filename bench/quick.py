"""The short comparison: two versions of antiphon, in four modes, in less than two minutes.

Both servers stay up while short samples of them alternate, in random order.  Now and then they are started
anew: where a process's memory happens to lie makes it some percent faster or slower for all its life.
"""

import io
import random
import subprocess
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measuring import check, measure_once
from bench.modes import MODES
from bench.processes import Server, ServerError, Setting
from bench.ratios import quartiles, short
from bench.rows import Row

__all__ = ["WORK_TREE", "Comparison", "compare", "sources", "summary", "versions_to_compare"]

WORK_TREE = "work tree"
QUICK_MODES = ("pingpong100", "pipeline", "upload", "churn")

#: Seconds of a sample and of the warm-up before it.
SECONDS, WARM_UP = 0.4, 0.1

#: Rounds between two starts of the servers.
ROUNDS_PER_START = 5

#: Seconds after which no further round begins.
LIMIT = 105


@dataclass
class Comparison:
    """What was found in one mode.

    Attributes:
        mode: its name.
        base: CPU microseconds per operation of the version that is compared with.
        other: those of the other version, in the same rounds.
    """

    mode: str
    base: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Above 1, the other version is cheaper."""
        return [base / other for base, other in zip(self.base, self.other, strict=True)]


def _git(project: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, check=False)
    if done.returncode:
        raise ValueError(f"git {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return done.stdout


def versions_to_compare(project: Path, named: Sequence[str]) -> tuple[str, str]:
    """Two commits, or a commit and the work tree.

    Args:
        project: the checkout.
        named: none, one or two commits. The second is the work tree unless it is named. Without any, the
            first is HEAD if something in `src` is not committed, and HEAD's parent otherwise.

    Raises:
        ValueError: more than two, or git knows no such commit.
    """
    if len(named) > 2:
        raise ValueError(f"wanted at most two commits, found {len(named)}: {' '.join(named)}")
    for name in named:
        _git(project, "rev-parse", "--verify", f"{name}^{{commit}}")
    if len(named) == 2:
        return named[0], named[1]
    if named:
        return named[0], WORK_TREE
    changed = _git(project, "status", "--porcelain", "--", "src")
    return "HEAD" if changed else "HEAD~1", WORK_TREE


@contextmanager
def sources(project: Path, version: str) -> Iterator[Path]:
    """The folder `src` of a version: the project's own, or a temporary one with what the commit has."""
    if version == WORK_TREE:
        yield project / "src"
        return
    with TemporaryDirectory(prefix="antiphon-") as folder:
        archive = _git(project, "archive", "--format=tar", version, "src")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        yield Path(folder) / "src"


def _sample(server: Server, setting: Setting, mode: str) -> float:
    found = measure_once(server, setting, MODES[mode].arguments)
    if "error" in found:
        raise ServerError(f"{server.row.name}, {mode}: {found}")
    return float(found["cpu_us"])


def _round(servers: Sequence[Server], setting: Setting, found: Sequence[Comparison]) -> None:
    for one in found:
        order = [(servers[0], one.base), (servers[1], one.other)]
        random.shuffle(order)
        for server, figures in order:
            figures.append(_sample(server, setting, one.mode))


def compare(setting: Setting, row: Row, folders: Sequence[Path], rounds: int) -> list[Comparison]:
    """Measure `row` with antiphon from each of two folders.

    Raises:
        ServerError: a server does not start, or fails under load.
        ValueError: a server fails the correctness check.
    """
    settings = [replace(setting, source=folder, seconds=SECONDS, warm_up=WARM_UP) for folder in folders]
    found = [Comparison(mode) for mode in QUICK_MODES]
    deadline = time.monotonic() + LIMIT
    for start in range(0, rounds, ROUNDS_PER_START):
        with ExitStack() as stack:
            servers = []
            for one in settings:
                servers.append(Server(row, one))
                stack.callback(servers[-1].stop)
                check(servers[-1], one)
            for _ in range(start, min(start + ROUNDS_PER_START, rounds)):
                if found[-1].base and time.monotonic() > deadline:
                    return found
                _round(servers, settings[0], found)
    return found


def _verdict(low: float, high: float) -> str:
    if low > 1:
        return "cheaper"
    return "dearer" if high < 1 else ""


def summary(names: Sequence[str], found: Sequence[Comparison]) -> str:
    """A table: CPU per operation of both, and quartiles of the paired ratios."""
    lines = [
        f"base: {names[0]}; compared: {names[1]}; CPU of the server, us per operation; above 1 is cheaper",
        f"{'mode':12} {'base':>9} {'compared':>9}  {'ratio':>6}  quartiles    rounds",
    ]
    for one in found:
        low, middle, high = quartiles(one.ratios)
        base, other = quartiles(one.base)[1], quartiles(one.other)[1]
        lines.append(
            f"{one.mode:12} {short(base):>9} {short(other):>9}  {middle:6.3f}  {low:.3f}-{high:.3f}"
            f"  {len(one.base):6}  {_verdict(low, high)}".rstrip()
        )
    return "\n".join(lines)
