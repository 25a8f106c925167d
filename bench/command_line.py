"""The command line of the benchmark: full runs, short comparisons, reports."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from bench import results
from bench.calls import measure_calls
from bench.modes import CALLS, MODES, PROFILE, SCALE
from bench.processes import PROJECT, Server, ServerError, Setting, missing
from bench.profile import measure_profile
from bench.quick import compare, sources, summary, versions_to_compare
from bench.report import write_page
from bench.rounds import Samples, measure_rounds
from bench.rows import ROWS, Row, chosen
from bench.system import cores, describe, raise_file_limit, versions
from bench.tls import compare_tls, tls_summary

__all__ = ["main", "parse"]

ALL_MODES = (*MODES, SCALE, CALLS, PROFILE)

#: Rounds of `--quick` unless `--rounds` says otherwise: these take about 100 seconds.
QUICK_ROUNDS = 20
TLS_ROUNDS = 7


def _modes(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in ALL_MODES:
            raise argparse.ArgumentTypeError(f"wanted some of {','.join(ALL_MODES)}, found {name!r}")
    return names


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; ends the program, as argparse does, if it is wrong."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--quick",
        nargs="*",
        metavar="COMMIT",
        help="compare two commits, or one and the work tree, in less than two minutes",
    )
    what.add_argument(
        "--tls",
        action="store_true",
        help="compare antiphon with asyncio on uvloop over TLS, in about a minute",
    )
    what.add_argument("--report", action="store_true", help="only make the page from the results again")
    parser.add_argument(
        "--rounds", type=int, help=f"5 by default; with --quick {QUICK_ROUNDS}, with --tls {TLS_ROUNDS}"
    )
    parser.add_argument("--secs", type=float, default=0.8, help="seconds of a sample (%(default)s)")
    parser.add_argument("--warm", type=float, default=0.2, help="seconds before it (%(default)s)")
    parser.add_argument("--only", metavar="REGEX", help="rows to measure; climit and uvloop's always are")
    parser.add_argument("--modes", type=_modes, default=list(ALL_MODES), help=",".join(ALL_MODES))
    parser.add_argument("--merge", action="store_true", help="replace only what is measured now")
    parser.add_argument("--results", type=Path, default=PROJECT / "bench" / "results.json")
    parser.add_argument("--page", type=Path, default=PROJECT / "docs" / "performance.md")
    parser.add_argument("--tools", type=Path, help="the folder of loadgen and climit")
    parser.add_argument("--older", metavar="PYTHON", help="a Python 3.11 that has the peers")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"wanted at least 1 round, found {options.rounds}")
    if not options.report and options.tools is None:
        parser.error("wanted --tools, which scripts/bench gives")
    return options


def _measurable(setting: Setting, rows: Sequence[Row]) -> tuple[list[Row], dict[str, str]]:
    """The rows that can be measured here, and why the others can't."""
    usable, left_out = [], {}
    for row in rows:
        reason = missing(row, setting)
        if reason:
            left_out[row.name] = reason
            print(f"left out: {row.name}: {reason}", file=sys.stderr)
        else:
            usable.append(row)
    return usable, left_out


def _compile(setting: Setting, rows: Sequence[Row]) -> None:
    """Start every server once: what it imports is compiled then, and in no measured process."""
    for row in rows:
        Server(row, setting).stop()


def _run_full(setting: Setting, options: argparse.Namespace) -> None:
    files = raise_file_limit()
    rows, left_out = _measurable(setting, chosen(options.only))
    _compile(setting, rows)
    rounds = options.rounds or 5
    run = {
        "started": time.strftime("%Y-%m-%d %H:%M"),
        "rounds": rounds,
        "seconds": setting.seconds,
        "modes": options.modes,
        "only": options.only,
        "files": files,
        **describe(),
    }
    interpreters = {"main": setting.python} | ({"3.11": setting.older} if setting.older else {})
    document: dict[str, Any] = {
        "runs": [run],
        "versions": {name: versions(python) for name, python in interpreters.items()},
        "left_out": left_out,
        "calls": measure_calls(setting, max(rounds, 2)) if CALLS in options.modes else [],
        "profile": measure_profile(setting) if PROFILE in options.modes else [],
        "samples": {},
    }
    before = results.load(options.results) if options.merge and options.results.exists() else None

    def save(samples: Samples) -> None:
        found = document | {"samples": samples}
        results.save(options.results, results.merged(before, found) if before else found)

    modes = [mode for mode in options.modes if mode not in (CALLS, PROFILE)]
    save(measure_rounds(setting, rows, modes, rounds, files, save))
    _report(options)


def _report(options: argparse.Namespace) -> None:
    write_page(results.Results(results.load(options.results)), options.page)
    print(f"wrote {options.page}", file=sys.stderr)


def _run_quick(setting: Setting, options: argparse.Namespace) -> None:
    row = next(row for row in ROWS if row.name == "antiphon")
    names = versions_to_compare(PROJECT, options.quick)
    with sources(PROJECT, names[0]) as base, sources(PROJECT, names[1]) as other:
        for folder in (base, other):
            Server(row, replace(setting, source=folder)).stop()
        found = compare(setting, row, [base, other], options.rounds or QUICK_ROUNDS)
    print(summary(names, found))


def _run_tls(setting: Setting, options: argparse.Namespace) -> None:
    print(tls_summary(compare_tls(setting, options.rounds or TLS_ROUNDS)))


def _end(signal_number: int, frame: object) -> NoReturn:
    sys.exit(128 + signal_number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status.

    A failure that has a name (no such commit, a server that does not start or answers wrongly) is told in one
    line.
    """
    options = parse(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _end)  # so that the servers are ended, as with Ctrl-C
    try:
        if options.report:
            _report(options)
            return 0
        with TemporaryDirectory(prefix="antiphon-bench-") as cache:
            setting = Setting(
                tools=options.tools.resolve(),
                python=sys.executable,
                older=options.older and str(Path(options.older).absolute()),
                source=PROJECT / "src",
                cache=Path(cache),
                cores=cores(),
                seconds=options.secs,
                warm_up=options.warm,
            )
            if options.tls:
                _run_tls(setting, options)
            else:
                (_run_full if options.quick is None else _run_quick)(setting, options)
    except (OSError, RuntimeError, ServerError, ValueError) as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    return 0
