"""Elements of several vectors together: products, combinations, grids of coordinates."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import Primitive
from tapegrad.rules.broadcasting import expand
from tapegrad.rules.gathering import index_select_
from tapegrad.rules.joining import stack, tensor_list
from tapegrad.rules.shape import as_shape


@public(method=False)
def cartesian_prod(*tensors: Any) -> Any:
    """All tuples of one element from each of the vectors, as rows; a single vector as it is.

    Raises RuntimeError for what isn't a vector.
    """
    inputs = tensor_list(list(tensors), "cartesian_prod")
    for x in inputs:
        if x._spec.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(x._spec.shape)}")
    if len(inputs) == 1:
        return inputs[0]
    shape = tuple([x._spec.size for x in inputs])
    columns = []
    for d, x in enumerate(inputs):
        spread = expand(as_shape(x, (*(1,) * d, shape[d], *(1,) * (len(shape) - d - 1))), shape)
        columns.append(as_shape(spread, (math.prod(shape),)))
    return stack(columns, 1)


@public(method=False)
def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """All choices of ``r`` elements of a vector, in order, as rows.

    ``with_replacement``: an element may be chosen again. Raises RuntimeError for what isn't a
    vector and for a negative r.
    """
    if input._spec.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input._spec.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input[:0].detach()
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    index = np.array(list(choose(range(input._spec.size), r)), np.int64).reshape(-1, r)
    return Primitive.apply(index_select_, (input,), ((index,),))


@public(method=False)
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Any, ...]:
    """Grids of the coordinates of vectors; ``indexing`` is "ij" (the default) or "xy". Views.

    Warns without ``indexing``, as torch does. Raises RuntimeError for other shapes than vectors'
    and for several dtypes.
    """
    inputs = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    if not inputs:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for x in inputs:
        if x.ndim > 1:
            raise RuntimeError(
                f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x}"
            )
        if x._spec.dtype != inputs[0]._spec.dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    if indexing is None:
        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing "
            "argument.",
            UserWarning,
            stacklevel=2,
        )
    elif indexing not in ("ij", "xy"):
        raise RuntimeError(
            f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    order = list(range(len(inputs)))
    if indexing == "xy" and len(inputs) > 1:
        order[:2] = 1, 0
    shape = tuple([inputs[i]._spec.size for i in order])
    grids = []
    for i, x in enumerate(inputs):
        place = order.index(i)
        wide = (1,) * place + (x._spec.size,) + (1,) * (len(order) - place - 1)
        grids.append(expand(as_shape(x, wide), shape))
    return tuple(grids)
