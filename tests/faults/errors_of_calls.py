"""Which errors each system call may return, by the manuals: the rows of the fault table.

Linux's manual pages, version 6; POSIX.1-2017 (the pages 3p) where it has more. Names, since the numbers
differ from system to system, and not all of them have all.
"""

from typing import Final

#: What the network may tell of a connection by any call on it: tcp(7), ip(7), icmp(7), socket(7).
_NETWORK: Final = (
    "EACCES ECONNREFUSED EHOSTDOWN EHOSTUNREACH EMSGSIZE ENETDOWN ENETRESET ENETUNREACH ENOBUFS ENOMEM "
    "ENONET ENOPROTOOPT EOPNOTSUPP EPERM EPIPE EPROTO ETIMEDOUT"
)

#: call -> the page of a manual -> the errors that it lists.
ERRORS_OF_CALLS: Final[dict[str, dict[str, str]]] = {
    "recv": {
        "recv(2)": "EAGAIN EWOULDBLOCK EBADF ECONNREFUSED EFAULT EINTR EINVAL ENOMEM ENOTCONN ENOTSOCK",
        "recv(3p)": "ECONNRESET EIO ENOBUFS EOPNOTSUPP ETIMEDOUT",
        "tcp(7), ip(7), unix(7)": _NETWORK,
        "as the old modules had it": "ECONNABORTED ESHUTDOWN",
    },
    "send": {
        "send(2)": "EACCES EAGAIN EWOULDBLOCK EALREADY EBADF ECONNRESET EDESTADDRREQ EFAULT EINTR EINVAL "
        "EISCONN EMSGSIZE ENOBUFS ENOMEM ENOTCONN ENOTSOCK EOPNOTSUPP EPIPE",
        "send(3p)": "EIO ENETDOWN ENETUNREACH",
        "tcp(7), ip(7), unix(7)": _NETWORK,
        "as the old modules had it": "ECONNABORTED ESHUTDOWN",
    },
    "sendmsg": {
        "sendmsg(2)": "EACCES EAGAIN EWOULDBLOCK EALREADY EBADF ECONNRESET EDESTADDRREQ EFAULT EINTR EINVAL "
        "EISCONN EMSGSIZE ENOBUFS ENOMEM ENOTCONN ENOTSOCK EOPNOTSUPP EPIPE",
        "sendmsg(3p)": "EAFNOSUPPORT EHOSTUNREACH EIO ELOOP ENAMETOOLONG ENETDOWN ENETUNREACH ENOENT ENOTDIR",
        "tcp(7), ip(7), unix(7)": _NETWORK + " ESRCH ETOOMANYREFS",
        "as the old modules had it": "ECONNABORTED ESHUTDOWN",
    },
    "accept": {
        "accept(2)": "EAGAIN EWOULDBLOCK EBADF ECONNABORTED EFAULT EINTR EINVAL EMFILE ENFILE ENOBUFS ENOMEM "
        "ENOTSOCK EOPNOTSUPP EPERM EPROTO ENOSR ESOCKTNOSUPPORT EPROTONOSUPPORT ETIMEDOUT",
        "accept(2), of errors that wait": "ENETDOWN ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH ENETUNREACH",
    },
    "connect": {
        "connect(2)": "EACCES EPERM EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF ECONNREFUSED "
        "EFAULT EINPROGRESS EINTR EISCONN ENETUNREACH ENOTSOCK EPROTOTYPE ETIMEDOUT",
        "connect(3p)": "ECONNRESET EHOSTUNREACH EINVAL EIO ELOOP ENAMETOOLONG ENETDOWN ENOBUFS ENOENT "
        "ENOTDIR EOPNOTSUPP",
        "tcp(7), ip(7), unix(7)": _NETWORK,
    },
    "getsockopt": {
        "getsockopt(2)": "EBADF EFAULT EINVAL ENOPROTOOPT ENOTSOCK",
        "getsockopt(3p)": "EACCES ENOBUFS",
    },
    "getpeername": {
        "getpeername(2)": "EBADF EFAULT EINVAL ENOBUFS ENOTCONN ENOTSOCK",
        "getpeername(3p)": "EOPNOTSUPP",
    },
    "setsockopt": {
        "setsockopt(2)": "EBADF EFAULT EINVAL ENOPROTOOPT ENOTSOCK",
        "setsockopt(3p)": "EDOM EISCONN ENOBUFS ENOMEM",
        "tcp(7), ip(7)": "EACCES EOPNOTSUPP EPERM",
    },
    "shutdown": {
        "shutdown(2)": "EBADF EINVAL ENOTCONN ENOTSOCK",
        "shutdown(3p)": "ENOBUFS",
    },
    "close": {
        "close(2)": "EBADF EINTR EIO ENOSPC EDQUOT",
        "on macOS and the BSDs": "ECONNRESET ENOTCONN",
    },
}


def errors_of(call: str) -> list[str]:
    """The errors of a call, each once, in alphabetical order."""
    return sorted({name for names in ERRORS_OF_CALLS[call].values() for name in names.split()})
