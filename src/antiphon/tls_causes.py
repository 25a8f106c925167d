"""Why TLS has failed, in words that name the cause: OpenSSL's tell what its code came upon."""

import re
import sys
from typing import Any, Final

from antiphon.errors import is_network_error

__all__ = ["cause_of", "is_end"]

#: The reason that OpenSSL gives -> what it means to who runs the program.
_MEANINGS: Final = {
    "HTTP_REQUEST": "the peer speaks plain HTTP, not TLS",
    "HTTPS_PROXY_REQUEST": "the peer speaks to a proxy (HTTP CONNECT), not TLS",
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS",
    "UNKNOWN_PROTOCOL": "the peer does not speak TLS",
    "UNEXPECTED_MESSAGE": "the peer sends what TLS does not allow at this point",
    "PACKET_LENGTH_TOO_LONG": "the peer does not speak TLS",
    "RECORD_LAYER_FAILURE": "the peer does not speak TLS",
    "NO_SHARED_CIPHER": "no cipher is shared with the peer, or this side has no certificate",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "no signature algorithm is shared with the peer",
    "UNSUPPORTED_PROTOCOL": "no version of TLS is shared with the peer",
    "VERSION_TOO_LOW": "no version of TLS is shared with the peer",
    "NO_PROTOCOLS_AVAILABLE": "the context allows no version of TLS",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer has no certificate, which is required",
}
_ALERT: Final = re.compile("(?:SSLV3|TLSV1|TLSV13)_ALERT_(.+)")


def cause_of(error: BaseException) -> str:
    """What was wrong, in a line."""
    ssl: Any = sys.modules.get("ssl")  # Imported, if this is an error of it.
    if ssl is None or not isinstance(error, ssl.SSLError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is refused: {error.verify_message}"
    reason = getattr(error, "reason", None) or ""  # Not every SSLError was made by OpenSSL.
    alert = _ALERT.fullmatch(reason)
    if alert is not None:
        return f"the peer has refused: {alert[1].lower().replace('_', ' ')} (its alert)"
    if reason in _MEANINGS:
        return f"{_MEANINGS[reason]} ({reason})"
    return str(error.strerror or error)


def is_end(error: BaseException) -> bool:
    """Whether the connection has merely ended, without TLS having ended before."""
    ssl: Any = sys.modules.get("ssl")
    return is_network_error(error) or (ssl is not None and isinstance(error, ssl.SSLEOFError))
