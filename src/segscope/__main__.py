"""`python -m segscope`: the command line, whatever is installed."""

import sys

from segscope.cli import main

sys.exit(main())
