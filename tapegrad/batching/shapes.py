"""Rules of structural primitives whose parameters name dimensions, or whose samples stand alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.batching.apply import Values, align, filled
from tapegrad.broadcast import expand, sum_to_shape
from tapegrad.primitive import Primitive
from tapegrad.rules.diagonals import diagonal_
from tapegrad.rules.reductions import mean_, sum_
from tapegrad.rules.repeating import repeat_
from tapegrad.rules.shape import reshape_

ALL = slice(None)
Lifted = tuple[bool, ...]


def shifted(axis: Any) -> Any:
    """Dimensions of a sample, as those of all samples."""
    return tuple([shifted(a) for a in axis]) if isinstance(axis, tuple) else axis + (axis >= 0)


#: How the parameters of these names change, if there are ``size`` samples.
CHANGES: dict[str, Any] = {
    "axis": lambda axis, size: shifted(axis),
    "axes": lambda axes, size: shifted(axes),
    "axis1": lambda axis, size: shifted(axis),
    "axis2": lambda axis, size: shifted(axis),
    "shape": lambda shape, size: (size, *shape),
    "index": lambda index, size: (ALL, *index),
    "maps": lambda maps, size: tuple([(shifted(axis), axis_map) for axis, axis_map in maps]),
}


def changed(primitive: Primitive, params: Values, size: int) -> Values:
    """The parameters for all samples."""
    return tuple(
        [
            CHANGES[name](value, size) if name in CHANGES else value
            for name, value in zip(primitive.params, params, strict=True)
        ]
    )


def by_params(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """One input; what the parameters say of dimensions is shifted."""
    (value,) = values
    return Primitive.apply(primitive, (value,), changed(primitive, params, size))


def along(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """As `by_params`, along an axis that a 0-d sample may name too: it counts as a vector."""
    (value,) = values
    axis = params[primitive.params.index("axis")]
    if value.ndim > 1 or isinstance(axis, tuple):
        return by_params(primitive, size, values, lifted, params)
    out = Primitive.apply(primitive, (value.reshape(size, 1),), changed(primitive, params, size))
    return out.reshape(size)


def argument(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """The position of an extremum, perhaps in the flattened sample."""
    (value,) = values
    axis, keepdims = params
    if axis is not None:
        return by_params(primitive, size, values, lifted, params)
    ndim = value.ndim - 1
    out = Primitive.apply(primitive, (value.reshape(size, -1),), (1, False))
    return out.reshape(size, *(1,) * ndim) if keepdims else out


def as_is(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """One input; the primitive itself cares for the last dimensions only."""
    return Primitive.apply(primitive, values, params)


def stacked(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Several inputs of one number of dimensions, of which the primitive cares for the last."""
    if len({v.ndim - up for v, up in zip(values, lifted, strict=True)}) > 1:
        return None
    full = tuple([filled(v, up, size) for v, up in zip(values, lifted, strict=True)])
    return Primitive.apply(primitive, full, changed(primitive, params, size))


def with_tolerances(
    primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any
) -> Any:
    """As `as_is`, unless a tolerance is an array: then it is one for each of a batch."""
    return None if any(np.ndim(p) for p in params) else Primitive.apply(primitive, values, params)


def aligned(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Several inputs that broadcast."""
    ndim = max(v.ndim - up for v, up in zip(values, lifted, strict=True))
    inputs = tuple([align(v, ndim) if up else v for v, up in zip(values, lifted, strict=True)])
    return Primitive.apply(primitive, inputs, changed(primitive, params, size))


def whole_sum(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """The sum over all dimensions."""
    return Primitive.apply(sum_, values, (tuple(range(1, values[0].ndim)), False))


def whole_mean(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """The mean over all dimensions."""
    return Primitive.apply(mean_, values, (tuple(range(1, values[0].ndim)), False))


def permuted(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Dimensions in another order."""
    return Primitive.apply(primitive, values, ((0, *shifted(params[0])),))


def expanded(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Broadcast to a shape."""
    (shape,) = params
    return Primitive.apply(expand, (align(values[0], len(shape)),), ((size, *shape),))


def summed(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Summed to a shape, which may have fewer dimensions."""
    (shape,) = params
    missing = values[0].ndim - 1 - len(shape)
    out = Primitive.apply(sum_to_shape, values, ((size, *(1,) * missing, *shape),))
    return Primitive.apply(reshape_, (out,), ((size, *shape),)) if missing else out


def repeated(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Repeated along dimensions, of which there may be more than the sample has."""
    (times,) = params
    return Primitive.apply(repeat_, (align(values[0], len(times)),), ((1, *times),))


def traced(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """The sum of a diagonal."""
    return Primitive.apply(diagonal_, values, (0, 1, 2)).sum(1)


def rolled(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Rolled along dimensions, or flattened."""
    (value,) = values
    shifts, axes = params
    if axes:
        return Primitive.apply(primitive, values, (shifts, shifted(axes)))
    flat = value.reshape(size, -1)
    return Primitive.apply(primitive, (flat,), (shifts, (1,))).reshape(value.shape)


def strided(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """A view by strides: each sample begins a sample's size further."""
    (value,) = values
    shape, strides, offset = params
    step = math.prod(value._spec.shape[1:])
    params = ((size, *shape), (step, *strides), offset)
    return Primitive.apply(primitive, (value.contiguous(),), params)


def joined(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Several Tensors joined along an axis."""
    full = tuple([filled(v, up, size) for v, up in zip(values, lifted, strict=True)])
    return Primitive.apply(primitive, full, (shifted(params[0]),))


def losses(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Losses of elements, reduced within each sample."""
    *rest, reduction = params
    ndim = max(v.ndim - up for v, up in zip(values, lifted, strict=True))
    inputs = tuple([align(v, ndim) if up else v for v, up in zip(values, lifted, strict=True)])
    first = inputs[0] if lifted[0] else filled(inputs[0], False, size)
    out = Primitive.apply(primitive, (first, *inputs[1:]), (*rest, 0))
    if not reduction:
        return out
    axes = tuple(range(1, out.ndim))
    return Primitive.apply(mean_ if reduction == 1 else sum_, (out,), (axes, False))


def standard(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Normalization layers: a weight that isn't mapped counts as of one sample."""
    x, *others = values
    view, axes, affine, eps = params
    up = any(lifted[1:])
    if up:
        others = [
            filled(v, have, size) if have or v.ndim else v
            for v, have in zip(others, lifted[1:], strict=True)
        ]
    params = ((size, *view), shifted(axes), (size if up else 1, *affine), eps)
    return Primitive.apply(primitive, (filled(x, lifted[0], size), *others), params)


def one_batch(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Images (N, C, ...): all samples are one batch of them."""
    (value,) = values
    first = value._spec.shape[1]
    flat = value.reshape(size * first, *value._spec.shape[2:])
    out = Primitive.apply(primitive, (flat,), params)
    return out.reshape(size, first, *out._spec.shape[1:])


def sequences(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Recurrent layers of one weight: the rows of all samples are one batch of them."""
    rowwise = primitive.inputs.index("weight")
    if any(lifted[rowwise:]):
        return None
    x, *states = [
        filled(v, have, size) for v, have in zip(values[:rowwise], lifted[:rowwise], strict=True)
    ]
    steps, rows = x._spec.shape[1:3]
    x = x.transpose(0, 1).reshape(steps, size * rows, x._spec.shape[3])
    states = [s.reshape(size * rows, s._spec.shape[2]) for s in states]
    made = Primitive.apply(primitive, (x, *states, *values[rowwise:]), params)
    outs = tuple(
        [
            out.reshape(steps, size, rows, out._spec.shape[2]).transpose(0, 1)
            for out in (made if primitive.outputs > 1 else (made,))
        ]
    )
    return outs if primitive.outputs > 1 else outs[0]
