import sys

import pytest

from examples.program import running


def test_each_line_comes_back_to_who_has_sent_it() -> None:
    with running("examples/echo.py", "0") as program, program.client() as first, program.client() as second:
        first.send("one", "two")
        second.send("three")

        assert [first.line(), first.line(), second.line()] == ["one", "two", "three"]


@pytest.mark.skipif(sys.platform == "win32", reason="a signal stands for Ctrl-C")
def test_it_ends_with_ctrl_c() -> None:
    with running("examples/echo.py", "0") as program, program.client() as client:
        client.send("one")
        assert client.line() == "one"
        assert program.interrupt() == 0
        assert program.process.stderr is not None
        assert program.process.stderr.read() == ""
