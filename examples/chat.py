"""A chat room for telnet.

    python examples/chat.py            in one terminal
    telnet 127.0.0.1 7000              in some others

Each guest is a channel: an object around one socket, whose methods are called when something happens to it.
All of them run in one thread, so a method must not wait; and since none is ever interrupted by another, none
needs a lock.
"""

import argparse
from typing import Any

from antiphon import asynchat, asyncore

LONGEST_NICKNAME = 20  # characters


# -- a guest -------------------------------------------------------------------------------------------------


class Guest(asynchat.async_chat):
    """The connection of one person: collects lines, and sends what others say."""

    # A peer decides how much it sends, and whether it reads what we send. What it can make grow has a bound.
    max_message_size = 1000  # bytes of a line
    max_outgoing = 100_000  # bytes that a guest has not read; then it is hung up on
    ac_in_buffer_size = 4096  # bytes that one guest has dealt with before the others have their turn

    def __init__(self, sock: Any, room: "Room", idle: float) -> None:
        super().__init__(sock)  # From here on the channel is in the map, and the loop watches its socket.
        self.room = room
        self.nickname = ""
        # A message ends where the terminator is found. telnet sends \r\n; the \r is stripped, as is space.
        self.set_terminator(b"\n")
        # Timers belong to the channel: when it closes, they are cancelled.
        self.idle_timer = self.call_later(idle, self.dismiss, "You have been silent for too long.")
        self.tell("Welcome. What is your nickname?")

    # Input comes in pieces of any size. These methods are called with each piece, and at the end of a line.

    def collect_incoming_data(self, data: bytes) -> None:
        """Keep a piece of a line that is still coming."""
        self._collect_incoming_data(data)

    def handle_overflow(self, error: Exception) -> None:
        """Deal with a line that is too long."""
        self.dismiss("That line was too long.")

    def found_terminator(self) -> None:
        """Deal with a whole line."""
        self.idle_timer.reset()
        line = self._get_data().decode("utf-8", "replace")
        # Nothing that would move another guest's cursor, or is telnet's own.
        line = "".join(character for character in line if character.isprintable()).strip()
        if line == "/quit":
            self.tell("Goodbye.")
            self.close_when_done()  # When "Goodbye." has left. Nothing that follows /quit is delivered.
        elif not self.nickname:
            self.enter(line)
        elif line == "/who":
            self.tell("Here: " + ", ".join(sorted(self.room.guests)))
        elif line:
            self.room.announce(f"{self.nickname}: {line}")

    def enter(self, nickname: str) -> None:
        """Come into the room, if the name is free."""
        if not nickname.isidentifier() or len(nickname) > LONGEST_NICKNAME:
            self.tell(f"A nickname has letters and digits, {LONGEST_NICKNAME} at most. What is yours?")
        elif nickname in self.room.guests:
            self.tell(f"{nickname} is here already. What is your nickname?")
        else:
            self.nickname = nickname
            self.room.guests[nickname] = self
            self.room.announce(f"{nickname} has joined. /who tells who is here, /quit leaves.")

    # Output: push() sends what the system takes now; the loop sends the rest as soon as it can.

    def tell(self, text: str) -> None:
        """Send a line."""
        self.push(text.encode() + b"\r\n")

    # The end. However it comes (the peer hangs up, the network fails, close_when_done() is through, a method
    # of this class raises), handle_close() is called, once.

    def handle_close(self) -> None:
        """Leave the room. It is told in a moment: this may happen in the middle of telling something else."""
        self.close()
        if self.room.guests.pop(self.nickname, None) is not None:
            self.room.call_later(0, self.room.announce, f"{self.nickname} has left.")

    def dismiss(self, reason: str) -> None:
        """Say why, and hang up without waiting for anything."""
        self.tell(reason)
        self.handle_close()


# -- the room ------------------------------------------------------------------------------------------------


class Room(asyncore.dispatcher):
    """The listening socket, and the guests by their names."""

    def __init__(self, host: str, port: int, idle: float) -> None:
        super().__init__()
        self.guests: dict[str, Guest] = {}
        self.idle = idle
        self.create_socket()
        self.set_reuse_addr()
        self.bind((host, port))
        self.listen(100)

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        """Receive somebody at the door. The map keeps the channel; when it closes, nothing is left of it."""
        Guest(sock, self, self.idle)

    def announce(self, text: str) -> None:
        """Tell everybody who has a name. From a copy of the list: telling a guest may be what ends it."""
        for guest in list(self.guests.values()):
            guest.tell(text)


# -- the program ---------------------------------------------------------------------------------------------


def main() -> None:
    """Open the room until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A chat room for telnet.")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; default: %(default)s")
    parser.add_argument(
        "--port", type=int, default=7000, help="0 takes any that is free; default: %(default)s"
    )
    parser.add_argument(
        "--idle", type=float, default=600, help="seconds of silence allowed; default: %(default)s"
    )
    options = parser.parse_args()
    room = Room(options.host, options.port, options.idle)
    try:
        print("listening on {} port {}".format(*room.socket.getsockname()), flush=True)
        asyncore.loop()  # Until no channel is left. The room is one, so that is until somebody stops it.
    except KeyboardInterrupt:
        asyncore.close_all()


if __name__ == "__main__":
    main()
