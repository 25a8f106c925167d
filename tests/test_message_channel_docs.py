"""The programs of docs/messages.md run, and print what stands below them."""

from document_support import each_program, lines_of_code, output_of, programs_of, text_of
from examples.program import running

[SERVER, *OTHERS] = programs_of(text_of("messages.md"))


def test_the_server_greets() -> None:
    program, _ = SERVER
    assert lines_of_code(program) <= 15

    with running("-c", program) as server, server.client() as client:
        client.send("Ann", "")

        assert [client.line(), client.line()] == ["Hello, Ann!", "Hello, !"]


@each_program(OTHERS)
def test_a_program_prints_what_stands_below_it(program: str, printed: str) -> None:
    assert output_of(program) == printed


def test_there_are_programs() -> None:
    assert len(OTHERS) >= 6
