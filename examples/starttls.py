"""A mail server that takes mail by SMTP, after STARTTLS only, and prints it.

    python examples/starttls.py CERT KEY                       in one terminal
    openssl s_client -starttls smtp -connect 127.0.0.1:8025    in another

Delivers nothing to anybody. What it shows: a protocol that begins in plain and goes on in TLS.
"""

import argparse
import ssl
from typing import Any

from antiphon import MessageChannel, asyncore

LARGEST_MAIL = 1_000_000  # bytes
MOST_RECIPIENTS = 100


class Session(MessageChannel):
    """The connection of one client: commands, and mails between them."""

    max_message_size = LARGEST_MAIL
    handshake_timeout = 30.0  # seconds

    def __init__(self, sock: Any, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self.context = context
        self.secure = False
        self.forget()
        self.say("220 ready; STARTTLS comes first")

    def forget(self) -> None:
        """Begin a mail anew. After STARTTLS nothing that was said in plain counts (RFC 3207, section 4.2)."""
        self.sender = ""
        self.recipients: list[str] = []
        self.in_mail = False

    def say(self, *lines: str) -> None:
        """Answer. What is said while a read is dealt with leaves in one record."""
        self.push("".join(f"{line}\r\n" for line in lines).encode())

    def message_received(self, message: bytes) -> None:
        """Deal with a line, or a mail."""
        if self.in_mail:
            self.take(message)
            return
        word, _, rest = message.decode("ascii", "replace").strip().partition(" ")
        command = getattr(self, f"smtp_{word.lower()}", None)
        if command is None:
            self.say("500 what?")
        elif not self.secure and word.upper() not in ("EHLO", "NOOP", "QUIT", "STARTTLS"):
            self.say("530 STARTTLS comes first")
        else:
            command(rest)

    # -- the commands ----------------------------------------------------------------------------------------

    def smtp_ehlo(self, name: str) -> None:
        """Say what there is. STARTTLS is not offered twice."""
        self.forget()
        self.say("250-here", f"250 {f'SIZE {LARGEST_MAIL}' if self.secure else 'STARTTLS'}")

    def smtp_starttls(self, rest: str) -> None:
        """Go on in TLS.

        The answer leaves in plain: it is pushed before. Whatever the client has sent behind its command
        (nothing, unless somebody has injected it) ends the connection.
        """
        if self.secure:
            self.say("503 that is done")
            return
        self.say("220 go on")
        self.start_tls(self.context, server_side=True)

    def handle_tls_established(self) -> None:
        """Begin anew."""
        self.secure = True
        self.forget()

    def smtp_mail(self, rest: str) -> None:
        """Note who sends."""
        self.sender = address(rest)
        self.say("250 ok")

    def smtp_rcpt(self, rest: str) -> None:
        """Note to whom."""
        if len(self.recipients) < MOST_RECIPIENTS:
            self.recipients.append(address(rest))
            self.say("250 ok")
        else:
            self.say("452 too many")

    def smtp_data(self, rest: str) -> None:
        """Take a mail."""
        if not self.sender or not self.recipients:
            self.say("503 from whom, and to whom?")
            return
        self.say("354 until a line with a dot")
        self.in_mail = True
        self.set_terminator(b"\r\n.\r\n")

    def take(self, mail: bytes) -> None:
        """Print a mail."""
        print(f"from {self.sender} to {', '.join(self.recipients)}, {len(mail)} bytes", flush=True)
        print(mail.replace(b"\r\n..", b"\r\n.").decode("utf-8", "replace"), flush=True)
        self.set_terminator(b"\r\n")
        self.forget()
        self.say("250 taken")

    def smtp_noop(self, rest: str) -> None:
        """Do nothing."""
        self.say("250 ok")

    def smtp_rset(self, rest: str) -> None:
        """Forget."""
        self.forget()
        self.say("250 ok")

    def smtp_quit(self, rest: str) -> None:
        """End: when the answer has left, TLS ends with a close_notify, and the channel closes."""
        self.say("221 goodbye")
        self.close_when_done()


def address(rest: str) -> str:
    """The address in what follows MAIL or RCPT: `FROM:<a@b.example> SIZE=1`."""
    return rest.partition(":")[2].strip().partition(" ")[0]


class Server(asyncore.dispatcher):
    """Listens."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__()
        self.context = context
        self.create_socket()
        self.set_reuse_addr()
        self.bind((host, port))
        self.listen(100)

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        """Serve a client. For TLS from the first byte on, `create_server(…, tls=)` would be used instead.

        A `start_tls` here would come too late for the greeting.
        """
        Session(sock, self.context)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A mail server with STARTTLS.")
    parser.add_argument("certificate", metavar="CERT", help="a file in PEM format")
    parser.add_argument("key", metavar="KEY", help="the file of its key")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; default: %(default)s")
    parser.add_argument(
        "--port", type=int, default=8025, help="0 takes any that is free; default: %(default)s"
    )
    options = parser.parse_args()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.key)
    server = Server(options.host, options.port, context)
    try:
        print("listening on {} port {}".format(*server.socket.getsockname()), flush=True)
        asyncore.loop()
    except KeyboardInterrupt:
        asyncore.close_all()


if __name__ == "__main__":
    main()
