"""Memory that a connection holds which says nothing: accepted, served once, after a large body."""

from typing import Any

import pytest

import loop_support
from antiphon import MessageChannel, pollers
from antiphon.asynchat import async_chat
from chat_support import ScriptedSocket
from counts.counters import memory_kept
from counts.dialogues import LARGE, LINE, Download, Echo, Listener, Upload, crowd, said
from loop_support import Wires, silent_map, spin

wires = loop_support.wires

#: Few enough for the limit on open descriptors that is usual, 1024, with both ends in this process.
CONNECTIONS = 300
CROWD = 2000


class Plain(async_chat):
    """Nothing of its own."""

    def collect_incoming_data(self, data: bytes) -> None:
        """Forget it."""

    def found_terminator(self) -> None:
        """Say nothing."""


class PlainListener(Listener):
    makes = Plain


def test_an_accepted_connection_holds_900_bytes_at_most_with_its_socket(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    """About 680 on 3.11 to 3.15, 250 of them for the socket and its address.

    There is no queue until something is pushed, and no buffer until something is left over.
    """
    monkeypatch.delenv(pollers.ENVIRONMENT_VARIABLE, raising=False)  # The system's best one.
    channels = wires.map()
    listener = wires.listener(PlainListener, channels)
    before = [wires.client(listener.socket.getsockname()) for _ in range(50)]
    spin(channels, turns=20)
    kept = 0
    for _ in range(CONNECTIONS // 50):  # No more may wait than the listener was made for.
        clients = [wires.client(listener.socket.getsockname()) for _ in range(50)]
        kept += memory_kept(lambda: spin(channels, turns=20))
        before += clients
    assert len(listener.accepted) == len(before)
    assert kept / CONNECTIONS <= 900


def test_a_channel_and_its_places_in_the_map_and_the_poller_take_480_bytes_at_most(wires: Wires) -> None:
    """About 410 on 3.11 to 3.15."""
    channels, _, _ = silent_map(wires)
    socks = [ScriptedSocket() for _ in range(CROWD)]

    def joined() -> None:
        for sock in socks:
            Plain(sock, channels)
        spin(channels)

    assert memory_kept(joined) / CROWD <= 480
    assert len(channels) == CROWD


@pytest.mark.parametrize(("kind", "count"), [(async_chat, 22), (MessageChannel, 24)])
def test_a_program_s_own_attributes_have_room_in_the_object(kind: type[Any], count: int) -> None:
    """CPython keeps 29 there; with more, each object has a dictionary of a kilobyte and a half."""
    channel = kind(ScriptedSocket(), {})
    channel.push(b"x")
    assert len(vars(channel)) == count


def test_a_channel_that_has_answered_keeps_an_empty_queue_and_no_more(wires: Wires) -> None:
    """About 860 bytes on 3.11 to 3.15: CPython's deque has room for 64 items from the start."""
    channels, poller, _, chats = crowd(wires, 500)

    def answered() -> None:
        for chat in chats:
            said([chat], poller)
            spin(channels)
            forget_the_dialogue(chat.socket)
        poller.waits.clear()

    assert memory_kept(answered) / len(chats) <= 960
    assert memory_kept(answered) / len(chats) <= 32, "the second answer needs nothing more"


def forget_the_dialogue(sock: ScriptedSocket) -> None:
    """Drop what the socket has noted, which is the test's own."""
    for notes in sock.sizes, sock.offered, sock.sent:
        notes.clear()


def test_a_channel_keeps_nothing_of_a_body_that_it_received_or_sent() -> None:
    for made, request in (Upload, b"%d\r\n" % LARGE), (Download, b"65536\r\n"):
        channel = made(ScriptedSocket(), {})
        assert memory_kept(lambda: hold(channel, request)) < LARGE // 8  # noqa: B023 (called at once)


def hold(channel: Echo, request: bytes) -> None:
    """A dialogue with a large body, one way or the other."""
    sock: Any = channel.socket
    sock.script.append(request)
    if isinstance(channel, Upload):
        sock.script += [bytes(32_768)] * (LARGE // 32_768)
    while sock.script or channel.writable():
        channel.handle_read_event()
        channel.handle_write_event()
    assert sum(map(len, sock.sent)) >= (LARGE if isinstance(channel, Download) else len(LINE))
    forget_the_dialogue(sock)
