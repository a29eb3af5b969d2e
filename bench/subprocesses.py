"""Measurements that need a process of their own: start it, time it whole, read what it prints."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 600


@dataclass(frozen=True)
class Finished:
    """What a process wrote to its standard output, and how long it lived."""

    output: str
    nanoseconds: int


def run_python(arguments: list[str], variables: Mapping[str, str] | None = None) -> Finished:
    """Run this Python in the repository's root; RuntimeError if it fails or takes too long."""
    start = perf_counter_ns()
    try:
        process = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **(variables or {})},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not done after {SECONDS} s") from None
    elapsed = perf_counter_ns() - start
    if process.returncode:
        lines = process.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit status {process.returncode}")
    return Finished(process.stdout, elapsed)


def take_turns(
    kinds: Mapping[str, Callable[[], Finished]], rounds: int
) -> tuple[dict[str, list[Finished]], dict[str, RuntimeError]]:
    """Run each kind of process `rounds` times, in turn, after a first time that isn't kept.

    The order turns round every round. A kind that fails is not run again: it has an error, and no
    outcomes.
    """
    outcomes: dict[str, list[Finished]] = {name: [] for name in kinds}
    errors: dict[str, RuntimeError] = {}
    for turn in range(rounds + 1):
        for name in list(kinds) if turn % 2 else reversed(list(kinds)):
            if name in errors:
                continue
            try:
                finished = kinds[name]()
            except RuntimeError as error:
                errors[name] = error
                del outcomes[name]
            else:
                if turn > 0:
                    outcomes[name].append(finished)
    return outcomes, errors
