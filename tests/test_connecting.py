"""Connecting to names: which addresses are tried when, and what the channel hears of it."""

import errno
import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import loop_support
from antiphon import asyncore, connecting
from antiphon.asyncore import ExitNow
from antiphon.errors import ConnectFailed
from antiphon.pollers.base import HANGUP
from antiphon.testing import FakeNetwork, ScriptedSocket, error
from loop_support import Wires, spin

wires = loop_support.wires
each_engine = loop_support.each_engine
use_poll = loop_support.use_poll

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
FIRST, SECOND, THIRD = ("192.0.2.1", 80), ("192.0.2.2", 80), ("2001:db8::1", 80, 0, 0)
ALL = [(V4, FIRST), (V4, SECOND), (V6, THIRD)]


class Client(asyncore.dispatcher):
    """Notes what becomes of its connection."""

    def __init__(self, map: Any = None) -> None:
        self.events: list[Any] = []
        super().__init__(None, map)

    def handle_connect(self) -> None:
        self.events.append(("connect", self.addr))

    def handle_connect_failed(self, error: OSError) -> None:
        self.events.append(error)

    def handle_close(self) -> None:
        self.events.append("close")
        self.close()

    def handle_read(self) -> None:
        self.events.append(self.recv(100))


class Silent(ScriptedSocket):
    """Nobody answers, before it is told to."""

    answers = False

    @property
    def ready(self) -> int:
        return super().ready if self.answers else 0


class Names:
    """Stands for the name servers."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answer: list[Any] | OSError | None = list(ALL)

    def __call__(self, *asked: Any) -> None:
        *question, found = asked
        self.asked.append(tuple(question))
        self.found = found
        if self.answer is not None:
            found(self.answer)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(connecting, "resolve", names)
    return names


@pytest.fixture
def network() -> Iterator[FakeNetwork]:
    with FakeNetwork() as network:
        yield network


def tried(network: FakeNetwork) -> list[Any]:
    """The addresses that were tried, by each socket."""
    return [address for sock in network.sockets for (address,) in sock.called("connect_ex")]


def test_the_first_address_that_answers_is_used(network: FakeNetwork, names: Names) -> None:
    client = Client()
    client.connect(("example.org", 80))
    assert (client.connecting, client.events) == (True, [])
    network.run()
    assert names.asked == [("example.org", 80, socket.AF_UNSPEC, socket.SOCK_STREAM)]
    assert client.events == [("connect", FIRST)]
    assert (client.connected, client.connecting) == (True, False)
    assert list(network.map.values()) == [client]
    assert not network.loop.busy


def test_the_next_is_tried_after_a_quarter_of_a_second_in_the_other_family(
    network: FakeNetwork, names: Names
) -> None:
    silent = [Silent() for _ in ALL]
    network.prepare(*silent)
    client = Client()
    client.connect(("example.org", 80))
    network.run(0.2)
    assert tried(network) == [FIRST]
    network.run(0.1)
    assert tried(network) == [FIRST, THIRD]
    network.run(0.3)
    assert tried(network) == [FIRST, THIRD, SECOND]
    silent[1].answers = True
    network.run()
    assert client.events == [("connect", THIRD)]
    assert client.socket is silent[1]
    assert [sock.closed for sock in silent] == [True, False, True]
    assert not network.loop.busy


def test_trouble_that_is_told_as_the_end_tells_of_the_attempt_too(network: FakeNetwork, names: Names) -> None:
    silent = [Silent(getsockopt=[errno.ECONNREFUSED]), *(Silent() for _ in ALL)]
    network.prepare(*silent)
    client = Client()
    client.connect(("example.org", 80))
    network.run(0.01)
    attempt = network.map[silent[0].fileno()]
    asyncore.readwrite(attempt, HANGUP)
    assert silent[0].closed
    network.run(0.01)
    assert tried(network) == [FIRST, THIRD]
    client.close()


def test_the_next_is_tried_at_once_after_a_failure(network: FakeNetwork, names: Names) -> None:
    network.prepare(
        ScriptedSocket(getsockopt=[errno.ECONNREFUSED]), ScriptedSocket(connect_ex=[errno.ENETUNREACH])
    )
    client = Client()
    client.connect(("example.org", 80))
    network.run(0.01)
    assert client.events == [("connect", SECOND)]
    assert tried(network) == [FIRST, THIRD, SECOND]


def test_a_failure_leaves_those_under_way_their_time(network: FakeNetwork, names: Names) -> None:
    names.answer = ALL[:2]
    first, second = Silent(getsockopt=[errno.ECONNREFUSED]), Silent()
    network.prepare(first, second)
    client = Client()
    client.connect(("example.org", 80))
    network.run(1)
    first.answers = True
    network.run()
    assert client.events == []
    second.answers = True
    network.run()
    assert client.events == [("connect", SECOND)]


def test_failures_at_once_leave_those_under_way_their_time(network: FakeNetwork, names: Names) -> None:
    silent = Silent()
    network.prepare(silent, *[ScriptedSocket(connect_ex=[errno.ENETUNREACH]) for _ in range(2)])
    client = Client()
    client.connect(("example.org", 80))
    network.run(1)
    assert (len(tried(network)), client.events) == (3, [])
    silent.answers = True
    network.run()
    assert client.events == [("connect", FIRST)]


def test_a_connection_that_is_there_at_once_is_used_at_once(network: FakeNetwork, names: Names) -> None:
    network.prepare(ScriptedSocket(connect_ex=[0]))
    client = Client()
    client.connect(("example.org", 80))
    network.run()
    assert client.events == [("connect", FIRST)]
    assert len(network.sockets) == 1


def test_when_all_have_failed_the_error_of_each_is_told_and_the_channel_closed(
    network: FakeNetwork, names: Names
) -> None:
    network.prepare(
        ScriptedSocket(getsockopt=[errno.ECONNREFUSED]),
        ScriptedSocket(connect_ex=[errno.ENETUNREACH]),
        ScriptedSocket(getsockopt=[errno.EHOSTUNREACH]),
    )
    client = Client()
    client.connect(("example.org", 80))
    network.run()
    [failure] = client.events
    assert isinstance(failure, ConnectFailed)
    assert failure.address == ("example.org", 80)
    assert [(address, error.errno) for address, error in failure.errors] == [
        (FIRST, errno.ECONNREFUSED),
        (THIRD, errno.ENETUNREACH),
        (SECOND, errno.EHOSTUNREACH),
    ]
    assert failure.errno == errno.EHOSTUNREACH
    assert str(failure).startswith(
        "cannot connect to example.org port 80: 192.0.2.1 port 80: Connection refused; 2001:db8::1 port 80: "
    )
    assert client.closing
    assert not network.map
    assert not network.loop.busy


def test_by_default_a_failure_ends_as_it_used_to(
    network: FakeNetwork, names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    class Default(Client):
        handle_connect_failed = asyncore.dispatcher.handle_connect_failed

    names.answer = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    client = Default()
    client.connect(("no.such.invalid", 80))
    with caplog.at_level("INFO", "antiphon"):
        network.run()
    assert client.events == ["close"]
    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("INFO", None)
    assert "cannot connect to no.such.invalid port 80: no.such.invalid port 80: Name or" in record.message


def test_a_name_that_is_not_found_in_a_minute_is_a_failure(network: FakeNetwork, names: Names) -> None:
    names.answer = None
    client = Client()
    client.connect(("slow.example", 80))
    network.run(59)
    assert client.events == []
    network.run(2)
    [failure] = client.events
    assert failure.errno == errno.ETIMEDOUT
    names.found(ALL)
    network.run()
    assert (len(client.events), tried(network)) == (1, [])


def test_the_loop_goes_on_while_the_name_is_looked_up(network: FakeNetwork, names: Names) -> None:
    names.answer = None
    Client().connect(("slow.example", 80))
    network.run(1)
    assert network.loop.busy


def test_closing_gives_all_attempts_up(network: FakeNetwork, names: Names) -> None:
    silent = [Silent() for _ in ALL]
    network.prepare(*silent)
    client = Client()
    client.connect(("example.org", 80))
    network.run(1)
    client.close()
    assert [sock.closed for sock in silent] == [True] * 3
    network.run(100)
    assert client.events == []
    assert not network.map
    assert not network.loop.busy


def test_closing_all_that_is_in_the_map_closes_the_channel(network: FakeNetwork, names: Names) -> None:
    network.prepare(Silent())
    client = Client()
    client.connect(("example.org", 80))
    network.run()
    asyncore.close_all(network.map)
    assert client.closing


def test_an_answer_after_closing_is_ignored(network: FakeNetwork, names: Names) -> None:
    names.answer = None
    client = Client()
    client.connect(("example.org", 80))
    client.close()
    names.found(ALL)
    network.run(1)
    assert (tried(network), client.events) == ([], [])


def test_a_socket_of_the_channel_s_own_decides_the_family_and_is_tried_first(
    network: FakeNetwork, names: Names
) -> None:
    names.answer = ALL[:2]
    own, other = Silent(), Silent()
    network.prepare(own, other)
    client = Client()
    client.create_socket()
    client.connect(("example.org", 80))
    network.run(1)
    assert names.asked == [("example.org", 80, socket.AF_INET, socket.SOCK_STREAM)]
    assert [sock.called("connect_ex") for sock in (own, other)] == [[(FIRST,)], [(SECOND,)]]
    other.answers = True
    network.run()
    assert client.socket is other
    assert own.closed
    assert list(network.map.values()) == [client]


def test_a_socket_of_the_channel_s_own_that_succeeds_stays_its_socket(
    network: FakeNetwork, names: Names
) -> None:
    client = Client()
    client.create_socket()
    own = client.socket
    client.connect(("example.org", 80))
    network.run()
    assert client.events == [("connect", FIRST)]
    assert client.socket is own
    assert not own.closed


def test_a_local_address_is_bound_for_each_attempt(network: FakeNetwork, names: Names) -> None:
    network.prepare(ScriptedSocket(bind=[error(errno.EADDRINUSE)]))
    client = Client()
    client.connect(("example.org", 80), local_address=("192.0.2.9", 0))
    network.run()
    assert names.asked == [("example.org", 80, socket.AF_INET, socket.SOCK_STREAM)]
    assert [sock.called("bind") for sock in network.sockets] == [[(("192.0.2.9", 0),)]] * 2
    assert network.sockets[0].closed
    assert client.events == [("connect", THIRD)]


def test_a_numeric_address_is_connected_to_at_once(network: FakeNetwork, names: Names) -> None:
    client = Client()
    client.connect(("192.0.2.7", 80), local_address=("192.0.2.9", 0))
    assert names.asked == []
    assert client.socket.called("connect_ex") == [(("192.0.2.7", 80),)]
    assert client.socket.called("bind") == [(("192.0.2.9", 0),)]


def test_a_failed_numeric_attempt_is_told_in_the_same_way(network: FakeNetwork) -> None:
    network.prepare(ScriptedSocket(getsockopt=[errno.ECONNREFUSED]))
    client = Client()
    client.connect(("192.0.2.7", 80))
    network.run()
    [failure] = client.events
    assert failure.errno == errno.ECONNREFUSED
    assert client.closing


def test_a_handler_of_the_failure_may_try_again(network: FakeNetwork) -> None:
    class Stubborn(Client):
        def handle_connect_failed(self, error: OSError) -> None:
            super().handle_connect_failed(error)
            self.socket.close()
            self.create_socket()
            self.connect(("192.0.2.8", 80))

    network.prepare(ScriptedSocket(getsockopt=[errno.ECONNREFUSED]))
    client = Stubborn()
    client.connect(("192.0.2.7", 80))
    network.run()
    assert [type(event) for event in client.events] == [ConnectionRefusedError, tuple]
    assert client.connected


def test_with_the_switch_the_name_is_the_system_s_to_find(network: FakeNetwork, names: Names) -> None:
    client = Client()
    client.resolves_names = False
    client.create_socket()
    client.connect(("example.org", 80))
    assert client.socket.called("connect_ex") == [(("example.org", 80),)]
    assert names.asked == []


# -- another attempt -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_socket", [False, True])
@pytest.mark.parametrize("another", [("192.0.2.8", 80), ("backup.example", 80)])
def test_a_handler_of_a_name_s_failure_may_try_another(
    network: FakeNetwork, names: Names, another: Any, has_socket: bool
) -> None:
    class Stubborn(Client):
        def handle_connect_failed(self, error: OSError) -> None:
            super().handle_connect_failed(error)
            names.answer = list(ALL)
            if has_socket:
                self.create_socket()
            self.connect(another)

    names.answer = OSError(errno.EIO, "broken")
    client = Stubborn()
    client.connect(("example.org", 80))
    network.run()
    assert [type(event) for event in client.events] == [ConnectFailed, tuple]
    assert client.connected
    client.close()
    assert not network.map
    assert not network.loop.busy


@pytest.mark.parametrize("has_socket", [False, True])
@pytest.mark.parametrize("another", [("192.0.2.8", 80), ("second.example", 80)])
def test_only_the_last_of_two_attempts_is_gone_on_with(
    network: FakeNetwork, names: Names, another: Any, has_socket: bool
) -> None:
    names.answer = None
    client = Client()
    if has_socket:
        client.create_socket()
    client.connect(("example.org", 80))
    first = names.found
    names.answer = [(V4, SECOND)]
    client.connect(another)
    first(list(ALL))
    network.run()
    assert client.events == [("connect", another if another[0][0] == "1" else SECOND)]
    assert list(network.map.values()) == [client]
    assert not network.loop.busy


def test_an_attempt_on_the_channel_s_own_socket_is_given_up_for_another(
    network: FakeNetwork, names: Names
) -> None:
    own = Silent()
    network.prepare(own)
    client = Client()
    client.create_socket()
    client.connect(("example.org", 80))
    network.run(0.1)
    client.connect(("192.0.2.8", 80))
    network.run()
    assert own.closed
    assert client.events == [("connect", ("192.0.2.8", 80))]
    assert list(network.map.values()) == [client]


def test_a_socket_that_is_set_meanwhile_is_the_one(network: FakeNetwork, names: Names) -> None:
    names.answer = None
    client = Client()
    client.connect(("example.org", 80))
    client.create_socket()
    own = client.socket
    client.connect(("192.0.2.8", 80))
    names.found(list(ALL))
    network.run()
    assert client.socket is own
    assert not own.closed
    assert client.events == [("connect", ("192.0.2.8", 80))]


@pytest.mark.parametrize("port", [65_536, -1])
def test_a_port_that_there_is_not_is_refused_for_a_name_as_for_a_number(
    network: FakeNetwork, names: Names, port: int
) -> None:
    client = Client()
    with pytest.raises(OverflowError, match=f"wanted a port of 0 to 65535, found {port}"):
        client.connect(("example.org", port))
    assert names.asked == []
    assert client.events == []


@pytest.mark.parametrize("tls", [None, True])
def test_of_an_attempt_that_fails_at_once_nothing_is_left_in_the_map(network: FakeNetwork, tls: Any) -> None:
    network.prepare(ScriptedSocket(connect_ex=[errno.ECONNREFUSED]), ScriptedSocket())
    client = Client()
    with pytest.raises(ConnectionRefusedError):
        client.connect(("192.0.2.7", 80), tls=tls)
    assert network.sockets[0].closed
    assert not network.map
    network.run()
    assert client.events == []
    client.connect(("192.0.2.7", 80))
    network.run()
    assert client.events == [("connect", ("192.0.2.7", 80))]


def test_a_socket_that_is_connected_stays_so(network: FakeNetwork, names: Names) -> None:
    network.prepare(ScriptedSocket(connect_ex=[errno.EISCONN]))
    client = Client()
    client.create_socket()
    own = client.socket
    client.connect(("example.org", 80))
    network.run()
    assert client.socket is own
    assert not own.closed
    assert client.connected


@pytest.mark.parametrize("raised", [ArithmeticError, ExitNow])
def test_what_a_handler_raises_goes_where_it_always_goes(
    network: FakeNetwork, names: Names, raised: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Client):
        def handle_connect(self) -> None:
            raise raised

        def handle_connect_failed(self, error: OSError) -> None:
            raise raised

    for answer in ALL, OSError(errno.EIO, "broken"):
        names.answer = answer
        client = Failing()
        client.connect(("example.org", 80))
        if raised is ExitNow:
            with pytest.raises(ExitNow):
                network.run()
        else:
            network.run()
            assert client.events == ["close"]


def test_a_plain_map_learns_of_attempts_too(
    names: Names, wires: Wires, each_engine: str, use_poll: bool
) -> None:
    channels: dict[int, Any] = {}
    refusing = socket.socket()
    refusing.bind(("127.0.0.1", 0))
    with closing(refusing), socket.create_server(("127.0.0.1", 0)) as server:
        names.answer = [(V4, sock.getsockname()) for sock in (refusing, server)]
        client = wires.keep(Client(channels))
        client.connect(("example.org", 80))
        _until(lambda: client.events, channels, use_poll)
        assert client.events == [("connect", server.getsockname())]
        assert list(channels.values()) == [client]


def _until(condition: Callable[[], Any], channels: Any, use_poll: bool) -> None:
    for _ in range(100):
        if condition():
            return
        asyncore.loop(0.1, use_poll, channels, 1)


def test_localhost_is_found_and_connected_to(wires: Wires) -> None:
    channels = wires.map()
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = wires.keep(Client(channels))
        client.connect(("localhost", server.getsockname()[1]))
        _until(lambda: client.connected, channels, False)
        assert client.events == [("connect", server.getsockname())]


def test_a_datagram_socket_of_the_channel_s_own_leads_to_datagrams(names: Names, wires: Wires) -> None:
    names.answer = [(V4, ("255.255.255.255", 9)), (V4, ("127.0.0.1", 9))]  # EACCES without SO_BROADCAST.
    client = wires.keep(Client(wires.map()))
    client.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(("example.org", 9))
    _until(lambda: client.connected, client._map, False)
    assert names.asked == [("example.org", 9, socket.AF_INET, socket.SOCK_DGRAM)]
    assert client.socket.type == socket.SOCK_DGRAM
    assert client.addr == ("127.0.0.1", 9)


def local_addresses() -> list[str]:
    """IPv6 addresses of this machine, link-local ones with their scope; Linux tells."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return []
    entries = [line.split() for line in lines]
    found = [(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line[0])), line[5]) for line in entries]
    return [f"{address}%{name}" if address.startswith("fe80:") else address for address, name in found]


@pytest.mark.parametrize("address", local_addresses() or ["none"])
def test_an_ipv6_address_is_connected_to_with_its_scope(wires: Wires, address: str) -> None:
    if address == "none":
        pytest.skip("there is no IPv6")
    channels = wires.map()
    with socket.create_server(("::", 0), family=socket.AF_INET6) as server:
        client = wires.keep(Client(channels))
        client.connect((address, server.getsockname()[1]))
        _until(lambda: client.connected, channels, False)
        assert client.connected


UNIX: int = getattr(socket, "AF_UNIX", 0)


@pytest.mark.skipif(not UNIX, reason="about Unix sockets")
@pytest.mark.parametrize("abstract", [False, True])
def test_a_unix_socket_is_connected_to_without_making_one_first(
    wires: Wires, tmp_path: Any, abstract: bool
) -> None:
    channels = wires.map()
    address = f"\0{tmp_path}" if abstract else str(tmp_path / "socket")
    with socket.socket(UNIX) as server:
        try:
            server.bind(address)
        except OSError:
            pytest.skip("there are no abstract names")
        server.listen()
        client = wires.keep(Client(channels))
        client.connect(address)
        spin(channels)
        assert client.connected


def test_nothing_is_left_of_a_search_without_the_cyclic_collector(network: FakeNetwork, names: Names) -> None:
    client = Client()
    client.connect(("example.org", 80))
    network.run()
    client.close()
    gc.collect()
    before = len(gc.get_objects())
    del client
    assert len(gc.get_objects()) <= before


# -- connect_timeout -----------------------------------------------------------------------------------------


class Impatient(Client):
    """Gives up after five seconds."""

    connect_timeout = 5
    stays = False

    def handle_timeout(self, which: str) -> None:
        self.events.append((which, self._ac_schedule(int).now()))
        if not self.stays:
            super().handle_timeout(which)


@pytest.mark.parametrize("has_socket", [False, True])
@pytest.mark.parametrize("is_found", [False, True])
def test_a_name_that_leads_nowhere_ends_once_when_the_time_is_over(
    network: FakeNetwork, names: Names, has_socket: bool, is_found: bool
) -> None:
    names.answer = list(ALL) if is_found else None
    network.prepare(*[Silent() for _ in ALL])
    client = Impatient()
    if has_socket:
        client.create_socket()
    client.connect(("example.org", 80))
    network.run(4.9)
    assert client.events == []
    network.run(20)
    assert client.events == [("connect", 5.0), "close"]
    assert all(sock.closed for sock in network.sockets)
    assert not network.map
    assert not network.loop.busy


@pytest.mark.parametrize("has_socket", [False, True])
@pytest.mark.parametrize("is_found", [False, True])
@pytest.mark.parametrize(("seconds", "over"), [(3, 3.0), (1, 2.0), (20, 20.0), (None, None)])
def test_another_time_holds_at_once_while_a_name_is_tried(
    network: FakeNetwork, names: Names, has_socket: bool, is_found: bool, seconds: Any, over: Any
) -> None:
    names.answer = list(ALL) if is_found else None
    network.prepare(*[Silent() for _ in ALL])
    client = Impatient()
    if has_socket:
        client.create_socket()
    client.connect(("example.org", 80))
    client.call_later(1, int)
    client.call_later(100, int)
    network.run(2)
    client.connect_timeout = seconds
    network.run(30)
    assert client.events == ([] if over is None else [("connect", over), "close"])
    client.close()
    assert not network.loop.busy


def test_a_method_of_the_programs_own_is_no_time_to_connect_in(network: FakeNetwork, names: Names) -> None:
    class Own(Client):
        def connect_timeout(self) -> str:  # type: ignore[override]
            return "mine"

    names.answer = list(ALL)
    network.prepare(*[Silent() for _ in ALL])
    client = Own()
    client.connect(("example.org", 80))
    network.run(30)
    assert client.events == []
    client.close()


def test_who_goes_on_trying_a_name_has_the_same_time_again(network: FakeNetwork, names: Names) -> None:
    silent = [Silent() for _ in ALL]
    network.prepare(*silent)
    client = Impatient()
    client.stays = True
    client.connect(("example.org", 80))
    network.run(12)
    assert client.events == [("connect", 5.0), ("connect", 10.0)]
    silent[2].answers = True
    network.run(20)
    assert client.events[2:] == [("connect", SECOND)]
