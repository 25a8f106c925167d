import json
import signal
import sys
from typing import Any

import pytest

from examples.program import Program, running

if sys.platform == "win32":
    pytest.skip("Windows has no SIGUSR1", allow_module_level=True)


def told(program: Program) -> str:
    """The next line that it prints."""
    assert program.process.stdout is not None
    return program.process.stdout.readline()


def test_a_signal_has_it_tell_what_goes_on() -> None:
    with running("examples/observed.py", "0") as program:
        with program.client() as one, program.client() as other:
            for client in one, other:
                client.send("hello", "again")
                assert [client.line(), client.line()] == ["hello", "again"]
            program.process.send_signal(signal.SIGUSR1)
            lines = [line.rstrip() for line in iter(lambda: told(program), "\n")]
        assert lines[0] == "channels: 3"
        assert lines[1:3] == ["  __main__.Echo: 2 connected", "  __main__.EchoServer: 1 listening"]
        assert "accepted: 2" in lines
        assert "bytes received: 28" in lines
        assert "bytes sent: 28" in lines
        assert "messages: 4" in lines
        assert any(line.startswith("worst turn: 0.") for line in lines)


def test_a_program_can_read_it_and_it_ends_with_ctrl_c() -> None:
    with running("examples/observed.py", "0", "--json") as program:
        with program.client() as client:
            client.send("hello")
            assert client.line() == "hello"
            client.close()
        numbers: dict[str, Any] = {}
        while not numbers or numbers["closed"]["peer"] == 0:
            program.process.send_signal(signal.SIGUSR1)
            numbers = json.loads(told(program))
        assert numbers["channels"] == {"__main__.EchoServer": {"listening": 1}}
        assert numbers["closed"] == {"peer": 1, "timeout": 0, "overflow": 0, "error": 0, "own": 0}
        assert program.interrupt() == 0
        assert program.process.stderr is not None
        assert program.process.stderr.read() == ""
