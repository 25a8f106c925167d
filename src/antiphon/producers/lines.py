"""Lines, as text protocols have them."""

import codecs
from collections.abc import Iterable, Iterator
from typing import Final

from antiphon.producers.base import BytesLike, snapshot
from antiphon.producers.sources import IterableProducer, iterator_of

#: Bytes: lines are gathered up to here before they are handed over.
CHUNK_SIZE: Final = 16 * 1024


class LinesProducer(IterableProducer):
    r"""Lines, each sent with the terminator after it, gathered into chunks of some KiB.

    >>> LinesProducer(["250-antiphon", "250 HELP"], encoding="ascii").more()
    b'250-antiphon\r\n250 HELP\r\n'

    A line is one line for the peer too, whoever wrote it: one in which the peer would find the terminator
    early makes `more()` raise ValueError instead of smuggling a second line in. Under b"\r\n" a bare CR or
    LF is refused as well, since there are peers that end a line at either (RFC 5321, section 2.3.8, forbids
    both). So strip the newline off lines that come from a file, and send through `IterableProducer` what is
    no lines.
    """

    def __init__(
        self, lines: Iterable[str | BytesLike], terminator: bytes = b"\r\n", encoding: str | None = None
    ) -> None:
        """Produce `lines`.

        Args:
            lines: without their terminators; its iterator is closed as in `IterableProducer`.
            terminator: what ends each line.
            encoding: of the lines that are str; None: they must be bytes-like.

        Raises:
            TypeError: `lines` is a single str or bytes, or `terminator` is not bytes-like; from `more()`,
                if a line is neither bytes-like nor a str that has an encoding.
            ValueError: the terminator is empty; from `more()`, if a line contains it or can't be encoded.
            LookupError: there is no such encoding.
        """
        if encoding is not None:
            codecs.lookup(encoding)
        self._encoding = encoding
        self._terminator = snapshot(terminator, "the terminator")
        if not self._terminator:
            raise ValueError("wanted a terminator of 1 byte or more, found an empty one")
        self._iterator = iterator_of(lines, "lines")

    def _chunks(self) -> Iterator[bytes]:
        gathered: list[bytes] = []
        size = 0
        for number, line in enumerate(self._iterator, 1):
            framed = self._framed(line, number)
            gathered.append(framed)
            size += len(framed)
            if size >= CHUNK_SIZE:
                yield b"".join(gathered)
                gathered, size = [], 0
        yield b"".join(gathered)

    def _framed(self, line: object, number: int) -> bytes:
        data = self._encoded(line, number)
        framed = data + self._terminator
        stray = self._terminator == b"\r\n" and (b"\r" in data or b"\n" in data)
        if stray or framed.find(self._terminator) < len(data):
            raise ValueError(
                f"wanted one line as line {number}, found (part of) the terminator {self._terminator!r} in it"
            )
        return framed

    def _encoded(self, line: object, number: int) -> bytes:
        if not isinstance(line, str):
            return snapshot(line, f"line {number}")
        if self._encoding is None:
            raise TypeError(f"wanted line {number} to be bytes-like, as there is no encoding, found str")
        return line.encode(self._encoding)
