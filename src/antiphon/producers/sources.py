"""Where bytes come from: files and iterables; and the rule for what may stand for a producer."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeAlias, TypeGuard

from antiphon.producers.base import (
    BytesLike,
    GeneratedProducer,
    SupportsMore,
    is_bytes_like,
    require_integer,
    snapshot,
)


class BinaryFile(Protocol):
    """What a `FileProducer` asks of a file object; `seek` only if there is an offset."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; b"" at the end."""
        ...

    def seek(self, offset: int, /) -> object:
        """Go to `offset`, in bytes from the start."""
        ...

    def close(self) -> object:
        """Release the file."""
        ...


#: What `as_producer` takes.
Source: TypeAlias = SupportsMore | BytesLike | BinaryFile | Iterable[BytesLike]


class FileProducer(GeneratedProducer):
    """A binary file, or a range of it.

    Reading a file takes as long as its disk takes, and the loop waits meanwhile.

    Attributes:
        file: the file object.
        offset: where the next read begins, in bytes from the start; None: wherever the file stands.
        remaining: how many bytes are still owed; None: all that come until the file ends.
    """

    def __init__(
        self,
        file: BinaryFile,
        *,
        size: int = 65536,
        offset: int | None = None,
        count: int | None = None,
        close_file: bool = True,
    ) -> None:
        """Produce what `file` holds.

        Args:
            file: open, for reading, and binary: its `read()` returns bytes, never None.
            size: bytes per chunk at most.
            offset: where to begin, in bytes from the start of the file. With it, the producer seeks before
                every read, so that several can share a file (with `close_file=False`). None: read on from
                where the file stands.
            count: how many bytes to produce, exactly: a Content-Length or the length of a Range was
                promised. What the file has grown beyond it is not sent. None: up to the end of the file.
            close_file: whether the file is closed with the producer.

        A file that ends before `count` bytes were read makes `more()` raise EOFError: the peer waits for
        bytes that do not exist, and only the end of the connection can tell it so (RFC 9112, section 8).

        Raises:
            TypeError: `file` is not a binary file, or a number is not an int.
            ValueError: a number is out of range, or the file is closed.
            OSError: the file is not open for reading, or can't seek although `offset` was given.
        """
        require_integer("size", size, least=1)
        require_integer("offset", 0 if offset is None else offset, least=0)
        require_integer("count", 0 if count is None else count, least=0)
        _require_binary_file(file)
        if offset is not None:
            file.seek(offset)
        self.file = file
        self.offset = offset
        self.remaining = count
        self._count = count
        self._size = size
        self._close_file = close_file

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self._read():
            yield chunk
        if self.remaining:
            raise EOFError(
                f"wanted the {self._count} bytes of the file that were promised, "
                f"found its end {self.remaining} bytes before"
            )

    def _read(self) -> bytes:
        wanted = self._size if self.remaining is None else min(self._size, self.remaining)
        if not wanted:
            return b""
        if self.offset is not None:
            self.file.seek(self.offset)
        chunk = snapshot(self.file.read(wanted), "what file.read() returned")
        if len(chunk) > wanted:
            raise ValueError(f"wanted {wanted} bytes from file.read() at most, found {len(chunk)}")
        if self.offset is not None:
            self.offset += len(chunk)
        if self.remaining is not None:
            self.remaining -= len(chunk)
        return chunk

    def _release(self) -> None:
        if self._close_file:
            self.file.close()


class IterableProducer(GeneratedProducer):
    """The bytes-like chunks of any iterable, a generator for instance.

    >>> list(IterableProducer([b"one", b"", bytearray(b"two")]))
    [b'one', b'two']

    An empty chunk is passed over and ends nothing. The iterator is asked for a chunk when the peer has room
    for it, and must not wait: the loop waits with it. If it has a `close()`, as generators have, that is
    called with the producer's own, so the `finally` of a generator runs when the channel goes.

    Raises:
        TypeError: at once if there is nothing to iterate over, or only a str or bytes; from `more()` if a
            chunk is not bytes-like.
    """

    def __init__(self, iterable: Iterable[BytesLike]) -> None:
        """Produce the chunks of `iterable`."""
        self._iterator: Iterator[object] = iterator_of(iterable, "chunks")

    def _chunks(self) -> Iterator[bytes]:
        for chunk in self._iterator:
            yield snapshot(chunk, "a chunk")

    def _release(self) -> None:
        iterator, self._iterator = self._iterator, iter(())
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


def as_producer(source: Source) -> SupportsMore:
    """A producer of what `source` stands for.

    >>> as_producer(b"ping").more()
    b'ping'

    Args:
        source: a producer, which is returned as it is; bytes-like data, of which a snapshot is taken; a
            binary file, to be read from where it stands and closed; or an iterable of bytes-like chunks.

    Raises:
        TypeError: `source` is none of these. A str is none of these: encode it.
    """
    if _is_producer(source):
        return source
    if _is_file(source):
        return FileProducer(source)
    if is_bytes_like(source):
        return IterableProducer((snapshot(source, "data"),))
    if isinstance(source, Iterable) and not isinstance(source, (str, bytes, bytearray, memoryview)):
        return IterableProducer(source)
    raise TypeError(
        "wanted a producer, bytes-like data, a binary file or an iterable of bytes-like chunks, "
        f"found {type(source).__name__}"
    )


def _is_producer(source: object) -> TypeGuard[SupportsMore]:
    return callable(getattr(source, "more", None)) and not isinstance(source, type)


def _is_file(source: object) -> TypeGuard[BinaryFile]:
    return callable(getattr(source, "read", None)) and not isinstance(source, type)


def _require_binary_file(file: object) -> None:
    """Reading 0 bytes shows the type of what the file reads, and takes nothing from it."""
    if not _is_file(file):
        raise TypeError(f"wanted a binary file, found {type(file).__name__}")
    nothing: object = file.read(0)
    if not is_bytes_like(nothing):
        raise TypeError(f"wanted a binary file, found one that reads {type(nothing).__name__}")


def iterator_of(iterable: object, content: str) -> Iterator[object]:
    """What iterates over `iterable`, which is said to hold `content`.

    Raises:
        TypeError: there is nothing to iterate over, or only a single str or bytes.
    """
    if isinstance(iterable, Iterable) and not isinstance(iterable, str) and not is_bytes_like(iterable):
        return iter(iterable)
    raise TypeError(f"wanted an iterable of {content}, found {type(iterable).__name__}")


def is_unchanged_file(producer: Any) -> TypeGuard[FileProducer]:
    """Whether nobody would miss the chunks of a file; a class of a program's own may change them."""
    return type(producer) is FileProducer and not producer.closed and "more" not in vars(producer)
