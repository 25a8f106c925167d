import errno
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples.chat import Guest, Room

from antiphon.testing import FakeNetwork, ScriptedSocket, error
from examples.program import PROJECT, Client, Program, running

SOURCE = PROJECT / "examples" / "chat.py"


@pytest.fixture
def room() -> Iterator[Program]:
    with running("examples/chat.py", "--port", "0") as program:
        yield program


def enter(guest: Client, nickname: str) -> None:
    """Take a name, and read what comes of it."""
    assert guest.line() == "Welcome. What is your nickname?"
    guest.send(nickname)
    assert guest.line().startswith(f"{nickname} has joined.")


def test_it_is_a_text_to_read_at_one_sitting() -> None:
    assert len(Path(SOURCE).read_text().splitlines()) < 150


def test_what_one_says_everybody_hears(room: Program) -> None:
    with room.client() as ada, room.client() as bob:
        enter(ada, "ada")
        enter(bob, "bob")
        assert ada.line().startswith("bob has joined.")
        ada.send("hello, bob", "  ", "how are you? \x1b[2J")
        for guest in ada, bob:
            assert [guest.line(), guest.line()] == ["ada: hello, bob", "ada: how are you? [2J"]
        bob.send("/who")
        assert bob.line() == "Here: ada, bob"


def test_a_name_is_one_s_own_and_decent(room: Program) -> None:
    with room.client() as ada, room.client() as other:
        enter(ada, "ada")
        assert other.line().startswith("Welcome.")
        other.send("ada", "no names", "x" * 21, "bob")
        assert other.line() == "ada is here already. What is your nickname?"
        assert other.line() == "A nickname has letters and digits, 20 at most. What is yours?"
        assert other.line() == "A nickname has letters and digits, 20 at most. What is yours?"
        assert other.line().startswith("bob has joined.")


def test_who_quits_is_told_goodbye_and_says_nothing_any_more(room: Program) -> None:
    with room.client() as ada, room.client() as bob:
        enter(ada, "ada")
        enter(bob, "bob")
        ada.line()
        bob.send("/quit", "not to be heard")
        assert [bob.line(), bob.line()] == ["Goodbye.", ""]
        ada.send("still here")
        assert [ada.line(), ada.line()] == ["bob has left.", "ada: still here"]


def test_who_hangs_up_has_left(room: Program) -> None:
    with room.client() as ada, room.client() as bob, room.client() as nobody:
        enter(ada, "ada")
        enter(bob, "bob")
        ada.line()
        nobody.close()
        bob.close()
        assert ada.line() == "bob has left."


def test_everybody_hears_the_same_in_the_same_order() -> None:
    with FakeNetwork() as network:
        room = Room("127.0.0.1", 0, 600)
        ada, bob, eve = (ScriptedSocket(b"%b\r\n" % name) for name in (b"ada", b"bob", b"eve"))
        for guest in ada, bob, eve:
            Guest(guest, room, 600)
            network.run()
        before = len(ada.sent), len(eve.sent)
        bob.script(send=[error(errno.ECONNRESET)])
        ada.script(b"hello\r\n")
        network.run()
        heard = [b"ada: hello\r\n", b"bob has left.\r\n"]
        assert ada.sent[before[0] :].splitlines(keepends=True) == heard
        assert eve.sent[before[1] :].splitlines(keepends=True) == heard


def test_a_line_that_never_ends_is_ended(room: Program) -> None:
    with room.client() as ada, room.client() as bob:
        enter(ada, "ada")
        enter(bob, "bob")
        ada.line()
        bob.sock.sendall(b"x" * 1001)
        assert bob.line() == "That line was too long."
        assert ada.line() == "bob has left."


def test_a_guest_who_does_not_read_is_dismissed(room: Program) -> None:
    with room.client() as ada, room.client() as deaf:
        enter(ada, "ada")
        enter(deaf, "deaf")
        lines = [f"{number} ".ljust(900, "x") for number in range(200)]
        for _ in range(100):  # 18 MB at most; the kernel keeps some of it for the one who does not read.
            ada.send(*lines)
            heard = [ada.line() for _ in lines]
            if "deaf has left." in heard:
                break
        else:
            raise AssertionError("nobody was dismissed")


def test_silence_ends_a_visit() -> None:
    with running("examples/chat.py", "--port", "0", "--idle", "0.05") as room, room.client() as ada:
        lines = [ada.line(), ada.line(), ada.line()]

    assert lines == ["Welcome. What is your nickname?", "You have been silent for too long.", ""]


@pytest.mark.skipif(sys.platform == "win32", reason="a signal stands for Ctrl-C")
def test_it_ends_with_ctrl_c(room: Program) -> None:
    with room.client() as ada:
        enter(ada, "ada")
        assert room.interrupt() == 0
        assert ada.line() == ""
        assert room.process.stderr is not None
        assert room.process.stderr.read() == ""
