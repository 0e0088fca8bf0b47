"""``python -m timelog``: the command line."""

import sys

from timelog.cli import main

if __name__ == "__main__":
    sys.exit(main())
