"""Recurrent layers over packed sequences: times of as many sequences are run at once."""

from __future__ import annotations

from collections.abc import Callable

from tapegrad.operators import functions
from tapegrad.tensor import Tensor

__all__ = ["run_packed", "stretches"]

States = tuple[Tensor, ...]


def stretches(batch_sizes: list[int]) -> list[tuple[int, int]]:
    """How many times in a row there are how many sequences, of the number of each time.

    >>> stretches([3, 3, 1])
    [(2, 3), (1, 1)]
    """
    found: list[tuple[int, int]] = []
    for rows in batch_sizes:
        steps = found.pop()[0] + 1 if found and found[-1][1] == rows else 1
        found.append((steps, rows))
    return found


def run_packed(
    run: Callable[[Tensor, States], tuple[Tensor, States]],
    x: Tensor,
    first: States,
    parts: list[tuple[int, int]],
    backwards: bool,
) -> tuple[Tensor, States]:
    """Outputs and last states of a layer in one direction, of packed inputs (elements, .).

    Args:
        run: gives them for inputs (steps, rows, .) and first states (rows, .), forwards.
        x: the inputs.
        first: the first states of all sequences; backwards each begins where it ends.
        parts: see `stretches`.
        backwards: whether to go from the end to the beginning.
    """
    cat = functions["cat"]
    pieces = [
        piece.reshape(steps, rows, -1)
        for piece, (steps, rows) in zip(x.split([s * r for s, r in parts]), parts, strict=True)
    ]
    outputs, ended = [], []
    states: States = ()
    for piece in reversed(pieces) if backwards else pieces:
        rows = piece.shape[1]
        if not states:
            states = tuple(s[:rows] for s in first)
        elif backwards:  # the shorter sequences begin
            states = tuple(cat([s, f[len(s) : rows]]) for s, f in zip(states, first))
        else:  # the longer ones go on
            ended.append(tuple(s[rows:] for s in states))
            states = tuple(s[:rows] for s in states)
        out, states = run(piece.flip(0) if backwards else piece, states)
        outputs.append((out.flip(0) if backwards else out).flatten(0, 1))
    if ended:
        states = tuple(cat(parts) for parts in zip(states, *reversed(ended)))
    return cat(outputs[::-1] if backwards else outputs), states
