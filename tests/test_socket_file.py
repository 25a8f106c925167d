"""Unix sockets, and the files that they are found by."""

import errno
import os
import socket
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from antiphon import socket_file
from antiphon.socket_file import open_socket_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
UNIX: Any = getattr(socket, "AF_UNIX", None)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")


def reached(path: Any) -> bool:
    with socket.socket(UNIX) as client:
        return client.connect_ex(path) == 0


def leave_stale(path: Path) -> None:
    """As a process does that is killed."""
    with socket.socket(UNIX) as dead:
        dead.bind(str(path))


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_a_path_gets_a_socket_and_is_removed_with_it(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "socket"
    sock, file = open_socket_file(kind(path), 5, None)
    with sock:
        assert reached(str(path))
        assert file is not None
        file.remove()
    assert not path.exists()
    file.remove()


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_its_file_has_the_mode_before_anybody_can_connect(
    tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, modes = tmp_path / "socket", []

    class Watched(socket.socket):
        def listen(self, backlog: int = 0, /) -> None:
            modes.append(stat.S_IMODE(path.stat().st_mode))
            super().listen(backlog)

    monkeypatch.setattr(socket, "socket", Watched)
    sock, _ = open_socket_file(path, 5, mode)
    sock.close()
    assert modes == [mode]


def test_a_file_of_nobody_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    leave_stale(path)
    sock, _ = open_socket_file(path, 5, None)
    with sock:
        assert reached(str(path))


def test_a_file_of_somebody_who_listens_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    sock, _ = open_socket_file(path, 5, None)
    with sock:
        with pytest.raises(OSError, match="another process does") as caught:
            open_socket_file(path, 5, None)
        assert caught.value.errno == errno.EADDRINUSE
        assert reached(str(path))


def test_a_long_queue_is_somebody_s_too(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        clients = [socket.socket(UNIX) for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(str(path))
        with pytest.raises(OSError, match="another process does"):
            open_socket_file(path, 5, None)
        for client in clients:
            client.close()


def test_datagrams_are_somebody_s_too(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(path))
        with pytest.raises(OSError, match="another process does"):
            open_socket_file(path, 5, None)


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_not_touched(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "socket"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        leave_stale(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"wanted a socket or nothing at .*, found another file"):
        open_socket_file(path, 5, None)
    assert path.exists()


def test_a_file_that_has_just_been_replaced_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "socket"
    leave_stale(path)
    is_stale, others = socket_file._is_stale, []

    def replaced_meanwhile(name: Any) -> bool:
        found = is_stale(name)
        path.unlink()
        others.append(socket.socket(UNIX))
        others[0].bind(str(path))
        others[0].listen(5)
        return found

    monkeypatch.setattr(socket_file, "_is_stale", replaced_meanwhile)
    with pytest.raises(OSError, match=r"cannot listen on .*: Address already in use"):
        open_socket_file(path, 5, None)
    assert reached(str(path))
    others[0].close()


def test_a_file_that_vanishes_meanwhile_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "socket"
    leave_stale(path)
    is_stale = socket_file._is_stale

    def removed_meanwhile(name: Any) -> bool:
        path.unlink()
        return is_stale(name)

    monkeypatch.setattr(socket_file, "_is_stale", removed_meanwhile)
    sock, _ = open_socket_file(path, 5, None)
    with sock:
        assert reached(str(path))


def test_a_file_that_is_another_s_by_now_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    sock, file = open_socket_file(path, 5, None)
    path.unlink()
    with sock, socket.socket(UNIX) as other:
        other.bind(str(path))
        assert file is not None
        file.remove()
        assert path.exists()


def test_a_forked_child_does_not_remove_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "socket"
    sock, file = open_socket_file(path, 5, None)
    assert file is not None
    with sock:
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            file.remove()
        assert path.exists()


def test_it_is_removed_from_wherever_the_process_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sock, file = open_socket_file("socket", 5, None)
    monkeypatch.chdir("/")
    with sock:
        assert file is not None
        file.remove()
    assert not (tmp_path / "socket").exists()


@pytest.mark.parametrize("where", ["missing/socket", "s" * 200])
def test_where_no_socket_can_be_is_named(tmp_path: Path, where: str) -> None:
    with pytest.raises(OSError, match=f"cannot listen on .*{where}.*: "):
        open_socket_file(tmp_path / where, 5, None)


def test_a_socket_that_cannot_listen_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute(socket.socket):
        def listen(self, backlog: int = 0, /) -> None:
            raise OSError(errno.ENOBUFS, "no buffers")

    monkeypatch.setattr(socket, "socket", Mute)
    with pytest.raises(OSError, match="no buffers"):
        open_socket_file(tmp_path / "socket", 5, None)
    assert list(tmp_path.iterdir()) == []


@on_linux
@pytest.mark.parametrize("kind", [str, os.fsencode])
def test_an_abstract_name_has_no_file(tmp_path: Path, kind: Any) -> None:
    name = kind(f"\0antiphon-{os.getpid()}-{threading.get_ident()}")
    sock, file = open_socket_file(name, 5, None)
    with sock:
        assert file is None
        assert reached(name)
        with pytest.raises(OSError, match="Address already in use"):
            open_socket_file(name, 5, None)


def test_arguments_that_do_not_go_together_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="wanted the path of a Unix socket, found an empty one"):
        open_socket_file("", 5, None)
    with pytest.raises(ValueError, match="wanted Linux, and no mode, for the abstract name"):
        open_socket_file("\0name", 5, 0o600)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ValueError, match="wanted Linux"):
        open_socket_file(b"\0name", 5, None)
    monkeypatch.setattr(socket_file, "_FAMILY", None)
    with pytest.raises(ValueError, match="wanted a system that has Unix sockets for '/path'"):
        open_socket_file("/path", 5, None)


def test_an_abstract_socket_that_cannot_listen_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute(socket.socket):
        def listen(self, backlog: int = 0, /) -> None:
            raise OSError(errno.ENOBUFS, "no buffers")

    if sys.platform == "linux":
        monkeypatch.setattr(socket, "socket", Mute)
        with pytest.raises(OSError, match="no buffers"):
            open_socket_file(f"\0antiphon-mute-{os.getpid()}", 5, None)
