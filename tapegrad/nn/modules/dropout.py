"""Dropout: in training, parts of the input are set to 0 at random."""

from __future__ import annotations

from typing import Any

from tapegrad.nn import functional as F
from tapegrad.nn.modules.applied import Applied

__all__ = [
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
]


class Dropout(Applied):
    """Set elements to 0 with probability ``p``, and scale the others by ``1 / (1 - p)``."""

    function = "dropout"

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        super().__init__(p=p, inplace=inplace)

    def forward(self, *input: Any) -> Any:
        """The input itself where the Module isn't in training."""
        return getattr(F, self.function)(*input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        """Probability, and whether in place."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """`Dropout` of whole channels of (N, C, L) or (C, L)."""

    function = "dropout1d"


class Dropout2d(Dropout):
    """`Dropout` of whole channels of (N, C, H, W)."""

    function = "dropout2d"


class Dropout3d(Dropout):
    """`Dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W)."""

    function = "dropout3d"


class AlphaDropout(Dropout):
    """Dropout that keeps mean and variance, for `SELU` (Klambauer et al. 2017)."""

    function = "alpha_dropout"


class FeatureAlphaDropout(Dropout):
    """`AlphaDropout` of whole channels."""

    function = "feature_alpha_dropout"
