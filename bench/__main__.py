"""`python -m bench`: what scripts/bench calls when it has made what is needed."""

import sys

from bench.command_line import main

sys.exit(main())
