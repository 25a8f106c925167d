"""`python -m fuzz`: what scripts/fuzz calls when it has made what is needed."""

import sys

from fuzz.command_line import main

sys.exit(main())
