"""The programs of docs/connecting.md run."""

from document_support import output_of, programs_of, text_of

NAMES, HALVES, AGAIN = [program for program, _ in programs_of(text_of("connecting.md"))]


def test_a_name_is_connected_to_and_another_is_not_found() -> None:
    lines = sorted(output_of(NAMES).splitlines())
    assert lines[1] == "connected to 127.0.0.1"
    assert lines[0].startswith("cannot connect to no.such.invalid port 80: no.such.invalid port 80: ")


def test_a_peer_that_has_sent_all_is_answered() -> None:
    assert output_of(HALVES) == "b'QUESTION'\n"


def test_a_connection_that_fails_is_tried_again() -> None:
    assert output_of(AGAIN) == ""
