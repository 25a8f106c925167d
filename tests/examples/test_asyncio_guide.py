"""The programs of docs/asyncio.md about channels run; those about streams do in tests/aio."""

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from examples.program import ENVIRONMENT, PROJECT, running

_, TEXT = (PROJECT / "docs" / "asyncio.md").read_text().split("## Channels and asyncio in one process")
#: (program, what it prints)
PROGRAMS = re.findall(r"^```python\n(.*?)^```\n(?:```\n(.*?)^```\n)?", TEXT, flags=re.DOTALL | re.MULTILINE)
PRINTING = [(program, printed) for program, printed in PROGRAMS if printed]
SERVERS = [program for program, printed in PROGRAMS if not printed]
DICTIONARIES = [program for program in SERVERS if "look_up" in program]
ECHOES = [program for program in SERVERS if "echo" in program]
[ENDING] = [program for program in SERVERS if "SIGTERM" in program]


def test_every_program_is_run() -> None:
    assert (len(PRINTING), len(DICTIONARIES), len(ECHOES)) == (2, 2, 3)
    assert len(PROGRAMS) == 8


@pytest.mark.parametrize(("program", "printed"), PRINTING, ids=range(len(PRINTING)))
def test_a_program_prints_what_stands_below_it(program: str, printed: str) -> None:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


@contextmanager
def other_server(questions: int) -> Iterator[tuple[str, int]]:
    """Answers a line in each of so many connections."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            for _ in range(questions):
                connection, _ = listening.accept()
                with connection, connection.makefile("rwb") as lines:
                    lines.write(b"the meaning of " + lines.readline())

        thread = threading.Thread(target=answer)
        thread.start()
        yield listening.getsockname()
        thread.join(20)


@pytest.mark.parametrize("program", DICTIONARIES, ids=["before", "after"])
def test_a_question_is_passed_on_and_answered(program: str) -> None:
    with (
        other_server(2) as (host, port),
        running("-c", program, host, str(port)) as server,
        server.client() as client,
    ):
        client.sock.sendall(b"one\ntwo\n")
        lines = [client.file.readline() for _ in range(2)]
        assert lines == [b"the meaning of one\n", b"the meaning of two\n"]


@pytest.mark.parametrize("program", ECHOES, ids=["channels", "channels on asyncio", "coroutines"])
def test_each_step_of_the_move_is_a_server(program: str) -> None:
    with running("-c", program) as server, server.client() as client:
        client.sock.sendall(b"one\ntwo\n")
        assert [client.file.readline() for _ in range(2)] == [b"echo one\n", b"echo two\n"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM to handle")
def test_a_question_that_a_coroutine_is_at_is_answered_before_the_end() -> None:
    with running("-c", ENDING) as server, server.client() as client:
        client.send("one")
        assert client.line() == "ONE"
        client.send("two")
        server.process.send_signal(signal.SIGTERM)
        assert client.line() in {"TWO", ""}  # It may not have read the question yet.
        assert client.line() == ""
        client.close()
        assert server.process.stdout is not None
        assert server.process.stdout.readline() == "Drained(listeners=1, flushed=1, lost=0, aborted=0)\n"
        assert server.process.wait(20) == 0
