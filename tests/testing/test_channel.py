import errno
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from antiphon import MessageChannel, asyncore
from antiphon.asynchat import async_chat
from antiphon.testing import check_channel
from antiphon.testing.channel import CHECKS, _referrers, _title

DIALOGUE = b"one\r\ntwo\r\nquit\r\n"


class Good(async_chat):
    """Answers each line in capitals; closes after QUIT."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.lines: list[bytes] = []
        self.line = b""
        self.set_terminator(b"\r\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self.line += data

    def found_terminator(self) -> None:
        line, self.line = self.line, b""
        self.lines.append(line)
        self.push(line.upper() + b"\r\n")
        if line == b"quit":
            self.close_when_done()


class Modern(MessageChannel):
    def message_received(self, message: bytes) -> None:
        self.push(message + b"\r\n")


class Plain(asyncore.dispatcher_with_send):
    def handle_read(self) -> None:
        self.send(self.recv(3))


def lines(channel: Any, sent: bytes) -> object:
    return channel.lines, sent


@pytest.mark.parametrize("good", [Good, Modern, Plain])
def test_a_channel_that_conforms_passes(good: Any) -> None:
    check_channel(good, DIALOGUE)


def test_what_the_program_observes_is_compared() -> None:
    check_channel(Good, DIALOGUE, observe=lines)


def test_a_dialogue_may_be_a_single_byte() -> None:
    check_channel(Good, b"x")


def test_a_channel_may_take_its_time() -> None:
    class Later(Modern):
        def message_received(self, message: bytes) -> None:
            self.call_later(5, super().message_received, message)

    check_channel(Later, b"one\r\n", seconds=10, observe=lambda channel, sent: len(sent))


def test_a_function_may_make_the_channels() -> None:
    def make(sock: Any) -> Good:
        return Good(sock)

    check_channel(make, DIALOGUE)


# -- channels that break a promise -------------------------------------------------------------------------


class Elsewhere(Good):
    """Lives in a map of its own."""

    def __init__(self, sock: Any) -> None:
        self.own: dict[int, Any] = {}
        super().__init__(sock)

    def add_channel(self, map: Any = None) -> None:
        super().add_channel(self.own)


class Chunky(Good):
    """Takes what one read brings for a line."""

    def handle_read(self) -> None:
        data = self.recv(4096)
        if data:
            self.push(data.split(b"\r\n")[0].upper())


class Impatient(Good):
    """Takes a moment without input for the end."""

    def handle_read(self) -> None:
        try:
            data = self.recv(4096)
        except BlockingIOError:
            self.close()
        else:
            self.push(data)


class Hasty(Good):
    """Sends past the queue, and forgets what was not taken."""

    def push(self, data: Any) -> None:
        self.send(data)

    def close_when_done(self) -> None:
        self.close()


class Raising(Good):
    """Fails at the last line."""

    def found_terminator(self) -> None:
        super().found_terminator()
        if self.closing or self.lines[-1] == b"quit":
            raise ZeroDivisionError


class Curious(Good):
    """Asks the socket in every turn."""

    def writable(self) -> bool:
        if self.connected and len(self.lines) == 3:
            self.socket.getpeername()
        return bool(super().writable())

    def close_when_done(self) -> None:
        pass


class Twice(Good):
    """Calls handle_close by hand as well."""

    def recv(self, size: int) -> bytes:
        data = super().recv(size)
        if not data:
            self.handle_close()
        return data


class Stubborn(Good):
    """Stays when the connection is lost."""

    def recv(self, size: int) -> bytes:
        try:
            return super().recv(size)
        except OSError as error:
            if error.errno == errno.ETIMEDOUT:
                return b""
            raise


class Leaking(Good):
    """Leaves its socket open."""

    def close(self) -> None:
        self.del_channel()


class Undead(Good):
    """Goes on talking after it was closed."""

    def close(self) -> None:
        if self.line and self.socket is not None:
            self.call_later_on_the_loop()
        super().close()

    def call_later_on_the_loop(self) -> None:
        asyncore.get_loop().call_later(0, self.socket.getpeername)


class Touchy(Good):
    """Fails to be closed again."""

    def close(self) -> None:
        if self.closing:
            raise AssertionError("it is closed already")
        super().close()


class Ticking(Good):
    """Has a timer of its loop that it does not cancel."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        asyncore.get_loop().call_later(60, lambda: None)


class Kept(Good):
    """Is in a list of its program's for ever."""

    everyone: ClassVar[list[Any]]

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.everyone.append(self)


class Restless(Good):
    def writable(self) -> bool:
        return True


class Unclosed(Good):
    """Never hears of the end of its input."""

    def recv(self, size: int) -> bytes:
        data: bytes = self.socket.recv(size)
        if not data:
            self._ac_paused = True
            self._ac_state_changed()
        return data


@pytest.fixture(autouse=True)
def _nobody_is_kept() -> Iterator[None]:
    Kept.everyone = []  # Made by the test, so that the garbage collector knows of it.
    yield
    del Kept.everyone


BROKEN = [
    (Elsewhere, "a new channel is in its map", "the map has None for its socket"),
    (Restless, "a new channel is in its map", r"a busy loop: .* is ready for writing"),
    (
        Chunky,
        "the outcome is the same however the input is cut",
        "each byte came by itself: b'.*', expected b'ONE' as",
    ),
    (
        Raising,
        "the outcome is the same .*",
        r"everything came at once: handle_error was called, with ZeroDivisionError",
    ),
    (
        Impatient,
        "moments without input change nothing",
        r"nothing had arrived at first, .*: b'', expected b'one.*",
    ),
    (
        Hasty,
        "a peer that reads slowly gets the same",
        r"one byte was taken at a time: b'OTQ', expected b'ONE",
    ),
    (
        Curious,
        "nothing more is asked when all was said",
        r"it goes on to ask its socket: \[\('getpeername',\)",
    ),
    (
        Twice,
        "the end of the input is told once",
        r"the peer stopped sending after b'': handle_close was called 2 times",
    ),
    (
        Unclosed,
        "the end of the input is told once",
        r"the peer stopped sending after b'': handle_close was not called",
    ),
    (Stubborn, "a lost connection ends it", "recv failed with ETIMEDOUT: it is still in its map"),
    (
        Leaking,
        "a lost connection ends it",
        "recv failed with ECONNRESET: it has left its map, and its socket is open",
    ),
    (
        Undead,
        "a closed channel hears and says nothing",
        r"after close\(\) it asked its socket: \[\('getpeername',\)\]",
    ),
    (Touchy, "closing twice does no harm", "it is closed already"),
    (Ticking, "nothing of a closed channel is kept", r"after close\(\) its loop has timers or calls pending"),
    (Kept, "nothing of a closed channel is kept", r"after close\(\) it is referenced by a list \[<.*"),
]


@pytest.mark.parametrize(("broken", "title", "found"), BROKEN, ids=[row[0].__name__ for row in BROKEN])
def test_a_channel_that_breaks_a_promise_is_told_how(broken: Any, title: str, found: str) -> None:
    with pytest.raises(AssertionError, match=f"^channel {broken.__name__}, {title}: {found}"):
        check_channel(broken, DIALOGUE)


def test_every_check_is_failed_by_somebody() -> None:
    failed = {row[1].removesuffix(" .*") for row in BROKEN}
    assert [
        title for title in map(_title, CHECKS) if not any(title.startswith(part) for part in failed)
    ] == []


def test_a_check_may_be_left_out() -> None:
    check_channel(Kept, DIALOGUE, leave_out={"nothing of a closed channel is kept"})


def test_what_can_t_be_checked_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        check_channel(Good, b"")
    with pytest.raises(ValueError, match=r"wanted names of checks \(a new channel .*\), found nonsense"):
        check_channel(Good, DIALOGUE, leave_out=["nonsense"])


def test_what_holds_a_channel_without_telling_is_said_to_be_unknown() -> None:
    assert _referrers(object()) == "something that the garbage collector does not know"
