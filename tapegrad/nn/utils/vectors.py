"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from tapegrad.operators import functions
from tapegrad.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of the parameters, one after the other: of (n,). Gradients flow through it."""
    return functions["cat"]([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Make the parameters views of parts of a vector, which must have all their elements."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    start = 0
    for parameter in parameters:
        count = parameter._spec.size
        parameter.data = vec[start : start + count].view_as(parameter).data
        start += count
