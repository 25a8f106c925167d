"""Five attacks of a single peer, on the old modules and on antiphon: `python -m robustness.attacks`.

The victim is one program (`victim.py`), run with Python's own modules or their copies from PyPI, and with
antiphon.  An attack is bounded in time and size, and so says how bad it is rather than doing its worst.
"""

import argparse
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Final, NamedTuple

from robustness.proc import cpu_seconds, descriptors, resident
from robustness.processes import ROOT, Server, raise_file_limit

__all__ = ["ATTACKS", "Attack", "Outcome", "main"]

#: Seconds in which a healthy server answers, however busy the machine is.
_PATIENCE: Final = 10.0
#: Seconds in which a server accepts all connections, one in each turn if it must.
_ACCEPTING: Final = 30.0
#: Bytes that a peer sends without a line end, or has sent to it without reading them.
_MUCH: Final = 100_000_000
#: By how much a server may have grown that keeps to limits of a million bytes.
_GROWTH: Final = 20_000_000
#: The length of a terminator that a peer chooses, and how much of it comes, byte by byte.
_BOUNDARY: Final = 262_144
_DRIBBLED: Final = 100
#: CPU time of a healthy server for all of that, in seconds; the system counts in hundredths.
_CPU: Final = 0.3


class Outcome(NamedTuple):
    """What came of an attack: whether the server has survived it, and the evidence."""

    survived: bool
    evidence: str


class Attack(NamedTuple):
    """One attack.

    Attributes:
        name: of it.
        about: what the peer does.
        files: how many files the victim may open.
        mount: does it.
    """

    name: str
    about: str
    files: int
    mount: Callable[[Server], Outcome]


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)


def _answers(port: int) -> bool:
    """Whether a well-behaved client gets its answer."""
    try:
        with _connect(port) as sock:
            sock.sendall(b"hello\n")
            return sock.recv(100) == b"hello\n"
    except OSError:
        return False


def _crowd(server: Server, count: int, reached: int) -> str:
    """So many connections of one peer; the word of what is left.

    They stay until the server has `reached` open files, and a little longer.
    """
    with ExitStack() as stack:
        for _ in range(count):
            with suppress(OSError):
                stack.enter_context(_connect(server.port))
        stop = time.monotonic() + _ACCEPTING
        while server.running and descriptors(server.pid) < reached and time.monotonic() < stop:
            time.sleep(0.1)
        time.sleep(1.5)
    time.sleep(1.5)
    if not server.running:
        return "the process has ended"
    return "it answers" if _answers(server.port) else "it accepts no one any more"


def use_up_descriptors(server: Server) -> Outcome:
    """More connections than the process may have files."""
    left = _crowd(server, 300, 255)
    return Outcome(left == "it answers", f"300 connections where 256 files may be open; afterwards {left}")


def exceed_select(server: Server) -> Outcome:
    """Descriptors that select(2) can't wait for."""
    left = _crowd(server, 1100, 1100)
    return Outcome(left == "it answers", f"1,100 connections; afterwards {left}")


def send_an_endless_line(server: Server) -> Outcome:
    """Nothing but the beginning of one message."""
    before, sent = resident(server.pid), 0
    with _connect(server.port) as sock, suppress(OSError):
        while sent < _MUCH:
            sock.sendall(bytes(1_000_000))
            sent += 1_000_000
    return _grown(server, before, f"{sent // 1_000_000} MB of one line were taken")


def read_nothing(server: Server) -> Outcome:
    """Questions whose answers are not read."""
    before, asked = resident(server.pid), 0
    with _connect(server.port) as sock, suppress(OSError):
        while asked * 100_000 < _MUCH:
            sock.sendall(b"big\n" * 10)
            asked += 10
            time.sleep(0.005)
        time.sleep(0.5)
        return _grown(server, before, f"{asked / 10:g} MB of answers were asked for")
    return _grown(server, before, f"{asked / 10:g} MB of answers were asked for")


def _grown(server: Server, before: int, done: str) -> Outcome:
    growth = resident(server.pid) - before
    alive = _answers(server.port)
    evidence = f"{done}, the process grew by {max(0, growth) / 1e6:.0f} MB"
    return Outcome(alive and growth < _GROWTH, evidence + ("" if alive else " and answers no one"))


def dribble_a_boundary(server: Server) -> Outcome:
    """A long terminator of the peer's choice, whose beginning comes byte by byte."""
    worst, began = 0.0, time.monotonic()
    with _connect(server.port) as sock, _connect(server.port) as other:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"until " + b"a" * (_BOUNDARY - 1) + b"b\n")
        before = cpu_seconds(server.pid)
        for number in range(_DRIBBLED):
            sock.sendall(b"a")
            time.sleep(0.02)
            if number % 10 == 0 and worst < _PATIENCE:
                worst = max(worst, _waits(other))
        cpu = cpu_seconds(server.pid) - before
    lasted = time.monotonic() - began
    waited = f"{worst:.2f} s" if worst < _PATIENCE else f"{_PATIENCE:g} s in vain"
    evidence = (
        f"{_DRIBBLED} bytes in {lasted:.1f} s cost {cpu:.2f} s of CPU time; another client waited {waited}"
    )
    return Outcome(worst < _PATIENCE and cpu < _CPU, evidence)


def _waits(client: socket.socket) -> float:
    """How long a well-behaved client waits for its answer."""
    began = time.monotonic()
    try:
        client.sendall(b"hello\n")
        if client.recv(100) == b"hello\n":
            return time.monotonic() - began
    except OSError:
        pass
    return _PATIENCE


ATTACKS: Final = (
    Attack("descriptors", "opens more connections than the process may have files", 256, use_up_descriptors),
    Attack("select", "opens more than 1,024 connections", 4096, exceed_select),
    Attack("endless-line", "sends a line that never ends", 256, send_an_endless_line),
    Attack("deaf", "asks for more and more and reads nothing", 256, read_nothing),
    Attack("boundary", "chooses a long terminator and sends it byte by byte", 256, dribble_a_boundary),
)


def _victim(kind: str, attack: Attack, python: str) -> Server:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if kind == "antiphon":
        environment["PYTHONPATH"] = str(ROOT / "src")
    script = str(ROOT / "robustness" / "victim.py")
    return Server("-W", "ignore", script, kind, str(attack.files), python=python, environment=environment)


def _mount(kind: str, attack: Attack, python: str) -> Outcome:
    with _victim(kind, attack, python) as server:
        outcome = attack.mount(server)
    print(f"  {kind:<8} {'survives' if outcome.survived else 'FALLS':<8}  {outcome.evidence}", flush=True)
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status, 1 if antiphon falls."""
    parser = argparse.ArgumentParser(prog="scripts/attacks", description=__doc__.partition(".  ")[2])
    names = [attack.name for attack in ATTACKS]
    parser.add_argument("attack", nargs="*", help=f"of {', '.join(names)}; or all")
    parser.add_argument("--older", metavar="PYTHON", help="an interpreter that has the old modules")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.attack if name not in names]
    if unknown:
        parser.error(f"wanted {', '.join(names)}, found {', '.join(unknown)}")
    raise_file_limit()
    fallen = []
    for number, attack in enumerate(ATTACKS, 1):
        if options.attack and attack.name not in options.attack:
            continue
        print(f"{number}. {attack.name}: a peer {attack.about}", flush=True)
        if options.older:
            _mount("old", attack, options.older)
        if not _mount("antiphon", attack, sys.executable).survived:
            fallen.append(attack.name)
    print(f"antiphon falls: {', '.join(fallen)}" if fallen else "antiphon survives")
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
