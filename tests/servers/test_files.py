from __future__ import annotations

import os
import sys
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.servers.files import Directory, byte_range, path_segments, select
from antiphon.servers.messages import Request, Response, parse_head

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="needs symbolic links, FIFOs and any bytes in names"
)
CONTENT = bytes(range(256)) * 4


def request(path: str = "/", *fields: str, method: str = "GET") -> Request:
    return parse_head("\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *fields]).encode())


def body(response: Response) -> bytes:
    try:
        return b"".join(response.chunks())
    finally:
        response.close()


def listing(response: Response) -> str:
    assert response.status == 200
    return body(response).decode()


def make_fifo(path: Path) -> None:
    if sys.platform != "win32":
        os.mkfifo(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with files, beside a `secret` that no request may reach."""
    root = tmp_path / "site"
    (root / "folder" / "inner").mkdir(parents=True)
    (root / "file.bin").write_bytes(CONTENT)
    (root / "empty").write_bytes(b"")
    (root / "a b&<c>.txt").write_text("odd")
    (root / "50%2f.txt").write_text("percent")
    (root / ".hidden").write_text("hidden")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("hidden")
    (root / ".well-known").mkdir()
    (root / ".well-known" / "security.txt").write_text("known")
    (root / "folder" / "inner" / "index.html").write_text("<p>index</p>")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "site-secret").write_text("secret")
    return root


@pytest.fixture
def directory(root: Path) -> Directory:
    return Directory(root)


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/", [""]),
        ("/a", ["a"]),
        ("/a/", ["a", ""]),
        ("//a", ["", "a"]),
        ("/a%2Fb", ["a/b"]),
        ("/%252e", ["%2e"]),
        ("/%2", ["%2"]),
        ("/%zz", ["%zz"]),
        ("/+", ["+"]),
        ("/%C3%A9", ["é"]),
        ("/%00", None),
        ("/a/b%00c", None),
    ],
)
def test_segments_are_decoded_once(path: str, segments: list[str] | None) -> None:
    assert path_segments(path) == segments


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/file.bin", CONTENT),
        ("/file.bin?query", CONTENT),
        ("//file.bin", CONTENT),
        ("/folder//inner/index.html", b"<p>index</p>"),
        ("/folder/inner/", b"<p>index</p>"),
        ("/a%20b%26%3Cc%3E.txt", b"odd"),
        ("/50%252f.txt", b"percent"),
        ("/%66ile%2Ebin", CONTENT),
        ("/.well-known/security.txt", b"known"),
        ("/empty", b""),
    ],
)
def test_a_path_finds_its_file(directory: Directory, path: str, content: bytes) -> None:
    response = directory.respond(request(path))
    assert response.status == 200
    assert body(response) == content
    assert response.headers["Content-Length"] == str(len(content))


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/%2e%2e%2fsecret",
        "/.%2e/secret",
        "/%252e%252e/secret",
        "/folder/../../secret",
        "/folder/../file.bin",
        "/folder/./inner/",
        "/../site-secret",
        "/../site/file.bin",
        "/..\\secret",
        "/%5c..%5csecret",
        "/folder%2finner%2findex.html",
        "/folder%5cinner",
        "/..;/secret",
        "/C:/secret",
        "/C:%5csecret",
        "/NUL",
        "/COM1.txt",
        "/missing",
        "/file.bin/",
        "/file.bin/x",
        "/.hidden",
        "/.git/config",
        "/.git/",
        "/...",
        "/" + "x" * 5000,
    ],
)
def test_a_path_that_leads_elsewhere_finds_nothing(directory: Directory, path: str) -> None:
    response = directory.respond(request(path))
    assert response.status == 404
    assert b"secret" not in body(response)


def test_an_absolute_path_stays_in_the_directory(directory: Directory, root: Path) -> None:
    assert directory.respond(request(f"/{root.parent}/secret")).status == 404


def test_nul_is_a_bad_request(directory: Directory) -> None:
    assert directory.respond(request("/file.bin%00.txt")).status == 400


@given(
    st.lists(st.sampled_from(["..", "%2e%2e", ".", "", "folder", "inner", "%2f", "%5c", "site", "secret"]))
)
def test_no_combination_of_segments_leaves_the_directory(
    tmp_path_factory: pytest.TempPathFactory, segments: list[str]
) -> None:
    outer = Path(tmp_path_factory.getbasetemp()) / "outer"
    (outer / "site" / "folder" / "inner").mkdir(parents=True, exist_ok=True)
    (outer / "secret").write_text("secret")
    found = Directory(outer / "site").locate(path_segments("/" + "/".join(segments)) or [""])
    assert found is None or Path(found).is_relative_to(os.path.realpath(outer / "site"))


@posix
class TestSpecialFiles:
    def test_a_link_inside_the_directory_is_followed(self, directory: Directory, root: Path) -> None:
        (root / "link").symlink_to("file.bin")
        (root / "folder" / "up").symlink_to("..")
        assert body(directory.respond(request("/link"))) == CONTENT
        assert body(directory.respond(request("/folder/up/file.bin"))) == CONTENT

    def test_a_link_that_leads_outside_finds_nothing_and_is_not_listed(
        self, directory: Directory, root: Path
    ) -> None:
        (root / "file-out").symlink_to("../secret")
        (root / "folder-out").symlink_to("..")
        (root / "loop").symlink_to("loop")
        (root / "broken").symlink_to("nowhere")
        (root / "link-in").symlink_to("file.bin")
        for path in ("/file-out", "/folder-out/", "/folder-out/secret", "/folder-out", "/loop", "/broken"):
            assert directory.respond(request(path)).status == 404, path
        page = listing(directory.respond(request("/")))
        assert "link-in" in page
        for name in ("file-out", "folder-out", "loop", "broken"):
            assert name not in page

    def test_an_index_that_leads_outside_is_not_used(self, directory: Directory, root: Path) -> None:
        (root / "folder" / "index.html").symlink_to("../../secret")
        assert "inner" in listing(directory.respond(request("/folder/")))

    def test_a_fifo_is_neither_served_nor_listed(self, directory: Directory, root: Path) -> None:
        make_fifo(root / "fifo")
        assert directory.respond(request("/fifo")).status == 404
        assert "fifo" not in listing(directory.respond(request("/")))

    def test_a_device_is_not_served(self) -> None:
        assert Directory("/dev").respond(request("/zero")).status == 404

    def test_a_fifo_put_in_the_place_of_a_file_is_not_waited_for(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_fifo(root / "fifo")
        directory = Directory(root)
        monkeypatch.setattr(directory, "locate", lambda segments: str(root / "fifo"))
        assert directory.respond(request("/file.bin")).status == 404

    def test_a_file_that_may_not_be_read_is_forbidden(
        self, directory: Directory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*arguments: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)  # The superuser may read everything.
        assert directory.respond(request("/file.bin")).status == 403

    def test_a_name_that_is_no_text_is_listed_and_served(self, directory: Directory, root: Path) -> None:
        (root / os.fsdecode(b"caf\xe9")).write_text("latin")
        page = listing(directory.respond(request("/")))
        assert '<a href="./caf%E9">caf\ufffd</a>' in page
        assert body(directory.respond(request("/caf%E9"))) == b"latin"

    def test_the_root_of_the_file_system_can_be_served(self, root: Path) -> None:
        assert body(Directory("/").respond(request(f"{root}/file.bin"))) == CONTENT


def test_a_directory_is_listed_with_its_names_escaped_quoted_and_sorted(directory: Directory) -> None:
    response = directory.respond(request("/"))
    page = listing(response)
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    names = ["50%252f.txt", "a%20b%26%3Cc%3E.txt", "empty", "file.bin", "folder/"]
    links = [f'<a href="./{name}">' for name in names if f'<a href="./{name}">' in page]
    assert len(links) == len(names)
    assert sorted(links, key=page.index) == links
    assert "a b&amp;&lt;c&gt;.txt</a>" in page
    assert ".hidden" not in page
    assert ".git" not in page
    assert ".well-known" in page
    assert "../" not in page


def test_a_listing_leads_back(directory: Directory, root: Path) -> None:
    (root / "folder" / "<b>").mkdir()
    page = listing(directory.respond(request("/folder/%3Cb%3E/")))
    assert "<title>/folder/&lt;b&gt;/</title>" in page
    assert '<a href="./../">' in page


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/folder", "/folder/"),
        ("/folder?a=b", "/folder/?a=b"),
        ("//folder", "/folder/"),
        ("/folder//inner", "/folder/inner/"),
        ("http://evil.example/folder", "/folder/"),
    ],
)
def test_a_directory_without_its_slash_is_redirected_within_the_host(
    directory: Directory, path: str, location: str
) -> None:
    response = directory.respond(request(path))
    assert response.status == 301
    assert response.headers["Location"] == location


def test_a_redirect_is_quoted(directory: Directory, root: Path) -> None:
    (root / "x\u2028y z").mkdir()
    location = directory.respond(request("/x%E2%80%A8y%20z")).headers["Location"]
    assert location == "/x%E2%80%A8y%20z/"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html"),
        ("a.PNG", "image/png"),
        ("a.tar.gz", "application/gzip"),
        ("a.txt.bz2", "application/x-bzip2"),
        ("a.unheard-of", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_type_follows_the_name(directory: Directory, root: Path, name: str, kind: str) -> None:
    (root / name).write_bytes(b"")
    response = directory.respond(request(f"/{name}"))
    response.close()
    assert response.headers["Content-Type"] == kind
    assert "Content-Encoding" not in response.headers


def test_a_directory_that_is_none_is_refused(root: Path) -> None:
    with pytest.raises(NotADirectoryError, match=r"wanted a directory to serve, found .*file\.bin"):
        Directory(root / "file.bin")


# -- conditions and ranges ---------------------------------------------------------------------------------


def choose(*fields: str, modified: float = 1_000_000_000.5, method: str = "GET") -> int:
    return select(request("/", *fields, method=method), 100, modified)[0]


STAMP = formatdate(1_000_000_000, usegmt=True)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([f"If-Modified-Since: {STAMP}"], 304),
        (["If-Modified-Since: Sun, 09 Sep 2001 01:46:41 GMT"], 304),
        (["If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT"], 200),
        (["If-Modified-Since: Sunday, 09-Sep-01 01:46:41 GMT"], 304),
        (["If-Modified-Since: Sun Sep  9 01:46:41 2001"], 304),
        (["If-Modified-Since: Sun, 09 Sep 2001 01:46:41 -0000"], 304),
        (["If-Modified-Since: yesterday"], 200),
        (["If-Modified-Since: Sun, 99 Sep 2001 01:46:41 GMT"], 200),
        (["If-Modified-Since: Sun, 09 Sep 0000 01:46:41 GMT"], 200),
        (["If-Modified-Since:"], 200),
        ([f"If-Modified-Since: {STAMP}", 'If-None-Match: "x"'], 200),
        ([f"If-Modified-Since: {STAMP}", "Range: bytes=0-1"], 304),
        (["Range: bytes=0-1"], 206),
        (["Range: bytes=0-1", f"If-Range: {STAMP}"], 206),
        (["Range: bytes=0-1", "If-Range: Sun, 09 Sep 2001 01:46:41 GMT"], 200),
        (["Range: bytes=0-1", 'If-Range: "tag"'], 200),
        (["Range: bytes=100-", "If-Range: nonsense"], 200),
        (["Range: bytes=100-"], 416),
    ],
)
def test_conditions_decide_what_is_sent(fields: list[str], status: int) -> None:
    assert choose(*fields) == status


def test_only_get_has_ranges() -> None:
    assert choose("Range: bytes=0-1", method="HEAD") == 200


def test_a_file_from_the_future_was_modified_now() -> None:
    before = int(time.time())
    _, fields, _ = select(request("/"), 100, modified=before + 1e6)
    assert fields["Last-Modified"] in {formatdate(before + late, usegmt=True) for late in range(60)}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-4",
        "bytes=0-1,3-4",
        "bytes=+0-1",
        "bytes=0_0-1",
        "bytes=0-\u0661",
        "bytes = 0-1",
        "items=0-1",
        "bytes=0-" + "9" * 19,
        "bytes=0-1-2",
    ],
)
def test_a_range_that_is_malformed_or_not_single_is_ignored(value: str) -> None:
    assert byte_range(value, 100) is None


def test_an_empty_file_has_no_ranges() -> None:
    assert byte_range("bytes=0-", 0) is None
    assert byte_range("bytes=-5", 0) is None


@pytest.mark.parametrize("value", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=999999999999999999-"])
def test_a_range_beyond_the_end_is_empty(value: str) -> None:
    assert byte_range(value, 100) == range(0)


@given(st.integers(1, 300), st.integers(0, 400), st.integers(0, 400))
def test_a_range_is_the_slice(size: int, first: int, last: int) -> None:
    data = CONTENT[:size]

    def cut(value: str) -> bytes:
        span = byte_range(value, size)
        assert span is not None
        return data[span.start : span.stop]

    assert cut(f"bytes={first}-") == data[first:]
    assert cut(f"BYTES= {first}-{first + last} ") == data[first : first + last + 1]
    assert cut(f"bytes=-{last}") == (data[-last:] if last else b"")


@pytest.mark.parametrize(
    ("value", "content", "content_range"),
    [
        ("bytes=0-0", CONTENT[:1], "bytes 0-0/1024"),
        ("bytes=1000-2000", CONTENT[1000:], "bytes 1000-1023/1024"),
    ],
)
def test_a_range_of_a_file_is_sent(
    directory: Directory, value: str, content: bytes, content_range: str
) -> None:
    response = directory.respond(request("/file.bin", f"Range: {value}"))
    assert response.status == 206
    assert response.headers["Content-Range"] == content_range
    assert response.headers["Content-Length"] == str(len(content))
    assert body(response) == content


def test_a_range_beyond_the_end_names_the_size(directory: Directory) -> None:
    response = directory.respond(request("/file.bin", "Range: bytes=1024-"))
    assert (response.status, response.headers["Content-Range"]) == (416, "bytes */1024")
    assert body(response) == b""


def test_a_file_that_has_not_changed_is_not_sent(directory: Directory, root: Path) -> None:
    os.utime(root / "file.bin", (0, 1_000_000_000))
    response = directory.respond(request("/file.bin", f"If-Modified-Since: {STAMP}"))
    assert response.status == 304
    assert response.headers["Last-Modified"] == STAMP


def test_a_file_that_can_not_be_opened_now_is_an_error(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*arguments: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", exhausted)
    with pytest.raises(OSError, match="Too many open files"):
        directory.respond(request("/file.bin"))


def test_a_file_that_vanished_since_it_was_found_is_not_found(
    directory: Directory, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "locate", lambda segments: str(root / "vanished"))
    assert directory.respond(request("/vanished")).status == 404
