"""torch's old `Variable`: a Tensor today, which old code still asks for by this name."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad import dtypes
from tapegrad.tensor import Tensor, from_array

__all__ = ["Variable"]


class _VariableType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableType):
    """``Variable(tensor, requires_grad)`` is a Tensor over the same memory; all Tensors are such.

    Raises TypeError for anything else than a Tensor.

    >>> import tapegrad
    >>> from tapegrad.autograd import Variable
    >>> Variable(tapegrad.ones(2), requires_grad=True)
    tensor([1., 1.], requires_grad=True)
    >>> isinstance(tapegrad.ones(2), Variable)
    True
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = False) -> Any:
        if data is None:
            return from_array(np.zeros(0, dtypes.get_default_dtype().numpy), requires_grad)
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        return data.detach().requires_grad_(requires_grad)
