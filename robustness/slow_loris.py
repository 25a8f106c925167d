"""Thousands of requests that never end, and one client that works: `python -m robustness.slow_loris`.

The attackers connect to the HTTP server and send a header, a byte now and then.  A well-behaved client asks
for a small file as often as it can, in rounds with the attackers and without them, in turn.  What counts is
the median of the ratios of each pair of rounds: that leaves out how busy the machine was.
"""

import argparse
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from robustness.proc import cpu_seconds
from robustness.processes import Process, ProcessError, Server, raise_file_limit

__all__ = ["Round", "main", "summary"]

#: What the client keeps of its throughput at least.
BAR: Final = 0.9
#: Requests that the client makes before a round counts.
_WARM_UP: Final = 100
#: Seconds that the attackers may take to connect, or to go.
_LIMIT: Final = 120

_FILE: Final = b"a small file\n"
_REQUEST: Final = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n"


class Round(NamedTuple):
    """What the client got done in a second, and what each request cost the server.

    Attributes:
        rate: requests a second.
        cpu: seconds of CPU time a request, those for the attackers included.
        attackers: how many were connected.
    """

    rate: float
    cpu: float
    attackers: int


def summary(pairs: Sequence[tuple[Round, Round]]) -> str:
    """What came of pairs of rounds, without and with attackers."""
    rates = [attacked.rate / alone.rate for alone, attacked in pairs]
    costs = [attacked.cpu / alone.cpu for alone, attacked in pairs]
    alone = statistics.median(round.rate for round, _ in pairs)
    attacked = statistics.median(round.rate for _, round in pairs)
    words = f"{alone:.0f} requests/s without them, {attacked:.0f} with them: {_percents(rates)}"
    return f"{words}; CPU time of the server a request: {_percents(costs)}"


def _percents(ratios: Sequence[float]) -> str:
    """The median, and the quartiles if there are any."""
    median = f"{100 * statistics.median(ratios):.0f} %"
    if len(ratios) < 2:
        return median
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{median} (quartiles {100 * low:.0f} and {100 * high:.0f} %)"


class _Client:
    """A client that asks again as soon as it has been answered, on one connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)

    def ask(self) -> None:
        """One request and its whole answer."""
        self._sock.sendall(_REQUEST)
        answer = b""
        while not answer.endswith(_FILE):
            data = self._sock.recv(65536)
            if not data:
                raise ProcessError("the server has closed the connection of the well-behaved client")
            answer += data

    def work(self, seconds: float, attackers: int) -> Round:
        """As many requests as can be made."""
        for _ in range(_WARM_UP):
            self.ask()
        count, cpu = 0, cpu_seconds(self._server.pid)
        began = now = time.monotonic()
        while now < began + seconds:
            self.ask()
            count += 1
            now = time.monotonic()
        cpu = cpu_seconds(self._server.pid) - cpu
        return Round(count / (now - began), cpu / count, attackers)

    def close(self) -> None:
        """Go."""
        self._sock.close()


class _Attackers(Process):
    """A process of `robustness.loris`."""

    def come(self, connections: int) -> int:
        """Have so many connected; how many are."""
        self.say(str(connections))
        return int(self.hear(_LIMIT))


def _measure(connections: int, rounds: int, seconds: float) -> list[tuple[Round, Round]]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (directory / "small").write_bytes(_FILE)
        server = Server("-m", "robustness.servers", "http", "--directory", str(directory))
        stack.enter_context(server)
        attackers = _Attackers("-m", "robustness.loris", str(server.port))
        stack.enter_context(attackers)
        client = _Client(server)
        stack.callback(client.close)
        pairs = []
        for number in range(rounds):
            alone = client.work(seconds, attackers.come(0))
            attacked = client.work(seconds, attackers.come(connections))
            pairs.append((alone, attacked))
            print(f"{number + 1:3}. {summary([(alone, attacked)])}", flush=True)
        return pairs


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status, 1 if the client keeps too little of its throughput."""
    parser = argparse.ArgumentParser(prog="scripts/slow-loris", description=__doc__.partition(".  ")[2])
    parser.add_argument("--connections", type=int, default=5000, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=10, help="pairs of rounds; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2, help="of each round; default: %(default)s")
    options = parser.parse_args(arguments)
    if not (options.connections > 0 and options.rounds > 0 and 0 < options.seconds <= 60):
        parser.error("wanted 1 connection and 1 round or more, and up to 60 seconds")
    if raise_file_limit() < options.connections + 50:
        parser.error(
            f"wanted to open {options.connections + 50} files, found a limit of {raise_file_limit()}"
        )
    pairs = _measure(options.connections, options.rounds, options.seconds)
    fewest = min(attacked.attackers for _, attacked in pairs)
    print(f"{fewest} attackers at least; {summary(pairs)}")
    ratio = statistics.median(attacked.rate / alone.rate for alone, attacked in pairs)
    if ratio < BAR or fewest < options.connections:
        print(f"WRONG: wanted {100 * BAR:.0f} % of the throughput beside {options.connections} attackers")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
