"""What a record contributes to the adjoints of its inputs, by its rules; and checks of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.broadcast import cast, fit, in_dtype_of
from tapegrad.primitive import Primitive, primitives
from tapegrad.spec import specs
from tapegrad.storage import is_stale, owner, stamps, version_at
from tapegrad.tape import CODE, INPUTS, PARAMS, PLACE, SPEC, Record, arity

__all__ = ["SECOND_TIME", "added", "check_saved", "check_share", "contribution", "environment"]


def added(a: Any, b: Any, out: Any = None) -> Any:
    """``a + b`` of arrays, without a floating-point warning or error."""
    try:
        return np.asarray(np.add(a, b, out=out))
    except (FloatingPointError, RuntimeWarning):
        # Where it adds in place a second time would add twice: the flags are raised at the end.
        with np.errstate(all="ignore"):
            return np.asarray(np.add(a, b)) if out is None else out


def check_share(share: Any, shape: tuple[int, ...]) -> None:
    """Raise RuntimeError for an adjoint of another shape than the value that it is of."""
    if share.shape != shape:
        raise RuntimeError(
            f"got a gradient of shape {list(share.shape)} for a value of shape {list(shape)}: it "
            "was given data of another shape since it was used, or a rule is wrong"
        )


def environment(
    primitive: Primitive,
    record: Record,
    n: int,
    out_bar: Any,
    wrap: Callable[[np.ndarray, int | None], Any] | None,
) -> tuple[Any, ...]:
    """The values that the names of a record's rules stand for, in the order of `BoundRule`."""
    if wrap is None:
        if primitive.elementwise:
            return (out_bar, *record[INPUTS + n :])
        if primitive.arity >= 0:
            return (out_bar, *record[INPUTS + n :], *record[PARAMS])
    saved = record[INPUTS + n : INPUTS + 2 * n]
    out = record[-1]
    if wrap is not None:
        saved = tuple(
            [
                None if array is None else wrap(array, record[INPUTS + i])
                for i, array in enumerate(saved)
            ]
        )
        if primitive.elementwise and record[PARAMS] is not None:
            saved = tuple(_uncast(x, i) for x, i in zip(saved, record[PARAMS], strict=True))
        if out is not None:
            out = wrap(out, record[PLACE])
        if primitive.elementwise:
            return (out_bar, *saved, out)
    if primitive.arity < 0:
        return (out_bar, saved, out, *record[PARAMS])
    return (out_bar, *saved, out, *record[PARAMS])


def _uncast(x: Any, spec: int) -> Any:
    """A saved Tensor that had been cast, as the cast of the Tensor that is at its place."""
    if x is None or x._array.dtype == specs[spec].dtype or x._place is None:
        return x
    dtype = x._array.dtype
    x._array = cast(x._array, specs[spec].dtype, dtype)  # of a complex number the real part
    x._spec = specs[spec]
    return cast(x, dtype, x._array.dtype)


def contribution(
    primitive: Primitive, record: Record, i: int, values: tuple[Any, ...]
) -> Any | None:
    """Input i's share of the adjoint of the record's result, in the input's shape and dtype."""
    if primitive.arity < 0:
        rule = primitive.bound[0]
        values = (*values, i)
    else:
        rule = primitive.bound[i]
    if rule is None:
        return None
    spec = specs[record[SPEC]]
    try:
        share = rule(values)
        if rule.partial:
            share = values[0] * (np.conjugate(share) if spec.is_complex else share)
    except (FloatingPointError, RuntimeWarning):
        with np.errstate(all="ignore"):
            share = rule(values)
            if rule.partial:
                share = values[0] * (np.conjugate(share) if spec.is_complex else share)
    if isinstance(share, np.generic):
        share = np.asarray(share)
    if primitive.elementwise:
        mixed = record[PARAMS]
        if mixed is not None:
            return fit(share, specs[mixed[i]])
        # A rule may compute in a wider dtype, or with a scalar.
        if type(share) is np.ndarray and share.dtype is not spec.dtype:
            return fit(share, spec)
    elif not primitive.casts:
        return in_dtype_of(share, values[0])
    return share


def check_saved(record: Record) -> None:
    """Raise torch's error if an array that the record saved has been changed in place since."""
    for value in record[INPUTS + arity(record) :]:
        for array in value if type(value) is tuple else (value,):
            if type(array) is np.ndarray and is_stale(array, record[PLACE]):
                primitive = primitives[record[CODE]]
                entry = stamps[id(owner(array))]
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: [{_type_name(array)} {list(array.shape)}], which is saved "
                    f"for {primitive.grad_name}, is at version {entry.version}; expected version "
                    f"{version_at(array, record[PLACE])} instead. Hint: clone() the value before "
                    "changing it in place."
                )


SECOND_TIME = (
    "Trying to backward through the graph a second time (or directly access saved tensors after "
    "they have already been freed). Saved intermediate values of the graph are freed when you call "
    ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the "
    "graph a second time or if you need to access saved tensors after calling backward."
)


def _type_name(array: np.ndarray) -> str:
    return f"tapegrad.{array.dtype.name}"
