import ssl
from typing import Any

import pytest

from antiphon.errors import PlaintextReceived
from antiphon.tls_causes import cause_of, is_end
from tls_support import (
    Lines,
    Peer,
    a_map,
    client_context,
    server_context,
    shared_context,
    sockets,
    start,
    turn_until,
)


def cause(*, server_side: bool, context: Any, peers: Any = None, sent: bytes = b"") -> str:
    """What is said of a handshake that fails."""
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(near, channels)
        start(channel, server_side=server_side, context=context)
        if sent:
            far.send(sent)
            turn_until(channels, lambda: channel.closing)
        else:
            peer = Peer.client(far, peers) if server_side else Peer.server(far, peers)
            turn_until(channels, lambda: channel.closing, peer.step)
        return cause_of(channel.error)


def test_each_cause_is_named() -> None:
    client, server = shared_context(False), shared_context(True)
    assert "not valid for 'server.test'" in cause(
        server_side=False, context=client, peers=server_context("other.test")
    )
    stranger = cause(server_side=False, context=client, peers=server_context(trusted=False))
    assert stranger.startswith("the peer's certificate is refused: ")
    assert "issuer" in stranger or "self-signed" in stranger or "self signed" in stranger
    refused = cause(server_side=True, context=server_context(trusted=False), peers=client)
    assert refused == "the peer has refused: unknown ca (its alert)"
    assert cause(server_side=True, context=server, sent=b"GET / HTTP/1.1\r\n\r\n").startswith(
        "the peer speaks plain HTTP, not TLS"
    )
    assert cause(server_side=True, context=server, sent=b"EHLO there\r\n").startswith(
        "the peer does not speak"
    )
    assert cause(server_side=False, context=client, sent=b"220 mail.test ESMTP\r\n").startswith(
        "the peer does not speak TLS"
    )


def test_an_expired_certificate_is_named() -> None:
    import datetime

    from tls_support import NAME, authority

    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(NAME, not_before=past, not_after=past.replace(month=2)).configure_cert(context)
    assert cause(server_side=False, context=shared_context(False), peers=context) == (
        "the peer's certificate is refused: certificate has expired"
    )


def test_nothing_shared_is_named() -> None:
    ours, theirs = server_context(version="TLSv1_2"), client_context(version="TLSv1_2")
    ours.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    theirs.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    assert "no cipher is shared" in cause(server_side=True, context=ours, peers=theirs)
    assert "no version of TLS is shared" in cause(
        server_side=True, context=server_context(version="TLSv1_3"), peers=client_context(version="TLSv1_2")
    )
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert "or this side has no certificate" in cause(
        server_side=True, context=bare, peers=shared_context(False)
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionResetError(104, "reset"), "[Errno 104] reset"),
        (ssl.SSLEOFError(8, "it ended"), "it ended"),
        (ssl.SSLError("odd"), "('odd',)"),
    ],
)
def test_what_has_no_better_words_is_said_as_it_is(error: Exception, said: str) -> None:
    assert cause_of(error) == said


def test_an_end_is_no_failure_of_tls() -> None:
    assert is_end(ConnectionResetError(104, "reset"))
    assert is_end(ssl.SSLEOFError(8, "it ended"))
    assert not is_end(ssl.SSLError(1, "wrong"))
    assert not is_end(PlaintextReceived(b"x"))
