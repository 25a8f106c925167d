"""The context of a TLS connection: what stands for the default, and what can't work is refused at once."""

import functools
import ssl
from typing import Any

__all__ = ["checked_context"]


def checked_context(context: Any, *, server_side: bool, server_hostname: str | None) -> ssl.SSLContext:
    """The context to use.

    Args:
        context: an `ssl.SSLContext`; None or True for a client's default, which verifies the certificate
            and the name of the peer with the authorities that the system trusts.
        server_side: whether it is for a server.
        server_hostname: the name of the peer, of a client.

    Raises:
        TypeError: it is something else.
        ValueError: it is for the other side; or a name is to be checked, and there is none.
    """
    if context is None or context is True:
        if server_side:
            raise ValueError("wanted an ssl.SSLContext with the server's certificate, found none")
        context = _default_context()
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"wanted an ssl.SSLContext, found {type(context).__name__}: {context!r:.60}")
    wrong = ssl.PROTOCOL_TLS_CLIENT if server_side else ssl.PROTOCOL_TLS_SERVER
    if context.protocol == wrong:
        side = "server" if server_side else "client"
        raise ValueError(f"wanted an ssl.SSLContext for a {side}, found one made with {wrong.name}")
    if not server_side and context.check_hostname and not server_hostname:
        raise ValueError(
            "wanted server_hostname, the name that the peer's certificate must be for, found none; "
            "without a name to check, set check_hostname of the context to False"
        )
    return context


@functools.cache
def _default_context() -> ssl.SSLContext:
    """One for all: to read what the system trusts takes milliseconds, and sessions belong to a context."""
    return ssl.create_default_context()
