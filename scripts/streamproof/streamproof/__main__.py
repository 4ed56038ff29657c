"""Lets `python -m streamproof` do what the command does."""

import sys

from streamproof.cli import main

sys.exit(main())
