"""Twisted's LineReceiver on its epoll reactor."""

from _listening import announce, parser
from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import interfaces, reactor
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver
from zope.interface import implementer

CHUNK = b"\0" * 65536


@implementer(interfaces.IPullProducer)
class Zeros:
    """Sends `left` zero bytes through a transport."""

    def __init__(self, transport: interfaces.IConsumer, left: int) -> None:
        self.transport, self.left = transport, left

    def resumeProducing(self) -> None:  # noqa: N802 (Twisted's name)
        """Write one piece."""
        left = self.left
        if left > 65536:
            self.left = left - 65536
            self.transport.write(CHUNK)
        else:
            self.left = 0
            self.transport.write(CHUNK[:left])
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:  # noqa: N802 (Twisted's name)
        """Send no more."""
        self.left = 0


class Lines(LineReceiver):
    """Answers lines, and bodies in raw mode."""

    MAX_LENGTH = 16 << 20

    def connectionMade(self) -> None:  # noqa: N802 (Twisted's name)
        """Called for each connection."""
        self.transport.setTcpNoDelay(True)
        self.parts: list[bytes] = []
        self.missing = 0

    def lineReceived(self, line: bytes) -> None:  # noqa: N802 (Twisted's name)
        """Answer a line."""
        size = len(line)
        if size > 4096:
            self.sendLine(b"LEN %d" % size)
        elif line.startswith(b"PUT "):
            self.missing = int(line[4:])
            self.setRawMode()
        elif line.startswith(b"GET "):
            self.transport.registerProducer(Zeros(self.transport, int(line[4:])), False)
        else:
            self.sendLine(line)

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802 (Twisted's name)
        """Collect a body and answer it."""
        size = len(data)
        if size < self.missing:
            self.parts.append(data)
            self.missing -= size
            return
        self.parts.append(data[: self.missing])
        rest = data[self.missing :]
        body = b"".join(self.parts)
        self.parts = []
        self.missing = 0
        self.sendLine(b"OK %d" % len(body))
        self.setLineMode(rest)


port = reactor.listenTCP(
    parser().parse_args().port, Factory.forProtocol(Lines), backlog=4096, interface="127.0.0.1"
)
reactor.callWhenRunning(lambda: announce(port.getHost().port))
reactor.run(installSignalHandlers=False)
