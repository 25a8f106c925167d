"""Tests of CPython's suites that antiphon fails on purpose: test id → reason.

An entry whose test passes is an error, as is a failure that has no entry.
"""

from typing import Final

_ONE_SEND: Final = (
    "The answer's three pushes leave in one send, since they belong to one read event; the test looks at "
    "what the last send alone had. docs/differences.md, coalesce_pushes."
)

KNOWN_DIFFERENCES: Final[dict[str, str]] = {
    "test.test_smtpd.SMTPDChannelTest.test_EHLO": _ONE_SEND,
    "test.test_smtpd.SMTPDChannelIPv6Test.test_EHLO": _ONE_SEND,
}

#: Suites that run with a switch of docs/differences.md: environment variables, and why.
SWITCHES: Final[dict[str, tuple[dict[str, str], str]]] = {
    "test.test_ftplib": (
        {"ANTIPHON_COALESCE_PUSHES": "0"},
        "The server of the suite answers PASV by push() and then, in the same handler, blocks in accept() on "
        "another socket until the client, which waits for that answer, has connected.",
    ),
}
