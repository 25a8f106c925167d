r"""The conformance suite of channels: what a program may take for granted, asked of a class of its own.

    def test_my_channel_conforms() -> None:
        check_channel(MyChannel, b"PING\r\nPING\r\nQUIT\r\n")

Each check plays the dialogue on a `FakeNetwork`, with channels that the program makes, and compares what is
the same for every network: bytes come in any pieces, are taken in any pieces, and may stop at any moment.
"""

import errno
import gc
import sys
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from antiphon.testing.network import FakeNetwork
from antiphon.testing.scripted import ScriptedSocket, error

__all__ = ["CHECKS", "check_channel"]

#: Places at most at which a dialogue is cut in two.
_CUTS: Final = 64

#: What the network may say when a connection is lost, by receiving and by sending.
_LOSSES: Final = ((errno.ECONNRESET, errno.ETIMEDOUT), (errno.EPIPE, errno.ECONNRESET))

Check = Callable[["_Trial"], None]
Observe = Callable[[Any, bytes], object]


def check_channel(
    make: Callable[[Any], Any],
    dialogue: bytes,
    *,
    observe: Observe = lambda channel, sent: sent,
    seconds: float = 0.0,
    leave_out: Collection[str] = (),
) -> None:
    """Check that a class of channels keeps what is promised of channels.  Takes a fraction of a second.

    Args:
        make: makes a channel from a connected socket; most often the class itself. It is called some hundred
            times, while `asyncore.socket_map` is the map of a `FakeNetwork`.
        dialogue: what a peer says that behaves well: whole messages, one of each kind if possible.
        observe: called with the channel and all that it has sent, when everything was dealt with; returns
            what must be the same however the network behaves. By default, what it has sent.
        seconds: how long the channel may take, by the clock of its loop, which no time passes for.
        leave_out: checks not to make, by the names that the messages of failures have, for a program that
            has a reason.

    Raises:
        AssertionError: it does not; the message says what was expected and what was found.
        ValueError: `dialogue` is empty, or there is no such check to leave out.
    """
    titles = {_title(check): check for check in CHECKS}
    if not dialogue:
        raise ValueError("wanted a dialogue of at least one byte, found b''")
    if unknown := set(leave_out) - set(titles):
        raise ValueError(f"wanted names of checks ({', '.join(titles)}), found {', '.join(sorted(unknown))}")
    for title, check in titles.items():
        if title not in leave_out:
            for use_poll in False, True:
                trial = _Trial(make, dialogue, observe, seconds, use_poll)
                try:
                    check(trial)
                except AssertionError as failure:
                    raise AssertionError(f"channel {trial.name}, {title}: {failure}") from failure


class _Trial:
    """What one check plays with: the channels to be made, and what is said to them."""

    def __init__(
        self, make: Callable[[Any], Any], dialogue: bytes, observe: Observe, seconds: float, use_poll: bool
    ) -> None:
        self.make, self.dialogue, self.use_poll = make, dialogue, use_poll
        self._observe, self._seconds = observe, seconds
        self.name = getattr(make, "__name__", repr(make))
        self._expected: list[object] = []

    @property
    def halves(self) -> tuple[bytes, bytes]:
        """The dialogue, cut in the middle."""
        middle = (len(self.dialogue) + 1) // 2
        return self.dialogue[:middle], self.dialogue[middle:]

    @contextmanager
    def play(self, *received: Any, **answers: Any) -> Iterator["_Play"]:
        """A channel that all of this has happened to."""
        with FakeNetwork(use_poll=self.use_poll) as network:
            sock = ScriptedSocket(*received, **answers)
            play = _Play(network, self.make(sock), sock, self._observe, self._seconds)
            self.name = type(play.channel).__name__
            play.run()
            yield play

    def expect_the_same(self, situation: str, *received: Any, **answers: Any) -> None:
        """Fail unless a channel ends up as when it got everything at once, and had everything taken."""
        if not self._expected:
            with self.play(self.dialogue) as play:
                play.expect_no_error("everything came at once")
                self._expected.append(play.seen())
        with self.play(*received, **answers) as play:
            play.expect_no_error(situation)
            seen = play.seen()
        assert seen == self._expected[0], (
            f"{situation}: {seen!r}, expected {self._expected[0]!r} as when everything came at once"
        )


class _Play:
    """A channel on a network of its own.

    Attributes:
        errors: those that its `handle_error` was called with.
        closes: how often its `handle_close` was called.
    """

    def __init__(
        self, network: FakeNetwork, channel: Any, sock: ScriptedSocket, observe: Observe, seconds: float
    ) -> None:
        self.network, self.channel, self.sock = network, channel, sock
        self.fd = sock.fileno()
        self.errors: list[BaseException | None] = []
        self.closes = 0
        self._observe, self._seconds = observe, seconds
        self._handle_error, self._handle_close = channel.handle_error, channel.handle_close
        channel.handle_error, channel.handle_close = self._note_error, self._note_close

    def _note_error(self) -> None:
        self.errors.append(sys.exc_info()[1])
        self._handle_error()

    def _note_close(self) -> None:
        self.closes += 1
        self._handle_close()

    def run(self) -> None:
        """Have everything happen."""
        self.network.run(self._seconds)

    def seen(self) -> object:
        """What the program observes."""
        return self._observe(self.channel, self.sock.sent)

    def expect_no_error(self, situation: str) -> None:
        """Fail if `handle_error` was called."""
        assert not self.errors, f"{situation}: handle_error was called, with {self.errors[0]!r}"

    def expect_the_end(self, situation: str) -> None:
        """Fail unless the channel is gone from its map, and was told of the end once at most."""
        assert self.closes <= 1, f"{situation}: handle_close was called {self.closes} times, expected once"
        assert self.channel not in self.network.map.values(), f"{situation}: it is still in its map"
        assert self.sock.closed, f"{situation}: it has left its map, and its socket is open"


def _a_new_channel_is_in_its_map(trial: _Trial) -> None:
    with trial.play() as play:
        found = play.network.map.get(play.fd)
        assert found is play.channel or play.sock.closed, (
            f"the map has {found!r} for its socket, and asyncore.socket_map is that map; "
            "wanted the channel, or the socket closed"
        )


def _the_outcome_is_the_same_however_the_input_is_cut(trial: _Trial) -> None:
    data = trial.dialogue
    trial.expect_the_same("each byte came by itself", *_bytes(data))
    step = max(1, len(data) // _CUTS)
    for place in range(step, len(data), step):
        front, back = data[:place], data[place:]
        trial.expect_the_same(f"cut into {front[-20:]!r} and {back[:20]!r}", front, back)


def _moments_without_input_change_nothing(trial: _Trial) -> None:
    trial.expect_the_same(
        "nothing had arrived at first, nor in between", None, None, *_with_pauses(trial.halves)
    )
    trial.expect_the_same("nothing had arrived after each byte", *_with_pauses(_bytes(trial.dialogue)))


def _a_peer_that_reads_slowly_gets_the_same(trial: _Trial) -> None:
    with trial.play(trial.dialogue) as play:
        size = len(play.sock.sent)
    trial.expect_the_same("one byte was taken at a time", trial.dialogue, send=[1] * size)
    trial.expect_the_same("one byte was taken after each refusal", trial.dialogue, send=[None, 1] * size)


def _nothing_more_is_asked_when_all_was_said(trial: _Trial) -> None:
    with trial.play(trial.dialogue) as play:
        asked = len(play.sock.calls)
        play.network.turn()
        play.network.turn()
        more = play.sock.calls[asked:]
        assert not more, f"it goes on to ask its socket: {more!r:.200}"


def _the_end_of_the_input_is_told_once(trial: _Trial) -> None:
    for said in b"", trial.halves[0], trial.dialogue:
        situation = f"the peer stopped sending after {said[-20:]!r}"
        with trial.play(*filter(None, [said]), b"") as play:
            play.expect_no_error(situation)
            assert play.closes <= 1, f"{situation}: handle_close was called {play.closes} times"
            assert play.closes or play.sock.closed, f"{situation}: handle_close was not called"


def _a_lost_connection_ends_it(trial: _Trial) -> None:
    receiving, sending = _LOSSES
    for number in receiving:
        with trial.play(trial.halves[0], error(number)) as play:
            play.expect_the_end(f"recv failed with {errno.errorcode[number]}")
    for number in sending:
        with trial.play(trial.dialogue, send=[error(number)]) as play:
            if play.sock.called("send"):
                play.expect_the_end(f"send failed with {errno.errorcode[number]}")


def _a_closed_channel_hears_and_says_nothing(trial: _Trial) -> None:
    front, back = trial.halves
    with trial.play(front) as play:
        play.channel.close()
        play.expect_the_end("close() was called")
        before, asked = play.seen(), len(play.sock.calls)
        play.sock.script(back)
        play.run()
        assert play.seen() == before, f"after close(): {play.seen()!r}, expected {before!r} as before"
        assert len(play.sock.calls) == asked, (
            f"after close() it asked its socket: {play.sock.calls[asked:]!r}"
        )


def _closing_twice_does_no_harm(trial: _Trial) -> None:
    with trial.play(trial.halves[0]) as play:
        play.channel.close()
        play.channel.close()
        play.expect_the_end("close() was called twice")


def _nothing_of_a_closed_channel_is_kept(trial: _Trial) -> None:
    with FakeNetwork(use_poll=trial.use_poll) as network:
        sock = ScriptedSocket(trial.halves[0])
        channel = trial.make(sock)
        network.run()
        channel.close()
        assert not network.loop.busy, "after close() its loop has timers or calls pending"
        reference = weakref.ref(channel)
        del channel
        gc.collect()
        left = reference()
        assert left is None, f"after close() it is referenced by {_referrers(left)}"


#: Each takes a trial and raises AssertionError; their names say what holds.
CHECKS: Final[tuple[Check, ...]] = (
    _a_new_channel_is_in_its_map,
    _the_outcome_is_the_same_however_the_input_is_cut,
    _moments_without_input_change_nothing,
    _a_peer_that_reads_slowly_gets_the_same,
    _nothing_more_is_asked_when_all_was_said,
    _the_end_of_the_input_is_told_once,
    _a_lost_connection_ends_it,
    _a_closed_channel_hears_and_says_nothing,
    _closing_twice_does_no_harm,
    _nothing_of_a_closed_channel_is_kept,
)


def _title(check: Check) -> str:
    return check.__name__.removeprefix("_").replace("_", " ")


def _bytes(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


def _with_pauses(pieces: Sequence[bytes]) -> list[bytes | None]:
    return [step for piece in pieces if piece for step in (piece, None)]


def _referrers(channel: Any) -> str:
    """What holds it, in a few words."""
    holders = [holder for holder in gc.get_referrers(channel) if holder is not sys._getframe()]
    words = [f"a {type(holder).__name__} {holder!r:.80}" for holder in holders[:3]]
    return ", ".join(words) or "something that the garbage collector does not know"
