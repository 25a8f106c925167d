"""pyftpdlib's FTP server and aiohttp's HTTP server in one process: python examples/ftp_and_http.py FOLDER.

Both serve the folder, on one uvloop, in one thread; user "ann", password "word" for FTP. One command of FTP
is answered by a coroutine: `SITE SUM file` asks the HTTP server, by aiohttp's client. The session waits for
its answer, the others go on. It needs `pip install aiohttp pyftpdlib uvloop`.
"""

import asyncio
import hashlib
import signal
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import antiphon

antiphon.install()  # pyftpdlib is to find these modules, whatever else is installed.

import aiohttp
import uvloop
from aiohttp import web
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.ioloop import _IOLoop
from pyftpdlib.servers import FTPServer

from antiphon import aio, asyncore


class Entry:
    """What stands in the map for a channel of pyftpdlib, which says itself what it waits for."""

    def __init__(self, channel: Any, events: int) -> None:
        self.channel, self.events = channel, events

    def readable(self) -> bool:
        """Whether it waits for input."""
        return bool(self.events & _IOLoop.READ)

    def writable(self) -> bool:
        """Whether it has something to send, or a connection to make."""
        return bool(self.events & _IOLoop.WRITE)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)


class SharedLoop(_IOLoop):  # type: ignore[misc] # pyftpdlib has no types
    """The loop that pyftpdlib asks for: its channels join our map, its timers become timers of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.timer = asyncore.get_loop().call_later(0, self.run_due)

    def register(self, fd: int, instance: Any, events: int) -> None:
        """Serve a channel."""
        self.socket_map[fd] = instance
        asyncore.socket_map[fd] = Entry(instance, events)

    def unregister(self, fd: int) -> None:
        """Serve it no more."""
        if self.socket_map.pop(fd, None) is not None:
            del asyncore.socket_map[fd]

    def modify(self, fd: int, events: int) -> None:
        """Note what a channel waits for from now on."""
        asyncore.socket_map[fd].events = events

    def call_later(self, *arguments: Any, **named: Any) -> Any:
        """As pyftpdlib's."""
        self.timer.reset(0)
        return super().call_later(*arguments, **named)

    def call_every(self, *arguments: Any, **named: Any) -> Any:
        """As pyftpdlib's."""
        self.timer.reset(0)
        return super().call_every(*arguments, **named)

    def run_due(self) -> None:
        """Call what is due, and come again for what is due next."""
        soonest = self.sched.poll()
        if soonest is not None:
            self.timer.reset(max(soonest, 0))


class Session(FTPHandler):  # type: ignore[misc] # likewise
    """A connection of FTP, with a command more."""

    http: aiohttp.ClientSession
    sums: str

    proto_cmds = {  # noqa: RUF012 (pyftpdlib's way)
        **FTPHandler.proto_cmds,
        "SITE SUM": {"perm": "r", "auth": True, "arg": True, "help": "Syntax: SITE SUM <SP> path (SHA-256)."},
    }

    def ftp_SITE_SUM(self, path: str) -> None:  # noqa: N802 (pyftpdlib calls it by that name)
        """Have a coroutine find out, and answer with its result."""
        self.spawn(self.sum(path), self.respond, failed=self.say_why)

    async def sum(self, path: str) -> str:
        """The answer, by way of the HTTP server."""
        async with self.http.get(self.sums + quote(self.fs.fs2ftp(path))) as response:
            response.raise_for_status()
            return f"213 {await response.text()}"

    def say_why(self, error: Exception) -> None:
        """Tell the client that there is no answer."""
        self.respond(f"550 {error}")


def site(folder: Path) -> web.Application:
    """What is served by HTTP: the files, and their sums."""

    async def answer(request: web.Request) -> web.Response:
        path = (folder / request.match_info["name"]).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            raise web.HTTPNotFound
        data = await asyncio.to_thread(path.read_bytes)
        return web.Response(text=hashlib.sha256(data).hexdigest())

    application = web.Application()
    application.router.add_get("/sums/{name:.+}", answer)
    application.router.add_static("/files/", folder)
    return application


async def main(folder: Path, ftp_port: int = 0, http_port: int = 0) -> None:
    """Serve until SIGTERM; then let everybody finish."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)

    runner = web.AppRunner(site(folder))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", http_port).start()
    host, port = runner.addresses[0][:2]

    Session.authorizer = DummyAuthorizer()
    Session.authorizer.add_user("ann", "word", str(folder), perm="elrw")
    Session.sums = f"http://{host}:{port}/sums"
    async with aiohttp.ClientSession() as Session.http, aio.running() as channels:
        server = FTPServer(("127.0.0.1", ftp_port), Session, ioloop=SharedLoop())
        print("ftp", *server.address)
        print("http", host, port)
        print("loop", type(asyncio.get_running_loop()).__module__, asyncore.__file__, flush=True)
        await stopped.wait()
        print(await channels.drain(10))
        await runner.cleanup()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(main(Path(sys.argv[1]).resolve(), *map(int, sys.argv[2:])))
