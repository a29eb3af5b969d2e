"""Losses: what training makes small. ``reduction`` is "mean", "sum" or "none"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad.nn.modules.applied import Applied
from tapegrad.nn.modules.shapes import PairwiseDistance
from tapegrad.rules.ondemand.losses import reduction_of
from tapegrad.tensor import Tensor

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class Loss(Applied):
    """A function of inputs and targets; weights are buffers, the rest are settings."""

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean", **settings: Any
    ) -> None:
        if size_average is not None or reduce is not None:  # torch's older way to say it
            reduction = ("none", "mean", "sum")[reduction_of(reduction, size_average, reduce)]
        weights = {name: settings[name] for name in ("weight", "pos_weight") if name in settings}
        rest = {name: value for name, value in settings.items() if name not in weights}
        super().__init__(reduction=reduction, **rest)
        for name, value in weights.items():
            self.register_buffer(name, value)
        self._settings = ("reduction", *settings)

    def extra_repr(self) -> str:
        """Nothing, as in torch."""
        return ""


class L1Loss(Loss):
    """``|input - target|``."""

    function = "l1_loss"

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)


class MSELoss(L1Loss):
    """``(input - target)²``."""

    function = "mse_loss"


class SoftMarginLoss(L1Loss):
    """``log(1 + exp(-target * input))``, targets 1 and -1."""

    function = "soft_margin_loss"


class MultiLabelMarginLoss(L1Loss):
    """The hinge loss between the classes that are targets and those that aren't."""

    function = "multilabel_margin_loss"


class NLLLoss(Loss):
    """Minus the input, log-probabilities (N, C, ...), at the target's class (N, ...)."""

    function = "nll_loss"

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction, weight=weight, ignore_index=ignore_index)


class CrossEntropyLoss(Loss):
    """`NLLLoss` of the logarithm of the input's softmax; targets are classes or probabilities."""

    function = "cross_entropy"

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            size_average, reduce, reduction, weight=weight, ignore_index=ignore_index,
            label_smoothing=label_smoothing,
        )  # fmt: skip


class BCELoss(Loss):
    """The binary cross entropy between probabilities and targets."""

    function = "binary_cross_entropy"

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction, weight=weight)


class MultiLabelSoftMarginLoss(BCELoss):
    """The mean over the classes of the binary cross entropy with logits."""

    function = "multilabel_soft_margin_loss"


class BCEWithLogitsLoss(Loss):
    """`BCELoss` of the input's sigmoid."""

    function = "binary_cross_entropy_with_logits"

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction, weight=weight, pos_weight=pos_weight)


class PoissonNLLLoss(Loss):
    """Minus the log-likelihood of counts under Poisson distributions of (log) rate ``input``."""

    function = "poisson_nll_loss"

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: Any = None,
        eps: float = 1e-8,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction, log_input=log_input, full=full, eps=eps)


class GaussianNLLLoss(Loss):
    """Minus the log-likelihood of targets under normal distributions: (mean, target, variance)."""

    function = "gaussian_nll_loss"

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction, full=full, eps=eps)


class KLDivLoss(Loss):
    """``target * (log(target) - input)``, the input being log-probabilities."""

    function = "kl_div"

    def __init__(
        self,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction, log_target=log_target)


class HuberLoss(Loss):
    """Half the square of the error up to ``delta``, linear beyond (Huber 1964)."""

    function = "huber_loss"

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction, delta=delta)


class SmoothL1Loss(Loss):
    """`HuberLoss` divided by ``beta``."""

    function = "smooth_l1_loss"

    def __init__(
        self,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction, beta=beta)


class HingeEmbeddingLoss(Loss):
    """``input`` where the target is 1, ``max(0, margin - input)`` where it is -1."""

    function = "hinge_embedding_loss"

    def __init__(
        self,
        margin: float = 1.0,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction, margin=margin)


class CosineEmbeddingLoss(Loss):
    """1 minus the cosine where the target is 1, ``max(0, cosine - margin)`` where it is -1."""

    function = "cosine_embedding_loss"

    def __init__(
        self,
        margin: float = 0.0,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction, margin=margin)


class MarginRankingLoss(CosineEmbeddingLoss):
    """``max(0, margin - target * (input1 - input2))``."""

    function = "margin_ranking_loss"


class MultiMarginLoss(Loss):
    """The hinge loss between the target's class and the others."""

    function = "multi_margin_loss"

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        if p not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if weight is not None and weight.ndim != 1:
            raise ValueError(f"weight must be None or 1-dimensional, but got {weight.ndim}-D")
        super().__init__(size_average, reduce, reduction, p=p, margin=margin, weight=weight)


class TripletMarginLoss(Loss):
    """``max(0, |anchor - positive| - |anchor - negative| + margin)``, of p-norms."""

    function = "triplet_margin_loss"

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: expected margin to be > 0, but got {margin}")
        super().__init__(size_average, reduce, reduction, margin=margin, p=p, eps=eps, swap=swap)


class TripletMarginWithDistanceLoss(Loss):
    """`TripletMarginLoss` with any distance."""

    function = "triplet_margin_with_distance_loss"

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: expected margin to be > 0, but got {margin}"
            )
        distance = PairwiseDistance() if distance_function is None else distance_function
        settings = {"distance_function": distance, "margin": margin, "swap": swap}
        super().__init__(reduction=reduction, **settings)


class CTCLoss(Loss):
    """Minus the log-likelihood of label sequences, summed over alignments (Graves et al. 2006)."""

    function = "ctc_loss"

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction=reduction, blank=blank, zero_infinity=zero_infinity)
