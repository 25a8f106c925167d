"""What the tests of programs' habits share: where to meet, and a program that writes down what
happens to it.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from faults.originals import Modules
from faults.scenes import connected_pair, received

__all__ = ["STEPS", "connected_pair", "listener_and_address", "noting", "received", "step"]

#: The ways in which programs take one step of the loop: (modules, map).
STEPS: Final[dict[str, Callable[[Modules, Any], None]]] = {
    "loop with count": lambda modules, channels: modules.asyncore.loop(0.001, map=channels, count=1),
    "loop with use_poll": lambda modules, channels: modules.asyncore.loop(
        timeout=0.001, use_poll=True, map=channels, count=1
    ),
    "positional": lambda modules, channels: modules.asyncore.loop(0.001, True, channels, 1),
    "poll": lambda modules, channels: modules.asyncore.poll(0.001, channels),
    "poll2": lambda modules, channels: modules.asyncore.poll2(0.001, channels),
    "poll3": lambda modules, channels: modules.asyncore.poll3(timeout=0.001, map=channels),
}


def step(modules: Modules, channels: Any = None, count: int = 1) -> None:
    """Go round `count` times without waiting; with the default map unless told."""
    modules.asyncore.loop(0, map=channels, count=count)


def noting(base: Any, **body: Any) -> Any:
    """A subclass of `base` whose channels keep (event, data) pairs in `events`; `body` adds to it."""

    class Noting(base):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **named: Any) -> None:
            self.events: list[Any] = []
            super().__init__(*arguments, **named)

        def handle_read(self) -> None:
            if data := self.recv(4096):
                self.events.append(("read", data))

        def handle_write(self) -> None:
            self.events.append(("write", None))

        def handle_connect(self) -> None:
            self.events.append(("connect", None))

        def handle_close(self) -> None:
            self.events.append(("close", None))
            self.close()

        def writable(self) -> bool:
            return not self.connected

        def read(self) -> bytes:
            return b"".join(data for event, data in self.events if event == "read")

    for name, value in body.items():
        setattr(Noting, name, value)
    return Noting


@contextmanager
def listener_and_address(cls: Any, channels: Any, **body: Any) -> Iterator[tuple[Any, Any]]:
    """A listening channel of a subclass of `cls` with `body`, and where it listens."""
    listener = type("Listener", (cls,), body)(map=channels)
    with contextlib.closing(listener):
        listener.create_socket()
        listener.set_reuse_addr()
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        yield listener, listener.socket.getsockname()
