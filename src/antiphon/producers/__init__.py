"""Producers: what a channel sends piece by piece, whenever the peer has taken the piece before.

    channel.push_with_producer(FileProducer(open("index.html", "rb")))
    channel.push_with_producer(ChunkedProducer(CompressedProducer(rows())))

A producer is any object with `more() -> bytes`, where b"" says that there is nothing more. Those of this
package also have `close()`, which releases what they hold. They do so by themselves at the end and on an
error; the channel does it whenever it goes before that. They own what they are given: the file, the
generator or the producer inside is closed with them.

Every `source` that one of them is made from may be a producer, bytes-like data, a binary file or an
iterable of bytes-like chunks (see `as_producer`), so they go together in any order.
"""

from antiphon.producers.base import BytesLike, Producer, SupportsMore
from antiphon.producers.chunked import ChunkedProducer
from antiphon.producers.filters import ChainedProducer, CompressedProducer, TransformedProducer
from antiphon.producers.lines import LinesProducer
from antiphon.producers.sources import (
    BinaryFile,
    FileProducer,
    IterableProducer,
    Source,
    as_producer,
)

__all__ = [
    "BinaryFile",
    "BytesLike",
    "ChainedProducer",
    "ChunkedProducer",
    "CompressedProducer",
    "FileProducer",
    "IterableProducer",
    "LinesProducer",
    "Producer",
    "Source",
    "SupportsMore",
    "TransformedProducer",
    "as_producer",
]
