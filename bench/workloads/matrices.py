"""Linear layers' products of matrices beside NumPy's BLAS and torch's: sizes that layers have."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.figures import Figure
from bench.harness import Gradients, Program, assert_gradients_agree, clock, measure
from bench.session import Session, load

#: Rows, inputs and outputs of a layer, float32.
SIZES = (
    *((8, 784, 256), (16, 64, 256), (128, 784, 256), (512, 64, 256), (512, 256, 64)),
    (512, 512, 512),
)
#: Products of elements in a sample of one size.
WORK = 1 << 28


def operands(sizes: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, inner, columns = sizes
    random = np.random.default_rng(0)
    shapes = (rows, inner), (columns, inner), (columns,)
    x, weight, bias = (random.standard_normal(shape, dtype=np.float32) for shape in shapes)
    return x, weight, bias


def name_of(sizes: tuple[int, int, int]) -> str:
    rows, inner, columns = sizes
    return f"{rows} rows, {inner} to {columns}"


def program(linear: Callable[..., Any], tensor: Callable[[np.ndarray], Any]) -> Program:
    """Each size in turn: ``linear(x, weight, bias)`` of what ``tensor`` makes of the arrays."""
    given = {sizes: [tensor(array) for array in operands(sizes)] for sizes in SIZES}

    def sample() -> dict[str, float]:
        spent = {}
        for sizes, arrays in given.items():
            repeats = max(WORK // int(np.prod(sizes)), 1)
            start = clock.now()
            for _ in range(repeats):
                linear(*arrays)
            spent[name_of(sizes)] = (clock.now() - start) / repeats
        return spent

    def results() -> Gradients:
        return [np.asarray(linear(*arrays)) for arrays in given.values()]

    return Program(sample, results)


def of_numpy(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    out = x @ weight.T
    out += bias
    return out


def run(session: Session) -> list[Figure]:
    """Time all libraries in turn, whose results must agree with torch's."""
    programs = {"numpy": program(of_numpy, np.asarray)}
    for label, module in session.torch_like.items():
        library = load(module)
        programs[label] = program(library.nn.functional.linear, library.tensor)
    expected = programs["torch" if "torch" in programs else "numpy"].gradients()
    for made in programs.values():
        assert_gradients_agree(made.gradients(), expected)
    samples = measure(programs, session.rounds)
    return [
        Figure(
            "matrices",
            phase,
            "us",
            {name: [ns / 1e3 for ns in taken] for name, taken in by_name.items()},
            session.subject,
            "torch",
        )
        for phase, by_name in samples.items()
    ]
