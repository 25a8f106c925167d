"""From an address to sockets that listen on it."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from antiphon import binding
from antiphon.binding import inherited_sockets, open_sockets
from loop_support import with_sources

has_ipv6 = pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="descriptors of POSIX")

UNIX: Any = getattr(socket, "AF_UNIX", None)
Open = Callable[..., list[socket.socket]]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens sockets, and closes them after the test."""
    with ExitStack() as stack:

        def opening(address: Any, *, backlog: int = 5, **how: Any) -> list[socket.socket]:
            found = open_sockets(address, backlog=backlog, **how)
            return [stack.enter_context(sock) for sock, _ in found]

        yield opening


def reached(address: Any, family: int = socket.AF_INET) -> bool:
    """Whether somebody listens there."""
    with socket.socket(family) as client:
        client.settimeout(10)
        return client.connect_ex(address) == 0


# -- IPv4 and IPv6 -----------------------------------------------------------------------------------------


def test_an_ipv4_address_is_one_socket(opened: Open) -> None:
    [sock] = opened(("127.0.0.1", 0))
    assert sock.family == socket.AF_INET
    assert reached(sock.getsockname())


@has_ipv6
@pytest.mark.parametrize("address", [("::1", 0), ("::1", 0, 0, 0)])
def test_an_ipv6_address_is_one_socket(opened: Open, address: Any) -> None:
    [sock] = opened(address)
    assert sock.family == socket.AF_INET6
    assert reached(sock.getsockname(), socket.AF_INET6)


@has_ipv6
@pytest.mark.parametrize("host", ["", None])
def test_every_address_is_two_sockets_with_one_port(opened: Open, host: Any) -> None:
    first, second = opened((host, 0))
    assert (first.family, second.family) == (socket.AF_INET, socket.AF_INET6)
    assert first.getsockname()[1] == second.getsockname()[1]
    assert reached(("127.0.0.1", first.getsockname()[1]))
    assert reached(("::1", first.getsockname()[1]), socket.AF_INET6)


@has_ipv6
@pytest.mark.parametrize("host", ["", "::"])
def test_dual_stack_is_one_socket_for_both(opened: Open, host: str) -> None:
    [sock] = opened((host, 0), dual_stack=True)
    assert reached(("127.0.0.1", sock.getsockname()[1]))
    assert reached(("::1", sock.getsockname()[1]), socket.AF_INET6)


@has_ipv6
def test_without_dual_stack_an_ipv6_socket_is_for_ipv6_alone(opened: Open) -> None:
    [sock] = opened(("::", 0))
    assert not reached(("127.0.0.1", sock.getsockname()[1]))


def answering(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[int, Any]) -> None:
    """Have every name resolve to these."""
    answers = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)


def test_a_name_is_all_its_addresses_once_with_one_port(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = [(socket.AF_INET, (host, 0)) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1")]
    answering(monkeypatch, *addresses)
    socks = opened(("a.name", 0))
    assert [sock.getsockname()[0] for sock in socks] == ["127.0.0.1", "127.0.0.2"]
    assert len({sock.getsockname()[1] for sock in socks}) == 1


def test_an_address_that_this_host_lacks_is_left_out(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, (socket.AF_INET, ("198.51.100.1", 0)), (socket.AF_INET, ("127.0.0.1", 0)))
    [sock] = opened(("a.name", 0))
    assert sock.getsockname()[0] == "127.0.0.1"


def test_when_this_host_has_none_of_them_the_first_is_told_of(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, (socket.AF_INET, ("198.51.100.1", 80)), (socket.AF_INET, ("198.51.100.2", 80)))
    with pytest.raises(OSError, match=r"cannot listen on 198\.51\.100\.1:80: ") as caught:
        opened(("a.name", 80))
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_name_that_is_none_is_named(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror, match=r"cannot resolve 'no\.such\.name': not known"):
        opened(("no.such.name", 0))


def test_an_address_that_is_taken_is_named_and_nothing_stays_open(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    [taken] = opened(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    answering(monkeypatch, (socket.AF_INET, ("127.0.0.2", port)), (socket.AF_INET, ("127.0.0.1", port)))
    with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: ") as caught:
        opened(("a.name", port))
    assert caught.value.errno == errno.EADDRINUSE
    assert not reached(("127.0.0.2", port))


@has_ipv6
def test_an_ipv6_address_is_named_in_brackets(opened: Open) -> None:
    [taken] = opened(("::1", 0))
    with pytest.raises(OSError, match=r"cannot listen on \[::1\]:"):
        opened(("::1", taken.getsockname()[1]))


@pytest.mark.parametrize("tries", [1, 3, 1000])
def test_a_port_that_is_free_for_one_address_only_is_given_up_for_another(
    opened: Open, monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    open_one, asked = binding._open, []

    def taken_at_first(family: int, address: Any, *how: Any) -> socket.socket:
        asked.append(address)
        if address[0] == "127.0.0.2" and len(asked) < 2 * tries:
            raise OSError(errno.EADDRINUSE, "taken")
        return open_one(family, address, *how)

    monkeypatch.setattr(binding, "_open", taken_at_first)
    answering(monkeypatch, (socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET, ("127.0.0.2", 0)))
    if tries < 1000:
        assert len(opened(("a.name", 0))) == 2
        assert len(asked) == 2 * tries
    else:
        with pytest.raises(OSError, match="taken"):
            opened(("a.name", 0))
        assert len(asked) < 100


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT here")
def test_reuse_port_lets_two_have_one_port(opened: Open) -> None:
    [first] = opened(("127.0.0.1", 0), reuse_port=True)
    [second] = opened(first.getsockname(), reuse_port=True)
    assert first.getsockname() == second.getsockname()


@pytest.mark.parametrize(
    ("address", "how", "complaint"),
    [
        (True, {}, "wanted \\(host, port\\), the path of a Unix socket, a socket or its descriptor"),
        (None, {}, "found None"),
        (("127.0.0.1",), {}, "wanted \\(host, port\\) or \\(host, port, flow, scope\\), found"),
        ((b"127.0.0.1", 80), {}, "wanted \\(host, port\\) or"),
        (("127.0.0.1", "http"), {}, "wanted a port of 0 to 65535, found 'http'"),
        (("127.0.0.1", 65536), {}, "wanted a port of 0 to 65535, found 65536"),
        (("127.0.0.1", 0), {"dual_stack": True}, "wanted an IPv6 address with dual_stack"),
        (
            "/path",
            {"dual_stack": True},
            "wanted \\(host, port\\) with reuse_port or dual_stack, found '/path'",
        ),
        (3, {"reuse_port": True}, "wanted \\(host, port\\) with reuse_port or dual_stack, found 3"),
        (("127.0.0.1", 0), {"mode": 0o600}, "wanted the path of a Unix socket with mode"),
    ],
)
def test_a_wrong_argument_is_named(opened: Open, address: Any, how: Any, complaint: str) -> None:
    with pytest.raises((TypeError, ValueError), match=complaint):
        opened(address, **how)


def test_what_the_system_lacks_is_named(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "_REUSE_PORT", None)
    with pytest.raises(ValueError, match="wanted a system that has SO_REUSEPORT"):
        opened(("127.0.0.1", 0), reuse_port=True)
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with pytest.raises(ValueError, match="wanted a system whose IPv6 sockets can serve IPv4"):
        opened(("", 0), dual_stack=True)


# -- sockets of others -------------------------------------------------------------------------------------


@on_posix
@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize("given", ["socket", "descriptor"])
def test_a_socket_or_its_descriptor_is_taken_over(opened: Open, listens: bool, given: str) -> None:
    mine = socket.socket()
    mine.bind(("127.0.0.1", 0))
    if listens:
        mine.listen(7)
    [sock] = opened(mine if given == "socket" else mine.detach())
    assert reached(sock.getsockname())


def test_where_nobody_tells_whether_a_socket_listens_it_listens_again(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "SO_ACCEPTCONN")
    [sock] = opened(socket.create_server(("127.0.0.1", 0)))
    assert reached(sock.getsockname())


@on_posix
def test_what_is_no_stream_socket_is_refused_and_stays_the_caller_s(opened: Open) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        for given in datagrams, datagrams.fileno():
            with pytest.raises(ValueError, match="wanted a stream socket, found"):
                opened(given)
        assert datagrams.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_DGRAM
    reading, writing = os.pipe()
    with pytest.raises(OSError, match=f"wanted a socket as descriptor {reading}: "):
        opened(reading)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("environment", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}])
def test_what_is_meant_for_another_process_is_not_inherited(environment: dict[str, str]) -> None:
    assert inherited_sockets(environment=environment) == []


@pytest.mark.parametrize("count", ["", "-1", "one", "²"])
def test_a_number_of_sockets_that_is_none_is_named(count: str) -> None:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}
    with pytest.raises(ValueError, match=f"wanted a number as LISTEN_FDS, found '{count}'"):
        inherited_sockets(environment=environment)


@on_posix
@pytest.mark.parametrize(
    ("names", "name", "expected"),
    [
        ("http:smtp", None, [200, 201]),
        ("http:smtp", "smtp", [201]),
        ("http:http", "http", [200, 201]),
        ("http", "http", [200]),
        (None, None, [200, 201]),
        (None, "http", []),
    ],
)
def test_sockets_are_inherited_by_their_names(
    monkeypatch: pytest.MonkeyPatch, names: str | None, name: str | None, expected: list[int]
) -> None:
    monkeypatch.setattr(binding, "_FIRST_INHERITED", 200)
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}
    if names is not None:
        environment["LISTEN_FDNAMES"] = names
    with socket.create_server(("127.0.0.1", 0)) as given:
        for fd in 200, 201:
            os.dup2(given.fileno(), fd)
        found = inherited_sockets(name, environment=environment)
        assert [sock.fileno() for sock in found] == expected
        assert [sock.getsockname() for sock in found] == [given.getsockname()] * len(expected)
        assert not any(sock.get_inheritable() for sock in found)
    for fd in 200, 201:
        if fd not in expected:
            os.close(fd)
    for sock in found:
        sock.close()


@pytest.mark.skipif(
    not Path("/usr/bin/systemd-socket-activate").exists(), reason="systemd's own program is not installed"
)
def test_systemd_hands_a_socket_over(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(
        """
from antiphon import MessageChannel, asyncore, create_server
from antiphon.listening import inherited_sockets

class Echo(MessageChannel):
    def message_received(self, message):
        self.push(message + b" from " + str(len(inherited)).encode())
        self.close_when_done()
        server.close()

inherited = inherited_sockets()
server = create_server(Echo, inherited)
asyncore.loop()
"""
    )
    path = str(tmp_path / "socket")
    with subprocess.Popen(
        [
            "/usr/bin/systemd-socket-activate",
            f"--listen={path}",
            "-E",
            "PYTHONPATH",
            sys.executable,
            "server.py",
        ],
        cwd=tmp_path,
        env=with_sources(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert "Listening on" in process.stderr.readline()
            with socket.socket(UNIX) as client:
                client.settimeout(20)
                client.connect(path)
                client.sendall(b"hello\r\n")
                assert client.makefile("rb").read() == b"hello from 1"
            process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
