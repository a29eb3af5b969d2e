"""Elementwise primitives over whole arrays: their forward functions, and their adjoints."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.errors import NumbaError
from numba.extending import register_jitable

from tapegrad.kernels import vectormath
from tapegrad.kernels.fused import compiled
from tapegrad.kernels.scalars import on_scalars, stamp
from tapegrad.primitive import Primitive

__all__ = ["find_map"]

_SOURCE = """\
def over_part(begin, end, to, {names}):
    TO = to[begin:end]
{parts}
    for i in range(end - begin):
        TO[i] = {value}
"""


@functools.cache
def find_map(
    primitive: Primitive, index: int | None, dtype: np.dtype[Any], kinds: tuple[str, ...]
) -> Callable[..., None] | None:
    """``call(count, to, *operands)``; of a rule's operands the first is ``out_bar``.

    Args:
        primitive: the primitive.
        index: of the input whose adjoint is computed; None: the forward function.
        dtype: of the arrays.
        kinds: of the operands, "Array" or "Real".
    """
    names = [f"a{i}" for i in range(len(kinds))]
    elements = [f"{n}[i]" if k == "Array" else n for n, k in zip(names, kinds, strict=True)]
    value = f"function({', '.join(elements)})"
    if index is not None:
        rule = primitive.bound[index]
        assert rule is not None
        formula, mark = on_scalars(rule.rule, dtype), stamp(rule.rule)
        if rule.partial:
            value = f"{elements[0]} * function({', '.join(elements[1:])})"
    elif isinstance(primitive.scalar, str):
        formula, mark = vectormath.of_one[primitive.scalar], vectormath.stamp()
    else:
        formula, mark = on_scalars(primitive.forward, dtype), stamp(primitive.forward)
    parts = [f"    {n} = {n}[begin:end]" for n, k in zip(names, kinds, strict=True) if k == "Array"]
    source = _SOURCE.format(names=", ".join(names), parts="\n".join(parts), value=value)
    space = {"__name__": __name__, "function": formula}
    exec(compile(source, f"<map of {primitive.name}>", "exec"), space)
    function = register_jitable(inline="always")(space["over_part"])
    mark = hashlib.sha256(mark + source.encode()).digest()
    name = f"{primitive.name}_{'forward' if index is None else index}"
    try:
        return compiled(name, function, ["Int", "Int", "Array", *kinds], dtype, mark)
    except NumbaError:  # what only NumPy can run
        return None
