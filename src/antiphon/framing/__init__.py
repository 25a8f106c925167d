"""Bytes to messages: where one ends and what must wait for more.  No I/O."""

from antiphon.framing.delimiter import Resumed, prefix_at_end, resume

__all__ = ["Resumed", "prefix_at_end", "resume"]
