"""antiphon beside asyncio on uvloop, over TLS: the CPU of a request, and the memory of an idle connection.

Samples of the two alternate, each of a server that has just started: where its heap has grown to makes more
of a difference than what is measured.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.measuring import Sample, check, measure_once
from bench.modes import MODES
from bench.processes import Server, ServerError, Setting
from bench.ratios import quartiles, short
from bench.rows import ROWS, Row

__all__ = ["TLS_MODES", "Pair", "compare_tls", "tls_summary"]

#: Idle connections whose memory is measured.
IDLE: Final = 1000
TLS_MODES: Final = {
    **{name: MODES[name].arguments for name in ("pingpong100", "pipeline", "upload", "download", "churn")},
    f"idle{IDLE}": ("idle", "-i", str(IDLE), "-H", "30"),
}
#: Seconds of a sample and of the warm-up before it.
SECONDS, WARM_UP = 0.4, 0.1


@dataclass
class Pair:
    """What was found in one mode, for antiphon and for uvloop.

    Attributes:
        mode: its name.
        samples: of each, in the same rounds.
    """

    mode: str
    samples: tuple[list[Sample], list[Sample]] = field(default_factory=lambda: ([], []))

    def cpu(self, which: int) -> list[float]:
        """Microseconds for each operation."""
        return [float(sample["cpu_us"]) for sample in self.samples[which]]

    @property
    def ratios(self) -> list[float]:
        """Above 1, antiphon is cheaper."""
        return [theirs / ours for ours, theirs in zip(self.cpu(0), self.cpu(1), strict=True)]

    def memory(self, which: int) -> float | None:
        """KiB for each idle connection, the median; None where that was not measured."""
        found = [
            (sample["rss1_kb"] - sample["rss0_kb"]) / IDLE
            for sample in self.samples[which]
            if "rss0_kb" in sample
        ]
        return quartiles(found)[1] if found else None


@contextmanager
def certificate() -> Iterator[tuple[str, str]]:
    """The files of a certificate that signs itself, and of its key: P-256, as most sites have."""
    with TemporaryDirectory(prefix="antiphon-tls-") as folder:
        files = str(Path(folder) / "certificate.pem"), str(Path(folder) / "key.pem")
        kind = (
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-x509",
            "-subj",
            "/CN=localhost",
        )
        subprocess.run(
            ["openssl", "req", *kind, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True
        )
        yield files


def _rows(files: Sequence[str]) -> tuple[Row, Row]:
    ours, theirs = (next(row for row in ROWS if row.name == name) for name in ("antiphon", "uvloop protocol"))
    return (
        ours._replace(arguments=(*ours.arguments, "--tls", *files)),
        theirs._replace(arguments=(*theirs.arguments, "--tls", *files)),
    )


def _sample(row: Row, setting: Setting, arguments: Sequence[str]) -> Sample:
    server = Server(row, setting)
    try:
        found = measure_once(server, setting, arguments)
    finally:
        server.stop()
    if "error" in found:
        raise ServerError(f"{row.name}, {' '.join(arguments)}: {found}")
    return found


def compare_tls(setting: Setting, rounds: int) -> list[Pair]:
    """Measure both in each mode.

    Raises:
        ServerError: a server does not start, or fails under load.
        ValueError: a server fails the correctness check.
    """
    setting = replace(setting, generator="loadgen-tls", seconds=SECONDS, warm_up=WARM_UP)
    pairs = [Pair(mode) for mode in TLS_MODES]
    with certificate() as files:
        rows = _rows(files)
        for row in rows:
            server = Server(row, setting)
            try:
                check(server, setting)
            finally:
                server.stop()
        for number in range(rounds):
            for pair in pairs:
                for which in (0, 1) if number % 2 else (1, 0):
                    pair.samples[which].append(_sample(rows[which], setting, TLS_MODES[pair.mode]))
    return pairs


def tls_summary(pairs: Sequence[Pair]) -> str:
    """A table: CPU per operation of both, quartiles of the paired ratios, and memory."""
    lines = [
        "CPU of the server over TLS, us per operation; ratio: above 1, antiphon is cheaper than uvloop",
        f"{'mode':12} {'antiphon':>9} {'uvloop':>9}  {'ratio':>6}  quartiles",
    ]
    for pair in pairs:
        low, middle, high = quartiles(pair.ratios)
        ours, theirs = (short(quartiles(pair.cpu(which))[1]) for which in (0, 1))
        lines.append(f"{pair.mode:12} {ours:>9} {theirs:>9}  {middle:6.2f}  {low:.2f}-{high:.2f}")
    for pair in pairs:
        ours_kb, theirs_kb = pair.memory(0), pair.memory(1)
        if ours_kb is not None and theirs_kb is not None:
            lines.append(
                f"memory of an idle connection: antiphon {ours_kb:.1f} KiB, uvloop {theirs_kb:.1f} KiB"
            )
    return "\n".join(lines)
