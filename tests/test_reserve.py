"""The descriptor that is kept for the moment at which there is no other."""

import os
import sys
from pathlib import Path

import pytest

from antiphon.reserve import Reserve

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sockets are no descriptors there")


class User:
    """Somebody who may need it."""


def test_there_is_one_as_long_as_somebody_has_a_use_for_it() -> None:
    reserve, one, other = Reserve(), User(), User()
    with reserve.spent() as there_was_one:
        assert not there_was_one
    reserve.keep_for(one)
    reserve.keep_for(other)
    assert reserve._fd is not None
    fd = reserve._fd
    reserve.give_up(one)
    os.fstat(fd)
    del other
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_while_it_is_spent_its_number_is_free_and_then_there_is_another() -> None:
    reserve, user = Reserve(), User()
    reserve.keep_for(user)
    fd = reserve._fd
    assert fd is not None
    with reserve.spent() as there_was_one:
        assert there_was_one
        taken = os.dup(0)
        assert taken == fd
    assert reserve._fd not in (None, fd)
    os.close(taken)
    reserve.give_up(user)


def test_a_number_that_means_something_else_by_now_is_not_closed(tmp_path: Path) -> None:
    reserve, user = Reserve(), User()
    reserve.keep_for(user)
    fd = reserve._fd
    assert fd is not None
    with (tmp_path / "file").open("w") as file:
        os.dup2(file.fileno(), fd)
        with reserve.spent() as there_was_one:
            assert not there_was_one
        reserve.give_up(user)
        os.write(fd, b"still open")
        os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"still open"


def test_a_number_that_was_closed_is_no_reserve() -> None:
    reserve, user = Reserve(), User()
    reserve.keep_for(user)
    assert reserve._fd is not None
    os.close(reserve._fd)
    with reserve.spent() as there_was_one:
        assert not there_was_one
    with reserve.spent() as there_was_one:
        assert there_was_one
    reserve.give_up(user)


def test_when_none_is_to_be_had_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> None:
        raise OSError

    monkeypatch.setattr("antiphon.reserve.socket.socket", none_left)
    reserve, user = Reserve(), User()
    reserve.keep_for(user)
    with reserve.spent() as there_was_one:
        assert not there_was_one
    reserve.give_up(user)
