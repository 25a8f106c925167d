"""A file descriptor with the face of a socket, for channels over pipes, terminals and files (POSIX)."""

import os
import socket
import warnings
from typing import Any

__all__ = ["file_wrapper"]


class file_wrapper:  # noqa: N801 (the name that programs use)
    """Owns a duplicate of a file descriptor, and offers what a channel asks of a socket.

    Args:
        fd: a file descriptor; it stays the caller's to close.
    """

    def __init__(self, fd: int) -> None:
        self.fd: int = os.dup(fd)

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            warnings.warn(f"unclosed file {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def recv(self, size: int) -> bytes:
        """Read up to `size` bytes: b"" at the end."""
        return os.read(self.fd, size)

    def send(self, data: Any) -> int:
        """Write what fits; the number of bytes that did."""
        return os.write(self.fd, data)

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int:
        """Answer 0, no error pending, for SO_ERROR: files have no other way to tell.

        Raises:
            NotImplementedError: any other option.
        """
        if (level, optname, buflen) == (socket.SOL_SOCKET, socket.SO_ERROR, None):
            return 0
        raise NotImplementedError(f"a file descriptor has no socket option {optname} of level {level}")

    read = recv
    write = send

    def close(self) -> None:
        """Close the duplicate; again is fine.

        Raises:
            OSError: the descriptor was closed by somebody else. It counts as closed now.
        """
        if self.fd < 0:
            return
        fd, self.fd = self.fd, -1
        os.close(fd)

    def fileno(self) -> int:
        """The duplicate, or -1 when closed."""
        return self.fd
