"""The command `antiphon`: finds the subcommand and hands it the words that follow.

A subcommand's module is imported only when it is asked for: `antiphon run` must not bring in a web server.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Final

import antiphon

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        words: the command line after `antiphon`; None takes that of the process.

    Returns:
        The exit status.

    Raises:
        SystemExit: the command line was wrong (status 2), was answered by a help text or the version (status
            0), or a program under `antiphon run` ended itself.
    """
    chosen = _parser().parse_args(sys.argv[1:] if words is None else words)
    return COMMANDS[chosen.command](chosen.words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="antiphon",
        description="Command/response socket channels: the successor of asyncore and asynchat.",
        epilog="subcommands:\n"
        "  run      run a program with antiphon's asyncore and asynchat\n"
        "  doctor   say who provides asyncore and asynchat here, and what to do about anything wrong\n"
        "  serve    start a ready-made server: http\n"
        "\n`antiphon SUBCOMMAND --help` tells more of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"antiphon {antiphon.__version__}")
    parser.add_argument("command", metavar="SUBCOMMAND", choices=COMMANDS, help="run, doctor or serve")
    parser.add_argument("words", metavar="...", nargs=argparse.REMAINDER, help="what the subcommand takes")
    return parser


def _run(words: Sequence[str]) -> int:
    from antiphon.tools import run

    return run.main(words)


def _doctor(words: Sequence[str]) -> int:
    from antiphon.tools import doctor

    return doctor.main(words)


def _serve(words: Sequence[str]) -> int:
    from antiphon.servers import http

    parser = argparse.ArgumentParser(prog="antiphon serve", description="Start a ready-made server.")
    servers = parser.add_subparsers(title="servers", dest="server", required=True)
    http.add_arguments(servers.add_parser("http", help="the files of a directory, over HTTP"))
    return http.run(parser.parse_args(words))


COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {"run": _run, "doctor": _doctor, "serve": _serve}
