"""Convolution by fused functions: the tables that they need, and what calls them.

See `tapegrad.kernels.fused.convolution`. A window's element k lies at ``i * stride + k * dilation``
in the padded input: in the phase ``k * dilation % stride``, ``k * dilation // stride`` after i. So
in planes of one phase each it is a fixed distance away from the window's first.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np

from tapegrad.fused import fused
from tapegrad.rules.ondemand.windows import Padding, Sizes

__all__ = ["Geometry", "channel_sums", "window_products", "windowed"]

#: Most shares of the work. (Each adds up its part of a weight's gradient.)
PARTS = 8
#: Elements that may be read beyond a plane, and of which a row has a multiple.
ROOM, LANES = 256, 16
#: Elements of the planes of the examples whose products with a weight's gradient are added at once.
BLOCK = 1 << 13
#: Weights of more elements are left to BLAS.
LARGE = 1 << 20
#: Multiplications that take as long as it takes to read a byte.
PER_BYTE = 5

#: The example's and the weight's shape; strides, paddings, dilations, groups; the window counts.
Geometry = tuple[Sizes, Sizes, Sizes, Padding, Sizes, int, Sizes]


def linear(index: Sizes, sizes: Sizes) -> int:
    """The position of an index in an array of some sizes."""
    at = 0
    for i, n in zip(index, sizes, strict=True):
        at = at * n + i
    return at


class Tables:
    """The numbers and taps of a geometry: see `tapegrad.kernels.fused.convolution`."""

    def __init__(self, geometry: Geometry, transposed: bool) -> None:
        shape, weight, stride, padding, dilation, groups, counts = geometry
        extra = (1,) * (5 - len(shape))
        examples, channels, *sizes = shape[:2] + extra + shape[2:]
        outputs, inputs, *kernel = weight[:2] + extra + weight[2:]
        outputs //= groups
        strides, dilations = extra + stride, extra + dilation
        pads = ((0, 0),) * len(extra) + padding
        counts = extra + counts
        plane = tuple(
            [
                (n - 1 + p[0] + max(p[1], 0)) // s + 1
                for n, p, s in zip(sizes, pads, strides, strict=True)
            ]
        )
        phases: dict[Sizes, list[tuple[int, int]]] = {
            phase: [] for phase in itertools.product(*map(range, strides))
        }
        for k, index in enumerate(itertools.product(*map(range, kernel))):
            steps = [i * d for i, d in zip(index, dilations, strict=True)]
            phase = tuple([i % s for i, s in zip(steps, strides, strict=True)])
            after = tuple([i // s for i, s in zip(steps, strides, strict=True)])
            phases[phase].append((k, linear(after, plane)))
        size, points = math.prod(plane), math.prod(kernel)
        lead = max(at for taps in phases.values() for _, at in taps) if transposed else 0
        size += lead
        before = tuple([p[0] for p in pads])
        ones, zeros = (1, 1, 1), (0, 0, 0)
        taps: list[tuple[int, int]] = []
        runs: list[tuple[int, int]] = []
        if transposed:
            for found in phases.values():
                first = len(taps)
                for o in range(outputs):
                    row = o * inputs * points
                    taps += [(o * size + lead - at, row + k) for k, at in found]
                runs.append((first, len(taps) - first))
            channels, outputs, w_stride = outputs, inputs, points
            outer = (*counts, *ones, *zeros, *plane, *sizes, *strides, *before)
            places = size - lead
        else:
            for c in range(inputs):
                for p, found in enumerate(phases.values()):
                    start = (c * len(phases) + p) * size
                    taps += [(start + at, c * points + k) for k, at in found]
            taps.sort(key=lambda tap: tap[1])
            runs.append((0, len(taps)))
            channels, w_stride = inputs, inputs * points
            outer = (*sizes, *strides, *before, *plane, *counts, *ones, *zeros)
            places = linear(tuple([n - 1 for n in counts]), plane) + 1
        planes = groups * channels * math.prod(outer[3:6]) * size + ROOM
        row = -(-places // LANES) * LANES
        parts = min(examples, PARTS)
        block = max(1, min(BLOCK // planes, -(-examples // parts)))
        self.parts = parts
        self.taps = np.array(taps, np.int64).reshape(-1)
        self.runs = np.array(runs, np.int64).reshape(-1)
        self.work = examples * groups * outputs * len(taps) * places // PER_BYTE
        self.room = planes + outputs * row
        self.room_of_products = block * (planes + groups * outputs * row)
        numbers = [
            *(examples, parts, groups, channels, outputs, w_stride, outputs * channels * points),
            *outer,
            *(size, lead, places, row, len(taps), block, planes),
        ]
        #: Without and with a bias; and those of `window_products`.
        self.numbers = [np.array([*numbers, self.room, bias], np.int64) for bias in (0, 1)]
        self.numbers_of_products = np.array([*numbers, self.room_of_products, 0], np.int64)


tables = lru_cache(maxsize=256)(Tables)


def windowed(
    x: np.ndarray, y: np.ndarray, z: np.ndarray | None, geometry: Geometry, transposed: bool
) -> np.ndarray | None:
    """A convolution (or its transpose) of x with the weight y, plus a bias z; None: not fused."""
    if y.size > LARGE:
        return None
    kernel = fused("windowed", x, y) if z is None else fused("windowed", x, y, z)
    # Of padding's zeros times an infinite weight there would be nans.
    if kernel is None or (transposed and not np.isfinite(y).all()):
        return None
    known = tables(geometry, transposed)
    shape = geometry[0] if transposed else (geometry[0][0], geometry[1][0], *geometry[6])
    out = np.empty(shape, x.dtype)
    if not out.size:
        return None
    room = np.zeros(known.parts * known.room, x.dtype)
    bias = y if z is None else z
    numbers = known.numbers[z is not None]
    operands = (x, y, bias, out, known.taps, known.runs, numbers, room)
    kernel(known.parts, *operands, work=known.work)
    return out


def window_products(x: np.ndarray, y: np.ndarray, geometry: Geometry) -> np.ndarray | None:
    """The gradient of a weight, of the result's adjoint x and the input y; None: not fused."""
    weight = geometry[1]
    if math.prod(weight) > LARGE:
        return None
    kernel = fused("window_products", x, y)
    if kernel is None:
        return None
    known = tables(geometry, False)
    room = np.zeros(known.parts * known.room_of_products, x.dtype)
    sums = np.zeros((known.parts, *weight), x.dtype)
    operands = (x, y, sums, known.taps, known.numbers_of_products, room)
    kernel(known.parts, *operands, work=known.work)
    out = np.add.reduce(sums, 0)
    # Of what lies between rows, were it infinite, there would be nans.
    return out if np.isfinite(out).all() else None


def channel_sums(x: np.ndarray) -> np.ndarray | None:
    """The sums over all dimensions but the second; None: not fused."""
    kernel = fused("channel_sums", x)
    if kernel is None:
        return None
    out = np.empty(x.shape[1], x.dtype)
    kernel(x.shape[1], x, out, x.shape[0], math.prod(x.shape[2:]))
    return out
