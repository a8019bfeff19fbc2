"""``python -m warpload``: the command line."""

from .cli import main

main()
