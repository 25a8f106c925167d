"""The fault table: for each system call that fails, what a channel does.

A scene says how a channel comes to make the call, and has rules for what follows. The first rule that has an
error decides for it.  The rules are what is promised: docs/faults.md is made of them, and the tests play each
scene with each error on each poller.
"""

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from faults.errors_of_calls import errors_of
from faults.recorders import WRITING
from faults.stage import Stage

#: Makes the exception, when it is to be raised: a frame that held it would be held by its traceback.
Fault: TypeAlias = Callable[[], OSError]

__all__ = [
    "CLOSED",
    "LEFT",
    "RAISES",
    "RAISES_CLOSED",
    "REFUSED",
    "RESTS",
    "SCENES",
    "STAYS",
    "Rule",
    "Scene",
]


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: "Not now": nothing has happened, and nothing must come of it. EINTR is among them for sockets that are no
#: socket.socket; of those, the interpreter makes the call again (PEP 475). EALREADY: a TCP Fast Open is under
#: way.
NOT_NOW: Final = names("EAGAIN EWOULDBLOCK EALREADY EINTR")
#: The connection has ended: `asyncore._DISCONNECTED`.
LOST: Final = names("ECONNRESET ENOTCONN ESHUTDOWN ECONNABORTED EPIPE EBADF")
#: accept(2): it concerns a connection that is gone; try the next.
TRY_AGAIN: Final = NOT_NOW | names(
    "ECONNABORTED EPROTO EPERM ENETDOWN ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH EOPNOTSUPP ENETUNREACH "
    "ESOCKTNOSUPPORT EPROTONOSUPPORT ETIMEDOUT"
)
#: No descriptor or no memory is left.
EXHAUSTED: Final = names("EMFILE ENFILE ENOBUFS ENOMEM ENOSR")
#: The connection is being made. EINTR too: connect(2) goes on without the caller (POSIX).
BEING_MADE: Final = names("EINPROGRESS EALREADY EINTR")
MADE: Final = names("EISCONN")

STAYS: Final = "stays open"
CLOSED: Final = "closed"
RAISES: Final = "the caller gets the exception"
RAISES_CLOSED: Final = "closed; the caller of `close()` gets the exception"
REFUSED: Final = "the constructor raises it; nothing is left"
LEFT: Final = (
    "`connect()` raises it; the program closes the channel, or else the loop, as the next `recv()` fails"
)
RESTS: Final = "rests for a second, then goes on"


@dataclass(frozen=True)
class Rule:
    """What follows from some errors.

    Attributes:
        errors: their names; None for all that no earlier rule has.
        calls: the handlers that are called, in this order.
        then: what becomes of the channel: one of the constants above.
        with_poll: what is called under `loop(use_poll=True)`, if that differs.
    """

    errors: frozenset[str] | None
    calls: tuple[str, ...]
    then: str
    with_poll: tuple[str, ...] | None = None

    def expected(self, use_poll: bool) -> tuple[str, ...]:
        """The handlers that are called."""
        return self.calls if self.with_poll is None or not use_poll else self.with_poll


@dataclass(frozen=True)
class Scene:
    """How a channel comes to make a call that fails.

    Attributes:
        call: the system call.
        text: when it is made, for the page.
        kinds: the channels that do as the rules say.
        play: has the call fail with an error, in the first turn of the loop.
        rules: what follows.
        unheard: handlers that are called for other reasons, and not compared.
        left_out: errors that can't come this way.
        not_on: pollers that can't tell of what the scene is about.
    """

    call: str
    text: str
    kinds: tuple[str, ...]
    play: Callable[[Stage, Fault], Any]
    rules: tuple[Rule, ...]
    unheard: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    not_on: frozenset[str] = frozenset()

    @property
    def errors(self) -> list[str]:
        """The names of the errors that it is played with."""
        return [name for name in errors_of(self.call) if name not in self.left_out]

    def rule(self, name: str) -> Rule:
        """The rule for an error."""
        return next(rule for rule in self.rules if rule.errors is None or name in rule.errors)


# -- the rules that most scenes share ----------------------------------------------------------------------


def during(*event: str) -> tuple[Rule, ...]:
    """While handlers are called: not now; the end; anything else, reported."""
    return (
        Rule(NOT_NOW, event, STAYS),
        Rule(LOST, (*event, "handle_close"), CLOSED),
        Rule(None, (*event, "handle_error", "handle_close"), CLOSED),
    )


def raised_in(*event: str) -> tuple[Rule, ...]:
    """An exception that leaves a handler: with `use_poll=True` that of a lost connection is its end."""
    reported = (*event, "handle_error", "handle_close")
    return (Rule(LOST, reported, CLOSED, (*event, "handle_close")), Rule(None, reported, CLOSED))


ALL: Final = ("dispatcher", "async_chat", "MessageChannel")
CHATS: Final = ("async_chat", "MessageChannel")
#: Enough for sendmsg(2) to be worth while.
LARGE: Final = bytes(50_000)


# -- recv --------------------------------------------------------------------------------------------------


def input_arrives(stage: Stage, fault: Fault) -> None:
    _, far = stage.connected(recv=[fault])
    far.send(b"input\n")
    stage.turn()


def input_arrives_with_the_connection(stage: Stage, fault: Fault) -> None:
    _, far = stage.connecting(getsockopt=[0], recv=[fault])
    far.send(b"input\n")
    stage.turn()


# -- send and sendmsg --------------------------------------------------------------------------------------


def output_waits(stage: Stage, fault: Fault) -> None:
    if stage.kind == WRITING:
        stage.connected(send=[fault])
    else:
        channel, _ = stage.connected(send=[None, fault()])
        (getattr(channel, "push", None) or channel.send)(b"output")
    stage.turn()


def output_waits_for_the_connection(stage: Stage, fault: Fault) -> None:
    channel, _ = stage.connecting(getsockopt=[0], send=[fault])
    channel.push(b"output")
    stage.turn()


def pushed_from_outside(stage: Stage, fault: Fault) -> None:
    channel, _ = stage.connected(send=[fault])
    channel.push(b"output")


def sent_from_outside(stage: Stage, fault: Fault) -> None:
    channel, _ = stage.connected(send=[fault])
    channel.send(b"output")


def _push(channel: Any) -> None:
    channel.push(b"output")


def _shut_down(channel: Any) -> None:
    channel.socket.shutdown(socket.SHUT_WR)


def pushed_as_an_answer(stage: Stage, fault: Fault) -> None:
    channel, far = stage.connected(send=[fault])
    channel.on_input = _push
    far.send(b"input\n")
    stage.turn()


def large_output_waits(stage: Stage, fault: Fault) -> None:
    channel, _ = stage.connected(send=[None], sendmsg=[fault])
    channel._ac_may_send_directly = lambda: True  # A stand-in for a socket is spared that otherwise.
    channel.push(LARGE)
    channel.producer_fifo.append(LARGE)
    stage.turn()


# -- accept ------------------------------------------------------------------------------------------------


def a_connection_waits(stage: Stage, fault: Fault) -> None:
    stage.listening(accept=[fault])
    stage.turn()


# -- connect, and what it is told by -----------------------------------------------------------------------


def connecting_begins(stage: Stage, fault: Fault) -> None:
    if errno.errorcode[fault().errno or 0] in BEING_MADE | MADE:
        stage.pair(connect_ex=[fault], getsockopt=[0])
    else:
        stage.put_under(socket.socket(), connect_ex=[fault])
    stage.opened().connect(("192.0.2.1", 1))
    stage.turn()


def connecting_ends(stage: Stage, fault: Fault) -> None:
    stage.connecting(getsockopt=[fault().errno])
    stage.turn()


def the_outcome_is_asked(stage: Stage, fault: Fault) -> None:
    stage.connecting(getsockopt=[fault])
    stage.turn()


def urgent_data_arrives(stage: Stage, fault: Fault) -> None:
    far = stage.tcp_pair(getsockopt=[fault])
    stage.channel(stage.sock)
    far.send(b"!", socket.MSG_OOB)
    stage.turn()


# -- what is asked of a socket once ------------------------------------------------------------------------


def a_channel_is_made(stage: Stage, fault: Fault) -> None:
    stage.connected(getpeername=[fault])
    stage.turn()


def no_delay_is_set(stage: Stage, fault: Fault) -> None:
    stage.connected(setsockopt=[fault])
    stage.turn()


def reuse_is_set(stage: Stage, fault: Fault) -> None:
    channel, _ = stage.listening()
    stage.sock.script(setsockopt=[fault])
    channel.set_reuse_addr()


def a_handler_shuts_down(stage: Stage, fault: Fault) -> None:
    channel, far = stage.connected(shutdown=[fault])
    channel.on_input = _shut_down
    far.send(b"input\n")
    stage.turn()


# -- close -------------------------------------------------------------------------------------------------


def the_peer_ends_it(stage: Stage, fault: Fault) -> None:
    stage.connected(recv=[b""], close=[fault])[1].close()
    stage.turn()


def the_program_closes(stage: Stage, fault: Fault) -> None:
    stage.connected(close=[fault])[0].close()


def the_program_closes_a_listener(stage: Stage, fault: Fault) -> None:
    stage.listening(close=[fault])[0].close()


def the_program_closes_what_connects(stage: Stage, fault: Fault) -> None:
    stage.connecting(close=[fault])[0].close()


#: The descriptor is closed, whatever close(2) says, and these say nothing of what was written.
_SWALLOWED: Final = names("EBADF ECONNRESET EINTR ENOTCONN")
_CLOSING: Final = (Rule(_SWALLOWED, (), CLOSED), Rule(None, (), RAISES_CLOSED))

SCENES: Final[tuple[Scene, ...]] = (
    Scene("recv", "input arrives", ALL, input_arrives, during("handle_read")),
    Scene(
        "recv",
        "input arrives together with the news that the connection is made",
        ALL,
        input_arrives_with_the_connection,
        during("handle_connect", "handle_read"),
        unheard=names("handle_write"),
    ),
    Scene(
        "send",
        "output waits",
        (WRITING, "dispatcher_with_send", *CHATS),
        output_waits,
        during("handle_write"),
    ),
    Scene(
        "send",
        "output waits for the connection to be made",
        CHATS,
        output_waits_for_the_connection,
        during("handle_connect", "handle_write"),
    ),
    Scene("send", "`push()`, outside of any handler", CHATS, pushed_from_outside, during()),
    Scene("send", "`push()` in the handler of a message", CHATS, pushed_as_an_answer, during("handle_read")),
    Scene(
        "send",
        "`send()`, outside of any handler",
        ("dispatcher", "dispatcher_with_send"),
        sent_from_outside,
        (Rule(NOT_NOW, (), STAYS), Rule(LOST, ("handle_close",), CLOSED), Rule(None, (), RAISES)),
    ),
    Scene("sendmsg", "large output waits", CHATS, large_output_waits, during("handle_write")),
    Scene(
        "accept",
        "a connection waits",
        ("dispatcher",),
        a_connection_waits,
        (
            Rule(TRY_AGAIN, ("handle_accept",), STAYS),
            Rule(EXHAUSTED, ("handle_accept",), RESTS),
            *raised_in("handle_accept"),
        ),
    ),
    Scene(
        "connect",
        "`connect()` is called, and a turn of the loop follows",
        ALL,
        connecting_begins,
        (
            Rule(BEING_MADE | MADE, ("handle_connect",), STAYS),
            Rule(None, (), LEFT),
        ),
        unheard=names("handle_write"),
    ),
    Scene(
        "connect",
        "an attempt ends: what SO_ERROR says",
        ALL,
        connecting_ends,
        raised_in(),
        left_out=BEING_MADE | MADE,
    ),
    Scene(
        "getsockopt",
        "an attempt to connect ends: SO_ERROR is asked for",
        ALL,
        the_outcome_is_asked,
        raised_in(),
    ),
    Scene(
        "getsockopt",
        "urgent data arrives: SO_ERROR is asked for",
        ("dispatcher with handle_expt",),
        urgent_data_arrives,
        raised_in(),
        not_on=names("kqueue"),
    ),
    Scene(
        "getpeername",
        "a channel is made of a socket that was not accepted by one",
        ALL,
        a_channel_is_made,
        (Rule(names("ENOTCONN EINVAL"), (), STAYS), Rule(None, (), REFUSED)),
        unheard=names("handle_write"),
    ),
    Scene("setsockopt", "TCP_NODELAY is set", CHATS, no_delay_is_set, (Rule(None, (), STAYS),)),
    Scene("setsockopt", "`set_reuse_addr()`", ALL, reuse_is_set, (Rule(None, (), STAYS),)),
    Scene(
        "shutdown",
        "a handler calls `self.socket.shutdown()`",
        ALL,
        a_handler_shuts_down,
        raised_in("handle_read"),
    ),
    Scene(
        "close",
        "the peer ends the connection",
        ALL,
        the_peer_ends_it,
        (
            Rule(_SWALLOWED, ("handle_read", "handle_close"), CLOSED),
            Rule(None, ("handle_read", "handle_close", "handle_error"), CLOSED),
        ),
    ),
    Scene("close", "`close()`, outside of any handler", ALL, the_program_closes, _CLOSING),
    Scene("close", "`close()` of a listener", ("dispatcher",), the_program_closes_a_listener, _CLOSING),
    Scene("close", "`close()` of a channel that connects", ALL, the_program_closes_what_connects, _CLOSING),
)
