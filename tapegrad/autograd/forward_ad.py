"""Forward mode with dual Tensors, as torch.autograd.forward_ad.

    with dual_level():
        y = f(make_dual(x, x_dot))
        value, y_dot = unpack_dual(y)

A dual Tensor is one at a place whose tangent the level knows; what is computed from it is recorded
as always, and `unpack_dual` pushes the tangents along the new records, as `forward.Pushforward`.
So a dual Tensor requires grad, and its tangent is lost under `no_grad`, unlike torch's.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from tapegrad.autograd.forward import Pushforward
from tapegrad.modes import enable_grad, modes
from tapegrad.rules.conversion import clone_
from tapegrad.tensor import Tensor, place_of

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level"]
__all__ += ["make_dual", "unpack_dual"]


class _Local(threading.local):
    level: Pushforward | None = None


_local = _Local()


class UnpackedDualTensor(NamedTuple):
    """What `unpack_dual` returns: the value, and the tangent or None."""

    primal: Tensor
    tangent: Tensor | None


def enter_dual_level() -> int:
    """Begin a level of forward mode. Returns its number, 0: there are no levels within levels."""
    if _local.level is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _local.level = Pushforward(modes.grad)
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End the level: all tangents are forgotten."""
    if _local.level is None:
        raise RuntimeError("Dual level must be a positive number.")
    if level not in (None, 0):
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is "
            "not supported."
        )
    _local.level = None


class dual_level:
    """A context in which `make_dual` and `unpack_dual` work, and after which no tangent is left.

    >>> import tapegrad
    >>> import tapegrad.autograd.forward_ad as forward_ad
    >>> x, x_dot = tapegrad.tensor([1., 2.]), tapegrad.tensor([1., 0.])
    >>> with forward_ad.dual_level():
    ...     dual = forward_ad.make_dual(x, x_dot)
    ...     primal, tangent = forward_ad.unpack_dual(dual * dual)
    >>> tangent
    tensor([2., 0.])
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exception: object) -> None:
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A Tensor over the memory of ``tensor`` that carries ``tangent``.

    Raises RuntimeError outside a level, for a tangent of another shape, and where ``tensor``
    carries one already; ValueError for integers.
    """
    push = _local.level
    if push is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to "
            "enter_dual_level() first."
        )
    for name, value in (("primal", tensor), ("tangent", tangent)):
        if not (value.is_floating_point() or value.is_complex()):
            raise ValueError(
                f"Expected {name} to be floating point or complex, but got: {value.dtype}"
            )
    if tensor._spec.shape != tangent._spec.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original "
            f"Tensor, this is not supported. Tensor is of size {list(tensor.shape)} while the "
            f"given forward gradient is of size {list(tangent.shape)}."
        )
    if place_of(tensor) in push.dots:
        raise RuntimeError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the "
            "same level 0 is not supported."
        )
    dual = push.input(tensor)
    push.add(dual, tangent)
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value of a Tensor, and the tangent that it carries, or None."""
    push = _local.level
    if push is None:
        return UnpackedDualTensor(tensor, None)
    push.advance()
    if place_of(tensor) not in push.dots:
        return UnpackedDualTensor(tensor, None)
    tangent = push.tangent(tensor)
    primal = push.value(tensor)
    if primal is tensor:
        # On the graph as before, but at a place without a tangent.
        with enable_grad():
            primal = clone_(tensor)
        push.skip(primal)
    return UnpackedDualTensor(primal, tangent)
