"""`antiphon serve http --tls`, visited by others' clients."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from antiphon.servers import http
from tls_support import certificate_files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="starts programs as POSIX does")

LARGE = 3_000_000


class Site(NamedTuple):
    """A server that runs.

    Attributes:
        url: where.
        authority: the file of who has signed its certificate.
        port: of 127.0.0.1.
    """

    url: str
    authority: str
    port: int


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs the program {program}")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "file.txt").write_text("content")
    (folder / "page.html").write_text("<title>page</title><p id=said>Served by TLS</p>")
    (folder / "large").write_bytes(os.urandom(LARGE))
    return folder


@contextmanager
def running(root: Path) -> Iterator[Site]:
    """The command, until the end."""
    with certificate_files() as (chain, key, authority):
        code = "import sys; from antiphon.tools.command_line import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "serve", "http", "--directory", str(root), "--port", "0"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with subprocess.Popen(
            [*command, "--tls", chain, key],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        ) as process:
            try:
                assert process.stdout is not None
                url = process.stdout.readline().strip()
                assert url.startswith("https://127.0.0.1:"), process.stderr and process.stderr.read()
                yield Site(url, authority, int(url.rstrip("/").rpartition(":")[2]))
                process.terminate()
                _, log = process.communicate(timeout=20)
            finally:
                process.kill()
        assert "Traceback" not in log
        assert process.returncode == 0


@pytest.fixture(scope="module")
def site(root: Path) -> Iterator[Site]:
    with running(root) as site:
        yield site


def run(*command: str, given: str = "") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command, input=given.encode(), capture_output=True, timeout=50, check=False)


def test_urllib_gets_what_is_there(site: Site, root: Path) -> None:
    context = ssl.create_default_context(cafile=site.authority)
    for name in "file.txt", "large":
        with urllib.request.urlopen(f"{site.url}{name}", timeout=20, context=context) as page:
            assert page.read() == (root / name).read_bytes()


@needs("curl")
@pytest.mark.parametrize("version", ["--tlsv1.2", "--tlsv1.3"])
def test_curl_gets_what_is_there_and_agrees_on_http_1_1(site: Site, root: Path, version: str) -> None:
    address = f"{site.url}large"
    done = run(
        "curl", "-sv", "--http1.1", version, "--cacert", site.authority, address, f"{site.url}file.txt"
    )
    assert (done.returncode, done.stdout) == (0, (root / "large").read_bytes() + b"content"), done.stderr
    assert re.search(rb"ALPN.*accepted.*http/1\.1", done.stderr)


@needs("curl")
def test_curl_that_does_not_know_the_authority_refuses(site: Site) -> None:
    assert run("curl", "-s", site.url).returncode == 60


@needs("openssl")
def test_s_client_verifies_and_gets_what_is_there(site: Site) -> None:
    where = f"127.0.0.1:{site.port}"
    verify = ("-CAfile", site.authority, "-verify_return_error", "-verify_ip", "127.0.0.1")
    words = ("openssl", "s_client", "-connect", where, *verify, "-quiet")
    done = run(*words, given="GET /file.txt HTTP/1.0\r\n\r\n")
    assert done.stdout.startswith(b"HTTP/1.1 200 OK\r\n")
    assert done.stdout.endswith(b"\r\n\r\ncontent")
    assert done.returncode == 0, "it was ended by close_notify"


@pytest.mark.slow
@needs("chromium")
def test_a_browser_shows_what_is_there(site: Site, tmp_path: Path) -> None:
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = run("chromium", *options, profile, "--dump-dom", f"{site.url}page.html")
    assert b"Served by TLS" in done.stdout


def test_plain_http_is_answered_by_an_end(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while data := client.recv(100):
            received += data
    assert not received.startswith(b"HTTP")


def test_files_that_are_missing_or_no_pair_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with certificate_files() as (chain, key, authority):
        for files, said in [
            ((chain, str(tmp_path / "missing.pem")), "missing.pem"),
            ((authority, key), "wanted a certificate and its key, found"),
        ]:
            parser = __import__("argparse").ArgumentParser()
            http.add_arguments(parser)
            assert http.run(parser.parse_args(["--tls", *files])) == 1
            assert said in capsys.readouterr().err
