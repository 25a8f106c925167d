import doctest
import errno
import socket
import threading
from typing import Any

import pytest

from antiphon import MessageChannel, asyncore
from antiphon.testing import FakeNetwork, ScriptedSocket, error, network


class Answering(MessageChannel):
    """Answers each line in capitals."""

    def message_received(self, message: bytes) -> None:
        self.push(message.upper() + b"\r\n")
        if message == b"quit":
            self.close_when_done()


class Server(asyncore.dispatcher):
    def __init__(self) -> None:
        super().__init__()
        self.create_socket()
        self.set_reuse_addr()
        self.bind(("", 80))
        self.listen(5)

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        Answering(sock)


class Client(Answering):
    def __init__(self) -> None:
        super().__init__()
        self.create_socket()
        self.connect(("192.0.2.7", 25))

    def handle_connect(self) -> None:
        self.push(b"HELO\r\n")


def test_the_example_of_the_module_is_true() -> None:
    results = doctest.testmod(network)
    assert results.attempted == 2
    assert results.failed == 0


@pytest.mark.parametrize("use_poll", [False, True])
def test_a_channel_is_driven_through_all_of_its_script(use_poll: bool) -> None:
    with FakeNetwork(use_poll=use_poll) as network:
        channel = network.channel(Answering, b"he", None, b"llo\r\nyou\r\nqu", b"it\r\n", send=[1, None, 2])
        network.run()
        assert channel.socket.sent == b"HELLO\r\nYOU\r\nQUIT\r\n"
        assert channel.socket.closed
        assert network.map == {}


def test_a_server_and_its_connections_need_no_socket_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "__init__", lambda *_: pytest.fail("a real socket was made"))
    with FakeNetwork() as network:
        peers = [ScriptedSocket(b"one\r\nquit\r\n"), ScriptedSocket(b"two\r\n", b"")]
        network.prepare(ScriptedSocket(accept=[*peers, None]))
        server = Server()
        network.run()
        assert [peer.sent for peer in peers] == [b"ONE\r\nQUIT\r\n", b"TWO\r\n"]
        assert [peer.closed for peer in peers] == [True, True]
        assert network.sockets == [server.socket]
        assert list(network.map.values()) == [server]


def test_a_connection_is_made_in_the_first_turn() -> None:
    with FakeNetwork() as network:
        client = Client()
        assert not client.connected
        network.run()
        assert client.connected
        assert network.sockets[0].sent == b"HELO\r\n"


def test_a_connection_is_refused_if_the_script_says_so() -> None:
    with FakeNetwork() as network:
        network.prepare(ScriptedSocket(getsockopt=[errno.ECONNREFUSED]))
        client = Client()
        network.run()
        assert client.closing
        assert network.sockets[0].sent == b""


def test_the_rest_of_the_socket_module_stays_what_it_is() -> None:
    with FakeNetwork():
        assert vars(asyncore)["socket"].AF_INET is socket.AF_INET


def test_everything_is_as_before_when_it_is_left() -> None:
    before = asyncore.socket_map, vars(asyncore)["socket"]
    network = FakeNetwork()
    with network:
        channel = Client()
        assert asyncore.socket_map is network.map
    assert (asyncore.socket_map, vars(asyncore)["socket"]) == before
    assert channel.closing
    with pytest.raises(ValueError, match="closed"):
        network.poller.wait(0)


# -- time --------------------------------------------------------------------------------------------------


def test_time_passes_as_far_as_it_is_told_to() -> None:
    said: list[float] = []
    with FakeNetwork() as network:
        channel = network.channel(Answering)
        channel.call_every(10, lambda: said.append(network.clock()))
        network.run()
        assert (said, network.clock()) == ([], 0)
        network.run(35)
        assert (said, network.clock()) == ([10, 20, 30], 35)


def test_what_a_timer_begins_is_finished_also_if_the_time_is_over() -> None:
    with FakeNetwork() as network:
        channel = network.channel(Answering)
        channel.call_later(10, lambda: channel.socket.script(b"late\r\n"))
        channel.call_later(10, lambda: channel.call_soon_threadsafe(channel.push, b"soon"))
        network.run(10)
        assert channel.socket.sent == b"soonLATE\r\n"


def test_time_passes_without_channels_too() -> None:
    with FakeNetwork() as network:
        network.run(5)
        called: list[float] = []
        network.loop.call_later(1, lambda: called.append(network.clock()))
        network.run(5)
        assert (called, network.clock()) == ([6], 10)


def test_another_thread_may_ask_for_a_call() -> None:
    with FakeNetwork() as network:
        channel = network.channel(Answering)
        thread = threading.Thread(target=channel.push, args=(b"from elsewhere",))
        thread.start()
        thread.join()
        network.loop.call_soon_threadsafe(channel.close)
        network.run()
        assert channel.socket.sent == b"from elsewhere"
        assert channel.closing


def test_one_turn_can_be_looked_at() -> None:
    with FakeNetwork() as network:
        channel = network.channel(Answering, b"one\r\n", b"two\r\n")
        network.turn()
        assert channel.socket.sent == b"ONE\r\n"
        network.turn(30)
        network.turn(30)
        assert channel.socket.sent == b"ONE\r\nTWO\r\n"
        assert network.clock() == 30
        assert network.poller.waits == [0, 30, 30]


def test_the_program_s_own_loop_goes_round_on_it() -> None:
    with FakeNetwork() as network:
        channel = network.channel(Answering, b"quit\r\n")
        asyncore.loop(timeout=30)
        assert channel.socket.sent == b"QUIT\r\n"
        assert network.clock() == 0


# -- what is wrong with a program --------------------------------------------------------------------------


class Restless(Answering):
    def writable(self) -> bool:
        return True


class Deaf(asyncore.dispatcher):
    """Never reads what it is told of."""

    def handle_read(self) -> None:
        pass


@pytest.mark.parametrize(("made", "what"), [(Restless, "writing"), (Deaf, "reading")])
def test_a_busy_loop_is_an_error_that_names_the_channel(made: Any, what: str) -> None:
    with FakeNetwork() as network:
        network.channel(made, b"unread")
        expected = (
            rf"^a busy loop: <.*\.{made.__name__} connected 192\.0\.2\.1:50000 at .*> is ready for {what}$"
        )
        with pytest.raises(AssertionError, match=expected):
            network.run()


def test_timers_without_end_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_TURNS", 50)
    with FakeNetwork() as fake:

        def again() -> None:
            fake.loop.call_later(0, again)

        again()
        with pytest.raises(AssertionError, match=r"after 50 turns .* timers or calls without end"):
            fake.run()


def test_an_exception_that_leaves_the_loop_leaves_the_run() -> None:
    class Leaving(Answering):
        def message_received(self, message: bytes) -> None:
            raise asyncore.ExitNow(message)

    with FakeNetwork() as network:
        network.channel(Leaving, b"bye\r\n")
        with pytest.raises(asyncore.ExitNow):
            network.run()


def test_what_is_no_channel_of_ours_is_driven_too() -> None:
    class Foreign:
        def __init__(self, sock: ScriptedSocket) -> None:
            self.socket = sock
            self.read: list[bytes] = []

        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

        def handle_read_event(self) -> None:
            self.read.append(self.socket.recv(10))

        def handle_error(self) -> None:
            raise AssertionError

        def close(self) -> None:
            self.socket.close()

    with FakeNetwork() as network:
        foreign = network.channel(Foreign, b"a", b"b")
        network.map[foreign.socket.fileno()] = foreign
        network.run()
        assert foreign.read == [b"a", b"b"]


def test_an_error_of_the_network_reaches_the_channel() -> None:
    with FakeNetwork() as network:
        channel = network.channel(Answering, b"one\r\n", error(errno.ECONNRESET))
        network.run()
        assert channel.closing
        assert network.map == {}
