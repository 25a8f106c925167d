"""From an address to sockets that listen on it: IPv4, IPv6, both, Unix sockets, and what was inherited.

Channels are none of its business.
"""

import errno
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from antiphon.socket_file import SocketFile, open_socket_file

__all__ = ["Address", "inherited_sockets", "open_sockets"]

#: (host, port), (host, port, flow, scope); the path or the abstract name of a Unix socket; an open socket, or
#: its descriptor.
Address: TypeAlias = "tuple[Any, ...] | str | bytes | os.PathLike[str] | int | socket.socket"

#: A socket that listens, and the file that it is found by.
Opened: TypeAlias = tuple[socket.socket, SocketFile | None]

#: The first descriptor that is handed over: sd_listen_fds(3).
_FIRST_INHERITED: Final = 3

#: How often another port is tried when one that was free for IPv4 is taken for IPv6, or for another address.
_ATTEMPTS: Final = 20

_REUSE_PORT: Final[int | None] = getattr(socket, "SO_REUSEPORT", None)

#: What an address of a name, of which there are more, may lack on this host.
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})


def open_sockets(
    address: Address,
    *,
    backlog: int,
    reuse_port: bool = False,
    dual_stack: bool = False,
    mode: int | None = None,
) -> list[Opened]:
    """Listen on `address`: all sockets that it takes, or none.

    See `antiphon.listening.create_server` for the arguments.

    Raises:
        OSError: the system refuses; the message names the address.
        ValueError, TypeError: the arguments don't go together.
    """
    _check(address, reuse_port, dual_stack, mode)
    if isinstance(address, tuple):
        found = _open_internet(address, backlog, reuse_port, dual_stack)
        return [(sock, None) for sock in found]
    if isinstance(address, (int, socket.socket)):
        return [(_adopt(address, backlog), None)]
    return [open_socket_file(address, backlog, mode)]


def _check(address: Any, reuse_port: bool, dual_stack: bool, mode: int | None) -> None:
    known = tuple, str, bytes, os.PathLike, int, socket.socket
    if not isinstance(address, known) or isinstance(address, bool):
        raise TypeError(
            "wanted (host, port), the path of a Unix socket, a socket or its descriptor as the address, "
            f"found {address!r:.60}"
        )
    if not isinstance(address, tuple) and (reuse_port or dual_stack):
        raise ValueError(f"wanted (host, port) with reuse_port or dual_stack, found {address!r:.60}")
    if mode is not None and not isinstance(address, (str, bytes, os.PathLike)):
        raise ValueError(f"wanted the path of a Unix socket with mode, found {address!r:.60}")
    if reuse_port and _REUSE_PORT is None:
        raise ValueError("wanted a system that has SO_REUSEPORT, found none")
    if dual_stack and not socket.has_dualstack_ipv6():
        raise ValueError("wanted a system whose IPv6 sockets can serve IPv4, found none")


# -- IPv4 and IPv6 -----------------------------------------------------------------------------------------


def _open_internet(
    address: tuple[Any, ...], backlog: int, reuse_port: bool, dual_stack: bool
) -> list[socket.socket]:
    candidates = _candidates(address, dual_stack)
    for _ in range(_ATTEMPTS - 1):
        try:
            return _open_all(candidates, backlog, reuse_port, dual_stack)
        except OSError as error:
            if address[1] or error.errno != errno.EADDRINUSE:
                raise
    return _open_all(candidates, backlog, reuse_port, dual_stack)


def _candidates(address: tuple[Any, ...], dual_stack: bool) -> list[tuple[int, Any]]:
    """(family, address) of each socket to be opened."""
    if len(address) not in (2, 4) or not isinstance(address[0], (str, type(None))):
        raise TypeError(f"wanted (host, port) or (host, port, flow, scope), found {address!r:.60}")
    host, port = address[:2]
    if not isinstance(port, int) or not 0 <= port <= 65_535:
        raise ValueError(f"wanted a port of 0 to 65535, found {port!r:.60}")
    found: list[tuple[int, Any]]
    if len(address) == 4:
        found = [(int(socket.AF_INET6), address)]
    elif host:
        found = _resolved(host, port)
    else:
        found = [(int(socket.AF_INET6), ("::", port))]
        if not dual_stack:
            found.insert(0, (int(socket.AF_INET), ("0.0.0.0", port)))
    if dual_stack and all(family != socket.AF_INET6 for family, _ in found):
        raise ValueError(f"wanted an IPv6 address with dual_stack, found {address!r:.60}")
    return found


def _resolved(host: str, port: int) -> list[tuple[int, Any]]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise type(error)(error.errno, f"cannot resolve {host!r}: {error.strerror}") from error
    return list(dict.fromkeys((int(family), place) for family, _, _, _, place in answers))


def _open_all(
    candidates: list[tuple[int, Any]], backlog: int, reuse_port: bool, dual_stack: bool
) -> list[socket.socket]:
    """One socket for each candidate that this host has; port 0 is the same for all of them."""
    opened: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, (host, port, *rest) in candidates:
            chosen = opened[0].getsockname()[1] if opened and not port else port
            try:
                opened.append(_open(family, (host, chosen, *rest), backlog, reuse_port, dual_stack))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = missing or error
    except OSError:
        for sock in opened:
            sock.close()
        raise
    if missing is not None and not opened:
        raise missing
    return opened


def _open(family: int, address: Any, backlog: int, reuse_port: bool, dual_stack: bool) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            _set_options(sock, reuse_port, dual_stack)
            sock.bind(address)
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        host = f"[{address[0]}]" if family == socket.AF_INET6 else address[0]
        raise OSError(error.errno, f"cannot listen on {host}:{address[1]}: {error.strerror}") from error
    return sock


def _set_options(sock: socket.socket, reuse_port: bool, dual_stack: bool) -> None:
    if sys.platform == "win32":  # pragma: no cover: needs Windows
        # There SO_REUSEADDR lets two programs have one address.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port and _REUSE_PORT is not None:
        sock.setsockopt(socket.SOL_SOCKET, _REUSE_PORT, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)


# -- sockets of others -------------------------------------------------------------------------------------


def _adopt(given: int | socket.socket, backlog: int) -> socket.socket:
    """The socket itself, or that of a descriptor, listening."""
    try:
        sock = given if isinstance(given, socket.socket) else socket.socket(fileno=given)
    except OSError as error:
        raise OSError(error.errno, f"wanted a socket as descriptor {given}: {error.strerror}") from error
    if sock.type != socket.SOCK_STREAM:
        if sock is not given:
            sock.detach()  # It stays the caller's.
        raise ValueError(f"wanted a stream socket, found {given!r:.200}")
    if not _listens(sock):
        sock.listen(backlog)
    return sock


def _listens(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except (OSError, AttributeError):  # macOS and Windows can't tell; to listen again does no harm.
        return False


def inherited_sockets(
    name: str | None = None, *, environment: Mapping[str, str] = os.environ
) -> list[socket.socket]:
    """The sockets that systemd, or what stands for it, has opened for this process.

    That is the protocol of sd_listen_fds(3): LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES in the environment.
    Each socket is to be asked for once: whoever gets it closes it. Child processes don't inherit it.

    Args:
        name: of the sockets that are wanted (`FileDescriptorName=` in the socket unit); None for all.
        environment: where the variables are.

    Returns:
        None at all if nothing was handed over to this very process.

    Raises:
        ValueError: LISTEN_FDS is no number.
        OSError: one of the descriptors is no socket.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environment.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdecimal()):
        raise ValueError(f"wanted a number as LISTEN_FDS, found {count!r:.60}")
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * (int(count) - len(names))
    numbers = range(_FIRST_INHERITED, _FIRST_INHERITED + int(count))
    wanted = [fd for fd, own in zip(numbers, names, strict=False) if name in (None, own)]
    for fd in wanted:
        os.set_inheritable(fd, False)
    return [socket.socket(fileno=fd) for fd in wanted]
