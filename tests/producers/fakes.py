"""Producers and files that do what a test tells them and remember what was done to them; and a client."""

import io
from http.client import HTTPResponse

from antiphon.producers import BytesLike, Producer


class ScriptedProducer(Producer):
    """Plays back chunks; an exception among them is raised.  Counts its closings."""

    def __init__(self, *script: BytesLike | Exception, close_error: Exception | None = None) -> None:
        self.script = list(script)
        self.closings = 0
        self.close_error = close_error

    def more(self) -> bytes:
        step = self.script.pop(0) if self.script else b""
        if isinstance(step, Exception):
            raise step
        return step  # type: ignore[return-value]  # Old producers return mutable chunks, too.

    def close(self) -> None:
        self.closings += 1
        if self.close_error is not None:
            raise self.close_error


class PlainProducer:
    """The least that the documentation asks of a producer; false as an object, with a `close` of its own."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.closings = 0

    def more(self) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""

    def close(self) -> None:
        self.closings += 1

    def __len__(self) -> int:
        return 0


class WatchedFile(io.BytesIO):
    """A file that notes the sizes asked for and how often it was closed."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.sizes: list[int | None] = []
        self.closings = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.sizes.append(size)
        return super().read(size)

    def close(self) -> None:
        self.closings += 1
        super().close()


#: What the server says after the response.
NEXT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Wire(io.BytesIO):
    """The stream that http.client reads from; it stays readable, to see what was left of it."""

    def makefile(self, mode: str) -> "Wire":
        return self

    def close(self) -> None:
        """Stay open."""


def decoded(wire: bytes) -> bytes:
    """The body that http.client finds in `wire`, having checked that it stops at the end of it."""
    stream = Wire(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + wire + NEXT)
    response = HTTPResponse(stream)  # type: ignore[arg-type]  # All it does to a socket is makefile().
    response.begin()
    body = response.read()
    assert stream.read() == NEXT
    return body
