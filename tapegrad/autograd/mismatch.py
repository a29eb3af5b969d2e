"""Where two Jacobians differ, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Side", "describe"]


@dataclass(frozen=True)
class Side:
    """What the rows or the columns of a Jacobian belong to: a name and a shape."""

    name: str
    shape: tuple[int, ...]

    def entry(self, position: int) -> str:
        """The name of the entry at a flat position."""
        index = [int(i) for i in np.unravel_index(position, self.shape)] if self.shape else ""
        return f"{self.name}{index}"


def describe(
    analytical: np.ndarray,
    numerical: np.ndarray,
    argument: Side,
    result: Side,
    tolerances: tuple[float, float],
    method: str,
) -> str:
    """How many entries differ, which one most and by how much, what they have in common.

    Args:
        analytical, numerical: the Jacobians, a row for each entry of the argument.
        argument, result: what rows and columns belong to.
        tolerances: atol and rtol.
        method: how the numerical one was found.
    """
    atol, rtol = tolerances
    wrong = ~np.isclose(analytical, numerical, rtol, atol)
    with np.errstate(invalid="ignore"):
        off = np.where(wrong, np.abs(analytical - numerical), 0)
    row, column = np.unravel_index(np.argmax(off), off.shape)  # nan counts as the greatest
    a, b = analytical[row, column].item(), numerical[row, column].item()
    return (
        f"{wrong.sum()} of {wrong.size} entries differ. The worst is the derivative of "
        f"{result.entry(int(column))} for {argument.entry(int(row))}: {b:.8g} by {method}, but "
        f"{a:.8g} by tapegrad. That is {off[row, column]:.3g} off; {atol + rtol * abs(b):.3g} is "
        f"allowed (atol={atol:g}, rtol={rtol:g}).\n{_relation(analytical[wrong], numerical[wrong])}"
    )


def _relation(analytical: np.ndarray, numerical: np.ndarray) -> str:
    """What the wrong entries have in common, if it is simple."""
    if not analytical.any():
        return "All that differ are 0 by tapegrad: something was not recorded.\n"
    if len(numerical) > 1 and numerical.all() and np.isfinite(numerical).all():
        ratios = analytical / numerical
        if np.allclose(ratios, ratios[0], 1e-3) and abs(ratios[0] - 1) > 1e-2:
            return f"All that differ are {ratios[0].item():.4g} times what they should be.\n"
    return ""
