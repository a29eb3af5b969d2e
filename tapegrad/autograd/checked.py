"""What the functions of `functional` are given and return: Tensors or tuples of them, checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.autograd.engine import grad
from tapegrad.recording import wrap
from tapegrad.rules.conversion import clone_
from tapegrad.tensor import Tensor, from_array, place_of

__all__ = [
    "as_tuple", "check_scalar", "detached", "direction", "evaluated", "filled", "gradients_of",
    "leaves_of", "nested",
]  # fmt: skip

Function = Callable[..., Any]


def as_tuple(values: Any, what: str, where: str) -> tuple[tuple[Tensor, ...], bool]:
    """A Tensor or a tuple of them as a tuple, and whether it was one."""
    several = isinstance(values, tuple)
    if what == "outputs":
        subject = f"outputs of the user-provided function given to {where}"
        detail = "given outputs of the user-provided function"
    else:
        subject, detail = f"{what} given to {where}", f"given {what}"
    for i, value in enumerate(values if several else (values,)):
        if not isinstance(value, Tensor):
            found = f"value at index {i}" if several else detail
            raise TypeError(
                f"The {subject} must be either a Tensor or a tuple of Tensors but the {found} has "
                f"type {type(value)}."
            )
    return (values if several else (values,)), several


def nested(values: tuple[Any, ...], several: bool) -> Any:
    return values if several else values[0]


def leaves_of(inputs: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    """Tensors of the same values to differentiate for, attached to the inputs if asked."""
    return tuple(
        clone_(x) if create_graph and place_of(x) is not None else from_array(x._array, True)
        for x in inputs
    )


def detached(values: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    return values if create_graph else tuple(wrap(value._array) for value in values)


def evaluated(
    func: Function, inputs: tuple[Tensor, ...], where: str, strict: bool
) -> tuple[tuple[Tensor, ...], bool]:
    """The outputs of a function, checked."""
    outputs, several = as_tuple(func(*inputs), "outputs", where)
    if strict:
        for i, output in enumerate(outputs):
            if place_of(output) is None:
                raise RuntimeError(
                    f"Output {i} of the user-provided function does not require gradients. The "
                    "outputs must be computed in a differentiable manner from the input when "
                    "running in strict mode."
                )
    return outputs, several


def check_scalar(outputs: tuple[Tensor, ...], several: bool, where: str) -> None:
    if several:
        raise RuntimeError(f"The function given to {where} should return a single Tensor")
    if outputs[0]._spec.size != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {where} should contain a single element"
        )


def direction(v: Any, like: tuple[Tensor, ...], several: bool, where: str) -> tuple[Tensor, ...]:
    """The vector ``v``, checked against what it is multiplied with."""
    if v is None:
        if len(like) != 1 or like[0]._spec.size != 1:
            what = (
                "the user-provided function returns"
                if where == "vjp"
                else "the input to the user-provided function is"
            )
            raise RuntimeError(
                f"The vector v can only be None if {what} a single Tensor with a single element."
            )
        return (wrap(np.ones(like[0]._spec.shape, like[0]._spec.dtype)),)
    vectors, _ = as_tuple(v, "v", where)
    if len(vectors) != len(like):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}."
        )
    for i, (vector, value) in enumerate(zip(vectors, like, strict=True)):
        if vector._spec.shape != value._spec.shape:
            entry = f"Entry {i} in v" if several else "v"
            raise RuntimeError(
                f"{entry} has invalid size: should be {value.shape} but got {vector.shape}."
            )
    return vectors


def gradients_of(
    outputs: tuple[Tensor | None, ...],
    inputs: tuple[Tensor, ...],
    vectors: tuple[Tensor | None, ...],
    create_graph: bool,
    retain: bool = True,
) -> tuple[Tensor | None, ...]:
    """`grad` that skips outputs without a place; None for an input that none depends on."""
    pairs = [
        (out, v)
        for out, v in zip(outputs, vectors, strict=True)
        if out is not None and place_of(out) is not None
    ]
    if not pairs:
        return (None,) * len(inputs)
    used, adjoints = zip(*pairs, strict=True)
    return grad(used, inputs, adjoints, retain, create_graph, allow_unused=True)


def filled(
    gradients: tuple[Tensor | None, ...],
    inputs: tuple[Tensor, ...],
    strict: bool,
    missing: str = "",
    constant: str = "",
) -> tuple[Tensor, ...]:
    """Zeros for None; ``missing`` and ``constant`` are what strict mode raises otherwise."""
    filled = []
    for i, (gradient, x) in enumerate(zip(gradients, inputs, strict=True)):
        if gradient is None:
            if strict:
                raise RuntimeError(missing.format(i))
            gradient = wrap(np.zeros(x._spec.shape, x._spec.dtype))
        elif strict and constant and place_of(gradient) is None:
            raise RuntimeError(constant.format(i))
        filled.append(gradient)
    return tuple(filled)
