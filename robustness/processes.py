"""Processes that are started, watched and ended: servers and crowds of peers."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

__all__ = ["ROOT", "Process", "ProcessError", "Server", "raise_file_limit"]

ROOT: Final = Path(__file__).parents[1]

#: Seconds that a process may take to start; to answer; to end before it is killed.
START_LIMIT: Final = 60
ANSWER_LIMIT: Final = 60
STOP_LIMIT: Final = 10


class ProcessError(Exception):
    """A process did not do what it was to do."""


def raise_file_limit() -> int:
    """Allow as many open files as the hard limit allows, here and in what is started; returns that."""
    if sys.platform == "win32":
        raise OSError("wanted a POSIX system, found Windows")
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Process:
    """A program that speaks in lines.

    Args:
        arguments: of the interpreter.
        python: the interpreter.
        environment: its variables; None for those of this process.

    Attributes:
        pid: its id.
    """

    def __init__(
        self, *arguments: str, python: str = sys.executable, environment: dict[str, str] | None = None
    ) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (stop() closes it)
        self._process = subprocess.Popen(
            [python, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            cwd=ROOT,
        )
        self.pid = self._process.pid
        self._heard = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def complaints(self) -> list[str]:
        """What it has written to its standard error, line by line."""
        position = self._errors.tell()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        self._errors.seek(position)
        return lines

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, limit: float) -> str:
        """The next line that it says.

        Args:
            limit: seconds to wait for the end of it.

        Raises:
            ProcessError: none has come.
        """
        assert self._process.stdout is not None
        until = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._heard:
                left = max(0.0, until - time.monotonic())
                data = os.read(self._process.stdout.fileno(), 65536) if selector.select(left) else b""
                if not data:
                    last = "; ".join(self.complaints[-3:]) or "not a word"
                    raise ProcessError(f"wanted a line within {limit:g} s, found {last}")
                self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def stop(self) -> None:
        """End it. A second call does nothing."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            try:
                self._process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


class Server(Process):
    """A server of `robustness.servers`, or another that behaves so.

    Attributes:
        port: where it listens, on 127.0.0.1.
    """

    def __init__(
        self, *arguments: str, python: str = sys.executable, environment: dict[str, str] | None = None
    ) -> None:
        super().__init__(*arguments, python=python, environment=environment)
        try:
            word, port = self.hear(START_LIMIT).split()
            if word != "READY":
                raise ProcessError(f"wanted READY, found {word!r}")
        except BaseException:
            self.stop()
            raise
        self.port = int(port)

    def report(self, limit: float = ANSWER_LIMIT) -> dict[str, Any]:
        """What it says of itself, within so many seconds."""
        self.say("report")
        answer: dict[str, Any] = json.loads(self.hear(limit))
        return answer
