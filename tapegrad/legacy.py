"""torch's old names of types: ``FloatTensor([1, 2])``, ``isinstance(x, tapegrad.LongTensor)``.

>>> import tapegrad
>>> tapegrad.LongTensor([1, 2]), isinstance(tapegrad.ones(2), tapegrad.LongTensor)
(tensor([1, 2]), False)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad import dtypes
from tapegrad.factory import leaf, shape_from
from tapegrad.fromdata import array_of
from tapegrad.size import Size
from tapegrad.tensor import Tensor

#: NumPy's names of the dtypes that have such a type, and torch's.
TYPES = {k: v for k, v in dtypes.TYPE_NAMES.items() if not k.startswith("complex")}

__all__ = [name + "Tensor" for name in TYPES.values()]


class _TensorType(type):
    """The class of those types: their instances are the Tensors of a dtype."""

    dtype: dtypes.dtype

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype

    def __call__(cls, *data: Any) -> Tensor:
        if len(data) == 1 and not isinstance(data[0], (int, Size)):
            return leaf(array_of(data[0], cls.dtype))
        shape = shape_from("new", data) if data else (0,)
        return leaf(np.empty(shape, cls.dtype.numpy))


def _make(dtype: dtypes.dtype, name: str) -> type:
    """The type of the Tensors of a dtype."""
    doc = f"The Tensors of {dtype.name}; called with data or sizes it makes one."
    return _TensorType(name, (), {"__doc__": doc, "dtype": dtype, "__module__": "tapegrad"})


for _dtype, _name in TYPES.items():
    globals()[_name + "Tensor"] = _make(dtypes.from_numpy(np.dtype(_dtype)), _name + "Tensor")
