"""A workload: one program over a torch-like namespace, its rows, and its peers' own programs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

from threadpoolctl import threadpool_limits

from bench.figures import Figure
from bench.harness import Gradients, Program, Samples, assert_gradients_agree, measure
from bench.session import Session, load

THREADED = ", threaded"


@dataclass(frozen=True)
class Row:
    """A phase of the program as a row of the table: its time is divided by `per`."""

    phase: str
    unit: str
    per: float
    goal: float | None = None


@dataclass(frozen=True)
class Workload:
    """`build(tg)` makes tapegrad's program and torch's, `peers[name]()` another library's."""

    name: str
    rows: tuple[Row, ...]
    build: Callable[[Any], Program]
    peers: Mapping[str, Callable[[], Program]] = field(default_factory=dict)
    #: Torch-like libraries run with one thread and with all; the better of the two counts.
    large: bool = False

    def run(self, session: Session) -> list[Figure]:
        """Check that the libraries' gradients agree, then time those that do."""
        programs = self.agreeing(session, self.programs(session))
        if self.large and session.torch_threads > 1:
            for label, module in session.torch_like.items():
                if label in programs:
                    library = load(module)
                    program = threaded(library, self.build(library), session.torch_threads)
                    programs[label + THREADED] = program
        samples = keep_better(measure(programs, session.rounds))
        return [
            Figure(
                self.name,
                row.phase,
                row.unit,
                {name: [ns / row.per for ns in taken] for name, taken in by_name.items()},
                session.subject,
                "torch",
                row.goal,
            )
            for row in self.rows
            if (by_name := samples.get(row.phase))
        ]

    def programs(self, session: Session) -> dict[str, Program]:
        """What each library runs: the one program over its namespace, or one of its own."""
        makers: dict[str, Callable[[], Program]] = {
            label: partial(self.build_over, module) for label, module in session.torch_like.items()
        }
        for peer in session.others:
            if peer in self.peers:
                makers[peer] = self.peers[peer]
            else:
                session.note(f"{self.name} has no program for {peer}")
        programs = {}
        for label, make in makers.items():
            try:
                programs[label] = make()
            except Exception as error:
                session.fail(self.name, label, error)
        return programs

    def build_over(self, module: str) -> Program:
        return self.build(load(module))

    def agreeing(self, session: Session, programs: dict[str, Program]) -> dict[str, Program]:
        """The programs whose gradients are torch's (without torch: the first program's)."""
        gradients: dict[str, Gradients] = {}
        for name, program in programs.items():
            try:
                gradients[name] = program.gradients()
            except Exception as error:
                session.fail(self.name, name, error)
        reference = gradients.get("torch") or next(iter(gradients.values()), [])
        agreed = {}
        for name, computed in gradients.items():
            try:
                assert_gradients_agree(computed, reference)
            except AssertionError as error:
                session.fail(self.name, name, error)
            else:
                agreed[name] = programs[name]
        return agreed


def threaded(library: Any, program: Program, count: int) -> Program:
    """A library's program, with so many threads; NumPy's BLAS, which has its own, with as many."""

    def sample() -> dict[str, float]:
        library.set_num_threads(count)
        try:
            with threadpool_limits(count, "blas"):
                program.sample()  # a pool of another size is begun anew
                return program.sample()
        finally:
            library.set_num_threads(1)

    return Program(sample, program.gradients)


def keep_better(samples: Samples) -> Samples:
    """Let a library's samples be those with threads if it took less time with them."""
    phases = list(samples.values())
    total = samples.get("all", phases[0])
    for name in [n for n in total if n.endswith(THREADED)]:
        alone = name.removesuffix(THREADED)
        better = median(total[name]) < median(total[alone])
        for by_name in phases:
            others = by_name.pop(name)
            if better:
                by_name[alone] = others
    return samples
