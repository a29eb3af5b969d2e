"""A tape of 1,000,000 records: the time to record, replay and free it, and the peak of memory.

Each library has processes of its own, `python -m bench.memory MODULE RECORDS`, which print JSON. So
the times are those of a process in which no other library's objects burden Python's garbage
collector.
"""

import gc
import json
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from bench.environment import limit_threads
from bench.figures import Figure
from bench.session import Session, free_tape, load
from bench.subprocesses import run_python, take_turns

RECORDS = 1_000_000
MEBIBYTE = 2**20
ROWS = {
    "record": ("ns/record", None),
    "replay": ("ns/record", None),
    "free": ("ns/record", None),
    "peak": ("MB", 1.5),
    "growth": ("bytes/record", 0.6),
}
"""Unit and goal. "growth" is what the tape adds to the process."""


@dataclass(frozen=True)
class Report:
    """What one process measured, in the units of `ROWS`, and the gradient it found."""

    record: float
    replay: float
    free: float
    peak: float
    growth: float
    gradient: list[float]


def resident(peak: bool = False) -> float:
    """The memory of this process now, or at most so far, in MB (of 2**20 bytes).

    On Linux it is read from /proc: getrusage's peak begins with that of the process that started
    this one. Elsewhere only the peak is known.
    """
    status = Path("/proc/self/status")
    if status.exists():
        name = "VmHWM:" if peak else "VmRSS:"
        line = next(s for s in status.read_text().splitlines() if s.startswith(name))
        return int(line.split()[1]) / 1024
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / MEBIBYTE if sys.platform == "darwin" else used / 1024


def record(x: Any, factor: Any, records: int) -> Any:
    """The chain `y = y * factor`, `records` long."""
    y = x
    for _ in range(records):
        y = y * factor
    return y


def measure(module: str, records: int) -> Report:
    """Record, replay and free one long chain in this process."""
    import numpy as np

    tg = load(module)
    x = tg.tensor(np.linspace(0.5, 1.5, 10), requires_grad=True)
    factor = tg.tensor(np.linspace(0.99999, 1.00001, 10))
    ones = tg.ones(10, dtype=tg.float64)
    for _ in range(2):  # kernels are loaded, and the allocator has seen a tape
        record(x, factor, 10_000).backward(ones)
        x.grad = None
    gc.collect()
    before = resident()
    start = perf_counter_ns()
    y = record(x, factor, records)
    recorded = perf_counter_ns()
    y.backward(ones)
    replayed = perf_counter_ns()
    peak = resident(peak=True)
    freeing = perf_counter_ns()
    del y
    free_tape(tg)
    freed = perf_counter_ns()
    return Report(
        (recorded - start) / records,
        (replayed - recorded) / records,
        (freed - freeing) / records,
        peak,
        (peak - before) * MEBIBYTE / records,
        x.grad.tolist(),
    )


def run(session: Session) -> list[Figure]:
    """Run the libraries' processes in turn and compare their times, peaks and gradients."""
    import numpy as np

    kinds = {
        label: partial(run_python, ["-m", "bench.memory", module, str(RECORDS)])
        for label, module in session.torch_like.items()
    }
    outcomes, errors = take_turns(kinds, session.processes)
    for label, error in errors.items():
        session.fail("memory", label, error)
    reports = {
        label: [Report(**json.loads(finished.output)) for finished in taken]
        for label, taken in outcomes.items()
    }
    reference = reports.get("torch") or next(iter(reports.values()), [])
    for label, taken in list(reports.items()):
        try:
            np.testing.assert_allclose(taken[0].gradient, reference[0].gradient, rtol=1e-8)
        except AssertionError as error:
            session.fail("memory", label, error)
            del reports[label]
    return [
        Figure(
            "memory",
            row,
            unit,
            {label: [getattr(report, row) for report in taken] for label, taken in reports.items()},
            session.subject,
            "torch",
            goal,
        )
        for row, (unit, goal) in ROWS.items()
    ]


if __name__ == "__main__":
    limit_threads(1)
    print(json.dumps(asdict(measure(sys.argv[1], int(sys.argv[2])))))
