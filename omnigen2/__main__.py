"""`python -m omnigen2` is the command `omnigen2`."""

import sys

from omnigen2.cli import main

if __name__ == "__main__":
    sys.exit(main())
