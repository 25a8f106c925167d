"""The programs of docs/framing.md run: its servers answer, the others print what stands below them."""

import importlib.util

import pytest

from document_support import each_program, output_of, programs_of, text_of
from examples.program import running

PROGRAMS = programs_of(text_of("framing.md"))
#: By the library that each imports first.
SERVERS = {program.split()[1]: program for program, _ in PROGRAMS if "telnet" in program}
OTHERS = [(program, printed) for program, printed in PROGRAMS if "telnet" not in program]


def test_there_are_programs() -> None:
    assert set(SERVERS) == {"socket", "trio", "anyio"}
    assert len(OTHERS) >= 4


@pytest.mark.parametrize("library", SERVERS)
def test_a_server_answers_over_a_real_socket(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"needs {library}")
    with running("-c", SERVERS[library]) as server, server.client() as first, server.client() as second:
        first.send("one", "two", "")
        second.sock.sendall(b"thr")
        assert [first.line(), first.line(), first.line()] == ["ONE", "TWO", ""]
        second.send("ee" + "e" * 200_000)
        assert second.line() == "THREE" + "E" * 200_000


@each_program(OTHERS)
def test_a_program_prints_what_stands_below_it(program: str, printed: str) -> None:
    assert output_of(program) == printed
