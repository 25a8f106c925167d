"""A kit for tests of programs on antiphon, and of antiphon itself.

Time that passes when told, kernels that do what a script says, and the conformance suite of pollers.
Imported by tests only.
"""

from antiphon.testing.clock import FakeClock, SilentPoller
from antiphon.testing.poller import check_poller

__all__ = ["FakeClock", "SilentPoller", "check_poller"]
