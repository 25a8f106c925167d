"""The programs of docs/testing.md run, and print what stands below them."""

import contextlib
import io

from document_support import each_program, lines_of_code, programs_of, text_of

TEXT = text_of("testing.md")
PROGRAMS = programs_of(TEXT)


@each_program(PROGRAMS)
def test_a_program_prints_what_stands_below_it(program: str, printed: str) -> None:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(program, {"__name__": "__main__"})

    assert output.getvalue() == printed


def test_the_first_program_has_ten_lines() -> None:
    assert lines_of_code(PROGRAMS[0][0]) <= 10


def test_there_are_programs() -> None:
    assert len(PROGRAMS) == TEXT.count("```python") >= 7
    assert all(printed for _, printed in PROGRAMS)
