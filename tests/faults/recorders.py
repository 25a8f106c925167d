"""Channels that note which of their handlers are called, in a list that outlives them."""

from collections.abc import Callable
from typing import Any, Final

from antiphon import MessageChannel, asyncore
from antiphon.asynchat import async_chat

__all__ = ["KINDS", "WRITING"]


class Noting:
    """Notes the handlers that tell of something, and has the class do what it does by default."""

    trace: list[str]

    def __init__(self, trace: list[str], sock: Any = None, map: Any = None) -> None:
        self.trace = trace
        #: What the program does when it is called with input.
        self.on_input: Callable[[Any], object] = lambda channel: None
        super().__init__(sock, map)  # type: ignore[call-arg] # of the channel

    def handle_read(self) -> None:
        self.trace.append("handle_read")
        super().handle_read()  # type: ignore[misc]

    def handle_connect(self) -> None:
        self.trace.append("handle_connect")

    def handle_accept(self) -> None:
        self.trace.append("handle_accept")
        super().handle_accept()  # type: ignore[misc]

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        self.trace.append("handle_accepted")
        sock.close()

    def handle_error(self) -> None:
        self.trace.append("handle_error")
        super().handle_error()  # type: ignore[misc]

    def handle_close(self) -> None:
        self.trace.append("handle_close")
        super().handle_close()  # type: ignore[misc]


class _Reading(asyncore.dispatcher):
    def handle_read(self) -> None:
        self.recv(100)
        self.on_input(self)  # type: ignore[attr-defined] # of Noting


class _ReadingWithSend(asyncore.dispatcher_with_send):
    def handle_read(self) -> None:
        self.recv(100)


class _Collecting(async_chat):
    terminator = b"\n"

    def collect_incoming_data(self, data: bytes) -> None:
        pass

    def found_terminator(self) -> None:
        self.on_input(self)  # type: ignore[attr-defined] # of Noting


class _Receiving(MessageChannel):
    terminator = b"\n"

    def message_received(self, message: bytes) -> None:
        self.on_input(self)  # type: ignore[attr-defined] # of Noting


class _NotingWrites(Noting):
    def handle_write(self) -> None:
        self.trace.append("handle_write")
        super().handle_write()  # type: ignore[misc]


class _Dispatcher(Noting, _Reading):
    """As most are: it doesn't ask to be told when it could write."""


class _Writing(Noting, _Reading):
    def handle_write(self) -> None:
        self.trace.append("handle_write")
        self.send(b"x")


class _Urgent(Noting, _Reading):
    def handle_expt(self) -> None:
        self.trace.append("handle_expt")


class _WithSend(_NotingWrites, _ReadingWithSend):
    pass


class _Chat(_NotingWrites, _Collecting):
    pass


class _Message(_NotingWrites, _Receiving):
    pass


#: What the page calls them -> the class.
KINDS: Final[dict[str, Any]] = {
    "dispatcher": _Dispatcher,
    "dispatcher with handle_write": _Writing,
    "dispatcher with handle_expt": _Urgent,
    "dispatcher_with_send": _WithSend,
    "async_chat": _Chat,
    "MessageChannel": _Message,
}
WRITING: Final = "dispatcher with handle_write"
