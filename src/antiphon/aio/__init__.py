"""antiphon and asyncio in one process."""

from antiphon.aio.attachment import Attachment, attach, running
from antiphon.aio.hosting import HostedLoop, run_in

__all__ = ["Attachment", "HostedLoop", "attach", "run_in", "running"]
