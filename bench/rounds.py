"""The full benchmark: rounds in which every row is measured in every mode, one row after the other."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench.measuring import COSTLY, Sample, check, measure, measure_once
from bench.modes import CONNECTION_COUNTS, MODES, SCALE
from bench.processes import Server, Setting
from bench.rows import Row

__all__ = ["Samples", "measure_rounds", "rotated"]

#: row -> mode -> samples
Samples = dict[str, dict[str, list[Sample]]]

#: Seconds that opening the idle connections may take, per row; what was measured until then counts.
SCALE_LIMIT = 45

#: Descriptors that a server and the load generator need besides the idle connections'.
SPARE_FILES = 150


def rotated(rows: Sequence[Row], round_number: int) -> list[Row]:
    """The rows in another order each round, so that no two stay neighbours in time of the same drift."""
    first = round_number * 7 % len(rows)
    return [*rows[first:], *rows[:first]]


class Pool:
    """The servers that run now, by row."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._servers: dict[str, Server] = {}

    def get(self, row: Row) -> Server:
        """The row's server; a new one if there is none or it has ended."""
        server = self._servers.get(row.name)
        if server is None or not server.running:
            self.drop(row)
            server = self._servers[row.name] = Server(row, self._setting)
        return server

    def drop(self, row: Row) -> None:
        """End the row's server, if there is one."""
        server = self._servers.pop(row.name, None)
        if server is not None:
            server.stop()

    def drop_all(self) -> None:
        """End them all."""
        while self._servers:
            self._servers.popitem()[1].stop()


@contextmanager
def pool_of(setting: Setting) -> Iterator[Pool]:
    """A pool that is empty at the end, whatever happens."""
    pool = Pool(setting)
    try:
        yield pool
    finally:
        pool.drop_all()


def _measure_scale(pool: Pool, row: Row, setting: Setting, files: int) -> Sample:
    counts = [str(count) for count in CONNECTION_COUNTS if count + SPARE_FILES <= files]
    arguments = ["scale", "-i", ",".join(counts), "-H", str(SCALE_LIMIT)]
    return measure_once(pool.get(row), setting, arguments)


class _Rounds:
    """What is the same in all rounds, and what was found so far."""

    def __init__(self, setting: Setting, rows: Sequence[Row], modes: Sequence[str], files: int) -> None:
        self.setting, self.rows, self.modes, self.files = setting, rows, modes, files
        self.samples: Samples = {row.name: {mode: [] for mode in modes} for row in rows}
        self._once: set[tuple[str, str]] = set()

    def run(self, number: int) -> None:
        rows = rotated(self.rows, number)
        with pool_of(self.setting) as pool:
            if number == 0:
                for row in rows:
                    check(pool.get(row), self.setting)
            for mode in self.modes:
                if mode == SCALE or MODES[mode].fresh:
                    pool.drop_all()
                for row in rows:
                    self._measure(pool, row, mode, number)

    def _measure(self, pool: Pool, row: Row, mode: str, number: int) -> None:
        if (row.name, mode) in self._once or (mode == SCALE and not row.scales):
            return
        if mode == SCALE:
            sample = _measure_scale(pool, row, self.setting, self.files)
        else:
            sample = measure(pool.get(row), self.setting, MODES[mode].arguments)
        sample["round"] = number
        self.samples[row.name][mode].append(sample)
        if "error" in sample or sample.get("setup_s", 0) > COSTLY:
            self._once.add((row.name, mode))
        if "error" in sample or mode == SCALE or MODES[mode].fresh:
            pool.drop(row)


def measure_rounds(
    setting: Setting,
    rows: Sequence[Row],
    modes: Sequence[str],
    count: int,
    files: int,
    save: Callable[[Samples], None],
) -> Samples:
    """Check every row, then measure.

    Args:
        setting: where things are and how long a sample takes.
        rows: what is compared.
        modes: names of modes, and perhaps "scale".
        count: rounds. What fails, or takes over 8 s to set up, is measured in the first one only.
        files: that a process may have open.
        save: called with all samples after each round.

    Raises:
        ValueError: a server fails the correctness check.
        ServerError: a server does not start.
    """
    rounds = _Rounds(setting, rows, modes, files)
    begin = time.monotonic()
    for number in range(count):
        rounds.run(number)
        print(f"round {number + 1} of {count}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
        save(rounds.samples)
    return rounds.samples
