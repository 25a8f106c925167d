"""Messages with changing terminators, by both kinds of channels, beside a model that sees all at once."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from antiphon import MessageChannel, asynchat
from antiphon.errors import MessageTooLong
from antiphon.testing import ScriptedSocket
from fuzz.pieces import Draft, ways_to_cut

__all__ = ["try_chat", "try_messages"]

#: bytes, a tuple of them, or a length.
Term: TypeAlias = Any

#: A message, or the parts of one that was too long, and what ended it; the word of what was too long; what is
#: left in the end.
Event: TypeAlias = tuple[str, bytes, bytes]

TOO_LONG: Final = ("too long", b"", b"")
#: A length that is too long was set, and nothing has come since: it need not have been told of yet.
MAYBE_TOO_LONG: Final = ("maybe too long", b"", b"")

#: Nothing is left of a message but what may be the beginning of its end.
DROPPED: Final = ("dropped", b"", b"")

POLICIES: Final = ("discard", "pieces", "close")

#: Few different bytes make terminators that occur, begin without ending, and overlap.
_ALPHABET: Final = b"ab\r\n"
_LONGEST: Final = 20


class Scene(NamedTuple):
    """What an input describes.

    Attributes:
        terms: the terminators, set one after the other and then from the first again.
        limit: bytes of a message.
        batch: of so many messages together, a handler of batches uses all; of more, only so many.
        policy: what becomes of those that are too long. Where it is "close", the handler leaves the channel
            open, and they are discarded.
        stream: what the peer sends.
    """

    terms: Sequence[Term]
    limit: int
    batch: int
    policy: str
    stream: bytes


def _scene(data: bytes, several: bool) -> Scene:
    draft = Draft(data)
    count, limit, ways = 1 + draft.number(3), draft.number(63), draft.number(11)
    terms = [_term(draft, several) for _ in range(count)]
    return Scene(terms, limit, 1 + ways % 4, POLICIES[ways // 4], draft.rest())


def _term(draft: Draft, several: bool) -> Term:
    kind = draft.number(7)
    if kind == 0:
        return 1 + draft.number(9)
    if kind == 1 and several:
        return tuple(_delimiter(draft) for _ in range(1 + draft.number(2)))
    return _delimiter(draft)


def _delimiter(draft: Draft) -> bytes:
    size = 1 + draft.number(_LONGEST - 1)
    return bytes(_of_few(byte) for byte in draft.take(size))


def _of_few(byte: int) -> int:
    return byte if byte >= 128 or byte in _ALPHABET else _ALPHABET[byte % len(_ALPHABET)]


# -- the model ---------------------------------------------------------------------------------------------


def _model(scene: Scene) -> Iterator[Event]:
    """What the stream consists of; the rest of it last."""
    data = scene.stream
    for term in itertools.cycle(scene.terms):
        found = _first_end(data, term)
        least = term if isinstance(term, int) else _least(data, term) if found is None else found[0]
        if least > scene.limit:
            yield TOO_LONG if data or not isinstance(term, int) else MAYBE_TOO_LONG
        if found is None:
            yield DROPPED if least > scene.limit and scene.policy != "pieces" else ("rest", data, b"")
            return
        size, end = found
        if least <= scene.limit:
            yield "message", data[:size], end
        elif scene.policy == "pieces":
            yield "parts", data[:size], b""
        data = data[size + len(end) :]


def _agree(found: list[Event], expected: list[Event]) -> bool:
    if expected[-1] is DROPPED and len(found[-1][1]) < _LONGEST:
        expected = [*expected[:-1], found[-1]]
    if MAYBE_TOO_LONG in expected:
        told = [TOO_LONG if event is MAYBE_TOO_LONG else event for event in expected]
        untold = [event for event in expected if event is not MAYBE_TOO_LONG]
        return found in (told, untold)
    return found == expected


def _first_end(data: bytes, term: Term) -> tuple[int, bytes] | None:
    """The size of the first message, and the bytes that end it: the earliest end, the longest terminator."""
    if isinstance(term, int):
        return (term, b"") if len(data) >= term else None
    for stop in range(1, len(data) + 1):
        ends = [one for one in _several(term) if data.endswith(one, 0, stop)]
        if ends:
            end = max(ends, key=len)
            return stop - len(end), end
    return None


def _least(data: bytes, term: Term) -> int:
    """How long a message is at least that begins with `data`, at the end of which a terminator may begin."""
    # What has another one inside never ends a message: the other one does, before.
    able = [one for one in _several(term) if not any(other in one[:-1] for other in _several(term))]
    return len(data) - max(size for one in able for size in range(len(one)) if data.endswith(one[:size]))


def _several(term: Term) -> tuple[bytes, ...]:
    return term if isinstance(term, tuple) else (term,)


# -- MessageChannel ----------------------------------------------------------------------------------------


class _Messages(MessageChannel):
    """Notes its messages, one by one, and sets the next terminator after each."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(ScriptedSocket(), {})
        self.scene = scene
        self.max_message_size, self.overflow_policy = scene.limit, scene.policy
        self.events: list[Event] = []
        self.parts: list[bytes] = []
        self.terms = itertools.cycle(scene.terms)
        self.go_on()

    def go_on(self) -> None:
        """Set the next terminator."""
        self.set_terminator(next(self.terms))

    def message_received(self, message: bytes) -> None:
        """Note it."""
        self.events.append(("message", message, self.last_terminator))
        self.go_on()

    def message_part_received(self, part: bytes, last: bool) -> None:
        """Note it, when it is the last one with those before it."""
        self.parts.append(part)
        if last:
            self.events.append(("parts", b"".join(self.parts), b""))
            self.parts = []

    def handle_overflow(self, error: MessageTooLong) -> None:
        """Note it, and go on behind it."""
        assert error.size > error.limit == self.scene.limit, str(error)
        self.events.append(TOO_LONG)
        self.go_on()

    def run(self, pieces: list[bytes]) -> list[Event]:
        """What has happened when all pieces have come; what is left last."""
        for piece in pieces:
            self.feed(piece)
        self.events.append(("rest", b"".join(self.parts) + self.ac_in_buffer, b""))
        self.close()
        return self.events


class _Batches(_Messages):
    """Uses some messages of each batch."""

    def messages_received(self, messages: list[bytes]) -> int:
        """Use some, if there is a choice only one, since the next terminator is another."""
        several = len(set(map(repr, self.scene.terms))) == 1
        used = min(self.scene.batch, len(messages)) if several else 1
        for message in messages[:used]:
            # Of a batch, only the terminator of the last message is known.
            self.events.append(("message", message, b""))
        for _ in range(used):
            self.go_on()
        return used


def _without_ends(events: list[Event]) -> list[Event]:
    return [event if not event[2] else (*event[:2], b"") for event in events]


def try_messages(data: bytes) -> None:
    """A `MessageChannel`, with terminators of all kinds and a limit.

    How many terminators there are, from 1 to 4; the limit; the size of a batch; the terminators; the rest is
    the stream.
    """
    scene = _scene(data, several=True)
    expected = list(_model(scene))
    for pieces in ways_to_cut(scene.stream):
        found = _Messages(scene).run(pieces)
        assert _agree(found, expected), (scene, pieces, found, expected)
        found = _Batches(scene).run(pieces)
        assert _agree(found, _without_ends(expected)), (scene, pieces, found, expected)


# -- async_chat --------------------------------------------------------------------------------------------


class _Chat(asynchat.async_chat):
    """Notes its messages, and sets the next terminator after each."""

    def __init__(self, scene: Scene, limited: bool) -> None:
        self.sock = ScriptedSocket()
        super().__init__(self.sock, {})
        if limited:
            self.max_message_size, self.overflow_policy = scene.limit, scene.policy
        self.events: list[Event] = []
        self.pieces: list[bytes] = []
        self.is_too_long = False
        self.terms = itertools.cycle(scene.terms)
        self.set_terminator(next(self.terms))

    def collect_incoming_data(self, data: bytes) -> None:
        """Keep a piece."""
        assert data
        self.pieces.append(data)

    def found_terminator(self) -> None:
        """Note a message, or the end of the parts of one."""
        kind = "parts" if self.is_too_long else "message"
        self.events.append((kind, b"".join(self.pieces), b""))
        self.pieces = []
        self.is_too_long = False
        self.set_terminator(next(self.terms))

    def handle_overflow(self, error: MessageTooLong) -> None:
        """Note it, and forget what came of it unless the rest will come too."""
        collected = sum(map(len, self.pieces))
        assert collected in (0, error.limit), (collected, error.limit)
        self.events.append(TOO_LONG)
        self.is_too_long = self.overflow_policy == "pieces"
        if not self.is_too_long:
            self.pieces = []
            self.set_terminator(next(self.terms))

    def handle_error(self) -> None:
        """Hide nothing."""
        raise  # noqa: PLE0704 (it is called where an exception is handled)

    def run(self, pieces: list[bytes]) -> list[Event]:
        """What has happened when all pieces have come; what is left last."""
        for piece in pieces:
            self.sock.script(piece)
            while self.sock.unread:
                self.handle_read_event()
        self.events.append(("rest", b"".join(self.pieces) + self.ac_in_buffer, b""))
        self.close()
        return self.events


def try_chat(data: bytes) -> None:
    """An `async_chat`, with byte strings and lengths as terminators, without a limit and with one.

    As for `try_messages`; the size of a batch means nothing.
    """
    scene = _scene(data, several=False)
    for limited in False, True:
        whole = scene if limited else scene._replace(limit=max(len(data), 256))
        expected = _without_ends(list(_model(whole)))
        for pieces in ways_to_cut(scene.stream):
            found = _Chat(whole, limited).run(pieces)
            assert _agree(found, expected), (whole, limited, pieces, found, expected)
