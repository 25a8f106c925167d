"""The programs of docs/ending.md run: processes get real signals, and every promised byte arrives."""

import signal
import sys
from collections.abc import Iterator

import pytest

from document_support import each_program, output_of, programs_of, text_of
from examples.program import Client, Program, running

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to be handled")

[(SERVER, _), *OTHERS] = programs_of(text_of("ending.md"))

#: What the server promises for each message, which is more than the system keeps for a peer.
EACH = 1_000_002


@pytest.fixture
def server() -> Iterator[Program]:
    with running("-c", SERVER) as program:
        yield program


def ask(client: Client, *messages: str) -> bytes:
    """Ask for more than fits, and read the first byte of it: all was read by then, and hardly any is sent."""
    client.sock.sendall(b"".join(message.encode() + b"\r\n" for message in messages))
    return client.file.read(1)


def promised(*messages: str) -> bytes:
    return b"".join(message.encode() * 1_000_000 + b"\r\n" for message in messages)


def test_after_sigterm_every_promised_byte_arrives_and_the_status_is_0(server: Program) -> None:
    with server.client() as talking, server.client() as reading, server.client() as idle:
        beginnings = ask(talking, "a", "b", "c"), ask(reading, "d")
        server.process.send_signal(signal.SIGTERM)
        assert idle.file.read() == b""

        rest = b""
        while piece := talking.file.read1(65536):
            rest += piece
            talking.sock.sendall(b"e\r\n")
        assert beginnings[0] + rest == promised("a", "b", "c")
        assert beginnings[1] + reading.file.read() == promised("d")
        with pytest.raises(ConnectionRefusedError), server.client():
            pass
        for client in talking, reading, idle:
            client.close()
        assert server.process.wait(20) == 0
    assert server.process.stderr is not None
    assert server.process.stderr.read() == ""


def test_a_second_sigterm_ends_it_at_once_and_the_status_tells(server: Program) -> None:
    with server.client() as deaf, server.client() as idle:
        ask(deaf, "a", "b", "c", "d", "e", "f", "g", "h", "i")
        server.process.send_signal(signal.SIGTERM)
        assert idle.file.read() == b""
        idle.close()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(8) == 1


@each_program(OTHERS)
def test_a_program_prints_what_stands_below_it(program: str, printed: str) -> None:
    assert output_of(program) == printed
