"""What antiphon is meant to reach, and whether results say that it does."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from bench.calls import FEW, MANY
from bench.modes import IDLE
from bench.ratios import short
from bench.results import Results
from bench.rows import LIMIT, REFERENCE

__all__ = ["BARS", "Bar", "Verdict", "judge", "shown"]

OURS: Final = "antiphon"
BATCHES: Final = "antiphon messages"
OLD: Final = ("pyasynchat poll", "pyasynchat select")

#: Page faults of a 1 MiB body, of 256 pages: a body that is mapped anew each time has more than this.
FEW_FAULTS: Final = 64

#: Growth of CPU time when a line doubles: 2 is linear, 4 quadratic; the noise of a single line is in it.
LINEAR: Final = 3.0

Question = Callable[[Results], float | None]


class Bar(NamedTuple):
    """One thing to reach.

    Attributes:
        subject: what is measured.
        wanted: the bar, in words.
        question: the figure; None if it was not measured.
        least: it must be at least this, if this is given.
        most: it must be at most this, if this is given.
    """

    subject: str
    wanted: str
    question: Question
    least: float | None = None
    most: float | None = None


class Verdict(NamedTuple):
    """A bar, the figure that was found, and whether it is reached (None: not measured)."""

    bar: Bar
    found: float | None
    reached: bool | None


def _against(row: str, mode: str, references: Sequence[str]) -> Question:
    """How many times cheaper than the cheapest of the references."""

    def question(results: Results) -> float | None:
        found = [results.ratio(row, mode, reference) for reference in references]
        return min((ratio for ratio in found if ratio is not None), default=None)

    return question


def _figure(row: str, mode: str, key: str) -> Question:
    return lambda results: results.figure(row, mode, key)


def _memory(results: Results) -> float | None:
    return results.bytes_per_connection(OURS, "idle9000", IDLE)


def _worst_call(results: Results) -> float | None:
    return min((case["ratio"] for case in results.calls if case["channels"] not in (FEW, MANY)), default=None)


def _turns(results: Results) -> float | None:
    found = {case["channels"]: case["ours_us"] for case in results.calls}
    return found[MANY] / found[FEW] if FEW in found and MANY in found else None


def _versus(subject: str, row: str, mode: str, name: str, references: Sequence[str], least: float) -> Bar:
    return Bar(subject, f"≥ {least:g} × {name}", _against(row, mode, references), least=least)


def _both(subject: str, row: str, mode: str, uvloop: float, limit: float) -> list[Bar]:
    return [
        _versus(subject, row, mode, "uvloop", [REFERENCE], uvloop),
        _versus(subject, row, mode, "C", [LIMIT], limit),
    ]


def _streams(loop: str, row: str) -> list[Bar]:
    """What antiphon's streams are beside asyncio's, on the same loop."""
    ours, theirs = f"ChatStream on {loop}", f"{loop} streams"
    wanted = {"pipeline": 8, "pingpong100": 1.2, "upload": 1.0, "download": 1.0}
    return [
        _versus(f"{ours}, {mode}", row, mode, "StreamReader on it", [theirs], least)
        for mode, least in wanted.items()
    ]


_PIPELINE: Final = "pipelined lines, two callbacks a line"
_UPLOAD: Final = "upload, 1 MiB bodies by length"
_DRIP: Final = "drip, an 8 MiB line in small reads"
_IDLE: Final = "9,000 idle, 50 active"

BARS: Final = (
    *_both("ping-pong, 100 connections", OURS, "pingpong100", 1.05, 0.72),
    *_both("ping-pong, 1,000 connections", OURS, "pingpong1000", 1.0, 0.72),
    _versus(_PIPELINE, OURS, "pipeline", "uvloop", [REFERENCE], 0.65),
    _versus(_PIPELINE, OURS, "pipeline", "the old modules", OLD, 10),
    *_both("pipelined lines, `messages_received`", BATCHES, "pipeline", 1.3, 0.33),
    _versus(
        _UPLOAD,
        OURS,
        "upload",
        "the best of the old modules, asyncio and gevent",
        [*OLD, "asyncio protocol", "asyncio streams", "gevent"],
        1.0,
    ),
    Bar(
        _UPLOAD,
        f"< {FEW_FAULTS} page faults a body, on a fresh heap",
        _figure(OURS, "upload", "faults"),
        most=FEW_FAULTS,
    ),
    _versus("download, a producer", OURS, "download", "C", [LIMIT], 1.0),
    _versus("connection churn", OURS, "churn", "uvloop", [REFERENCE], 1.1),
    _versus(_DRIP, OURS, "drip", "uvloop", [REFERENCE], 1.3),
    Bar(
        _DRIP, f"linear: twice the line, ≤ {LINEAR:g} × the CPU", _figure(OURS, "drip", "growth"), most=LINEAR
    ),
    *_streams("asyncio", "chatstream"),
    *_streams("uvloop", "chatstream uvloop"),
    _versus(_IDLE, OURS, "idle9000", "uvloop", [REFERENCE], 1.0),
    _versus(_IDLE, OURS, "idle9000", "the old modules", OLD, 20),
    Bar("memory of an idle connection", "≤ 900 bytes", _memory, most=900),
    Bar(
        "`loop(timeout=0.01, map=m, count=1)`: the worst of 1, 10, 1,000 channels, dict and `socket_map`",
        "≥ 1 × the old modules",
        _worst_call,
        least=1.0,
    ),
    Bar(f"a turn with {MANY:,} idle channels", f"≤ 1.2 × one with {FEW}", _turns, most=1.2),
)


def judge(bar: Bar, results: Results) -> Verdict:
    """Compare a bar with what was found."""
    found = bar.question(results)
    if found is None:
        return Verdict(bar, None, None)
    enough = bar.least is None or found >= bar.least
    return Verdict(bar, found, enough and (bar.most is None or found <= bar.most))


def shown(verdict: Verdict) -> str:
    """The figure, with as many digits as tell it from the bar."""
    if verdict.found is None:
        return "not measured"
    return short(verdict.found) if verdict.found >= 100 else f"{verdict.found:.2f}"
