"""`check_primitive`: what the library's own primitives are tested for, for a person's own."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tapegrad.alike import ones_like
from tapegrad.autograd import grad
from tapegrad.autograd.gradcheck import gradcheck, gradgradcheck
from tapegrad.func import vjp, vmap
from tapegrad.loading import load_native, native
from tapegrad.rules.joining import stack
from tapegrad.tensor import Tensor, from_array

__all__ = ["check_primitive"]


def check_primitive(primitive: Any, *inputs: Any, second: bool = True) -> bool:
    """Hold a primitive's derivatives against differences, and its ways to run against each other.

    Args:
        primitive: what `tapegrad.primitive` made, with its derivatives declared.
        inputs: its arguments, arrays or Tensors of float64 for those that have derivatives, away
            from kinks and poles.
        second: whether derivatives of second order are checked too.

    First and second derivatives and forward mode are held against differences; float32 and strided
    inputs against contiguous ones of float64; vmap against one call after the other. An elementwise
    primitive is checked on broadcast inputs and on none at all, too, and its compiled kernel is
    held against its rules. Returns True; raises AssertionError or RuntimeError, as `gradcheck`
    does, where something differs.

    >>> import tapegrad as tg
    >>> def square(x):
    ...     return x * x
    >>> def square_x(x):
    ...     return 2 * x
    >>> square = tg.primitive(square).defpartials(square_x)
    >>> tg.testing.check_primitive(square, [0.5, 2.0])
    True
    """
    if not hasattr(primitive, "primitive"):
        raise TypeError(
            "check_primitive() takes what tapegrad.primitive made (gradcheck checks any function), "
            f"not {type(primitive).__name__}"
        )
    declared = primitive.primitive
    if declared is None:
        raise TypeError(f"{primitive.name} has no derivative yet")
    arrays = [_array(x) if i < declared.arity else x for i, x in enumerate(inputs)]
    _check_differences(primitive, arrays, second)
    for name, changed in (("float32", _single), ("strided", _strided)):
        _same(primitive, arrays, [changed(a) for a in arrays], name)
    _check_map(primitive, arrays)
    if declared.elementwise:
        _check_empty(primitive, arrays)
        if load_native():
            _same(primitive, arrays, arrays, "its compiled kernel", native_first=False)
        if declared.arity > 1:
            for i in range(declared.arity):
                part = [a[..., :1] if k == i and a.ndim else a for k, a in enumerate(arrays)]
                _check_differences(primitive, part, second)
    return True


def _array(value: Any) -> np.ndarray:
    array = value._array if isinstance(value, Tensor) else np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _check_differences(primitive: Any, arrays: list[Any], second: bool) -> None:
    leaves, function = _leaves(primitive, arrays)
    gradcheck(function, leaves, check_forward_ad=True)
    if second:
        gradgradcheck(function, leaves)


def _check_map(primitive: Any, arrays: list[Any]) -> None:
    """Raise AssertionError unless vmap gives what two calls give, and their gradients."""
    leaves, function = _leaves(primitive, arrays)
    others = [from_array(np.flip(leaf._array).copy()) for leaf in leaves]
    samples = [[leaf.detach() for leaf in leaves], others]

    def outputs_and_gradients(*values: Tensor) -> list[Tensor]:
        results, pull = vjp(function, *values)
        results = results if isinstance(results, tuple) else (results,)
        ones = tuple(ones_like(r) for r in results)
        return [*results, *pull(ones if len(ones) > 1 else ones[0])]

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")
        mapped = vmap(outputs_and_gradients)(*map(stack, zip(*samples, strict=True)))
    for k, values in enumerate(samples):
        for a, b in zip(mapped, outputs_and_gradients(*values), strict=True):
            np.testing.assert_allclose(
                a[k]._array, b._array, 1e-6, 1e-9, err_msg=f"{primitive.name}: under vmap"
            )


def _check_empty(primitive: Any, arrays: list[Any]) -> None:
    """Raise AssertionError unless arrays without elements give some without elements."""
    leaves, function = _leaves(primitive, [a.reshape(-1)[:0] for a in arrays])
    result = function(*leaves)
    found = grad(result.sum(), leaves, allow_unused=True)
    if any(x is not None and x.shape != (0,) for x in (result, *found)):
        raise AssertionError(f"{primitive.name}: inputs without elements give some")


def _leaves(primitive: Any, arrays: list[Any]) -> tuple[list[Tensor], Any]:
    """Leaves for the inputs that have derivatives, and the primitive as a function of those."""
    rules = primitive.primitive.rules
    wanted = [
        i for i, rule in enumerate(rules) if rule is not None and arrays[i].dtype.kind in "fc"
    ]

    def function(*leaves: Tensor) -> Any:
        values = [from_array(a) if isinstance(a, np.ndarray) else a for a in arrays]
        for i, leaf in zip(wanted, leaves, strict=True):
            values[i] = leaf
        return primitive(*values)

    return [from_array(arrays[i], requires_grad=True) for i in wanted], function


def _single(array: Any) -> Any:
    is_double = isinstance(array, np.ndarray) and array.dtype == np.float64
    return array.astype(np.float32) if is_double else array


def _strided(array: Any) -> Any:
    if not isinstance(array, np.ndarray) or not array.ndim:
        return array
    return np.repeat(np.asfortranarray(array), 2, 0)[::2]


def _same(
    primitive: Any, arrays: list[Any], others: list[Any], name: str, native_first: bool = True
) -> None:
    """Raise AssertionError unless values and gradients are the same for both."""
    first = _gradients(primitive, arrays, native_first)
    for a, b in zip(first, _gradients(primitive, others, True), strict=True):
        np.testing.assert_allclose(b, a, 1e-4, 1e-5, err_msg=f"{primitive.name}: {name}")


def _gradients(primitive: Any, arrays: list[Any], natively: bool) -> list[np.ndarray]:
    leaves, function = _leaves(primitive, arrays)
    results = function(*leaves)
    results = results if isinstance(results, tuple) else (results,)
    outputs = [r for r in results if r.requires_grad]
    loaded = native.loaded
    native.loaded = loaded if natively else False
    try:
        seeds = [from_array(np.ones_like(r._array)) for r in outputs]
        found = grad(outputs, leaves, seeds, allow_unused=True)
    finally:
        native.loaded = loaded
    for leaf, gradient in zip(leaves, found, strict=True):
        if gradient is not None and gradient.dtype != leaf.dtype:
            raise AssertionError(f"{primitive.name}: {gradient.dtype} for a {leaf.dtype}")
    return [r._array for r in results] + [g._array for g in found if g is not None]
