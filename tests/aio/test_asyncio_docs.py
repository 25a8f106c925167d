"""The programs of docs/asyncio.md run: its servers answer, the others print what stands below them."""

import socket

import pytest

from document_support import each_program, output_of, programs_of, text_of
from examples.program import Client, running

TEXT, _ = text_of("asyncio.md").split("## Channels and asyncio in one process")
PROGRAMS = programs_of(TEXT)
SERVERS = [program for program, _ in PROGRAMS if "telnet" in program]
OTHERS = [(program, printed) for program, printed in PROGRAMS if "telnet" not in program]
GREETER, BEFORE, AFTER = SERVERS


def test_the_server_greets() -> None:
    with running("-c", GREETER) as server, server.client() as client:
        client.send("Ann", "")
        assert [client.line(), client.line()] == ["Hello, Ann!", "Hello, !"]


@each_program(OTHERS)
def test_a_program_prints_what_stands_below_it(program: str, printed: str) -> None:
    assert output_of(program) == printed


def talk(client: Client) -> list[str]:
    client.send("PUT one 7")
    client.sock.sendall(b"ab\r\ncd\n")
    client.send("GET one")
    answers = [client.line(), client.line()]
    answers.append(client.file.read(7).decode())
    client.send("NONSENSE", "GET none")
    return [*answers, client.line(), client.line()]


@pytest.mark.parametrize("program", [BEFORE, AFTER], ids=["before", "after"])
def test_a_server_that_was_moved_answers_as_before(program: str) -> None:
    with running("-c", program) as server, server.client() as client:
        assert talk(client) == ["OK", "7", "ab\r\ncd\n", "ERROR", "0"]


@pytest.mark.parametrize(("program", "goes_on"), [(BEFORE, False), (AFTER, True)], ids=["before", "after"])
def test_only_a_server_that_was_moved_goes_on_behind_a_line_that_is_too_long(
    program: str, goes_on: bool
) -> None:
    with running("-c", program) as server, server.client() as client:
        client.send("x" * 2000, "GET none")
        assert client.line() == "ERROR too long"
        assert client.line() == ("0" if goes_on else "")


@pytest.mark.parametrize("program", [BEFORE, AFTER], ids=["before", "after"])
def test_a_client_that_breaks_off_breaks_nothing(program: str) -> None:
    with running("-c", program) as server:
        with socket.create_connection(server.address, timeout=20) as broken:
            broken.sendall(b"PUT one 7\r\nabc")
        with server.client() as client:
            assert talk(client) == ["OK", "7", "ab\r\ncd\n", "ERROR", "0"]
