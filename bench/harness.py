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


class Clock:
    """What the samples read: the wall's time, or what `now` is set to."""

    now: Callable[[], int] = staticmethod(perf_counter_ns)


clock = Clock()

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-9}
"""Of a gradient, in parts of its largest element."""


@dataclass(frozen=True)
class Program:
    """A workload in one library: `sample` runs it once and times its phases, in nanoseconds."""

    sample: Callable[[], dict[str, float]]
    gradients: Callable[[], Gradients]


def forward_backward(
    forward: Callable[[], Any],
    backward: Callable[[Any], Any],
    collect: Callable[[], Gradients],
    *,
    update: Callable[[], Any] | None = None,
    clear: Callable[[], Any] | None = None,
    repeats: int = 1,
) -> Program:
    """A program of phases "forward", "backward", "free" (dropping the loss) and "all" (their sum).

    `forward` returns what `backward` takes; `collect` returns the gradients and clears them.
    `update` is a phase of its own, within "all". `clear`, by default `collect`, ends each of the
    `repeats` steps of a sample and isn't timed.
    """
    clear = clear or collect

    def sample() -> dict[str, float]:
        spent = {"forward": 0, "backward": 0, "free": 0, "update": 0}
        for _ in range(repeats):
            start = clock.now()
            loss = forward()
            recorded = clock.now()
            backward(loss)
            replayed = clock.now()
            del loss
            freed = clock.now()
            if update is not None:
                update()
            updated = clock.now()
            clear()
            spent["forward"] += recorded - start
            spent["backward"] += replayed - recorded
            spent["free"] += freed - replayed
            spent["update"] += updated - freed
        spent["all"] = sum(spent.values())
        return {phase: elapsed / repeats for phase, elapsed in spent.items()}

    def gradients() -> Gradients:
        backward(forward())
        return collect()

    return Program(sample, gradients)


def repeated(
    step: Callable[[], Any], repeats: int, gradients: Callable[[], Gradients], phase: str = "step"
) -> Program:
    """A program of one phase: `step`, too short for a clock, `repeats` times a sample."""

    def sample() -> dict[str, float]:
        start = clock.now()
        for _ in range(repeats):
            step()
        return {phase: clock.now() - start}

    return Program(sample, gradients)


def training(
    tg: Any,
    leaves: Sequence[Any],
    loss_of: Callable[[], Any],
    *,
    rate: float = 0.0,
    repeats: int = 1,
) -> Program:
    """A step over torch-like leaves: `loss_of()`, its gradients, and with a rate also SGD's update.

    Gradients are set to None after each step.
    """

    def backward(loss: Any) -> None:
        loss.backward()

    def update() -> None:
        with tg.no_grad():
            for leaf in leaves:
                leaf -= rate * leaf.grad

    def clear() -> None:
        for leaf in leaves:
            leaf.grad = None

    def collect() -> Gradients:
        return take_gradients(leaves)

    return forward_backward(
        loss_of, backward, collect, update=update if rate else None, clear=clear, repeats=repeats
    )


def take_gradients(leaves: Sequence[Any]) -> Gradients:
    """The gradients of torch-like leaves as arrays of their own; the leaves' are cleared."""
    arrays = [np.array(leaf.grad.numpy()) for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    return arrays


def assert_gradients_agree(actual: Gradients, expected: Gradients) -> None:
    """Raise AssertionError unless shapes, dtypes and values (to some roundings) are the same."""
    assert len(actual) == len(expected), f"{len(actual)} gradients, {len(expected)} expected"
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape, f"a gradient of shape {one.shape}, not {other.shape}"
        assert one.dtype == other.dtype, f"a gradient of {one.dtype}, not {other.dtype}"
        assert np.isfinite(other).all(), "the workload's own gradients aren't finite"
        tolerance = TOLERANCE[other.dtype]
        largest = abs(other).max(initial=0.0)
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * largest)


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
