"""Runs the examples as a reader would: as programs of their own, with clients on real sockets."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}


class Program(NamedTuple):
    """A server that runs.

    Attributes:
        process: where it runs.
        address: where it listens.
    """

    process: "subprocess.Popen[str]"
    address: tuple[str, int]

    @contextmanager
    def client(self) -> Iterator["Client"]:
        """A connection to it."""
        with socket.create_connection(self.address, timeout=20) as sock:
            yield Client(sock)

    def interrupt(self) -> int:
        """Press Ctrl-C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


class Client:
    """Speaks lines."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")

    def send(self, *lines: str) -> None:
        """Send all of them at once, as telnet ends them."""
        self.sock.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def line(self) -> str:
        """The next line; "" at the end."""
        with contextlib.suppress(ConnectionResetError):
            return self.file.readline().decode().removesuffix("\r\n")
        return ""

    def close(self) -> None:
        """Hang up."""
        self.file.close()
        self.sock.close()


def heed_ctrl_c() -> None:
    """Undo what a shell does to its background jobs, which have SIGINT ignored (POSIX, 2.11)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def running(*command: str) -> Iterator[Program]:
    """Python with these arguments, once it has printed where it listens; killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-u", *command],
        env=ENVIRONMENT,
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 (nothing here has threads)
    )
    with process:
        try:
            assert process.stdout is not None
            told = process.stdout.readline()
            found = re.search(r"(127\.0\.0\.1)\D+(\d+)", told)
            assert found, told + str(process.stderr and process.stderr.read())
            yield Program(process, (found[1], int(found[2])))
        finally:
            process.kill()
