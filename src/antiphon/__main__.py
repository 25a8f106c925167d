"""`python -m antiphon`, the same as the command `antiphon`."""

import sys

from antiphon.tools.command_line import main

if __name__ == "__main__":
    sys.exit(main())
