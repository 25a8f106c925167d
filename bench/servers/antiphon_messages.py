"""antiphon.MessageChannel: one call for all the messages that a read completes."""

from _application import Zeros
from _listening import parser, serve

from antiphon import MessageChannel, asyncore


class Channel(MessageChannel):
    """Answers the lines of a read with one push."""

    max_message_size = 16 << 20
    in_body = False

    def __init__(self, sock: object) -> None:
        super().__init__(sock)
        self.set_terminator(b"\r\n")

    def messages_received(self, messages: list[bytes]) -> int | None:
        """Answer up to the first message that changes the terminator; returns how many those are."""
        if self.in_body:
            self.in_body = False
            self.set_terminator(b"\r\n")
            self.push(b"OK %d\r\n" % len(messages[0]))
            return 1
        replies: list[bytes] = []
        used = 0
        for line in messages:
            used += 1
            command = line[:4]
            if len(line) > 4096:
                replies.append(b"LEN %d" % len(line))
            elif command == b"PUT ":
                self.in_body = True
                self.set_terminator(int(line[4:]))
                break
            elif command == b"GET ":
                self.answer(replies)
                replies = []
                self.push_with_producer(Zeros(int(line[4:])))
            else:
                replies.append(line)
        self.answer(replies)
        return used

    def answer(self, replies: list[bytes]) -> None:
        """Push what there is, each reply with its CR LF."""
        if replies:
            replies.append(b"")
            self.push(b"\r\n".join(replies))


serve(asyncore, Channel, parser().parse_args().port)
