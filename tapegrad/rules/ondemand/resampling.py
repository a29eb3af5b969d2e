"""Linear maps along axes: averages over windows, interpolation, padding by repetition.

Each of these maps an axis by a sparse matrix. An `AxisMap` holds it as *taps*: of the results at
``goal`` each takes the element at ``source`` times ``weight``. What a map of several axes does, one
axis after the other, its transpose undoes; so one primitive is the rule of the other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.fused import fused
from tapegrad.primitive import Primitive, structural

ALL = slice(None)

#: One tap: where results go (a slice or an array of indices, none twice), where they come from (a
#: slice or an array), and their weights (an array, one for each, or None for 1).
Tap = tuple[Any, Any, Any]

#: Where the window of each result begins and ends, and by what its sum is multiplied.
Windows = tuple[np.ndarray, np.ndarray, np.ndarray]


class AxisMap:
    """A linear map from an axis of size ``inputs`` to one of size ``outputs``."""

    __slots__ = ("inputs", "outputs", "singles", "sums", "taps", "windows")

    def __init__(
        self, inputs: int, outputs: int, taps: list[Tap], windows: Windows | None = None
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.taps = taps
        #: What it is if all its results are sums over windows, each times a number.
        self.windows = windows
        #: The same with numbers in float32.
        self.singles = windows and (*windows[:2], windows[2].astype(np.float32))
        #: How the transpose adds up what a tap's source names more than once, as in `_summed`.
        self.sums = [_repeats(source) for _, source, _ in taps]

    def __repr__(self) -> str:
        return f"<{self.inputs} to {self.outputs} in {len(self.taps)} taps>"

    def apply(self, x: np.ndarray, axis: int) -> np.ndarray:
        """The map's value along an axis."""
        lead = (ALL,) * axis
        out: Any = None
        for goal, source, weight in self.taps:
            whole = type(goal) is slice and goal == ALL
            part = x[(*lead, source)] if type(source) is slice else x.take(source, axis)
            part = _weighted(part, weight, axis)
            if out is None and whole and part.base is None:
                out = part
                continue
            if out is None:
                out = np.zeros((*x.shape[:axis], self.outputs, *x.shape[axis + 1 :]), x.dtype)
            out[(*lead, goal)] += part
        return out

    def transposed(self, x: np.ndarray, axis: int) -> np.ndarray:
        """The transpose's value along an axis."""
        lead = (ALL,) * axis
        out = np.zeros((*x.shape[:axis], self.inputs, *x.shape[axis + 1 :]), x.dtype)
        for (goal, source, weight), sums in zip(self.taps, self.sums, strict=True):
            part = _weighted(x[(*lead, goal)], weight, axis)
            if sums is None:
                out[(*lead, source)] += part
            else:
                order, starts, targets = sums
                out[(*lead, targets)] += np.add.reduceat(part.take(order, axis), starts, axis)
        return out


def _weighted(part: np.ndarray, weight: Any, axis: int) -> np.ndarray:
    if weight is None:
        return part
    real = part.real.dtype if part.dtype.kind == "c" else part.dtype
    return part * weight.astype(real).reshape(-1, *[1] * (part.ndim - axis - 1))


def _repeats(source: Any) -> Any:
    """None where no index comes twice; else an order that sorts, where each begins, and which."""
    if type(source) is slice or not source.size:
        return None
    order = np.argsort(source, kind="stable")
    ordered = source[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    starts = np.flatnonzero(first)
    return None if len(starts) == len(source) else (order, starts, ordered[starts])


def resample_forward(x, maps):
    out = x.astype(np.float32) if x.dtype.char == "e" else x
    averages = over_windows("averages", out, maps)
    if averages is not None:
        return averages
    for axis, axis_map in maps:
        out = axis_map.apply(out, axis)
    return out.astype(x.dtype, copy=False)


def resample_x(out_bar, maps):
    return transposed_resample(out_bar, maps)


def transposed_resample_forward(x, maps):
    out = x.astype(np.float32) if x.dtype.char == "e" else x
    shares = over_windows("averages_x", out, maps)
    if shares is not None:
        return shares
    for axis, axis_map in reversed(maps):
        out = axis_map.transposed(out, axis)
    return out.astype(x.dtype, copy=False)


def transposed_resample_x(out_bar, maps):
    return resample_(out_bar, maps)


#: What a map of one axis is for the other one.
ONE_ROW = AxisMap(1, 1, [], (np.zeros(1, np.int64), np.ones(1, np.int64), np.ones(1)))


def over_windows(name, x, maps):
    """The value by a fused function; None unless the last axes, two at most, have windows."""
    first = x.ndim - len(maps)
    if len(maps) > 2 or any(m.windows is None for _, m in maps):
        return None
    kernel = fused(name, x)
    if kernel is None or tuple([axis for axis, _ in maps]) != tuple(range(first, x.ndim)):
        return None
    axes = [axis_map for _, axis_map in maps]
    down, across = axes if len(axes) == 2 else (ONE_ROW, *axes)
    sizes = [m.outputs if name == "averages" else m.inputs for m in axes]
    out = np.empty((*x.shape[:first], *sizes), x.dtype)
    planes = math.prod(x.shape[:first])
    room = np.empty((planes, across.inputs), x.dtype)
    of_dtype = [m.singles if x.itemsize == 4 else m.windows for m in (down, across)]
    kernel(planes, x, out, room, *of_dtype[0], *of_dtype[1], down.inputs, across.inputs)
    return out


def resampling(name: str, grad_name: str) -> Primitive:
    """A primitive that maps axes by `AxisMap`s, under a name of its own."""
    return structural(name, resample_forward, resample_x, grad_name=grad_name)


transposed_resample = structural(
    "resample_transposed", transposed_resample_forward, transposed_resample_x
)
#: The derivative of the transpose, and pieces of compositions.
resample_ = resampling("resample", "IndexBackward0")
