"""Bytes to messages: where one ends and what must wait for more.  No I/O."""

from antiphon.errors import MessageIncomplete, MessageTooLong
from antiphon.framing.delimiter import Resumed, prefix_at_end, resume
from antiphon.framing.parser import MessageParser

__all__ = ["MessageIncomplete", "MessageParser", "MessageTooLong", "Resumed", "prefix_at_end", "resume"]
