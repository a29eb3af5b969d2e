"""What structural kernels are given: addresses of code, and things to compare with."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tapegrad.kernels.native import keep_forever, ufunc_loop
from tapegrad.kernels.pool import pool

__all__ = [
    "ADD",
    "ARRAY_KIND",
    "BOOL",
    "INT64",
    "KINDS",
    "LOOP_PARTS",
    "POOL",
    "PRODUCTS",
    "PRODUCT_PARTS",
]
__all__ += ["TOOL_FIELDS", "tools"]

#: Where they stand: the products of two dtypes, and the code for parts of work (see `parts`);
#: NumPy's inner loops of ``add`` with their data; the ids of a few types, of two dtypes and of
#: ndarray; the threads' pool.
PRODUCTS, PRODUCT_PARTS, ELEMENT_PARTS, LOOP_PARTS, ADD = 0, 2, 3, 4, 5
KINDS, INT64, BOOL, ARRAY_KIND, POOL, TOOL_FIELDS = 9, 13, 14, 15, 16, 17


@functools.cache
def tools() -> np.ndarray:
    """What kernels find at ``tools``; the code for products and parts once `parts` is asked."""
    code = (0, 0, 0, 0, 0)
    loops = [x for kinds in ("ff->f", "dd->d") for x in ufunc_loop(np.add, kinds) or (0, 0)]
    kinds: tuple[Any, ...] = (slice, int, None, type(...))
    kinds += (np.dtype(np.int64), np.dtype(bool), np.ndarray)
    made = np.array([*code, *loops, *map(id, kinds), pool().ctypes.data], np.int64)
    keep_forever(made)
    return made
