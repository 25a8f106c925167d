"""The list of harnesses, and the inputs that are kept for each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from fuzz.delimiters import try_delimiter
from fuzz.paths import try_path
from fuzz.requests import try_requests
from fuzz.resp import try_resp
from fuzz.streams import try_chat, try_messages

__all__ = ["HARNESSES", "Harness"]

CORPUS: Final = Path(__file__).parent / "corpus"


class Harness(NamedTuple):
    """A function that is given any bytes, and raises if what comes of them is wrong.

    Attributes:
        name: of the harness, and of its folder in the corpus.
        about: what it tests.
        try_one: the function.
        longest: bytes of an input at most.
    """

    name: str
    about: str
    try_one: Callable[[bytes], None]
    longest: int

    @property
    def folder(self) -> Path:
        """Where its inputs are kept."""
        return CORPUS / self.name

    def inputs(self) -> Iterator[tuple[str, bytes]]:
        """Those inputs, by the names of their files."""
        for path in sorted(self.folder.iterdir()):
            yield path.name, path.read_bytes()


HARNESSES: Final = {
    harness.name: harness
    for harness in (
        Harness("delimiter", "the search for a delimiter that arrives in pieces", try_delimiter, 300),
        Harness("messages", "MessageChannel: any terminators, a limit, any cuts", try_messages, 300),
        Harness("chat", "async_chat: any terminators, any cuts", try_chat, 300),
        Harness("requests", "the HTTP server's connections, beside h11", try_requests, 600),
        Harness("paths", "the HTTP server's files: paths, ranges, dates", try_path, 300),
        Harness("resp", "the RESP server, any cuts", try_resp, 300),
    )
}
