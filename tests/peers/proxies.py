"""HAProxy and nginx in front of a server of ours, each started for one test on 127.0.0.1."""

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon import asyncore, create_server

#: Seconds after which something that should have happened is taken to hang.
PATIENCE = 20

HAPROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen proxy
    bind fd@{fd}
    server one {host}:{port} {options}
"""

NGINX = """
{modules}
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
{body}
"""


def program(name: str) -> str:
    """Where a program is; skips the test where it is not installed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@contextmanager
def serving(factory: Callable[..., Any], **how: Any) -> Iterator[tuple[str, int]]:
    """A server whose loop runs in a thread; its address."""
    channels: dict[int, Any] = {}
    with create_server(factory, ("127.0.0.1", 0), map=channels, **how) as server:
        address = server.addresses[0]
        runner = threading.Thread(target=asyncore.loop, kwargs={"map": channels})
        runner.start()
        try:
            yield address
        finally:
            asyncore.get_loop(channels).call_soon_threadsafe(asyncore.close_all, channels)
            runner.join(PATIENCE)
    assert not runner.is_alive()


@contextmanager
def haproxy(folder: Path, to: tuple[str, int], options: str) -> Iterator[tuple[str, int]]:
    """HAProxy in front of `to`; its address."""
    command = program("haproxy")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        file = folder / "haproxy.cfg"
        file.write_text(HAPROXY.format(fd=listening.fileno(), host=to[0], port=to[1], options=options))
        process = subprocess.Popen(
            [command, "-db", "-q", "-f", str(file)], pass_fds=[listening.fileno()], cwd=folder
        )
        with ended(process):
            yield listening.getsockname()


@contextmanager
def nginx(folder: Path, body: Callable[[int], str], *, stream: bool = False) -> Iterator[tuple[str, int]]:
    """nginx, whose configuration `body` makes for a port; its address."""
    command = program("nginx")
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if stream and not module.exists():
        pytest.skip("nginx has no stream module")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = body(port)
    modules = f"load_module {module};" if stream else ""
    (folder / "nginx.conf").write_text(NGINX.format(modules=modules, folder=folder, body=text))
    process = subprocess.Popen(
        [command, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    )
    with ended(process):
        wait_for(("127.0.0.1", port), process)
        yield "127.0.0.1", port


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """The process is ended with the block."""
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait_for(address: tuple[str, int], process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens there."""
    patience = threading.Event()
    for _ in range(100 * PATIENCE):
        assert process.poll() is None, "it has ended"
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(address):
            return
        patience.wait(0.01)
    raise AssertionError(f"nobody listens on {address}")


if sys.platform == "win32":
    pytest.skip("neither runs on Windows", allow_module_level=True)
