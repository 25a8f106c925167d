"""The servers that are mistreated, each on a port that the system chooses."""

from collections.abc import Callable
from typing import Any, Final

from bench.resp import Channel, Store
from examples.chat import Room

from antiphon import asyncore
from antiphon.servers.http import HTTPServer

__all__ = ["SERVERS"]


class RespServer(asyncore.dispatcher):
    """Listens for clients of Redis' protocol."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.create_socket()
        self.bind(("127.0.0.1", 0))
        self.listen(1024)

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        """Serve a client."""
        Channel(self.store, sock)


#: By name, what makes them. The folder is that of the files of HTTP.
SERVERS: Final[dict[str, Callable[[str], asyncore.dispatcher]]] = {
    "http": lambda directory: HTTPServer(directory, port=0, post=lambda request: request.body),
    "chat": lambda directory: Room("127.0.0.1", 0, idle=600),
    "resp": lambda directory: RespServer(),
}
