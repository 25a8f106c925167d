"""The files that a path names, and the parts of them, beside a walk through the same tree as dicts."""

import atexit
import os
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from antiphon.servers.files import Directory
from antiphon.servers.messages import Request, RequestError, Response, parse_head

__all__ = ["try_path"]

Tree: TypeAlias = "dict[bytes, Tree | bytes]"

_SECRET: Final = b"nobody may read this"

#: What is served, in the words of the file system.
_SERVED: Final[Tree] = {
    b"a": b"the file a",
    b"empty": b"",
    b"b": {b"index.html": b"<p>b", b"c": b"the file c", b"d": {b"e.tar.gz": b"e" * 100}},
    b"with index": {b"index.html": {b"f": b"the file f"}},
    b".well-known": {b"g": b"the file g"},
    b"h i%2f": b"the file h",
    b"\xc3\xa9\xff": b"the file e acute",
    b"j;k:l": {},
}
#: What lies beside that and is not served.
_HIDDEN: Final[Tree] = {b".git": {b"config": _SECRET}, b".env": _SECRET, b"b\\c": _SECRET}

#: When each file was last modified; in seconds since the epoch: 1 January 2020, noon.
_MODIFIED: Final = 1_577_880_000

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")


def _plant(tree: Tree, folder: bytes) -> None:
    os.mkdir(folder)
    for name, content in tree.items():
        path = os.path.join(folder, name)
        if isinstance(content, dict):
            _plant(content, path)
        else:
            Path(os.fsdecode(path)).write_bytes(content)
            os.utime(path, (_MODIFIED, _MODIFIED))


@cache
def _directory() -> Directory:
    """The tree on the disk, with links that lead out of it, in circles, and to what is served."""
    place = tempfile.TemporaryDirectory()
    atexit.register(place.cleanup)
    root = os.fsencode(place.name) + b"/served"
    _plant({**_SERVED, **_HIDDEN}, root)
    _plant({b"secret": _SECRET}, os.fsencode(place.name) + b"/other")
    for name, target in {
        b"out": b"../other/secret",
        b"out too": b"../other",
        b"served too": b"../served/b",
        b"circle": b"circle",
        b"up": b".",
    }.items():
        os.symlink(target, os.path.join(root, name))
    return Directory(os.fsdecode(root))


#: Where the links lead that may be followed.
_LINKS: Final = {b"served too": _SERVED[b"b"], b"up": _SERVED}


def _walk(path: str) -> "Tree | bytes | None":
    """What a path names; None for nothing that is served."""
    names = [unquote_to_bytes(name) for name in path.split("/")[1:]]
    found: Tree | bytes = _SERVED
    for name in filter(None, names):
        if not isinstance(found, dict):
            return None
        following = found.get(name, _LINKS.get(name) if found is _SERVED else None)
        if following is None:
            return None
        found = following
    return None if isinstance(found, bytes) and names and not names[-1] else found


def _check(request: Request, response: Response) -> None:
    """The response must be what the walk finds."""
    body = b"".join(response.chunks())
    assert _SECRET not in body
    if "%00" in request.path:
        assert response.status == 400
        return
    found = _walk(request.path)
    is_folder = not request.path.rpartition("/")[2]
    if isinstance(found, dict) and is_folder and isinstance(found.get(b"index.html"), bytes):
        found = found[b"index.html"]
    if found is None:
        assert response.status == 404, response
    elif isinstance(found, bytes):
        _check_file(found, response, body)
    elif is_folder:
        assert response.status == 200
        assert body.count(b"<li>") >= len(found)
        assert b".git" not in body
        assert b"out" not in body
    else:
        assert response.status == 301
        location, _, query = response.headers["Location"].partition("?")
        assert query == request.query
        assert re.match("/[^/]", location)
        assert location.endswith("/")
        assert _walk(location) is found


def _check_file(content: bytes, response: Response, body: bytes) -> None:
    """The response must be the file, a part of it, or the news that it was not modified."""
    if response.status == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers["Content-Range"])
        assert match is not None
        first, last, size = map(int, match.groups())
        assert 0 <= first <= last < size == len(content)
        content = content[first : last + 1]
    if response.status in (304, 416):
        return
    assert response.status in (200, 206), response
    assert body == content
    assert response.headers["Content-Length"] == str(len(content))


def try_path(data: bytes) -> None:
    """The target of a GET, and behind line ends the fields of the request, but Host."""
    target, *fields = data.split(b"\n")
    try:
        request = parse_head(b"\r\n".join([b"GET %b HTTP/1.1" % target, b"Host: a", *fields]))
    except RequestError:
        return
    if request.target == "*":
        return
    response = _directory().respond(request)
    try:
        _check(request, response)
    finally:
        response.close()
