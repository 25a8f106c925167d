"""What every producer is, and the life that those of this package share.  Knows no file and no coding."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol, TypeAlias, TypeGuard

#: What may stand for a piece of data.  At run time, whatever memoryview() takes.
BytesLike: TypeAlias = bytes | bytearray | memoryview


class SupportsMore(Protocol):
    """The least that a producer must be."""

    def more(self) -> bytes:
        """The next chunk; b"" when there is none."""
        ...


class Producer(ABC):
    """A producer that a channel also closes, for producers of your own.

    The channel calls `close()` when the producer is exhausted, when it raised, and when the channel goes
    while the producer is still waiting or half sent. A producer that is not of this class only has its
    `more()` called.
    """

    @abstractmethod
    def more(self) -> bytes:
        """The next chunk of any length above 0; b"" when there is none, then and ever after."""

    def close(self) -> None:  # noqa: B027  # Not abstract: a producer may well hold nothing.
        """Release what the producer holds; here, nothing.

        May be called at any time, several times, and from inside `more()` (by a callback that closes the
        channel).
        """

    def __iter__(self) -> Iterator[bytes]:
        """The chunks that are still to come."""
        return iter(self.more, b"")


class GeneratedProducer(Producer):
    """`more()` and `close()` for a subclass that writes `_chunks()`, a generator, and `_release()`.

    The generator may yield empty chunks: they are passed over and end nothing. `_release()` is called once:
    when the generator ends, when it raises, or by `close()`; never while the generator runs.
    """

    _filled: Iterator[bytes] | None = None
    _failure = ""
    _running = False
    _closed = False
    _released = False

    @abstractmethod
    def _chunks(self) -> Iterator[bytes]:
        """All chunks, in order."""

    def _release(self) -> None:
        """Let go of what the chunks were made from."""

    def more(self) -> bytes:
        """The next chunk; b"" at the end and after `close()`.

        Raises:
            RuntimeError: an earlier call raised. What is missing since then can't be made up for, and a b""
                would pass for the regular end.
        """
        if self._failure:
            raise RuntimeError(f"this {type(self).__name__} failed before, with {self._failure}")
        if self._closed:
            return b""
        chunk = b""
        try:
            chunk = self._next_filled()
        except BaseException as error:
            # The text alone: the traceback of the error itself would tie this object to itself.
            self._failure = "" if self._closed else repr(error)
            raise
        finally:
            if not chunk or self._closed:
                self._dispose()
        return b"" if self._closed else chunk

    def _next_filled(self) -> bytes:
        if self._filled is None:
            self._filled = filter(None, self._chunks())
        self._running = True
        try:
            return next(self._filled, b"")
        finally:
            self._running = False

    @property
    def closed(self) -> bool:
        """Whether nothing more is to come: it is exhausted, has failed, or was closed."""
        return self._closed

    def close(self) -> None:
        """Release what the producer holds; `more()` returns b"" from now on.

        From inside `more()`, by a callback of the source's for instance, it takes effect when that call ends.
        """
        self._closed = True
        self._failure = ""
        if not self._running:
            self._dispose()

    def _dispose(self) -> None:
        self._closed = True
        self._filled = None
        if not self._released:
            self._released = True
            self._release()


def snapshot(data: object, origin: str) -> bytes:
    """`data` as bytes that nobody can change any more; bytes are returned as they are, uncopied.

    >>> snapshot(bytearray(b"ping"), "a chunk")
    b'ping'

    Args:
        data: anything bytes-like.
        origin: what `data` is, for the error: "a chunk", "what file.read() returned".

    Raises:
        TypeError: `data` is not bytes-like.
    """
    if isinstance(data, bytes):
        return data
    if not is_bytes_like(data):
        raise TypeError(f"wanted {origin} to be bytes-like, found {type(data).__name__}")
    return memoryview(data).tobytes()


def is_bytes_like(data: object) -> TypeGuard[BytesLike]:
    """Whether `data` has a buffer of bytes to read: bytes, bytearray, memoryview, array, mmap."""
    try:
        memoryview(data).release()  # type: ignore[arg-type]  # The question is whether it is one.
    except TypeError:
        return False
    return True


def chunks_of(producer: SupportsMore) -> Iterator[bytes]:
    """What `producer` has to give, chunk by chunk, each of them safe from later changes."""
    while chunk := snapshot(producer.more(), f"what {type(producer).__name__}.more() returned"):
        yield chunk


def close_producer(producer: SupportsMore) -> None:
    """Close `producer` if it is a `Producer`; another one's `close` may mean anything."""
    if isinstance(producer, Producer):
        producer.close()


def require_integer(name: str, value: object, *, least: int) -> None:
    """Check an argument.

    Raises:
        TypeError: `value` is not an int, or is a bool.
        ValueError: it is below `least`.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"wanted an int as {name}, found {type(value).__name__}")
    if value < least:
        raise ValueError(f"wanted {least} or more as {name}, found {value}")
