"""Sending without a copy: several pieces in one sendmsg(2), and files by sendfile(2).

Both take the place of calls of a channel's `send`, so they are for channels whose `send` is our own, over
sockets that are plain: what wraps a socket (TLS, a program's stand-in) wants to see the bytes.
"""

import errno
import io
import os
import socket
import stat
from typing import Any, Final, Protocol

__all__ = ["FileSource", "is_plain", "send_file"]

_sendfile: Final = getattr(os, "sendfile", None)

#: sendfile(2) can't send from this file, or to this socket.
_REFUSED: Final = frozenset(
    getattr(errno, name)
    for name in ("EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "ENOTSOCK", "EOVERFLOW")
    if hasattr(errno, name)
)


class FileSource(Protocol):
    """What is asked of a `FileProducer`.

    Attributes:
        file: what it reads.
        offset: where the next read begins; None: wherever the file stands.
        remaining: bytes that are still owed; None: all up to the end.
    """

    file: Any
    offset: int | None
    remaining: int | None


def is_plain(sock: Any) -> bool:
    """Whether `sock` is a socket of the system's and nothing more."""
    return type(sock) is socket.socket and hasattr(sock, "sendmsg")


def send_file(sock: Any, source: FileSource, limit: int) -> int | None:
    """Send up to `limit` bytes of what `source` is to produce.

    Returns:
        How many were sent; 0 at the end of the file. None where it can't be done: ask the source for chunks.

    Raises:
        BlockingIOError: the socket takes none now.
        OSError: the connection is lost, or the file can't be read.
    """
    descriptor = _descriptor(source.file)
    if _sendfile is None or descriptor is None:
        return None
    position = source.file.tell() if source.offset is None else source.offset
    wanted = limit if source.remaining is None else min(limit, source.remaining)
    try:
        sent: int = _sendfile(sock.fileno(), descriptor, position, wanted) if wanted else 0
    except OSError as error:
        if error.errno in _REFUSED:
            return None
        raise
    if source.offset is None:
        source.file.seek(position + sent)
    else:
        source.offset += sent
    if source.remaining is not None:
        source.remaining -= sent
    return sent


def _descriptor(file: Any) -> int | None:
    """The descriptor of a regular file that nothing is put between; the class says so."""
    if type(file) not in (io.BufferedReader, io.BufferedRandom, io.FileIO) or file.closed:
        return None
    descriptor: int = file.fileno()
    return descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
