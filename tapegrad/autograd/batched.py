"""`grad` with ``is_grads_batched``: one walk with a batch of adjoints, as under vmap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapegrad.autograd.engine import grad, run_walk
from tapegrad.autograd.forward import constant
from tapegrad.batched import Level
from tapegrad.declaration import BatchedAccess
from tapegrad.recording import wrap_saved
from tapegrad.rules.joining import stack
from tapegrad.tape import tape
from tapegrad.tensor import Tensor, place_of

__all__ = ["grad_batched", "pull_batched"]


def pull_batched(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], batches: Sequence[Tensor],
    retain: bool, create_graph: bool,
) -> list[Tensor | None] | None:  # fmt: skip
    """The gradients for a batch of adjoints of each output; None for an unused input.

    None for all if user's code is on the way that can't do it, or may not expect it: hooks, and
    Functions that look at values.
    """
    places = [place_of(x) or 0 for x in inputs]
    roots = [place_of(out) or 0 for out in outputs]
    if tape.notes or 0 in places or 0 in roots:
        return None
    with Level(batches[0]._spec.shape[0]) as level:
        pairs = [
            (place, level.batch(bar if bar._spec.dtype == out._spec.dtype else bar.to(out.dtype)))
            for place, bar, out in zip(roots, batches, outputs, strict=True)
        ]
        wrapping = wrap_saved if create_graph else constant
        try:
            _, found = run_walk(pairs, retain, wrapping, frozenset(places))
        except BatchedAccess:
            if not retain:
                raise
            return None
    adjoints = [found.get(place) for place in places]
    return [None if bar is None else level.lowered(bar) for bar in adjoints]


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
    if count and all(isinstance(x, Tensor) for x in (*outputs, *inputs, *batches)):
        found = pull_batched(outputs, inputs, batches, keep, create_graph)
        if found is not None and (materialize_grads or allow_unused or None not in found):
            return tuple(
                x.new_zeros(count, *x.shape) if bar is None and materialize_grads else bar
                for x, bar in zip(inputs, found, strict=True)
            )
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
