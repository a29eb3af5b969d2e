"""What training steps add to a process's memory, and what an installation adds to the disk.

Each library has processes of its own, `python -m bench.footprint MODULE WORKLOAD`, which print the
growth of the peak. They warm up with steps of a batch of one, which load all code, so that what
grows is the step's own: its arrays, its records, its adjoints.
"""

import json
import re
import sys
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from time import perf_counter

from bench.environment import limit_threads
from bench.figures import Figure
from bench.memory import MEBIBYTE, resident
from bench.session import Session, load
from bench.subprocesses import run_python, take_turns

BUILDERS = {
    "mlp": ("bench.workloads.mlp", "mlp", 128),
    "lenet": ("bench.workloads.lenet", "lenet", 64),
    "gpt": ("bench.workloads.gpt", "gpt", 8),
    "lstm": ("bench.workloads.lstm", "lstm", 16),
}
"""Module, function and batch."""

WARM_UP, STEPS = 1.0, 10
"""Seconds of the warm-up; steps in which the peak is found."""


def growth(module: str, workload: str) -> float:
    """The MB by which a step's peak exceeds what the process had when all was in place."""
    tg = load(module)
    place, function, batch = BUILDERS[workload]
    build = getattr(import_module(place), function)
    warm = build(tg, batch=1)
    start = perf_counter()
    while perf_counter() - start < WARM_UP:
        warm.sample()
    program = build(tg, batch=batch)
    before = resident()
    forget_peak()
    for _ in range(STEPS):
        program.sample()
    return resident(peak=True) - before


def forget_peak() -> None:
    """Let Linux measure the process's peak from here."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")


def distributions(name: str, found: dict[str, metadata.Distribution]) -> None:
    """Add a distribution to those found, and what it requires."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found:
        return
    try:
        found[key] = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return  # required on other systems only
    for requirement in found[key].requires or ():
        if "extra ==" not in requirement:
            distributions(re.split(r"[^\w.-]", requirement, maxsplit=1)[0], found)


def installed(name: str, requires: tuple[str, ...] = ()) -> float:
    """The MB of a library with all that it requires; of a source tree, the package alone."""
    found: dict[str, metadata.Distribution] = {}
    for each in (name, *requires):
        distributions(each, found)
    files = {
        Path(str(dist.locate_file(file))).resolve()
        for dist in found.values()
        for file in dist.files or ()
    }
    if name not in found:
        folder = Path(str(import_module(name).__file__)).parent
        files.update(folder.rglob("*.py*"))
    return sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc") / MEBIBYTE


def run(session: Session) -> list[Figure]:
    figures = []
    for workload in BUILDERS:
        kinds = {
            label: partial(run_python, ["-m", "bench.footprint", module, workload])
            for label, module in session.torch_like.items()
        }
        outcomes, errors = take_turns(kinds, session.processes)
        for label, error in errors.items():
            session.fail("footprint", label, error)
        samples = {
            label: [json.loads(finished.output) for finished in taken]
            for label, taken in outcomes.items()
        }
        row = f"peak growth, {workload}"
        figures.append(Figure("footprint", row, "MB", samples, session.subject, "torch", goal=1.0))
    needs = ("numpy", "scipy", "numba")
    sizes = {session.subject: [installed(session.subject_module, needs)]}
    sizes |= {peer: [installed(peer)] for peer in session.peers}
    figures.append(Figure("footprint", "installed", "MB", sizes, session.subject, "torch"))
    return figures


if __name__ == "__main__":
    limit_threads(1)
    print(json.dumps(growth(sys.argv[1], sys.argv[2])))
