"""Parameter and Buffer: Tensors that a Module finds among its attributes.

>>> from tapegrad import nn, ones
>>> nn.Parameter(ones(2))
Parameter containing:
tensor([1., 1.], requires_grad=True)

Operations serve the exact type Tensor in their short paths, and weights are what a model computes
with most. So a Parameter *is* a Tensor by type, with a mark in a field that operations don't read,
and ``isinstance(x, nn.Parameter)`` asks for the mark.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.dtypes import get_default_dtype
from tapegrad.tensor import Tensor, detached, from_array, kind_of

__all__ = ["Buffer", "Parameter", "clear_gradient"]


class Mark(type):
    """The type of classes whose instances are Tensors with a mark."""

    def __init__(cls, name: str, bases: tuple[type, ...], fields: dict[str, Any]) -> None:
        super().__init__(name, bases, fields)
        if cls.__module__ != __name__:
            raise NotImplementedError(
                f"{name}: subclasses of {bases[0].__name__} aren't supported, since a Parameter's "
                "type is Tensor; write a function that makes one, or keep it in a Module"
            )

    def __instancecheck__(cls, instance: Any) -> bool:
        kind = kind_of(instance) if type(instance) is Tensor else None
        return kind is not None and issubclass(kind, cls)


def _marked(kind: type[Tensor], data: Tensor | None) -> Tensor:
    if data is None:
        data = from_array(np.empty(0, get_default_dtype().numpy))
    if not isinstance(data, Tensor):
        raise TypeError(
            f"{kind.__name__}: the data must be a Tensor, but got {type(data).__name__}"
        )
    out = detached(data, data._array)
    out._extra = kind
    return out


class Parameter(Tensor, metaclass=Mark):
    """A Tensor that is a parameter of the Module of which it is made an attribute.

    It is a new leaf over the memory of ``data``, and requires grad unless told otherwise. Raises
    RuntimeError if it should and is neither floating-point nor complex.
    """

    __slots__ = ()
    heading = "Parameter containing:\n"

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        """A Tensor with the mark, in fact."""
        out: Any = _marked(cls, data)
        out.requires_grad = requires_grad
        return out


class Buffer(Tensor, metaclass=Mark):
    """A Tensor that is part of a Module's state without being a parameter, such as a running mean.

    One that isn't ``persistent`` is left out of the Module's ``state_dict``.
    """

    __slots__ = ()

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        """A Tensor with the mark, in fact."""
        out: Any = _marked(cls if persistent else TransientBuffer, data)
        out.requires_grad = data is not None and data.requires_grad
        return out


class TransientBuffer(Buffer):
    """A `Buffer` that is not persistent."""

    __slots__ = ()


def clear_gradient(parameter: Tensor, set_to_none: bool) -> None:
    """Forget the gradient, or set it to zeros, off the tape."""
    grad = parameter.grad
    if set_to_none:
        parameter.grad = None
    elif grad is not None:
        if grad.grad_fn is not None:
            grad.detach_()
        else:
            grad.requires_grad_(False)
        grad.zero_()
