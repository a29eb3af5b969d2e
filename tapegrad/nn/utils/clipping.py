"""Clipping: gradients scaled or cut before an optimizer's step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tapegrad.creation import tensor
from tapegrad.modes import no_grad
from tapegrad.operators import functions, modules
from tapegrad.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _listed(tensors: Any) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all the Tensors together, as if they were one vector: a 0-d Tensor.

    Raises RuntimeError for a norm that is nan or infinite, if that is an error.
    """
    vector_norm = modules["linalg"]["vector_norm"]
    norms = [vector_norm(t, norm_type) for t in _listed(tensors)]
    if not norms:
        return tensor(0.0)
    total = vector_norm(functions["stack"](norms), norm_type)
    if error_if_nonfinite and not functions["isfinite"](total):
        raise RuntimeError(
            f"The total norm of order {float(norm_type)} for gradients from `parameters` is "
            "non-finite, so it cannot be clipped. To disable this error and scale the gradients by "
            "the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Scale the gradients so that their norm, which is ``total_norm``, is at most ``max_norm``."""
    factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for parameter in _listed(parameters):
        if parameter.grad is not None:
            parameter.grad.mul_(factor.to(parameter.grad.dtype))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the parameters' gradients so that the norm of all together is at most ``max_norm``.

    Returns the norm that they had (Pascanu, Mikolov & Bengio 2013). Raises RuntimeError for a norm
    that is nan or infinite, if that is an error.
    """
    listed = _listed(parameters)
    grads = [p.grad for p in listed if p.grad is not None]
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    clip_grads_with_norm_(listed, max_norm, total)
    return total


@no_grad()
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Cut the parameters' gradients to [-clip_value, clip_value]."""
    for parameter in _listed(parameters):
        if parameter.grad is not None:
            parameter.grad.clamp_(-float(clip_value), float(clip_value))
