"""`recording.apply` under vmap: a primitive on all samples at once.

A rule is a function ``rule(primitive, size, values, lifted, params)``. ``values`` are the inputs
without the innermost level; where ``lifted`` says so, all samples in a first dimension of that
``size``. It returns the result with all samples in its first dimension (or results, in a tuple),
made by primitives, so that outer levels and the tape are theirs to care for; or None if it can't.
Elementwise primitives share one rule. What has none is run sample by sample, and stacked.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad import dtypes
from tapegrad.batched import Batched, batched
from tapegrad.operands import NUMBERS, promotion
from tapegrad.primitive import Primitive
from tapegrad.rules.drawing import drawn_forward
from tapegrad.rules.gathering import constant_forward
from tapegrad.rules.joining import stack
from tapegrad.rules.shape import reshape_
from tapegrad.tensor import Tensor, as_tensor_input

__all__ = ["Values", "align", "apply", "filled", "lower", "raised", "slow"]

Values = tuple[Any, ...]
Rule = Callable[[Primitive, int, Values, tuple[bool, ...], tuple[Any, ...]], Any]

#: Functions that only hand a parameter on: their result is the same for all samples.
CONSTANT = (constant_forward, drawn_forward)


def apply(primitive: Primitive, inputs: Values, params: tuple[Any, ...]) -> Any:
    """`Primitive.apply` where an input is a `Batched`: one level is taken off."""
    level, size, values, lifted = lower(inputs)
    if primitive.elementwise:
        return batched(elementwise(primitive, values, lifted), level)
    if primitive.forward in CONSTANT:
        return as_tensor_input(params[0])
    from tapegrad.batching.table import RULES

    rule = RULES.get(primitive.forward)
    inner = tuple([x if isinstance(x, Tensor) else as_tensor_input(x) for x in values])
    out = None if rule is None else rule(primitive, size, inner, lifted, params)
    if out is None:
        out = _one_by_one(primitive, size, inner, lifted, params)
    return raised(out, level)


def lower(inputs: Values) -> tuple[int, int, Values, tuple[bool, ...]]:
    """The innermost level of some inputs, its size, and the inputs without it."""
    level = 0
    for x in inputs:
        if type(x) is Batched and x._level > level:
            level = x._level
    size = 0
    values, lifted = [], []
    for x in inputs:
        up = type(x) is Batched and x._level == level
        if up:
            x = x._value
            size = x._spec.shape[0]
        values.append(x)
        lifted.append(up)
    return level, size, tuple(values), tuple(lifted)


def raised(out: Any, level: int) -> Any:
    """One result, or several, as samples of a level."""
    if isinstance(out, tuple):
        return type(out)(*[raised(x, level) for x in out]) if hasattr(out, "_fields") else tuple(
            [raised(x, level) for x in out]
        )  # fmt: skip
    return batched(out, level)


def align(value: Any, ndim: int) -> Any:
    """All samples, with dimensions of size 1 before theirs, so that each has ``ndim``."""
    shape = value._spec.shape
    missing = ndim + 1 - len(shape)
    if missing <= 0:
        return value
    return Primitive.apply(reshape_, (value,), ((shape[0], *(1,) * missing, *shape[1:]),))


def filled(value: Any, up: bool, size: int) -> Any:
    """The value with all samples in a first dimension, which is added where they share it."""
    return value if up else value.expand(size, *value._spec.shape)


def elementwise(primitive: Primitive, values: Values, lifted: tuple[bool, ...]) -> Any:
    """The rule of all elementwise primitives: samples of fewer dimensions get some of size 1."""
    ndims = []
    tensors = True
    for value, up in zip(values, lifted, strict=True):
        if isinstance(value, Tensor):
            ndims.append(value._spec.ndim - up)
        else:
            tensors = False
            ndims.append(getattr(value, "ndim", 0))
    ndim = max(ndims)
    if min(ndims) < ndim:
        values = _promoted(primitive, values, ndims)
        values = tuple([align(v, ndim) if up else v for v, up in zip(values, lifted, strict=True)])
    if tensors and primitive.fast is not None:
        return primitive.fast(*values)
    return Primitive.apply(primitive, values, ())


def _promoted(primitive: Primitive, values: Values, ndims: list[int]) -> Values:
    """Cast as the samples promote: those of no dimension count less than others."""
    start = 1 if primitive.condition else 0
    numbers = [isinstance(v, NUMBERS) for v in values]
    kinds = {v._spec.dtype for v in values[start:] if isinstance(v, Tensor)}
    if len(kinds) == 1:
        return values
    tensors = [as_tensor_input(v, number=True) for v in values]
    key = tuple(
        (t._spec.dtype, 2 if number else 1 if n == 0 else 0)
        for t, number, n in list(zip(tensors, numbers, ndims, strict=True))[start:]
    )
    wanted = dtypes.from_numpy(promotion(key, primitive.floating))
    return (
        *values[:start],
        *[v if n else t.to(wanted) for v, t, n in list(zip(values, tensors, numbers))[start:]],
    )


def slow(name: str) -> None:
    """torch's warning of a loop over the samples."""
    warnings.warn(
        f"There is a performance drop because we have not yet implemented the batching rule for "
        f"{name}. Please file us an issue on GitHub so that we can prioritize its implementation.",
        UserWarning,
        stacklevel=4,
    )


def _one_by_one(
    primitive: Primitive, size: int, values: Values, lifted: tuple[bool, ...], params: Any
) -> Any:
    slow(primitive.name)
    rows = [
        Primitive.apply(
            primitive,
            tuple([v[i] if up else v for v, up in zip(values, lifted, strict=True)]),
            params,
        )
        for i in range(size or 1)
    ]
    several = isinstance(rows[0], tuple)
    columns = zip(*rows, strict=True) if several else [rows]
    made = tuple([stack(list(column))[:size] for column in columns])
    return made if several else made[0]


def is_array(value: Any) -> bool:
    """Whether a parameter is an array, perhaps in a tuple."""
    if isinstance(value, tuple):
        return any(map(is_array, value))
    return isinstance(value, np.ndarray)
