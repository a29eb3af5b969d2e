"""L-BFGS: steps along an estimate of Newton's direction, made of past steps and gradients.

The direction is the two-loop recursion of Nocedal (1980); the line search finds a step with the
strong Wolfe conditions by cubic interpolation (Nocedal & Wright, Numerical Optimization, 2006,
algorithms 3.5 and 3.6), with the safeguards of Schmidt's minFunc, which torch uses as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapegrad.modes import enable_grad, no_grad
from tapegrad.optim.optimizer import Optimizer, as_real, check_settings
from tapegrad.storage import stamp
from tapegrad.tape import tape
from tapegrad.tensor import Tensor, from_array

__all__ = ["LBFGS"]


@dataclass
class Point:
    """Where the line search has been: step, loss, gradient and slope along the direction."""

    t: float
    loss: float
    grad: np.ndarray
    slope: float


class LBFGS(Optimizer):
    """Limited-memory BFGS, whose ``step`` calls ``closure`` as often as it needs to.

    Args:
        params: one group of parameters.
        lr: the length of a step, in units of the direction that is estimated.
        max_iter: the most iterations of a step.
        max_eval: the most calls of the closure in a step. Default: ``max_iter * 5 // 4``.
        tolerance_grad: end where no element of the gradient is larger.
        tolerance_change: end where neither loss nor parameters change by more.
        history_size: how many past steps make the estimate.
        line_search_fn: "strong_wolfe", or None for steps of length ``lr``.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_settings({"lr": lr})
        defaults: dict[str, Any] = {"lr": lr, "max_iter": max_iter}
        defaults["max_eval"] = max_iter * 5 // 4 if max_eval is None else max_eval
        defaults |= {"tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change}
        defaults |= {"history_size": history_size, "line_search_fn": line_search_fn}
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def _gradient(self) -> np.ndarray:
        parts = []
        for p in self._params:
            array = np.zeros_like(p._array) if p.grad is None else p.grad._array
            parts.append(as_real(array).reshape(-1))
        return np.concatenate(parts)

    def _move(self, start: list[np.ndarray] | None, t: float, direction: np.ndarray) -> None:
        """Set the parameters to ``t * direction`` from a start, or from where they are."""
        offset = 0
        for i, p in enumerate(self._params):
            x = as_real(p._array)
            if start is not None:
                np.copyto(p._array, start[i])
            part = direction[offset : offset + x.size].reshape(x.shape)
            x += (part * t).astype(x.dtype, copy=False)
            offset += x.size
            stamp(p._array, tape.next_serial())

    def step(self, closure: Any = None) -> Any:
        """Make up to ``max_iter`` iterations; return the loss before them."""
        if closure is None:
            raise TypeError("LBFGS.step() missing 1 required positional argument: 'closure'")

        def evaluate() -> Any:
            with enable_grad():
                return closure()

        with no_grad(), np.errstate(all="ignore"):
            loss = self._step(evaluate)
        self._steps += 1
        return loss

    def _step(self, evaluate: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr, change = float(group["lr"]), group["tolerance_change"]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = evaluate()
        loss = float(first_loss)
        state["func_evals"] += 1
        evaluations = 1
        grad = self._gradient()
        if np.abs(grad).max() <= group["tolerance_grad"]:
            return first_loss
        memory = _Memory(state, group["history_size"])
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = memory.direction(grad)
            before, previous_loss = grad, loss
            t = lr
            if state["n_iter"] == 1:
                t *= min(1.0, 1.0 / float(np.abs(grad).sum()))
            slope = float(grad @ d)
            if slope > -change:
                memory.keep(d, t, before, previous_loss)
                break
            calls = 0
            if group["line_search_fn"] is not None:
                if group["line_search_fn"] != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                start = [p._array.copy() for p in self._params]

                def at(t: float, start: Any = start, d: Any = d) -> Point:
                    self._move(start, t, d)
                    loss = float(evaluate())
                    grad = self._gradient()
                    return Point(t, loss, grad, float(grad @ d))

                here = Point(0.0, loss, grad, slope)
                found, calls = strong_wolfe(
                    at, here, t, float(np.abs(d).max()), change, group["max_eval"] - evaluations
                )
                t, loss, grad = found.t, found.loss, found.grad
                self._move(start, t, d)
            else:
                self._move(None, t, d)
                if iteration != group["max_iter"]:
                    loss = float(evaluate())
                    grad = self._gradient()
                    calls = 1
            memory.keep(d, t, before, previous_loss)
            evaluations += calls
            state["func_evals"] += calls
            if (
                evaluations >= group["max_eval"]
                or np.abs(grad).max() <= group["tolerance_grad"]
                or np.abs(d * t).max() <= change
                or abs(loss - previous_loss) < change
            ):
                break
        return first_loss


class _Memory:
    """The estimate of the inverse Hessian, kept in the state of the first parameter."""

    def __init__(self, state: dict[str, Any], size: int) -> None:
        self.state = state
        self.size = size

    def keep(self, d: np.ndarray, t: float, grad: np.ndarray, loss: float) -> None:
        """Keep what an iteration did, for the next one, which may be in another step."""
        state = self.state
        state |= {"d": from_array(d), "t": t, "prev_flat_grad": from_array(grad)}
        state["prev_loss"] = loss

    def direction(self, grad: np.ndarray) -> np.ndarray:
        """Minus the estimate times the gradient, after learning from the last iteration."""
        state = self.state
        if "old_dirs" not in state:
            state |= {"old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1.0}
            return -grad
        y = grad - state["prev_flat_grad"]._array
        s = state["d"]._array * state["t"]
        curvature = float(y @ s)
        pasts = (state["old_dirs"], state["old_stps"], state["ro"])
        if curvature > 1e-10:
            for past, new in zip(pasts, (from_array(y), from_array(s), 1.0 / curvature)):
                if len(past) == self.size:
                    past.pop(0)
                past.append(new)
            state["H_diag"] = curvature / float(y @ y)
        past_triples = [(y._array, s._array, rho) for y, s, rho in zip(*pasts)]
        q = -grad
        factors = []
        for y, s, rho in reversed(past_triples):
            factors.append(float(s @ q) * rho)
            q -= factors[-1] * y
        q *= state["H_diag"]
        for (y, s, rho), factor in zip(past_triples, reversed(factors)):
            q += (factor - float(y @ q) * rho) * s
        return q


def interpolated(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """The minimum, within bounds, of the cubic with these values and slopes at two points.

    Nocedal & Wright, equation 3.59.
    """
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    if a.t > b.t:
        a, b = b, a
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = square**0.5
    denominator = b.slope - a.slope + 2 * d2
    if not denominator:
        return (low + high) / 2
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / denominator)
    return min(max(t, low), high)


def strong_wolfe(
    at: Callable[[float], Point],
    start: Point,
    t: float,
    largest: float,
    change: float,
    most: int,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[Point, int]:
    """A point with the strong Wolfe conditions, or the best one found; and how many were tried.

    Args:
        at: evaluates at a step.
        start: the point at step 0.
        t: the first step to try.
        largest: the largest element of the direction.
        change: end where the parameters would change by less.
        most: the most evaluations after the first.
        c1: the share of the first slope by which the loss must decrease.
        c2: the share of the first slope that may be left.
    """

    def too_high(point: Point) -> bool:
        return point.loss > start.loss + c1 * point.t * start.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    before, point = start, at(t)
    tried, count = 1, 0
    bracket = None
    while count < most:
        if too_high(point) or (count > 1 and point.loss >= before.loss):
            bracket = [before, point]
            break
        if flat(point):
            return point, tried
        if point.slope >= 0:
            bracket = [before, point]
            break
        bounds = (point.t + 0.01 * (point.t - before.t), point.t * 10)
        t = interpolated(before, point, bounds)
        before, point = point, at(t)
        tried, count = tried + 1, count + 1
    if bracket is None:
        bracket = [start, point]
    bracket.sort(key=lambda p: p.loss)
    stuck = False
    while count < most:
        low, high = bracket
        if abs(high.t - low.t) * largest < change:
            break
        t = interpolated(low, high)
        # Not too near to an end of the bracket twice in a row.
        least, most_t = sorted((low.t, high.t))
        margin = 0.1 * (most_t - least)
        if min(most_t - t, t - least) < margin:
            if stuck or t >= most_t or t <= least:
                near_top = abs(t - most_t) < abs(t - least)
                t = most_t - margin if near_top else least + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        point = at(t)
        tried, count = tried + 1, count + 1
        if too_high(point) or point.loss >= low.loss:
            bracket = sorted((low, point), key=lambda p: p.loss)
            continue
        if flat(point):
            return point, tried
        if point.slope * (high.t - low.t) >= 0:
            high = low
        bracket = [point, high]
    return bracket[0], tried
