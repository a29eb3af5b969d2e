"""The command line: which workloads, in which libraries, how often, and where the figures go."""

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from importlib.util import find_spec
from pathlib import Path
from time import process_time_ns

from bench import report
from bench.environment import describe
from bench.figures import Figure
from bench.harness import clock
from bench.session import PEERS, Session
from bench.workloads import OPTIONAL, WORKLOADS

FEW_ROUNDS = 7
FEW_PROCESSES = 5
TORCH_THREADS = "in large workloads torch has the better of 1 and so many (all cores)"
CPU = "count processor time, which a busy machine doesn't disturb; one thread for everyone"
ALL = {**WORKLOADS, **OPTIONAL}
ONLY = f"one workload; may be repeated: {', '.join(ALL)}"


def names(text: str) -> tuple[str, ...]:
    """The peers of a comma-separated list."""
    peers = tuple(dict.fromkeys(text.split(",")))
    if unknown := [peer for peer in peers if peer not in PEERS]:
        raise ArgumentTypeError(f"no such peer: {', '.join(unknown)}")
    return peers


def options(arguments: list[str]) -> Namespace:
    parser = ArgumentParser("python -m bench", description="Measure tapegrad beside torch.")
    add = parser.add_argument
    add("--only", action="append", choices=ALL, metavar="NAME", help=ONLY)
    add("--rounds", type=int, default=9, help="samples in this process (9)")
    add("--processes", type=int, default=5, help="processes for memory and startup (5)")
    add("--peers", type=names, default="torch", help=f"of {','.join(PEERS)} (torch)")
    add("--subject", default="tapegrad", help="the module under test; torch shows the noise")
    add("--json", type=Path, metavar="FILE", help="write all samples")
    add("--compare", type=Path, metavar="FILE", help="show what is slower than in a stored --json")
    add("--plot", type=Path, metavar="FILE.svg", help="draw the ratios (needs matplotlib)")
    add("--threads", type=int, default=1, help="threads of each library (1)")
    add("--cpu", action="store_true", help=CPU)
    add("--torch-threads", type=int, default=os.cpu_count(), help=TORCH_THREADS)
    chosen = parser.parse_args(arguments)
    counts = (chosen.rounds, chosen.processes, chosen.threads, chosen.torch_threads)
    if min(counts) < 1:
        parser.error("--rounds, --processes and threads are at least 1")
    if chosen.cpu:
        clock.now = process_time_ns
        chosen.threads = chosen.torch_threads = 1
    if chosen.plot and not find_spec("matplotlib"):
        parser.error("--plot needs matplotlib: pip install matplotlib")
    return chosen


def session_of(chosen: Namespace) -> Session:
    """Without the peers that aren't installed; a subject that could be one has another name."""
    installed = tuple(peer for peer in chosen.peers if find_spec(peer))
    subject = f"{chosen.subject} again" if chosen.subject in PEERS else chosen.subject
    session = Session(
        subject, chosen.subject, installed, chosen.rounds, chosen.processes, chosen.torch_threads
    )
    for peer in chosen.peers:
        if peer not in installed:
            session.note(f"{peer} isn't installed: skipped")
    return session


def main(arguments: list[str]) -> int:
    """Print a table a workload as soon as it is measured; 1 if a library failed in one."""
    chosen = options(arguments)
    before = report.load(chosen.compare) if chosen.compare else []
    session = session_of(chosen)
    libraries = list(dict.fromkeys((session.subject_module, *session.peers)))
    conditions = describe(libraries, chosen.threads)
    print("\n".join(f"{name}: {value}" for name, value in conditions.items()), flush=True)
    print(
        f"medians of {session.rounds} rounds, in memory and startup {session.processes} processes;"
    )
    kind = "processor time; " if chosen.cpu else ""
    print(f"{kind}in brackets the range of the ratio over the rounds", flush=True)
    figures: list[Figure] = []
    for name in chosen.only or WORKLOADS:
        measured = ALL[name](session)
        print(f"\n{report.tables(measured)}", flush=True)
        figures += measured
    if session.rounds < FEW_ROUNDS or session.processes < FEW_PROCESSES:
        session.note("too few rounds or processes for a claim")
    for line in (*session.notes, *(f"FAILED {failure}" for failure in session.failures)):
        print(f"\n{line}")
    if chosen.compare:
        print(f"\n{report.comparison(before, figures, session.subject)}")
    if chosen.json:
        report.save(chosen.json, conditions, figures)
    if chosen.plot:
        from bench.plot import draw

        draw(figures, chosen.plot)
    return 1 if session.failures else 0
