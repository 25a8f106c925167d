"""The program of docs/datagrams.md runs, and prints what stands below it."""

from document_support import output_of, programs_of, text_of

[(PROGRAM, PRINTED)] = programs_of(text_of("datagrams.md"))


def test_the_program_prints_what_stands_below_it() -> None:
    assert output_of(PROGRAM) == PRINTED != ""
