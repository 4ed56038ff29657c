"""Lets `python -m streamcheck` do what the command does."""

import sys

from streamcheck.cli import main

sys.exit(main())
