"""The command: `python -m bench [--only NAME] [--rounds N] ...`."""

import sys

from bench.environment import one_thread


def start() -> int:
    """Limit every library to one thread, and only then import what imports NumPy."""
    one_thread()
    from bench.command import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(start())
