"""`grad` with ``is_grads_batched``: one walk for each of a batch of adjoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapegrad.autograd.engine import grad
from tapegrad.rules.joining import stack
from tapegrad.tensor import Tensor

__all__ = ["grad_batched"]


def grad_batched(
    outputs: tuple[Any, ...],
    inputs: tuple[Any, ...],
    grad_outputs: Any,
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
) -> tuple[Tensor | None, ...]:
    """As `grad`, with a further first dimension, the batch, in adjoints and gradients."""
    single = grad_outputs is None or isinstance(grad_outputs, Tensor)
    batches = (grad_outputs,) if single else tuple(grad_outputs)
    sizes = {b._spec.shape[0] if b._spec.ndim else None for b in batches if b is not None}
    count = sizes.pop() if len(sizes) == 1 else None
    if count is None:
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sorted(map(str, sizes))} for the mapped dimension"
        )
    _check_shapes(outputs, batches)
    keep = create_graph if retain_graph is None else retain_graph
    rows = [
        grad(
            outputs,
            inputs,
            [None if batch is None else batch[i] for batch in batches],
            keep or i < count - 1,
            create_graph,
            allow_unused=allow_unused,
            materialize_grads=materialize_grads,
        )
        for i in range(count)
    ]
    return tuple(None if column[0] is None else stack(column) for column in zip(*rows, strict=True))


def _check_shapes(outputs: Sequence[Any], batches: Sequence[Any]) -> None:
    for i, (output, batch) in enumerate(zip(outputs, batches, strict=False)):
        if batch is not None and isinstance(output, Tensor) and batch.shape[1:] != output.shape:
            raise RuntimeError(
                f"If `is_grads_batched=True`, we interpret the first dimension of each grad_output "
                f"as the batch dimension. The sizes of the remaining dimensions are expected to "
                f"match the shape of corresponding output, but a mismatch was detected: "
                f"grad_output[{i}] has a shape of {batch.shape} and output[{i}] has a shape of "
                f"{output.shape}. If you only want some tensors in `grad_output` to be considered "
                "batched, consider using vmap."
            )
