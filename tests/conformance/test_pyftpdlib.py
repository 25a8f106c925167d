"""pyftpdlib's own suite, from its source distribution, on our modules; TLS, threads and processes too."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import pytest

from tls_support import certificate_files

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
NEEDED: Final = ("psutil", "pyopenssl", "pytest", "pytest-xdist", "setuptools")

#: Version -> (where its tests are, how many of them must pass at least).
VERSIONS: Final = {"2.2.0": ("tests", 700), "1.5.10": ("pyftpdlib/test", 700)}

#: Not run: it fails now and then with the modules of PyPI too, and takes the tests behind it along.  The peer
#: ends a data connection that carried nothing before the TLS handshake on it is through.
UNSTABLE: Final = "test_functional_ssl.py::TestFtpListingCmdsTLSMixin::test_nlst"

#: (version, test) -> why it fails on our modules.  An entry that passes is an error.
KNOWN_DIFFERENCES: Final[dict[tuple[str, str], str]] = {}


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in `cwd`."""
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with what pyftpdlib's tests need, but without any asyncore of PyPI's."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    installed = run(python, "-m", "pip", "install", "-q", *NEEDED, cwd=folder)
    if installed.returncode != 0:
        pytest.skip(f"what pyftpdlib's tests need can't be installed here: {installed.stderr[-300:]}")
    return python


def unpack(python: Path, version: str, folder: Path) -> Path:
    """Download pyftpdlib's source distribution and unpack it in `folder`."""
    wanted = ("--no-binary", "pyftpdlib", "--no-deps", f"pyftpdlib=={version}")
    downloaded = run(python, "-m", "pip", "download", "-q", *wanted, cwd=folder)
    if downloaded.returncode != 0:
        pytest.skip(f"pyftpdlib {version} can't be downloaded here: {downloaded.stderr[-300:]}")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"pyftpdlib-{version}"


def outcomes(report: Path) -> dict[str, str]:
    """How each test ended, "ok" or the name of what the report says of it."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        tags = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
        found[name] = tags[0] if tags else found.get(name, "ok")
    return found


def passes_alone(test: str, python: Path, folder: Path, path: str) -> bool:
    """Whether a test that failed passes where nothing else runs, in two of three tries.

    The suite has tests that depend on which of two connections the server hears of first, with its own loop:
    an ABOR and the end of the data before it, for example.  What our modules break fails here as well.
    """
    *module, of, name = test.split(".")
    target = f"{'/'.join(module)}.py::{of}::{name}"
    options = ("-q", "-o", "addopts=", "-W", "ignore", "-p", "pyftpdlib_plugin")
    runs = [run(python, "-m", "pytest", *options, target, cwd=folder, PYTHONPATH=path) for _ in range(3)]
    return sum(ended.returncode == 0 for ended in runs) >= 2


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", VERSIONS)
def test_only_the_known_differences_fail(version: str, python: Path, tmp_path: Path) -> None:
    folder = unpack(python, version, tmp_path)
    tests, at_least = VERSIONS[version]
    report = tmp_path / "report.xml"
    options = ("-q", "--tb=short", "-o", "addopts=", "-W", "ignore", "-n", "2", "-p", "pyftpdlib_plugin")
    path = os.pathsep.join([str(SOURCE), str(HERE)])
    these = (f"--deselect={tests}/{UNSTABLE}", f"--junitxml={report}", tests)
    ended = run(python, "-m", "pytest", *options, *these, cwd=folder, PYTHONPATH=path)
    assert report.exists(), ended.stdout + ended.stderr
    ends = outcomes(report)
    failed = {test for test, end in ends.items() if end in {"failure", "error"}}
    expected = {test for of, test in KNOWN_DIFFERENCES if of == version}
    surprises = {test for test in failed ^ expected if not passes_alone(test, python, folder, path)}
    assert sorted(surprises) == [], ended.stdout[-20_000:]
    assert sum(end == "ok" for end in ends.values()) >= at_least, ended.stdout[-2_000:]


#: FTPS by pyftpdlib's own code, which wraps its sockets by hand, for curl.
SERVER: Final = """
import sys
import asynchat
import asyncore
sys.modules["pyftpdlib._asyncore"] = asyncore  # Copies that pyftpdlib 1.5 has of its own.
sys.modules["pyftpdlib._asynchat"] = asynchat
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import FTPServer

folder, certificate, key = sys.argv[1:]
authorizer = DummyAuthorizer()
authorizer.add_user("user", "word", folder, perm="elradfmw")
handler = TLS_FTPHandler
handler.authorizer, handler.certfile, handler.keyfile = authorizer, certificate, key
handler.tls_control_required = handler.tls_data_required = True
server = FTPServer(("127.0.0.1", 0), handler)
print(server.address[1], asyncore.__file__, flush=True)
server.serve_forever()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs the program curl")
@pytest.mark.parametrize("version", VERSIONS)
def test_curl_fetches_and_stores_by_ftps(version: str, python: Path, tmp_path: Path) -> None:
    folder = unpack(python, version, tmp_path)
    site = tmp_path / "site"
    site.mkdir()
    content = os.urandom(1_000_000)
    (site / "file").write_bytes(content)
    with certificate_files() as (certificate, key, authority):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), str(folder)])}
        command = [str(python), "-W", "ignore", "-c", SERVER, str(site), certificate, key]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                assert server.stdout is not None
                port, modules = server.stdout.readline().split()
                assert modules == str(SOURCE / "antiphon" / "asyncore.py")
                curl = ("curl", "-sS", "--ssl-reqd", "--cacert", authority, "-u", "user:word")
                where = f"ftp://127.0.0.1:{port}"
                fetched = subprocess.run(
                    [*curl, f"{where}/file"], capture_output=True, timeout=60, check=True
                )
                stored = [*curl, "-T", str(site / "file"), f"{where}/copy"]
                subprocess.run(stored, capture_output=True, timeout=60, check=True)
            finally:
                server.kill()
    assert fetched.stdout == content
    assert (site / "copy").read_bytes() == content
