"""What torch says of operands that don't go together, once NumPy has refused them."""

from __future__ import annotations

import numpy as np

from tapegrad.dtypes import DTYPE_NAMES

__all__ = ["check_broadcast", "unsupported"]

#: What torch says of these for bools.
_NOT_FOR_BOOLS = {
    "neg": "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
    "invert a mask, use the `~` or `logical_not()` operator instead.",
    "sub": "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
    "`logical_xor()` operator instead.",
}


def unsupported(name: str, arrays: tuple[np.ndarray, ...]) -> RuntimeError:
    """torch's error for a dtype that the forward function can't take."""
    dtype = arrays[-1].dtype
    if dtype.kind == "b" and name in _NOT_FOR_BOOLS:
        return RuntimeError(_NOT_FOR_BOOLS[name])
    return NotImplementedError(f"\"{name}_cpu\" not implemented for '{DTYPE_NAMES[dtype.name]}'")


def check_broadcast(arrays: tuple[np.ndarray, ...]) -> None:
    """Raise torch's error if the shapes don't broadcast."""
    for a in arrays:
        for b in arrays:
            for k in range(1, min(a.ndim, b.ndim) + 1):
                m, n = a.shape[-k], b.shape[-k]
                if m != n and m != 1 and n != 1:
                    dim = max(a.ndim, b.ndim) - k
                    raise RuntimeError(
                        f"The size of tensor a ({m}) must match the size of tensor b ({n}) at "
                        f"non-singleton dimension {dim}"
                    )
