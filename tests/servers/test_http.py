from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urljoin

import pytest

from antiphon import asyncore
from antiphon.servers import http
from antiphon.servers.http import HTTPServer
from servers.site import serving

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs signals that a process can be sent")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file.txt").write_text("content")
    return tmp_path


def test_urllib_follows_the_listing_to_the_file(root: Path) -> None:
    def browse(url: str) -> tuple[str, str, str]:
        with urllib.request.urlopen(f"{url}folder", timeout=20) as page:
            listing = page.read().decode()
            address = page.url
        [name] = [name for name in re.findall('href="([^"]*)"', listing) if "file" in name]
        with urllib.request.urlopen(urljoin(address, name), timeout=20) as page:
            return address, page.read().decode(), page.headers["Content-Type"]

    with serving(root) as site:
        address, content, kind = site.run(browse)
        assert address == site.server.url + "folder/"
    assert (content, kind) == ("content", "text/plain")


def test_http_client_keeps_its_connection(root: Path) -> None:
    def browse(url: str) -> list[tuple[int, bytes]]:
        client = HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=20)
        found = []
        for method, path, body in [
            ("GET", "/folder/file.txt", None),
            ("POST", "/", b"ping"),
            ("GET", "/none", None),
        ]:
            client.request(method, path, body)
            with client.getresponse() as response:
                found.append((response.status, response.read()))
            ports.add(client.sock.getsockname()[1])
        client.close()
        return found

    ports: set[int] = set()
    with serving(root, lambda request: request.body[::-1]) as site:
        assert site.run(browse) == [(200, b"content"), (200, b"gnip"), (404, b"404 Not Found\n")]
    assert len(ports) == 1


def test_urllib_sees_a_missing_file_as_an_error(root: Path) -> None:
    def browse(url: str) -> int:
        try:
            with urllib.request.urlopen(f"{url}missing", timeout=20):
                return 0
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    with serving(root) as site:
        assert site.run(browse) == 404


def test_a_handler_may_give_a_whole_response(root: Path) -> None:
    def browse(url: str) -> tuple[int, str | None]:
        with urllib.request.urlopen(url, b"data", timeout=20) as page:
            return page.status, page.headers["X-From"]

    def create(request: http.Request) -> http.Response:
        return http.Response(201, {"X-From": str(request.address[0])}, b"")

    with serving(root, create) as site:
        assert site.run(browse) == (201, "127.0.0.1")


def test_an_address_that_is_taken_is_an_error_and_leaves_nothing_behind(root: Path) -> None:
    channels: dict[int, object] = {}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"use.*'127.0.0.1:{port}'"):
            HTTPServer(root, port=port, map=channels)
    assert channels == {}


def test_a_host_that_is_not_here_is_named_in_the_error(root: Path) -> None:
    with pytest.raises(OSError, match=r"'192\.0\.2\.1:8000'"):
        HTTPServer(root, "192.0.2.1", 8000, map={})


def test_a_name_that_nobody_knows_is_named_in_the_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*arguments: object, **named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(OSError, match="not known: 'nowhere:8000'"):
        HTTPServer(root, "nowhere", 8000, map={})


@pytest.mark.parametrize(
    ("host", "pattern"),
    [
        ("localhost", r"http://(127\.0\.0\.1|\[::1\]):\d+/"),
        ("", r"http://0\.0\.0\.0:\d+/"),
        ("::1", r"http://\[::1\]:\d+/"),
    ],
)
def test_the_url_names_where_the_server_listens(root: Path, host: str, pattern: str) -> None:
    channels: dict[int, object] = {}
    try:
        server = HTTPServer(root, host, 0, map=channels)
    except OSError:  # pragma: no cover (a system without IPv6)
        pytest.skip(f"{host} does not exist here")
    try:
        assert re.fullmatch(pattern, server.url)
    finally:
        server.close()


# -- the command -------------------------------------------------------------------------------------------


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    http.add_arguments(parser)
    return parser.parse_args(words)


def test_the_command_serves_this_directory_to_this_machine_by_default() -> None:
    assert vars(arguments()) == {"directory": ".", "host": "127.0.0.1", "port": 8000, "tls": None}


@pytest.mark.parametrize("port", ["-1", "65536", "http", "1_0"])
def test_the_command_refuses_a_port_that_is_none(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(f"--port={port}")
    assert "wanted a port from 0 to 65535" in capsys.readouterr().err


def test_the_command_says_what_is_wrong(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert http.run(arguments("--directory", str(root / "missing"))) == 1
    assert "wanted a directory to serve, found" in capsys.readouterr().err


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_url_serves_and_stops_at_a_signal(root: Path, number: signal.Signals) -> None:
    # A process that a shell started in the background ignores SIGINT.
    code = (
        "import signal, sys; from antiphon.tools.command_line import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "serve", "http", "--directory", str(root), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with urllib.request.urlopen(f"{url}folder/file.txt", timeout=20) as page:
                assert page.read() == b"content"
            process.send_signal(number)
            output, log = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert output == ""
    assert '127.0.0.1 "GET /folder/file.txt HTTP/1.1" 200 7' in log
    assert "Traceback" not in log


@posix
def test_serving_ends_with_every_channel_closed_and_the_signal_as_it_was(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    channels = type(asyncore.socket_map)()
    monkeypatch.setattr(asyncore, "socket_map", channels)

    def terminate(*anything: object, **named: object) -> None:
        assert len(channels) == 1
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(asyncore, "loop", terminate)
    monkeypatch.setattr(http, "_raise_descriptor_limit", lambda: None)
    assert http.run(arguments("--directory", str(root), "--port", "0")) == 0
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
    assert channels == {}
    assert signal.getsignal(signal.SIGTERM) is before
