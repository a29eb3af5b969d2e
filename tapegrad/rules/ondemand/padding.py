"""Padding: by a constant, whose transpose is padding by as much less, or by what is there."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.ondemand.resampling import ALL, AxisMap, resample_, resampling
from tapegrad.rules.ondemand.windows import padded


def pad_forward(x, padding, value):
    out = padded(x, padding, value)
    return out.copy() if out is x or out.base is not None else out


def pad_x(out_bar, padding):
    return pad_(out_bar, tuple([(-before, -after) for before, after in padding]), 0)


#: The padding of each of the last dimensions, before and after; negative ones cut.
pad_ = structural("pad", pad_forward, pad_x, grad_name="ConstantPadNdBackward0")

BY_CONTENT = {
    (mode, dims): resampling("pad", f"{name}Pad{dims}DBackward0")
    for mode, name in (("reflect", "Reflection"), ("replicate", "Replication"))
    for dims in (1, 2, 3)
}


@lru_cache(maxsize=256)
def content(n: int, before: int, after: int, mode: str) -> AxisMap:
    """Padding of an axis by its own elements."""
    i = np.arange(-before, n + after)
    if mode == "circular":
        # What a negative padding cuts off is no part of the circle.
        first, end = max(-before, 0), n - max(-after, 0)
        source = first + (i - first) % (end - first)
    elif mode == "replicate":
        source = np.clip(i, 0, n - 1)
    else:
        source = (n - 1) - np.abs((n - 1) - np.abs(i))
    return AxisMap(n, len(i), [(ALL, source, None)])


@public(module="nn.functional", method=False)
def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    """``input`` padded: its last dimension by ``pad[0]`` and ``pad[1]``, that before by the next.

    ``mode``: "constant" (``value``, or 0), "reflect", "replicate" or "circular", the latter three
    for the last 1 to 3 dimensions of 2 to 5. Negative padding cuts. Raises RuntimeError for sizes
    that don't fit, NotImplementedError for a mode that there isn't.
    """
    sizes = [int(p) for p in pad]
    if len(sizes) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(sizes) > 2 * input.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(sizes)} and input of dimension {input.ndim}"
        )
    dims = len(sizes) // 2
    padding = tuple([(sizes[2 * d], sizes[2 * d + 1]) for d in reversed(range(dims))])
    shape = input._spec.shape
    lead = len(shape) - dims
    for axis, (before, after) in enumerate(padding, lead):
        if shape[axis] + before + after < (0 if mode == "constant" else 1):
            raise RuntimeError(
                f"The input size {shape[axis]}, plus negative padding {before} and {after} "
                "resulted in a negative output size, which is invalid. Check dimension "
                f"{axis} of your input."
            )
    if mode == "constant":
        return Primitive.apply(pad_, (input,), (padding, 0 if value is None else value))
    if value:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if not 1 <= dims <= 3 or lead not in (1, 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now"
        )
    maps = []
    for axis, (before, after) in enumerate(padding, lead):
        n = shape[axis]
        most = {"reflect": n - 1, "circular": n}.get(mode)
        if most is not None and max(before, after) > max(most, 0):
            raise RuntimeError(
                "Padding size should be less than the corresponding input dimension, but got: "
                f"padding ({before}, {after}) at dimension {axis} of input {list(shape)}"
                if mode == "reflect"
                else "Padding value causes wrapping around more than once."
            )
        if not n:
            raise RuntimeError(
                f"Expected input of non-zero size at dimension {axis} for padding mode {mode}, but "
                f"got {list(shape)}"
            )
        maps.append((axis, content(n, before, after, mode)))
    return Primitive.apply(BY_CONTENT.get((mode, dims), resample_), (input,), (tuple(maps),))
