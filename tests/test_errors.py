import errno
import pickle
import ssl
import sys

import pytest

from antiphon import errors
from antiphon.errors import AntiphonError, PollerUnavailable, WouldBlock, is_network_error, is_would_block


@pytest.mark.parametrize("number", sorted(errors.NETWORK_ERRORS), ids=lambda number: errno.errorcode[number])
def test_what_the_network_does_is_a_network_error(number: int) -> None:
    assert is_network_error(OSError(number, "of the network"))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EBADF, "a defect of the program"),
        OSError(errno.EMFILE, "too many open files"),
        OSError("without a number"),
        ValueError(errno.ECONNRESET),
        None,
    ],
)
def test_nothing_else_is_a_network_error(error: BaseException | None) -> None:
    assert not is_network_error(error)


@pytest.mark.parametrize(
    "error", [WouldBlock(errno.EAGAIN, "nothing there"), ssl.SSLWantReadError(), ssl.SSLWantWriteError()]
)
def test_not_now_is_no_error_of_a_channel(error: BaseException) -> None:
    assert is_would_block(error)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(BlockingIOError(errno.EAGAIN, "of a file that the program reads"), id="BlockingIOError"),
        pytest.param(ssl.SSLError("bad record"), id="SSLError"),
        pytest.param(ValueError(), id="ValueError"),
    ],
)
def test_the_errors_of_the_programs_own_files_are_not_taken_for_it(error: BaseException) -> None:
    assert not is_would_block(error)


def test_ssl_need_not_have_been_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ssl")
    assert is_would_block(WouldBlock())
    assert not is_would_block(ValueError())


def test_an_unavailable_poller_is_also_a_wrong_value() -> None:
    assert issubclass(PollerUnavailable, AntiphonError)
    assert issubclass(PollerUnavailable, ValueError)


def test_would_block_is_caught_as_what_the_socket_raised() -> None:
    assert issubclass(WouldBlock, BlockingIOError)


def test_an_incomplete_message_says_what_was_wanted_and_what_there_was() -> None:
    error = errors.MessageIncomplete(b"abc", 5)
    assert (error.partial, error.expected) == (b"abc", 5)
    assert str(error) == "wanted 5 bytes, found the end after 3 bytes: b'abc'"
    assert isinstance(error, EOFError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
