"""Files of a directory as HTTP responses: which one a path names, what of it is sent, how it is listed.

Not served: what lies outside of the directory once all symbolic links are followed, anything that is neither
a file nor a directory, and names that begin with a dot (`.git`, `.env`), but for `.well-known` (RFC 8615).
"""

import html
import mimetypes
import os
import re
import stat
import time
from contextlib import ExitStack
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from typing import BinaryIO, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from antiphon.producers import FileProducer
from antiphon.servers.messages import Request, Response, status_page

__all__ = ["Directory", "byte_range", "path_segments", "select"]

#: The types of compressed files, whatever is in them: they are sent as files, not as a coding of the message.
_COMPRESSED_TYPES: Final = {
    "br": "application/x-brotli",
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}
#: Lengths beyond 18 digits are no file's; Python converts 4,300 digits at most.
_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)
#: A path has no symbolic link left when it is opened; nothing that would block is waited for.
_OPEN_FLAGS: Final = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)


class Directory:
    """The responses to GET and HEAD for what lies in a directory.

    Attributes:
        root: the absolute path of the directory, without symbolic links.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Serve the directory at `path`.

        Raises:
            NotADirectoryError: there is none.
        """
        self.root: str = os.path.realpath(path)
        if not os.path.isdir(self.root):
            raise NotADirectoryError(f"wanted a directory to serve, found {os.fspath(path)!r}")

    def respond(self, request: Request) -> Response:
        """The file, the listing of the directory, or the error page that the request asks for.

        Raises:
            OSError: the file is there and could be read, but can't be now: too many open files, a bad disk.
        """
        segments = path_segments(request.path)
        if segments is None:
            return status_page(400, "wanted a path without NUL")
        path = self.locate(segments)
        if path is None:
            return status_page(404)
        try:
            return self._respond_with(path, segments, request)
        except (FileNotFoundError, NotADirectoryError):
            return status_page(404)
        except PermissionError:
            return status_page(403)

    def locate(self, segments: list[str]) -> str | None:
        """The path of the file or directory that the segments name; None if they name nothing served."""
        if not all(_is_served(segment) for segment in segments if segment):
            return None
        path = os.path.realpath(os.path.join(self.root, *segments))
        if not self._holds(path):
            return None
        try:
            mode = os.stat(path).st_mode
        except OSError:
            return None
        wants_directory = not segments[-1]
        fits = stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and not wants_directory)
        return path if fits else None

    def _holds(self, path: str) -> bool:
        return path == self.root or path.startswith(os.path.join(self.root, ""))

    def _respond_with(self, path: str, segments: list[str], request: Request) -> Response:
        if not os.path.isdir(path):
            return _file_response(path, request)
        if segments[-1]:
            # Made of the names alone: a target that begins with "//" would lead to another host.
            location = "".join(f"/{_quote(name)}" for name in segments if name) + "/"
            return status_page(301, Location=location + (f"?{request.query}" if request.query else ""))
        index = self.locate([*segments[:-1], "index.html"])
        if index is not None and os.path.isfile(index):
            return _file_response(index, request)
        return Response(200, {"Content-Type": "text/html; charset=utf-8"}, self._listing(path, segments))

    def _listing(self, path: str, segments: list[str]) -> bytes:
        with os.scandir(path) as entries:
            names = sorted(
                entry.name + ("/" if entry.is_dir() else "") for entry in entries if self._is_listed(entry)
            )
        title = html.escape("".join(f"/{_readable(name)}" for name in segments if name) + "/")
        parent = ["../"] if any(segments) else []
        items = "".join(_item(name) for name in parent + names)
        page = (
            f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
        )
        return f"{page}<body>\n<h1>{title}</h1>\n<ul>\n{items}</ul>\n</body>\n</html>\n".encode()

    def _is_listed(self, entry: os.DirEntry[str]) -> bool:
        if not _is_served(entry.name):
            return False
        if entry.is_symlink() and not self._holds(os.path.realpath(entry.path)):
            return False
        try:
            return entry.is_file() or entry.is_dir()
        except OSError:  # A link to itself.
            return False


def path_segments(path: str) -> list[str] | None:
    """The names between the slashes of a URL's path, decoded, once; None if one contains NUL.

    >>> path_segments("/music/a%20b%252f/")
    ['music', 'a b%2f', '']

    The last one is empty for a path that ends with a slash: that of a directory.
    """
    segments = [os.fsdecode(unquote_to_bytes(segment)) for segment in path.split("/")[1:]]
    return None if any("\0" in segment for segment in segments) else segments or [""]


def _is_served(segment: str) -> bool:
    """Whether a segment is one name, on every system, and not a hidden one ("." and ".." are)."""
    if "\\" in segment or os.path.basename(segment) != segment:
        return False
    return not segment.startswith(".") or segment == ".well-known"


def _item(name: str) -> str:
    # Without "./" a name with a colon in it would begin with a scheme.
    return f'<li><a href="./{_quote(name)}">{html.escape(_readable(name))}</a></li>\n'


def _quote(name: str) -> str:
    return quote_from_bytes(os.fsencode(name))


def _readable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


def _file_response(path: str, request: Request) -> Response:
    """The file: all of it, a range of it, or the news that it hasn't changed."""
    with ExitStack() as stack:
        file = stack.enter_context(_open_file(path))
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):  # Replaced since it was looked at.
            raise FileNotFoundError(path)
        status, fields, span = select(request, found.st_size, found.st_mtime)
        if not span and status != 200:
            return Response(status, fields)
        count = span.stop - span.start
        fields |= {"Content-Type": _content_type(path), "Content-Length": str(count)}
        body = FileProducer(file, offset=span.start or None, count=count)
        stack.pop_all()  # From here on the producer closes the file.
        return Response(status, fields, body)


def _open_file(path: str) -> BinaryIO:
    return os.fdopen(os.open(path, _OPEN_FLAGS), "rb", buffering=0)


def _content_type(path: str) -> str:
    kind, compression = mimetypes.guess_type(path)
    if compression is not None:
        return _COMPRESSED_TYPES.get(compression, "application/octet-stream")
    return kind or "application/octet-stream"


def select(request: Request, size: int, modified: float) -> tuple[int, dict[str, str], range]:
    """What of a file is sent.

    Args:
        request: may have If-Modified-Since, Range and If-Range (RFC 9110, sections 13 and 14).
        size: of the file, in bytes.
        modified: when it last was, in seconds since the epoch.

    Returns:
        The status (200, 206, 304 or 416), the fields that go with it, and the bytes.
    """
    now = time.time()
    stamp = formatdate(min(modified, now), usegmt=True)  # Not later than Date: RFC 9110, section 8.8.2.1.
    fields = {"Last-Modified": stamp, "Accept-Ranges": "bytes"}
    since = _seconds(request.headers.get("If-Modified-Since"))
    if since is not None and int(modified) <= since and "If-None-Match" not in request.headers:
        return 304, fields, range(0)
    span = None
    if request.method == "GET" and request.headers.get("If-Range", stamp) == stamp:
        span = byte_range(request.headers.get("Range", ""), size)
    if span is None:
        return 200, fields, range(size)
    if not span:
        return 416, {"Content-Range": f"bytes */{size}"}, span
    return 206, fields | {"Content-Range": f"bytes {span.start}-{span.stop - 1}/{size}"}, span


def byte_range(value: str, size: int) -> range | None:
    """The bytes that a Range field asks for, of `size` there are.

    >>> byte_range("bytes=90-", 100)
    range(90, 100)

    Returns:
        An empty range if none of them exists; None if the field is to be ignored: it asks for several ranges
        or in another unit, or is malformed (RFC 9110, section 14.2), or there are no bytes to count.
    """
    match = _RANGE.fullmatch(value)
    if match is None or not size:
        return None
    first, last = match.groups()
    if not first:
        return range(max(size - int(last), 0), size) if last else None
    start, stop = int(first), min(int(last or size) + 1, size)
    if last and int(last) < start:
        return None
    return range(start, stop)


def _seconds(date: str | None) -> float | None:
    """The time that an HTTP-date says, in seconds since the epoch; None without a valid one."""
    try:
        moment = parsedate_to_datetime(date or "")
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
