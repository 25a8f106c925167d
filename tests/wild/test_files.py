"""Channels over file descriptors, as programs use them: pipes, terminals, triggers."""

import os
import socket
import sys
from typing import Any

import pytest

from faults.originals import Modules
from wild.parts import noting, step

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="file_dispatcher is for POSIX systems")


@pytest.mark.parametrize("as_file", [False, True], ids=["int", "file"])
def test_a_file_dispatcher_takes_a_number_or_a_file_and_leaves_it_to_its_owner(
    modules: Modules, as_file: bool
) -> None:
    """pyinotify, ZEO's trigger, bacpypes' console: the descriptor is duplicated."""
    reading, writing = os.pipe()
    channels: dict[int, Any] = {}
    with open(reading, "rb", buffering=0) as near, open(writing, "wb", buffering=0) as far:
        channel = noting(modules.asyncore.file_dispatcher)(near if as_file else reading, map=channels)
        assert channel._fileno not in (reading, writing)
        assert list(channels) == [channel._fileno]
        assert not os.get_blocking(reading)  # type: ignore[attr-defined,unused-ignore] # POSIX
        assert channel.connected
        far.write(b"x")
        step(modules, channels)
        channel.close()
        assert channels == {}
        far.write(b"y")

        assert channel.read() == b"x"
        assert near.read(1) == b"y"


def test_a_file_dispatcher_ends_with_its_pipe(modules: Modules) -> None:
    channels: dict[int, Any] = {}
    reading, writing = os.pipe()
    channel = noting(modules.asyncore.file_dispatcher)(reading, channels)
    os.close(reading)
    os.close(writing)
    step(modules, channels, 2)

    assert channel.events == [("close", None)]
    assert channels == {}


def test_a_file_dispatcher_with_another_base(modules: Modules) -> None:
    """pyinotify: `class AsyncNotifier(asyncore.file_dispatcher, Notifier)`."""

    class Notifier:
        def __init__(self) -> None:
            self.heard: list[bytes] = []

    class AsyncNotifier(modules.asyncore.file_dispatcher, Notifier):  # type: ignore[misc, name-defined]
        def __init__(self, fd: int, channels: Any) -> None:
            Notifier.__init__(self)
            modules.asyncore.file_dispatcher.__init__(self, fd, channels)

        def handle_read(self) -> None:
            self.heard.append(self.recv(100))

        def writable(self) -> bool:
            return False

    channels: dict[int, Any] = {}
    reading, writing = os.pipe()
    notifier = AsyncNotifier(reading, channels)
    os.write(writing, b"x")
    step(modules, channels)
    modules.asyncore.close_all(channels)
    os.close(reading)
    os.close(writing)

    assert notifier.heard == [b"x"]


def test_a_file_wrapper_has_the_face_of_a_socket(modules: Modules) -> None:
    """cassandra-driver's pipe dispatcher and waitress' tests: it acts like a socket without an error."""
    reading, writing = os.pipe()
    near, far = modules.asyncore.file_wrapper(reading), modules.asyncore.file_wrapper(writing)
    os.close(reading)
    os.close(writing)
    assert near.fileno() >= 0
    assert near.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    with pytest.raises(NotImplementedError):
        near.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    assert (far.send(b"one"), far.write(b"two")) == (3, 3)
    assert (near.recv(3), near.read(3)) == (b"one", b"two")
    near.close()
    far.close()
    near.close()
    assert near.fileno() == -1


def test_a_wrapper_of_ones_own_can_be_the_socket(modules: Modules) -> None:
    """cassandra-driver puts a file_wrapper into a channel that was made without a socket."""
    channels: dict[int, Any] = {}
    reading, writing = os.pipe()
    channel = noting(modules.asyncore.dispatcher)(map=channels)
    channel.set_socket(modules.asyncore.file_wrapper(reading))
    channel.connected = True
    os.write(writing, b"x")
    step(modules, channels)
    os.close(writing)
    step(modules, channels)
    os.close(reading)

    assert channel.events == [("read", b"x"), ("close", None)]
