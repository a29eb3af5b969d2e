"""Functions over whole arrays in one pass, for `tapegrad.fused`: a file for each family.

A function runs over a part of its work, ``begin`` to ``end``; then it has arrays, of which it sees
the flat elements, and numbers. Annotations tell them apart:

    def scaled(begin: Int, end: Int, x: Array, out: Array, n: Int, factor: Real) -> None:
        for i in range(begin, end):
            row, to = part(x, i, n), part(out, i, n)
            for j in range(n):
                to[j] = row[j] * factor

`Array` has the dtype that it is compiled for, `Indices` are int64, `Bools` bools, `Real` is a
number of the arrays' dtype; of a `Strided` array, which has that dtype but may have gaps, it sees
the address; `Tools` is what `kernels.parts.product` wants, and isn't given in calls.
In it ``np`` may be `vectormath`, and `added` adds in any order, so that LLVM can vectorise a sum.

Called as ``scaled(count, x, out, n, factor)`` it does all of its ``count`` parts: on several
threads, if there is enough work and `threads` allows it. What does more with its arrays than read
them is given ``work``, as many bytes as could be read in that time; what can't be shared, 1.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels import vectormath
from tapegrad.kernels.cache import KernelCache, fingerprint
from tapegrad.kernels.calling import INT, REAL, native_call
from tapegrad.kernels.fused import lanes, matrix_products, rows, squares, tiles, vectors
from tapegrad.kernels.native import (
    DATA,
    DIMENSIONS,
    NDIM,
    compile_native,
    float_of,
    keep_forever,
    load32,
    load64,
    pointer_to,
)
from tapegrad.kernels.pool import run_without_gil
from tapegrad.threads import SHARED_BYTES

__all__ = ["find"]

#: The files of this folder, by the functions that are in them.
FAMILIES: dict[str, tuple[str, ...]] = {
    "attention": ("attention", "attention_adjoint"),
    "convolution": ("windowed", "window_products", "channel_sums"),
    "draws": ("uniforms", "normals", "normal_pairs", "integers", "shuffled", "scaled"),
    "looped": ("looped",),
    "losses": ("bce_logits", "bce_logits_x", "bce_x", "huber", "huber_x"),
    "masks": ("masked_fill", "masked_softmax"),
    "normalization": (
        "standard", "standard_adjoint", "layer", "layer_adjoint", "columns", "columns_adjoint",
    ),
    "ordering": ("leading", "running_extrema"),
    "pooling": ("square_pool", "square_pool_x", "averages", "averages_x"),
    "products": ("batch_products", "matrix_product"),
    "recurrent": (
        "lstm", "lstm_adjoint", "lstm_cell", "lstm_output", "gru", "gru_adjoint", "gru_cell",
        "rnn", "rnn_adjoint",
    ),
    "scattering": ("add_rows", "gathered"),
    "softmax": ("softmax", "softmax_x", "log_softmax", "log_softmax_x", "known_classes", "nll"),
    "sums": ("column_sums", "row_sums", "row_squares", "variances", "running_sums"),
    "updates": ("sgd_update", "adam_update"),
}  # fmt: skip
FAMILY_OF = {name: family for family, names in FAMILIES.items() for name in names}
#: What the functions are made of.
TOOLS = (lanes, rows, matrix_products, squares, tiles, vectors)


@register_jitable
def elements(array: Any, zero: Any) -> Any:
    """The elements of a contiguous array, given the address of its object."""
    n = 1
    dimensions = load64(array + DIMENSIONS)
    for i in range(load32(array + NDIM)):
        n *= load64(dimensions + 8 * i)
    return carray(pointer_to(load64(array + DATA), zero), n)


ARRAYS = ("Array", "Strided", "Indices", "Bools")
#: What a function gets of an operand, of which ``{0}`` is what stands in its place.
_OPERANDS = {
    "Int": "{0}",
    "Tools": "{0}",
    "Real": "real(float_of({0}))",
    "Array": "elements({0}, real(0))",
    "Strided": "load64({0} + DATA)",
    "Indices": "elements({0}, index(0))",
    "Bools": "elements({0}, boolean(0))",
}


def _source(name: str, kinds: list[str]) -> str:
    given = [_OPERANDS[kind].format(f"load64(at + {8 * i})") for i, kind in enumerate(kinds)]
    return f"def {name}(begin, end, at):\n    function(begin, end, {', '.join(given)})\n"


def _large_call(code: int, kinds: list[str], tools: int) -> Callable[..., None]:
    """The function for large operands of these kinds: without the GIL."""

    def call(count: int, *operands: Any, work: int = 0) -> None:
        values = np.empty(len(kinds) + 1, np.int64)
        largest = 0
        for i, (kind, value) in enumerate(zip(kinds, operands, strict=True)):
            if kind in ARRAYS:
                largest = max(largest, value.nbytes)
                value = id(value)
            elif kind == "Real":
                value = np.float64(value).view(np.int64)
            values[i] = value
        values[-1] = tools
        others = (work or largest) // SHARED_BYTES
        run_without_gil(code, count, values.ctypes.data, others)

    return call


def _tools(dtype: np.dtype[Any], kinds: list[str]) -> int:
    """The address of the tools, which begin with products; 0 if they aren't asked for."""
    if "Tools" not in kinds:
        return 0
    from tapegrad.kernels.parts import find_products  # made of functions of this folder
    from tapegrad.kernels.tools import tools

    find_products(dtype)
    return int(tools().ctypes.data)


@functools.cache
def find(name: str, dtype: np.dtype[Any]) -> Callable[..., None]:
    """The function of this name for arrays of a dtype, from the kernel cache where it is there."""
    module = importlib.import_module(f"{__name__}.{FAMILY_OF[name]}")
    function = getattr(module, name)
    kinds = [p.annotation for p in inspect.signature(function).parameters.values()][2:]
    own = "".join(inspect.getsource(m) for m in (module, *TOOLS))
    mark = hashlib.sha256(fingerprint(function) + vectormath.stamp() + own.encode()).digest()
    compiled_name = f"{name}_{dtype.name}_{mark.hex()[:16]}"
    source = _source(compiled_name, kinds)
    space = {
        "__name__": __name__,
        "DATA": DATA,
        "elements": elements,
        "float_of": float_of,
        "load64": load64,
        "function": register_jitable(function),
        "boolean": numba.boolean,
        "index": numba.int64,
        "real": numba.float32 if dtype == np.float32 else numba.float64,
    }
    exec(compile(source, f"<fused {name}>", "exec"), space)
    cache = KernelCache(f"fused-{name}-{dtype.name}", source.encode(), mark)
    signature = types.void(*[types.int64] * 3)
    compiled = compile_native(space[compiled_name], signature, cache, fastmath=False)
    keep_forever(compiled)
    tools = _tools(dtype, kinds)
    kinds = [kind for kind in kinds if kind != "Tools"]  # the last one
    sizes = {"Int": INT, "Real": REAL, "Indices": 8, "Bools": 1}
    return native_call(
        compiled.address,
        [sizes.get(kind, dtype.itemsize) for kind in kinds],
        tools,
        _large_call(compiled.address, kinds, tools),
    )
