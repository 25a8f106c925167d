"""Producers made from other producers: several in a row, compressed, transformed."""

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Literal, TypeAlias

from antiphon.producers.base import (
    BytesLike,
    GeneratedProducer,
    chunks_of,
    close_producer,
    require_integer,
    snapshot,
)
from antiphon.producers.sources import Source, as_producer

Coding: TypeAlias = Literal["gzip", "deflate", "raw"]

#: zlib's window bits: 15 is the largest window; 16 more ask for the gzip format, a minus for none at all.
WINDOW_BITS: Final[dict[str, int]] = {"gzip": 31, "deflate": 15, "raw": -15}

#: Bytes that are compressed at a time, so that the output of a huge chunk leaves before all of it is read.
COMPRESSION_STEP: Final = 256 * 1024


class ChainedProducer(GeneratedProducer):
    """Several sources, one after the other; each is closed as soon as it is exhausted.

    >>> list(ChainedProducer(b"head", [b"body", b"tail"]))
    [b'head', b'body', b'tail']

    Raises:
        TypeError: one of the sources is not what `as_producer` takes.
    """

    def __init__(self, *sources: Source) -> None:
        """Produce what the sources hold, in the order given."""
        self._waiting = deque(as_producer(source) for source in sources)

    def _chunks(self) -> Iterator[bytes]:
        while self._waiting:
            yield from chunks_of(self._waiting[0])
            close_producer(self._waiting.popleft())

    def _release(self) -> None:
        """Close them all, whichever of them fails to; the last error has the others as its context."""
        try:
            while self._waiting:
                close_producer(self._waiting.popleft())
        finally:
            if self._waiting:
                self._release()


class FilterProducer(GeneratedProducer):
    """One source made into something else, and closed with it."""

    def __init__(self, source: Source) -> None:
        """Take over `source`, which may be whatever `as_producer` takes."""
        self._inner = as_producer(source)

    def _release(self) -> None:
        close_producer(self._inner)


class CompressedProducer(FilterProducer):
    """What a source holds, compressed by zlib.

    >>> zlib.decompress(b"".join(CompressedProducer(b"ping", "deflate")))
    b'ping'
    """

    def __init__(
        self, source: Source, coding: Coding = "gzip", *, level: int = -1, flush: bool = False
    ) -> None:
        """Compress `source`.

        Args:
            source: whatever `as_producer` takes.
            coding: "gzip" (RFC 1952), "deflate" (the zlib format of RFC 1950, which HTTP calls deflate: RFC
                9110, section 8.4.1.2) or "raw" (RFC 1951 alone).
            level: 0 (stored) to 9 (smallest); -1 is zlib's own choice, 6.
            flush: whether each chunk can be decompressed as soon as it arrives, for dialogue; costs some
                bytes a chunk. Otherwise zlib holds back what it likes until the end.

        Raises:
            TypeError: `source` is not what `as_producer` takes, or `level` is not an int.
            ValueError: there is no such coding or level.
        """
        if coding not in WINDOW_BITS:
            raise ValueError(f"wanted one of {', '.join(WINDOW_BITS)} as coding, found {coding!r}")
        require_integer("level", level, least=-1)
        if level > 9:
            raise ValueError(f"wanted 9 or less as level, found {level}")
        super().__init__(source)
        self._coding = coding
        self._level = level
        self._flush = flush

    def _chunks(self) -> Iterator[bytes]:
        compressor = zlib.compressobj(self._level, zlib.DEFLATED, WINDOW_BITS[self._coding])
        for chunk in chunks_of(self._inner):
            view = memoryview(chunk)
            for start in range(0, len(view), COMPRESSION_STEP):
                yield compressor.compress(view[start : start + COMPRESSION_STEP])
            if self._flush:
                yield compressor.flush(zlib.Z_SYNC_FLUSH)
        yield compressor.flush()


class TransformedProducer(FilterProducer):
    """What a source holds, passed through a function: encryption, for example.

    >>> list(TransformedProducer([b"ping", b"pong"], bytes.upper, lambda: b"."))
    [b'PING', b'PONG', b'.']
    """

    def __init__(
        self,
        source: Source,
        transform: Callable[[bytes], BytesLike],
        finish: Callable[[], BytesLike] | None = None,
    ) -> None:
        """Transform `source`.

        Args:
            source: whatever `as_producer` takes.
            transform: called with each chunk in order; what it returns may have any length, also none, and
                is not touched if the function reuses its buffer.
            finish: called once, after the last chunk, for what the transformation has held back.

        Raises:
            TypeError: `source` is not what `as_producer` takes, or a function can't be called; from
                `more()`, if it returns something else than bytes-like data.
        """
        if not callable(transform):
            raise TypeError(f"wanted a function as transform, found {type(transform).__name__}")
        if finish is not None and not callable(finish):
            raise TypeError(f"wanted a function or None as finish, found {type(finish).__name__}")
        super().__init__(source)
        self._transform = transform
        self._finish = finish

    def _chunks(self) -> Iterator[bytes]:
        for chunk in chunks_of(self._inner):
            yield snapshot(self._transform(chunk), "what transform() returned")
        if self._finish is not None:
            yield snapshot(self._finish(), "what finish() returned")
