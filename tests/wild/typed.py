"""Nobody runs this: type checkers read it, as they would an old program that has been given annotations."""

import asynchat
import asyncore
import socket


class Client(asyncore.dispatcher):
    """Overrides what programs override, in the way that they do."""

    connected = True

    def readable(self) -> bool:
        return self.connected and not self.accepting

    def writable(self) -> bool:
        return asyncore.dispatcher.writable(self)

    def handle_write_event(self) -> None:
        asyncore.dispatcher.handle_write_event(self)
        self.connected = False

    def handle_expt(self) -> None:
        self.log_info("urgent", "error")


class Chat(asynchat.async_chat):
    """Likewise."""

    def __init__(self, sock: socket.socket) -> None:
        asynchat.async_chat.__init__(self, sock=sock)
        self.set_terminator(b"\n")

    def found_terminator(self) -> None:
        self.push(b"found")

    def writable(self) -> bool:
        return super().writable()


def sent(client: Client) -> int:
    """What `send` says is a number."""
    return client.send(b"data")


def main() -> None:
    """Use names of the module that it has besides."""
    asyncore.socket_map.clear()
    asyncore.loop(timeout=1, map={}, count=1)
    print(asyncore._DISCONNECTED, asyncore.socket.AF_INET)


async def count() -> int:
    """Some coroutine."""
    return 1


def add(number: int) -> None:
    """Take a number."""


def shout(text: str) -> None:
    """Take a text."""


def spawn(chat: Chat) -> None:
    """Have a result come back: to who can take it, or a type checker finds out."""
    chat.spawn(count(), add)
    chat.spawn(count(), chat.push)
    chat.spawn(count(), shout)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
