"""Servers as processes: started on a core of their own, bounded, ended by their id."""

import json
import os
import selectors
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from bench.rows import Row
from bench.system import pinned

__all__ = ["PROJECT", "Server", "ServerError", "Setting", "missing", "run_module"]

PROJECT: Final = Path(__file__).parents[1]
SERVERS = PROJECT / "bench" / "servers"

#: Seconds that a server may take to start; the first start compiles what it imports.
START_LIMIT = 30

#: Seconds that a server may take to end before it is killed.
STOP_LIMIT = 5


class ServerError(Exception):
    """A server that did not start."""


def _variables() -> dict[str, str]:
    """This process's, without those that Python reads."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@dataclass(frozen=True)
class Setting:
    """Where things are and how long a sample takes.

    Attributes:
        tools: the folder of loadgen and climit.
        generator: the load generator in it.
        python: the main interpreter, in an environment that has the peers.
        older: the same of Python 3.11; None if there is none.
        source: the folder that holds the package antiphon.
        cache: a folder for compiled modules. With it, a server's memory does not depend on whether it has
            compiled anything.
        cores: the server's and the load generator's.
        seconds: that a sample takes.
        warm_up: seconds before it that don't count.
    """

    tools: Path
    python: str
    older: str | None
    source: Path
    cache: Path
    cores: tuple[int, int]
    seconds: float = 0.8
    warm_up: float = 0.2
    generator: str = "loadgen"

    def interpreter(self, row: Row) -> str:
        """The interpreter of a row; there must be one."""
        python = self.older if row.older else self.python
        assert python is not None, f"{row.name} needs Python 3.11, found none"
        return python

    def environment(self, row: Row) -> dict[str, str]:
        """Variables of a row's process. Only antiphon's own rows see its `src`, which has asyncore.py too."""
        variables = _variables()
        variables["PYTHONPYCACHEPREFIX"] = str(self.cache)
        if row.ours:
            variables["PYTHONPATH"] = str(self.source)
        return variables


def missing(row: Row, setting: Setting) -> str:
    """Why a row can't be measured here; "" if it can."""
    if row.older and setting.older is None:
        return "no Python 3.11 found"
    if not row.needs:
        return ""
    command = [setting.interpreter(row), "-W", "ignore", "-c", row.needs]
    done = subprocess.run(
        command, env=setting.environment(row), capture_output=True, text=True, check=False, timeout=60
    )
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def run_module(setting: Setting, module: str, *arguments: str, limit: float) -> list[dict[str, Any]]:
    """Run a module of the benchmark as a program of the main interpreter, with the folder of antiphon.

    Args:
        setting: where things are.
        module: its name.
        *arguments: those behind the folder.
        limit: seconds after which it is ended.

    Returns:
        What it prints, which is JSON.

    Raises:
        RuntimeError: it failed; with the last thing that it said.
    """
    done = subprocess.run(
        [setting.python, "-W", "ignore", "-m", module, str(setting.source), *arguments],
        cwd=PROJECT,
        env=_variables(),
        capture_output=True,
        text=True,
        check=False,
        timeout=limit,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed: {done.stderr.strip().splitlines()[-1:]}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


class Server:
    """A running server of one row.

    Args:
        row: which one.
        setting: where its parts are.

    Attributes:
        port: where it listens, on 127.0.0.1.

    Raises:
        ServerError: it did not start, with the last thing that it said.
    """

    def __init__(self, row: Row, setting: Setting) -> None:
        self.row = row
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (stop() closes it)
        with pinned(setting.cores[0]):
            self._process = subprocess.Popen(
                [*self._command(setting), "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=setting.environment(row),
            )
        try:
            self.port = self._await_port()
        except BaseException:
            self.stop()
            raise

    def _command(self, setting: Setting) -> list[str]:
        if not self.row.script:
            return [str(setting.tools / "climit")]
        script = str(SERVERS / self.row.script)
        return [setting.interpreter(self.row), "-W", "ignore", script, *self.row.arguments]

    def _await_port(self) -> int:
        output = self._process.stdout
        assert output is not None
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            line = output.readline() if selector.select(START_LIMIT) else b""
        if not line.startswith(b"READY "):
            raise ServerError(
                f"{self.row.name} did not start: {self.last_words() or f'not a word in {START_LIMIT} s'}"
            )
        return int(line.split()[1])

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """The last line that it wrote as an error; "" if there is none."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else ""

    def stop(self) -> None:
        """End it. A second call does nothing."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()
