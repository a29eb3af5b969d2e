"""What each step of the recording path costs: the price list of everything done per operation.

Statements are timed in a loop whose own cost is taken off. The ratio is to `np.multiply` on 10
float64 in the same round, the one step that no library of Python over NumPy can do without.
"""

import gc
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from threading import local
from timeit import Timer
from typing import Any

import numpy as np

from bench.figures import Figure
from bench.harness import Gradients, Program, measure
from bench.session import Session, load

NUMBER, REPEATS = 10_000, 5
PHASE = "step"
EMPTY, BASELINE = "pass", "np.multiply"


class Slotted:
    """A Tensor-like object of four fields."""

    __slots__ = ("data", "grad", "place", "requires_grad")

    def __init__(self, data: Any, place: Any) -> None:
        self.data = data
        self.place = place
        self.grad = None
        self.requires_grad = True


class Mode(local):
    """A recording mode per thread."""

    recording = True


@dataclass(frozen=True)
class Step:
    """A statement; `setup` makes its local variables, `mode` is entered around the loop."""

    statement: str
    setup: str = ""
    names: Mapping[str, Any] = field(default_factory=dict)
    mode: Callable[[], AbstractContextManager[Any]] = nullcontext

    def program(self) -> Program:
        # Timer turns the collector off; a setup may turn it on again.
        timer = Timer(
            self.statement, f"gc.enable()\n{self.setup}", globals={"gc": gc, **self.names}
        )

        def sample() -> dict[str, float]:
            with self.mode():
                return {PHASE: sum(timer.repeat(REPEATS, NUMBER)) * 1e9 / (REPEATS * NUMBER)}

        return Program(sample, no_gradients)


def no_gradients() -> Gradients:
    return []


def python_steps() -> dict[str, Step]:
    """The steps in Python and NumPy, as a reader would write them."""
    x, y = np.linspace(0.5, 1.5, 10), np.linspace(0.99, 1.01, 10)
    arrays = {"x": x, "y": y, "multiply": np.multiply, "out": np.empty(10), "ndarray": np.ndarray}
    objects = {"Slotted": Slotted, "mode": Mode(), "x": x}
    one, kept = "o = object()", "o = object(); append = [].append"
    nine = "(o, o, o, o, o, o, o, o, o)"
    return {
        BASELINE: Step("multiply(x, y)", names=arrays),
        "np.multiply into out=": Step("multiply(x, y, out=out)", names=arrays),
        "x * y of arrays": Step("x * y", names=arrays),
        "slotted object, 4 fields set": Step("Slotted(x, None)", names=objects),
        "slotted object, by __new__": Step("new(Slotted)", "new = Slotted.__new__", objects),
        "9-tuple, dropped": Step(nine, one),
        "9-tuple, appended and kept": Step(f"append({nine})", kept),
        "list append": Step("append(o)", kept),
        "next(counter)": Step("next(counter)", names={"counter": count()}),
        "read a slot": Step("o.data", "o = Slotted(x, None)", objects),
        "read a thread's mode": Step("mode.recording", names=objects),
        "x.dtype is y.dtype": Step("x.dtype is y.dtype", names=arrays),
        "x.shape == y.shape": Step("x.shape == y.shape", names=arrays),
        "x.ndim": Step("x.ndim", names=arrays),
        "type(x) is ndarray": Step("type(x) is ndarray", names=arrays),
        "isinstance(x, ndarray)": Step("isinstance(x, ndarray)", names=arrays),
        "call f(a, b)": Step("f(o, o)", one, {"f": first}),
    }


def first(a: Any, b: Any) -> Any:
    """The least that a function of two arguments does."""
    return a


def library_steps(tg: Any) -> dict[str, Step]:
    """One multiplication of tensors, in the three modes an operator can be called in."""
    constant, factor = tg.tensor(np.linspace(0.5, 1.5, 10)), tg.tensor(np.linspace(0.99, 1.01, 10))
    leaf = tg.tensor(np.linspace(0.5, 1.5, 10), requires_grad=True)
    return {
        "x * y under no_grad": Step("x * y", "", {"x": leaf, "y": factor}, tg.no_grad),
        "x * y, no gradient asked": Step("x * y", "", {"x": constant, "y": factor}),
        "x * y recorded": Step("x * y", "", {"x": leaf, "y": factor}),
    }


def timed(programs: dict[str, Program], rounds: int) -> dict[str, list[float]]:
    """Each program's samples, without the cost of the loop around its statement."""
    samples = measure({EMPTY: Step("pass").program(), **programs}, rounds)[PHASE]
    loop = samples.pop(EMPTY)
    return {
        name: [max(ns - idle, 0.0) for ns, idle in zip(taken, loop, strict=True)]
        for name, taken in samples.items()
    }


def run(session: Session) -> list[Figure]:
    """Time all steps in turn; then the libraries' operations, compared with torch's."""
    net = timed({name: step.program() for name, step in python_steps().items()}, session.rounds)
    steps = [
        Figure("fields", name, "ns", {"step": taken, BASELINE: net[BASELINE]}, "step", BASELINE)
        for name, taken in net.items()
    ]
    operations: dict[str, dict[str, Program]] = {}
    for label, module in session.torch_like.items():
        try:
            for row, step in library_steps(load(module)).items():
                program = step.program()
                program.sample()
                operations.setdefault(row, {})[label] = program
        except Exception as error:
            session.fail("fields", label, error)
    return steps + [
        Figure("fields", row, "ns", timed(programs, session.rounds), session.subject, "torch")
        for row, programs in operations.items()
    ]
