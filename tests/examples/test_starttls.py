import shutil
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from examples.program import Program, running
from tls_support import certificate_files


class Server(NamedTuple):
    """The example, and the file of who has signed its certificate."""

    program: Program
    authority: str


@contextmanager
def serving() -> Iterator[Server]:
    with (
        certificate_files() as (chain, key, authority),
        running("examples/starttls.py", chain, key, "--port", "0") as program,
    ):
        yield Server(program, authority)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def printed(server: Server) -> str:
    """The next line that it prints."""
    stdout = server.program.process.stdout
    assert stdout is not None
    return stdout.readline().rstrip("\n")


def test_smtplib_sends_a_mail_by_starttls(server: Server) -> None:
    context = ssl.create_default_context(cafile=server.authority)
    with smtplib.SMTP(*server.program.address, timeout=20) as client:
        with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS comes first"):
            client.sendmail("a@a.test", "b@b.test", "Subject: too early\r\n\r\nhello\r\n")
        client.starttls(context=context)
        client.ehlo()
        assert not client.has_extn("starttls")
        client.sendmail("a@a.test", ["b@b.test", "c@c.test"], "Subject: hello\r\n\r\nhello\r\n")
    assert printed(server).startswith("from <a@a.test>")
    assert printed(server) == "Subject: hello"


def test_smtplib_that_does_not_know_the_authority_refuses(server: Server) -> None:
    with smtplib.SMTP(*server.program.address, timeout=20) as client:
        with pytest.raises(ssl.SSLCertVerificationError):
            client.starttls(context=ssl.create_default_context())
        client.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
def test_openssl_begins_by_starttls(server: Server) -> None:
    where = "{}:{}".format(*server.program.address)
    verify = ("-CAfile", server.authority, "-verify_return_error", "-verify_hostname", "localhost")
    with subprocess.Popen(
        ["openssl", "s_client", "-starttls", "smtp", "-connect", where, *verify, "-quiet", "-crlf"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as client:
        said, _ = client.communicate(b"NOOP\nQUIT\n", timeout=20)
    assert said.splitlines()[-2:] == [b"250 ok", b"221 goodbye"]
    assert client.returncode == 0


def test_a_command_injected_behind_starttls_is_not_carried_out(server: Server) -> None:
    with socket.create_connection(server.program.address, timeout=20) as client:
        client.sendall(b"STARTTLS\r\nMAIL FROM:<evil@evil.test>\r\n")
        said = b""
        while piece := client.recv(1000):
            said += piece
    assert said.endswith(b"220 go on\r\n")


def test_it_ends_at_ctrl_c(server: Server) -> None:
    assert server.program.interrupt() == 0
