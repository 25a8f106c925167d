"""Unix sockets to listen on, and the files that they are found by."""

import contextlib
import errno
import os
import socket
import stat
import sys
from typing import Any, Final, TypeAlias

__all__ = ["SocketFile", "open_socket_file"]

_FAMILY: Final[int | None] = getattr(socket, "AF_UNIX", None)

_Path: TypeAlias = "str | bytes | os.PathLike[str]"


class SocketFile:
    """The file of a socket that this process has bound.

    Args:
        path: where it was bound; absolute from now on.
    """

    def __init__(self, path: str | bytes) -> None:
        self.path: str | bytes = os.path.abspath(path)
        self._identity = _identity(os.lstat(path))
        self._process = os.getpid()

    def remove(self) -> None:
        """Remove it, if it still is this one, and not in a forked child.

        To be called before the socket is closed: as long as it is open, no other file gets its inode.
        """
        with contextlib.suppress(OSError):
            if os.getpid() == self._process and _identity(os.lstat(self.path)) == self._identity:
                os.unlink(self.path)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def open_socket_file(
    address: _Path, backlog: int, mode: int | None
) -> tuple[socket.socket, SocketFile | None]:
    """Listen on a Unix socket; its file, if its name is not an abstract one.

    Raises:
        OSError: the system refuses, somebody else listens there, or the file is no socket.
        ValueError: this system doesn't have such sockets.
    """
    if _FAMILY is None:
        raise ValueError(f"wanted a system that has Unix sockets for {address!r:.60}, found none")
    name: str | bytes = os.fspath(address)
    if not name:
        raise ValueError("wanted the path of a Unix socket, found an empty one")
    is_abstract = name[:1] in ("\0", b"\0")
    if is_abstract and (sys.platform != "linux" or mode is not None):
        raise ValueError(f"wanted Linux, and no mode, for the abstract name {name!r}")
    if not is_abstract:
        _clear_away(name)
    sock = socket.socket(_FAMILY, socket.SOCK_STREAM)
    try:
        return sock, _bind(sock, name, is_abstract, backlog, mode)
    except OSError as error:
        sock.close()
        number = error.errno or errno.ENAMETOOLONG  # Python has none for what it finds out itself.
        raise OSError(number, f"cannot listen on {name!r}: {error.strerror or error}") from error


def _bind(
    sock: socket.socket, name: Any, is_abstract: bool, backlog: int, mode: int | None
) -> SocketFile | None:
    sock.bind(name)
    file = None if is_abstract else SocketFile(name)
    try:
        if mode is not None:  # Before anybody can connect.
            os.chmod(name, mode)
        sock.listen(backlog)
    except OSError:
        if file is not None:
            file.remove()
        raise
    return file


def _clear_away(name: str | bytes) -> None:
    """Remove the file of a socket that nobody listens on any more: its process was killed.

    Raises:
        OSError: it is no socket, or somebody listens.
    """
    try:
        found = os.lstat(name)
    except OSError:
        return  # bind(2) will tell what is wrong.
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, f"wanted a socket or nothing at {name!r}, found another file")
    if not _is_stale(name):
        raise OSError(errno.EADDRINUSE, f"cannot listen on {name!r}: another process does")
    with contextlib.suppress(FileNotFoundError):
        again = os.lstat(name)
        if (_identity(again), again.st_ctime_ns) == (_identity(found), found.st_ctime_ns):
            os.unlink(name)


def _is_stale(name: str | bytes) -> bool:
    assert _FAMILY is not None
    with socket.socket(_FAMILY, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # A long queue is no reason to wait: it is somebody's.
        return probe.connect_ex(name) in (errno.ECONNREFUSED, errno.ENOENT)
