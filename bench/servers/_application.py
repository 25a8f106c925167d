"""The user code of every row that has asynchat's API: the same text, whatever is underneath."""

from typing import Any

CHUNK = b"\0" * 65536


class Zeros:
    """A producer of `left` zero bytes."""

    def __init__(self, left: int) -> None:
        self.left = left

    def more(self) -> bytes:
        """The next piece; an empty one at the end."""
        left = self.left
        if left >= 65536:
            self.left = left - 65536
            return CHUNK
        self.left = 0
        return CHUNK[:left]


def make_channel(base: Any) -> Any:
    """The benchmark's application as a subclass of `base`, an `async_chat`."""

    class Channel(base):  # type: ignore[misc]
        """Collects a line or a body, and answers it."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.received: list[bytes] = []
            self.in_body = False
            self.set_terminator(b"\r\n")

        def collect_incoming_data(self, data: bytes) -> None:
            """Keep what came of a line or a body."""
            self.received.append(data)

        def found_terminator(self) -> None:
            """Answer what was kept."""
            received = self.received
            data = received[0] if len(received) == 1 else b"".join(received)
            received.clear()
            if self.in_body:
                self.in_body = False
                self.set_terminator(b"\r\n")
                self.push(b"OK %d\r\n" % len(data))
                return
            if len(data) > 4096:
                self.push(b"LEN %d\r\n" % len(data))
                return
            command = data[:4]
            if command == b"PUT ":
                self.in_body = True
                self.set_terminator(int(data[4:]))
            elif command == b"GET ":
                self.push_with_producer(Zeros(int(data[4:])))
            else:
                self.push(data + b"\r\n")

    return Channel
