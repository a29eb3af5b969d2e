"""Interleaved timing: every library runs the same workload in turn, in one process.

A `Program` is what one library runs. `measure` takes one sample of every program a round, in an
order that turns round every round, so that a noisy neighbour or a change of clock speed meets all
of them alike. Python's garbage collector stays on; it is run to the end before each sample, so that
no library collects what another one left.

    programs = {"tapegrad": build(tapegrad), "torch": build(torch)}
    assert_gradients_agree(programs["tapegrad"].gradients(), programs["torch"].gradients())
    samples = measure(programs, rounds=9)     # samples["forward"]["torch"]: ns, one a round
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np

Gradients = list[np.ndarray]
Samples = dict[str, dict[str, list[float]]]
"""By phase, then by library: nanoseconds, one sample a round."""

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-9}


@dataclass(frozen=True)
class Program:
    """A workload in one library: `sample` runs it once and times its phases, in nanoseconds."""

    sample: Callable[[], dict[str, float]]
    gradients: Callable[[], Gradients]


def forward_backward(
    forward: Callable[[], Any], backward: Callable[[Any], Any], collect: Callable[[], Gradients]
) -> Program:
    """A program of phases "forward", "backward", "free" (dropping the loss) and "all" (their sum).

    `forward` returns what `backward` takes; `collect` returns the gradients and clears them, which
    is not timed.
    """

    def sample() -> dict[str, float]:
        start = perf_counter_ns()
        loss = forward()
        recorded = perf_counter_ns()
        backward(loss)
        replayed = perf_counter_ns()
        del loss
        freed = perf_counter_ns()
        collect()
        return {
            "forward": recorded - start,
            "backward": replayed - recorded,
            "free": freed - replayed,
            "all": freed - start,
        }

    def gradients() -> Gradients:
        backward(forward())
        return collect()

    return Program(sample, gradients)


def repeated(
    step: Callable[[], Any], repeats: int, gradients: Callable[[], Gradients], phase: str = "step"
) -> Program:
    """A program of one phase: `step`, too short for a clock, `repeats` times a sample."""

    def sample() -> dict[str, float]:
        start = perf_counter_ns()
        for _ in range(repeats):
            step()
        return {phase: perf_counter_ns() - start}

    return Program(sample, gradients)


def take_gradients(leaves: Sequence[Any]) -> Gradients:
    """The gradients of torch-like leaves as arrays of their own; the leaves' are cleared."""
    arrays = [np.array(leaf.grad.numpy()) for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    return arrays


def assert_gradients_agree(actual: Gradients, expected: Gradients) -> None:
    """Raise AssertionError unless shapes, dtypes and values (to a few roundings) are the same."""
    assert len(actual) == len(expected), f"{len(actual)} gradients, {len(expected)} expected"
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape, f"a gradient of shape {one.shape}, not {other.shape}"
        assert one.dtype == other.dtype, f"a gradient of {one.dtype}, not {other.dtype}"
        assert np.isfinite(other).all(), "the workload's own gradients aren't finite"
        np.testing.assert_allclose(one, other, rtol=TOLERANCE[other.dtype])


def measure(programs: dict[str, Program], rounds: int) -> Samples:
    """Sample all programs in turn, `rounds` times after a warm-up round that is thrown away."""
    samples: Samples = {}
    names = list(programs)
    for turn in range(rounds + 1):
        for name in names if turn % 2 else reversed(names):
            gc.collect()
            for phase, elapsed in programs[name].sample().items():
                if turn > 0:
                    samples.setdefault(phase, {}).setdefault(name, []).append(elapsed)
    return samples
