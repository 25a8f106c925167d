import ssl

import pytest

from antiphon.tls_contexts import checked_context


@pytest.mark.parametrize("context", [None, True])
def test_the_default_of_a_client_verifies(context: bool | None) -> None:
    made = checked_context(context, server_side=False, server_hostname="server.test")
    assert made.check_hostname
    assert made.verify_mode == ssl.CERT_REQUIRED
    assert checked_context(context, server_side=False, server_hostname="server.test") is made


@pytest.mark.parametrize("context", [None, True])
def test_a_server_has_no_default(context: bool | None) -> None:
    with pytest.raises(ValueError, match=r"with the server's certificate, found none"):
        checked_context(context, server_side=True, server_hostname=None)


@pytest.mark.parametrize("context", [False, "cert.pem", ("cert.pem", "key.pem"), 1])
def test_anything_else_is_refused(context: object) -> None:
    with pytest.raises(TypeError, match=r"wanted an ssl.SSLContext, found \w+: "):
        checked_context(context, server_side=True, server_hostname=None)


def test_a_context_of_the_other_side_is_refused() -> None:
    with pytest.raises(ValueError, match="for a client, found one made with PROTOCOL_TLS_SERVER"):
        checked_context(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), server_side=False, server_hostname="x.test")
    with pytest.raises(ValueError, match="for a server, found one made with PROTOCOL_TLS_CLIENT"):
        checked_context(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), server_side=True, server_hostname=None)


@pytest.mark.parametrize("name", [None, ""])
def test_a_name_to_check_is_needed_unless_the_context_says_otherwise(name: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ValueError, match="wanted server_hostname"):
        checked_context(context, server_side=False, server_hostname=name)
    context.check_hostname = False
    assert checked_context(context, server_side=False, server_hostname=name) is context
