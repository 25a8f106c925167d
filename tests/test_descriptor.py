"""A file descriptor with the face of a socket."""

import gc
import os
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from antiphon.descriptor import file_wrapper

assert not TYPE_CHECKING or sys.platform != "win32"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def reader(pipe: tuple[int, int]) -> Iterator[file_wrapper]:
    reader = file_wrapper(pipe[0])
    yield reader
    reader.close()


def test_the_original_stays_open_when_the_wrapper_is_closed(pipe: tuple[int, int]) -> None:
    wrapper = file_wrapper(pipe[0])
    duplicate = wrapper.fileno()
    assert duplicate != pipe[0]
    wrapper.close()
    os.fstat(pipe[0])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(duplicate)


def test_the_wrapper_outlives_the_original(pipe: tuple[int, int]) -> None:
    original = os.dup(pipe[1])
    writer = file_wrapper(original)
    os.close(original)
    assert writer.send(b"word") == 4
    assert os.read(pipe[0], 10) == b"word"
    writer.close()


@pytest.mark.parametrize("method", ["send", "write"])
def test_send_and_write_are_the_same(pipe: tuple[int, int], reader: file_wrapper, method: str) -> None:
    writer = file_wrapper(pipe[1])
    assert getattr(writer, method)(b"words") == 5
    assert getattr(writer, method)(memoryview(b"")) == 0
    writer.close()
    assert reader.recv(3) == b"wor"
    assert reader.read(10) == b"ds"


def test_the_end_of_a_file_is_no_bytes() -> None:
    wrapper = file_wrapper(os.open(os.devnull, os.O_RDONLY))
    assert wrapper.recv(1) == b""
    wrapper.close()


def test_a_file_has_no_pending_error(reader: file_wrapper) -> None:
    assert reader.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@pytest.mark.parametrize(
    "option",
    [
        (socket.SOL_SOCKET, socket.SO_REUSEADDR),
        (socket.IPPROTO_TCP, socket.SO_ERROR),
        (socket.SOL_SOCKET, socket.SO_ERROR, 4),
    ],
)
def test_other_options_are_refused_with_their_numbers(reader: file_wrapper, option: tuple[int, ...]) -> None:
    with pytest.raises(NotImplementedError, match=f"option {option[1]} of level {option[0]}"):
        reader.getsockopt(*option)


def test_closing_twice_is_fine_and_leaves_the_number_alone_that_was_taken_since(
    pipe: tuple[int, int],
) -> None:
    wrapper = file_wrapper(pipe[0])
    number = wrapper.fileno()
    wrapper.close()
    again = os.dup(pipe[0])
    assert again == number
    wrapper.close()
    assert wrapper.fileno() == -1
    os.fstat(again)
    os.close(again)


def test_a_descriptor_that_somebody_else_closed_is_an_error_once(pipe: tuple[int, int]) -> None:
    wrapper = file_wrapper(pipe[0])
    os.close(wrapper.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        wrapper.close()
    wrapper.close()


def test_a_wrapper_that_nobody_closed_warns_and_closes(pipe: tuple[int, int]) -> None:
    wrapper: Any = file_wrapper(pipe[0])
    number = wrapper.fileno()
    wrapper.itself = wrapper
    del wrapper
    with pytest.warns(ResourceWarning, match="unclosed file <"):
        gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_wrapper_of_nothing_is_refused_and_goes_quietly() -> None:
    nothing = os.dup(0)
    os.close(nothing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        file_wrapper(nothing)
    gc.collect()
