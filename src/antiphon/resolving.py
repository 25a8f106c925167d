"""Host names to addresses, in threads: getaddrinfo(3) blocks, for as long as a name server takes."""

import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TypeAlias

__all__ = ["Address", "Found", "interleaved", "is_name", "resolve"]

#: (family, address) as `socket.socket` and `connect` take them.
Address: TypeAlias = tuple[int, Any]
#: Called with the addresses, at least one, or with why there are none.
Found: TypeAlias = Callable[[list[Address] | OSError], object]

#: Names that are looked up at the same time at most; further ones wait.
_AT_A_TIME: Final = 16

_slots = threading.BoundedSemaphore(_AT_A_TIME)


def is_name(address: Any) -> bool:
    """Whether `address` is a (host, port, …) whose host has to be looked up.

    >>> is_name(("localhost", 80)), is_name(("127.0.0.1", 80)), is_name(("fe80::1%lo", 80, 0, 0))
    (True, False, False)
    >>> is_name(("", 80)), is_name("/run/socket")
    (False, False)
    """
    if not isinstance(address, tuple) or not address or not isinstance(address[0], str) or not address[0]:
        return False
    try:
        ipaddress.ip_address(address[0])
    except ValueError:
        return address[0] != "<broadcast>"
    return False


def resolve(host: str, port: Any, family: int, kind: int, found: Found) -> None:
    """Look a name up, and call `found` in another thread.

    Args:
        host: the name.
        port: a number, or the name of a service.
        family: AF_INET or AF_INET6 for addresses of that family only, AF_UNSPEC for both.
        kind: SOCK_STREAM or SOCK_DGRAM.
        found: must not raise.
    """
    work = threading.Thread(
        target=_look_up, args=(host, port, family, kind, found), name="antiphon.resolving", daemon=True
    )
    work.start()


def _look_up(host: str, port: Any, family: int, kind: int, found: Found) -> None:
    result: list[Address] | OSError
    with _slots:
        try:
            entries = socket.getaddrinfo(host, port, family, kind)
            result = list(dict.fromkeys((int(entry[0]), entry[4]) for entry in entries))
            if not result:
                result = socket.gaierror(socket.EAI_NONAME, "no address")
        except OSError as error:
            result = error
        except UnicodeError as error:  # What the idna codec says of a label that is empty or too long.
            result = socket.gaierror(socket.EAI_NONAME, f"{error}")
        except Exception as error:  # Programs put a getaddrinfo() of their own there.
            result = socket.gaierror(socket.EAI_FAIL, f"{error}")
    found(result)


def interleaved(addresses: list[Address]) -> list[Address]:
    """The families in turns, the first of them first; RFC 8305, section 4.

    >>> interleaved([(10, "a"), (10, "b"), (10, "c"), (2, "d")])
    [(10, 'a'), (2, 'd'), (10, 'b'), (10, 'c')]
    """
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    ranked = [(place, address) for queue in families.values() for place, address in enumerate(queue)]
    return [address for _, address in sorted(ranked, key=lambda entry: entry[0])]


def _start_over() -> None:
    """In a forked child: the threads that hold slots are the parent's."""
    global _slots  # noqa: PLW0603 (locks of threads that are not there)
    _slots = threading.BoundedSemaphore(_AT_A_TIME)


if sys.platform != "win32":  # pragma: no branch: Windows has no fork
    os.register_at_fork(after_in_child=_start_over)
