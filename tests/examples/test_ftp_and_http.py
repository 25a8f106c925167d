"""pyftpdlib on our modules beside aiohttp, on one uvloop: each is driven by a client of its own."""

import asyncio
import ftplib
import hashlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from examples.program import PROJECT, Program, running

if sys.platform == "win32":
    pytest.skip("uvloop is not to be had on Windows", allow_module_level=True)

for module in "aiohttp", "uvloop", "pyftpdlib.log":  # pyftpdlib's other modules import asyncore.
    pytest.importorskip(module)

#: More than sockets keep.
LARGE = os.urandom(1 << 20) * 8


class Servers(NamedTuple):
    program: Program
    url: str
    folder: Path

    def line(self) -> str:
        """The next line that the program prints."""
        assert self.program.process.stdout is not None
        return self.program.process.stdout.readline().rstrip("\n")

    def ftp(self) -> ftplib.FTP:
        """A session that has logged in."""
        session = ftplib.FTP(timeout=20)
        session.connect(*self.program.address)
        session.login("ann", "word")
        return session


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with running("examples/ftp_and_http.py", str(tmp_path)) as program:
        made = Servers(program, "", tmp_path)
        _, host, port = made.line().split()
        made = made._replace(url=f"http://{host}:{port}")
        _, loop, modules = made.line().split()
        assert (loop, modules) == ("uvloop", str(PROJECT / "src" / "antiphon" / "asyncore.py"))
        yield made


def fetch(url: str) -> bytes:
    with urlopen(url, timeout=20) as response:
        data: bytes = response.read()
    return data


def test_what_one_protocol_stores_the_other_fetches(servers: Servers) -> None:
    with servers.ftp() as ftp:
        ftp.storbinary("STOR large", io.BytesIO(LARGE))
        assert fetch(f"{servers.url}/files/large") == LARGE
        received: list[bytes] = []
        ftp.retrbinary("RETR large", received.append)
        assert b"".join(received) == LARGE
        assert ftp.nlst() == ["large"]


def test_a_command_of_ftp_is_answered_by_a_coroutine_and_the_next_ones_keep_their_order(
    servers: Servers,
) -> None:
    (servers.folder / "a file").write_bytes(LARGE)
    with servers.ftp() as ftp:
        assert ftp.sendcmd("SITE SUM a file") == f"213 {hashlib.sha256(LARGE).hexdigest()}"
        assert ftp.sock is not None
        ftp.sock.sendall(b"SITE SUM a file\r\nNOOP\r\nSITE SUM none\r\nPWD\r\n")
        answers = [ftp.getline() for _ in range(4)]
    assert [answer[:3] for answer in answers] == ["213", "200", "550", "257"]


def test_nothing_outside_of_the_folder_is_served(servers: Servers) -> None:
    (servers.folder.parent / "secret").write_text("secret")
    for path in "sums/%2e%2e/secret", "files/%2e%2e/secret", "sums/none":
        with pytest.raises(HTTPError, match=r"40[34]") as refused:
            fetch(f"{servers.url}/{path}")
        refused.value.close()


def test_ftp_and_http_are_served_side_by_side(servers: Servers) -> None:
    """Eight clients of each at once; what an FTP session does blocks none of them."""
    (servers.folder / "file").write_bytes(LARGE[:100_000])

    def transfer(number: int) -> int:
        with servers.ftp() as ftp:
            ftp.storbinary(f"STOR {number}", io.BytesIO(LARGE[: 1 << 20]))
            assert ftp.sendcmd("SITE SUM file").startswith("213 ")
            return ftp.size(str(number)) or 0

    async def main() -> None:
        fetching = [asyncio.to_thread(fetch, f"{servers.url}/files/file") for _ in range(8)]
        transferring = [asyncio.to_thread(transfer, number) for number in range(8)]
        fetched, stored = await asyncio.gather(asyncio.gather(*fetching), asyncio.gather(*transferring))
        assert fetched == [LARGE[:100_000]] * 8
        assert stored == [1 << 20] * 8

    asyncio.run(main())


#: The example, with less patience.
IMPATIENT = """
import sys
sys.path.insert(0, "examples")
from ftp_and_http import Path, Session, asyncio, main, uvloop
Session.timeout = 0.1
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
    loop.run(main(Path(sys.argv[1])))
"""


def test_the_timers_of_pyftpdlib_come(tmp_path: Path) -> None:
    with running("-c", IMPATIENT, str(tmp_path)) as program, ftplib.FTP(timeout=20) as ftp:
        ftp.connect(*program.address)
        with pytest.raises(ftplib.error_temp, match="421 Control connection timed out"):
            ftp.getresp()
        ftp.close()


def test_it_ends_with_grace(servers: Servers) -> None:
    with servers.ftp() as ftp:
        ftp.voidcmd("NOOP")
        servers.program.process.send_signal(signal.SIGTERM)
        assert servers.line() == "Drained(listeners=1, flushed=1, lost=0, aborted=0)"
        assert servers.program.process.wait(20) == 0
        with pytest.raises((EOFError, ConnectionError)):
            ftp.getline()
