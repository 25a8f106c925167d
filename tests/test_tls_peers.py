"""Who the peer of a TLS connection is, and what is agreed on with it."""

import ssl
from typing import Any

import pytest

import loop_support
import tls_support
from tls_support import (
    NAME,
    Lines,
    Peer,
    a_map,
    certificate,
    client_context,
    secured,
    server_context,
    sockets,
    start,
    turn,
    turn_until,
)

each_poller = loop_support.each_poller
each_engine = loop_support.each_engine


# -- who the peer is -----------------------------------------------------------------------------------------


def failing(channel_context: Any, peer_context: ssl.SSLContext, **how: Any) -> tuple[Any, Peer]:
    """A client channel and a server that don't agree."""
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(near, channels)
        start(channel, server_side=False, context=channel_context)
        peer = Peer.server(far, peer_context)
        turn_until(channels, lambda: channel.closing, peer.step)
        turn_until(channels, lambda: peer.error or peer.ended, peer.step)
        return channel, peer


def test_a_certificate_of_an_unknown_authority_is_refused() -> None:
    channel, peer = failing(client_context(), server_context(trusted=False))
    assert isinstance(channel.error, ssl.SSLCertVerificationError)
    assert "issuer" in channel.error.verify_message or "self" in channel.error.verify_message
    assert peer.error is not None
    assert "UNKNOWN_CA" in str(peer.error.reason), "the peer was told by an alert"


def test_a_certificate_for_another_name_is_refused() -> None:
    channel, _ = failing(client_context(), server_context("other.test"))
    assert "not valid for 'server.test'" in channel.error.verify_message


def test_the_default_context_verifies() -> None:
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(near, channels)
        channel.start_tls(None, server_side=False, server_hostname=NAME)
        peer = Peer.server(far)
        turn_until(channels, lambda: channel.closing, peer.step)
        assert isinstance(channel.error, ssl.SSLCertVerificationError)


def test_what_a_context_says_is_done() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(near, channels)
        channel.start_tls(context, server_side=False)
        peer = Peer.server(far, server_context("whoever.test", trusted=False))
        turn_until(channels, lambda: channel.events, peer.step)
        assert channel.events == ["established"]


def test_a_client_shows_its_certificate_when_the_server_wants_one() -> None:
    wanting = server_context()
    wanting.verify_mode = ssl.CERT_REQUIRED
    tls_support.authority().configure_trust(wanting)
    having = client_context()
    certificate("client@test.test").configure_cert(having)
    for context, succeeds in (having, True), (client_context(), False):
        with a_map() as channels, sockets() as (near, far):
            channel = Lines(near, channels)
            start(channel, context=wanting)
            peer = Peer.client(far, context)
            turn_until(channels, lambda: channel.events, peer.step)  # noqa: B023
            if succeeds:
                assert channel.events == ["established"]
                assert channel.socket.getpeercert()["subjectAltName"] == (("email", "client@test.test"),)
            else:
                assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in str(channel.error)


# -- what is agreed on ---------------------------------------------------------------------------------------


def test_alpn_is_known_when_tls_stands() -> None:
    ours, theirs = server_context(), client_context()
    ours.set_alpn_protocols(["imap", "pop3"])
    theirs.set_alpn_protocols(["pop3"])
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(near, channels)
        assert channel.alpn is None
        start(channel, context=ours)
        peer = Peer.client(far, theirs)
        turn_until(channels, lambda: channel.events, peer.step)
        assert channel.alpn == "pop3"
    with secured() as (channel, peer):
        assert channel.alpn is None


def test_the_sni_callback_chooses_the_certificate() -> None:
    other = server_context("other.test")
    names: list[str | None] = []

    def choose(connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        names.append(name)
        if name == "other.test":
            connection.context = other

    ours = server_context()
    ours.sni_callback = choose
    for name in NAME, "other.test":
        with a_map() as channels, sockets() as (near, far):
            channel = Lines(near, channels)
            start(channel, context=ours)
            peer = Peer.client(far, server_hostname=name)
            turn_until(channels, lambda: channel.events and peer.done, peer.step)  # noqa: B023
            assert channel.events == ["established"]
    assert names == [NAME, "other.test"]


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_session_is_resumed(version: str) -> None:
    ours, theirs = client_context(version=version), server_context()
    session = None
    for reused in False, True:
        with a_map() as channels, sockets() as (near, far):
            channel = Lines(near, channels)
            assert channel.tls_session is None
            start(channel, server_side=False, context=ours, session=session)
            peer = Peer.server(far, theirs)
            turn_until(channels, lambda: peer.done and channel.events, peer.step)  # noqa: B023
            peer.send(b"hello\n")
            turn_until(channels, lambda: channel.lines, peer.step)  # noqa: B023
            assert channel.socket.session_reused is reused
            session = channel.tls_session
            assert session is not None
            peer.goodbye()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_there_is_no_session_before_the_handshake_is_done_nor_of_one_that_has_failed(version: str) -> None:
    seen: list[Any] = []

    class Looking(Lines):
        def handle_tls_error(self, error: Any) -> None:
            seen.append(self.tls_session)
            super().handle_tls_error(error)

    with a_map() as channels, sockets() as (near, far):
        channel = Looking(near, channels)
        start(channel, server_side=False, context=client_context(version=version))
        turn(channels)
        assert channel.tls_session is None
        far.setblocking(False)
        assert far.recv(65_536)
        far.sendall(b"no TLS at all, this is plain\n")
        turn_until(channels, lambda: channel.closing)
        assert seen == [None]
