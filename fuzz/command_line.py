"""`python -m fuzz`: all harnesses or some, for a number of seconds each; or one input once more."""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fuzz.harnesses import HARNESSES
from fuzz.running import Outcome, fuzz

__all__ = ["main"]

#: Where runs leave what they find; no part of the project.
FOUND: Final = Path(".fuzz")

_ROW: Final = "{:<10} {:>9} {:>7} {:>9}  {}"


def _parser() -> argparse.ArgumentParser:
    about = "\n".join(f"  {harness.name:<10} {harness.about}" for harness in HARNESSES.values())
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Tries inputs that reach more and more of the code; fails if one of them fails.",
        epilog=f"harnesses:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("harness", nargs="*", help="all, if none is named")
    parser.add_argument(
        "--seconds", type=_seconds, default=10, help="for each harness (default: %(default)s)"
    )
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="try this one input, outside of libFuzzer"
    )
    return parser


def _seconds(word: str) -> int:
    if not word.isdecimal() or not 0 < int(word) <= 86_400:
        raise argparse.ArgumentTypeError(f"wanted 1 to 86400 whole seconds, found {word!r}")
    return int(word)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status, 1 if an input has failed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = [name for name in options.harness if name not in HARNESSES]
    if unknown:
        parser.error(f"wanted {', '.join(HARNESSES)}, found {', '.join(unknown)}")
    names = options.harness or list(HARNESSES)
    if options.replay is not None:
        if len(options.harness) != 1:
            parser.error(f"wanted one harness for --replay, found {len(options.harness)}")
        HARNESSES[names[0]].try_one(options.replay.read_bytes())
        print("nothing is wrong with it")
        return 0
    if find_spec("atheris") is None:
        parser.error("wanted atheris, which this Python doesn't have; PYTHON= names another")
    return _fuzz_all(names, options.seconds)


def _fuzz_all(names: Sequence[str], seconds: int) -> int:
    print(_ROW.format("harness", "inputs", "places", "features", "failures"))
    outcomes = {name: _fuzz_one(name, seconds) for name in names}
    failed = [name for name, outcome in outcomes.items() if outcome.failed]
    print(_ROW.format("together", sum(outcome.tried for outcome in outcomes.values()), "", "", len(failed)))
    for name in failed:
        crash = outcomes[name].crash
        print(f"\n{name}: {outcomes[name].complaint}")
        if crash is not None:
            print(f"once more: scripts/fuzz {name} --replay {crash}")
    return 1 if failed else 0


def _fuzz_one(name: str, seconds: int) -> Outcome:
    outcome = fuzz(HARNESSES[name], seconds, FOUND / name)
    row = (name, outcome.tried, outcome.places, outcome.features, "FAILED" if outcome.failed else "0")
    print(_ROW.format(*row), flush=True)
    return outcome
