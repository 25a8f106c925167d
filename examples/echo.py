"""Sends every line back: python examples/echo.py [PORT], then telnet 127.0.0.1 PORT."""

import sys
from typing import Any

from antiphon import asynchat, asyncore


class Echo(asynchat.async_chat):
    """One connection."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.set_terminator(b"\n")

    def collect_incoming_data(self, data: bytes) -> None:
        """Keep a part of a line."""
        self._collect_incoming_data(data)

    def found_terminator(self) -> None:
        """Send the whole line back."""
        self.push(self._get_data() + b"\n")


class EchoServer(asyncore.dispatcher):
    """Accepts connections."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.create_socket()
        self.set_reuse_addr()
        self.bind(("127.0.0.1", port))
        self.listen(100)

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        """Leave each to a channel of its own. The map holds it; nobody else needs to."""
        Echo(sock)


if __name__ == "__main__":
    server = EchoServer(int(sys.argv[1]) if len(sys.argv) > 1 else 7007)
    try:
        print("listening on {} port {}".format(*server.socket.getsockname()), flush=True)
        asyncore.loop()
    except KeyboardInterrupt:
        asyncore.close_all()
