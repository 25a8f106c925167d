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


def make_message_channel(base: Any) -> Any:
    """The same as a subclass of `base`, a `MessageChannel`."""

    class Channel(base):  # type: ignore[misc]
        """Answers the lines of a read with one push."""

        max_message_size = 16 << 20
        in_body = False

        def __init__(self, sock: object) -> None:
            super().__init__(sock)
            self.set_terminator(b"\r\n")

        def messages_received(self, messages: list[bytes]) -> int | None:
            """Answer up to the first message that changes the terminator; returns how many those are."""
            if self.in_body:
                self.in_body = False
                self.set_terminator(b"\r\n")
                self.push(b"OK %d\r\n" % len(messages[0]))
                return 1
            replies: list[bytes] = []
            used = 0
            for line in messages:
                used += 1
                command = line[:4]
                if len(line) > 4096:
                    replies.append(b"LEN %d" % len(line))
                elif command == b"PUT ":
                    self.in_body = True
                    self.set_terminator(int(line[4:]))
                    break
                elif command == b"GET ":
                    self.answer(replies)
                    replies = []
                    self.push_with_producer(Zeros(int(line[4:])))
                else:
                    replies.append(line)
            self.answer(replies)
            return used

        def answer(self, replies: list[bytes]) -> None:
            """Push what there is, each reply with its CR LF."""
            if replies:
                replies.append(b"")
                self.push(b"\r\n".join(replies))

    return Channel
