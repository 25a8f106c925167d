import sys

import pytest
from robustness.processes import Process, ProcessError, Server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it waits for pipes")

ECHO = "import sys; print('READY 80', flush=True)\nfor line in sys.stdin: print(line, end='', flush=True)"


def test_a_process_is_heard_line_by_line() -> None:
    with Process("-c", "print('one\\ntwo')") as process:
        assert [process.hear(20), process.hear(20)] == ["one", "two"]


def test_a_process_that_ends_without_a_word_is_told_with_its_last() -> None:
    with (
        Process("-c", "raise LookupError('lost')") as process,
        pytest.raises(ProcessError, match="LookupError: lost"),
    ):
        process.hear(20)


def test_a_server_says_where_it_is_and_answers() -> None:
    with Server("-c", ECHO) as server:
        assert server.port == 80
        server.say("hello")
        assert server.hear(20) == "hello"
        assert server.running
    assert not server.running


def test_a_server_that_says_something_else_is_none() -> None:
    with pytest.raises(ProcessError, match="wanted READY, found 'HELLO'"):
        Server("-c", "print('HELLO 80')")
