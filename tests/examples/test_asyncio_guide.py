"""The programs of docs/asyncio.md about channels run; those about streams do in tests/aio."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from document_support import each_program, output_of, programs_of, text_of
from examples.program import running

_, TEXT = text_of("asyncio.md").split("## Channels and asyncio in one process")
PROGRAMS = programs_of(TEXT)
PRINTING = [(program, printed) for program, printed in PROGRAMS if printed]
SERVERS = [program for program, printed in PROGRAMS if not printed]
DICTIONARIES = [program for program in SERVERS if "look_up" in program]
ECHOES = [program for program in SERVERS if "echo" in program]
[ENDING] = [program for program in SERVERS if "SIGTERM" in program]


def test_every_program_is_run() -> None:
    assert (len(PRINTING), len(DICTIONARIES), len(ECHOES)) == (2, 2, 3)
    assert len(PROGRAMS) == 8


@each_program(PRINTING)
def test_a_program_prints_what_stands_below_it(program: str, printed: str) -> None:
    assert output_of(program) == printed


class Meaning(BaseHTTPRequestHandler):
    """Answers what a word means."""

    def do_GET(self) -> None:
        """Answer, and close the connection."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the meaning of " + self.path.removeprefix("/").encode())

    def log_message(self, *_: object) -> None:
        """Be silent."""


@contextmanager
def other_server() -> Iterator[str]:
    """A server by HTTP; its address."""
    with HTTPServer(("127.0.0.1", 0), Meaning) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join(20)


@pytest.mark.parametrize("program", DICTIONARIES, ids=["before", "after"])
def test_a_question_is_passed_on_and_answered(program: str) -> None:
    if "aiohttp" in program:
        pytest.importorskip("aiohttp")
    with other_server() as url, running("-c", program, url) as server, server.client() as client:
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
        client.send("one", "two")
        assert client.line() == "ONE"  # From here on, it is at the other one.
        server.process.send_signal(signal.SIGTERM)
        assert [client.line(), client.line()] == ["TWO", ""]
        client.close()
        assert server.process.stdout is not None
        assert server.process.stdout.readline() == "Drained(listeners=1, flushed=1, lost=0, aborted=0)\n"
        assert server.process.wait(20) == 0
