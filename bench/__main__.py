"""The command: `python -m bench [--only NAME] [--rounds N] ...`."""

import sys
from argparse import ArgumentParser

from bench.environment import limit_threads


def start() -> int:
    """Set every library's threads, and only then import what imports NumPy."""
    early = ArgumentParser(add_help=False)
    early.add_argument("--threads", type=int, default=1)
    limit_threads(early.parse_known_args()[0].threads)
    from bench.command import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(start())
