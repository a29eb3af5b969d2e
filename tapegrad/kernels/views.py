"""Views as operands of machine code: those whose base hasn't moved on are as good as any Tensor."""

from __future__ import annotations

from typing import Any

from numba.extending import register_jitable

from tapegrad.kernels.layout import (
    EXTRA_SLOT,
    INFERENCE_SLOT,
    PLACE_SLOT,
    ROOT_PLACE_SLOT,
    ROOT_SLOT,
    SPEC_SLOT,
    SPECIAL_SLOT,
    TRUE,
)
from tapegrad.kernels.native import load64

__all__ = ["is_settled"]


@register_jitable
def is_settled(shared: Any, tensor: Any) -> Any:
    """Whether a Tensor's place is the one that it has: see `tensor.place_of`."""
    spec = load64(tensor + shared[SPEC_SLOT])
    settled = True
    if load64(spec + shared[SPECIAL_SLOT]) == shared[TRUE]:
        view = load64(tensor + shared[EXTRA_SLOT])
        settled = load64(spec + shared[INFERENCE_SLOT]) != shared[TRUE]
        if settled and view != 0:
            root = load64(view + shared[ROOT_SLOT])
            now = load64(root + shared[PLACE_SLOT])
            settled = now == load64(view + shared[ROOT_PLACE_SLOT])
    return settled
