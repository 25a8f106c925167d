"""A program as many were written for asynchat: `python robustness/victim.py old|antiphon FILES`.

It answers a line with the same line, `big` with 100,000 bytes, and `until X` makes X what ends the next
message.  The limits are attributes of a class; the old modules know none of them.  FILES is how many files
it may open.
"""

import sys
from importlib import import_module
from typing import Any

assert sys.platform != "win32", "wanted a POSIX system"

import resource

_package = "antiphon." if sys.argv[1] == "antiphon" else ""
asynchat: Any = import_module(f"{_package}asynchat")
asyncore: Any = import_module(f"{_package}asyncore")


class Channel(asynchat.async_chat):  # type: ignore[misc]
    """A connection."""

    max_message_size = 1_000_000
    max_outgoing = 1_000_000

    def __init__(self, sock: Any) -> None:
        asynchat.async_chat.__init__(self, sock)
        self.received: list[bytes] = []
        self.set_terminator(b"\n")

    def collect_incoming_data(self, data: bytes) -> None:
        """Keep a piece."""
        self.received.append(data)

    def found_terminator(self) -> None:
        """Answer."""
        line = b"".join(self.received)
        self.received = []
        if line == b"big":
            self.push(bytes(100_000))
        elif line.startswith(b"until "):
            self.set_terminator(line[6:])
        else:
            self.push(line + b"\n")


class Server(asyncore.dispatcher):  # type: ignore[misc]
    """The listener."""

    def __init__(self) -> None:
        asyncore.dispatcher.__init__(self)
        self.create_socket()
        self.bind(("127.0.0.1", 0))
        self.listen(1024)

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        """Serve."""
        Channel(sock)


if __name__ == "__main__":
    files = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    server = Server()
    print("READY", server.socket.getsockname()[1], flush=True)
    asyncore.loop()
