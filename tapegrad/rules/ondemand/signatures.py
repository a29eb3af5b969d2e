"""Functions that torch has twice: in ``nn.functional``, and at the top with other arguments.

At the top weights come before running statistics, nothing has a default that says how to train,
and ``reduction`` is a number: 0 (the default) for "none", 1 for "mean", 2 for "sum".
"""

from __future__ import annotations

from typing import Any

from tapegrad.declaration import public
from tapegrad.rules import (
    contraction,
)
from tapegrad.rules.ondemand import (
    averaging,
    convolution,
    ctc,
    embedding,
    grids,
    likelihoods,
    losses,
    margins,
    normalization,
    padding,
    pooling,
)

REDUCTIONS = ("none", "mean", "sum")
MODES = ("bilinear", "nearest", "bicubic")
PADDING_MODES = ("zeros", "border", "reflection")


# -- layers ----------------------------------------------------------------------------------------


@public(method=False)
def batch_norm(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool,
    momentum: float, eps: float, cudnn_enabled: bool,
) -> Any:  # fmt: skip
    """`nn.functional.batch_norm`."""
    return normalization.batch_norm(
        input, running_mean, running_var, weight, bias, training, momentum, eps
    )


@public(method=False)
def instance_norm(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, use_input_stats: bool,
    momentum: float, eps: float, cudnn_enabled: bool,
) -> Any:  # fmt: skip
    """`nn.functional.instance_norm`."""
    return normalization.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


@public(method=False)
def bilinear(input1: Any, input2: Any, weight: Any, bias: Any) -> Any:
    """`nn.functional.bilinear`; ``bias`` may be None."""
    return contraction.bilinear(input1, input2, weight, bias)


@public(name="embedding", method=False)
def embedding_of(
    weight: Any, indices: Any, padding_idx: int = -1, scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:  # fmt: skip
    """`nn.functional.embedding`, the table first; a negative ``padding_idx`` is none."""
    row = padding_idx if padding_idx >= 0 else None
    return embedding.embedding(indices, weight, row, None, 2.0, scale_grad_by_freq, sparse)


@public(method=False, module=("", "nn.functional"))
def conv_tbc(input: Any, weight: Any, bias: Any, pad: int = 0) -> Any:
    """`conv1d` of time, batch, channel: input (T, N, C), weight (k, C, out), bias (out,)."""
    out = convolution.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return out.permute(2, 0, 1)


@public(method=False)
def constant_pad_nd(input: Any, pad: Any, value: Any = 0) -> Any:
    """`nn.functional.pad` with a constant."""
    return padding.pad(input, pad, "constant", value)


@public(method=False)
def adaptive_max_pool1d(input: Any, output_size: Any) -> Any:
    """`nn.functional.adaptive_max_pool1d`, with the places of the maxima."""
    return averaging.adaptive_max_pool1d(input, output_size, True)


@public(method=False)
def max_pool1d_with_indices(
    input: Any, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:  # fmt: skip
    """`max_pool1d`, with the places of the maxima."""
    return pooling.max_pool1d(
        input, kernel_size, stride if stride != () else None, padding, dilation, ceil_mode, True
    )


@public(method=False)
def affine_grid_generator(theta: Any, size: Any, align_corners: bool) -> Any:
    """`nn.functional.affine_grid`."""
    return grids.affine_grid(theta, size, align_corners)


@public(method=False, aliases=("grid_sampler_2d", "grid_sampler_3d"))
def grid_sampler(
    input: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Any:
    """`nn.functional.grid_sample`, the modes as numbers.

    Interpolation 0: "bilinear", 1: "nearest", 2: "bicubic"; padding 0: "zeros", 1: "border",
    2: "reflection".
    """
    return grids.grid_sample(
        input, grid, MODES[interpolation_mode], PADDING_MODES[padding_mode], align_corners
    )


# -- losses ----------------------------------------------------------------------------------------


@public(method=False)
def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, pos_weight: Any = None, reduction: int = 0
) -> Any:
    """`nn.functional.binary_cross_entropy_with_logits`."""
    return losses.binary_cross_entropy_with_logits(
        input, target, weight, reduction=REDUCTIONS[reduction], pos_weight=pos_weight
    )


@public(method=False)
def kl_div(input: Any, target: Any, reduction: int = 0, *, log_target: bool = False) -> Any:
    """`nn.functional.kl_div`."""
    return losses.kl_div(input, target, reduction=REDUCTIONS[reduction], log_target=log_target)


@public(method=False)
def poisson_nll_loss(
    input: Any, target: Any, log_input: bool, full: bool, eps: float, reduction: int
) -> Any:
    """`nn.functional.poisson_nll_loss`."""
    return likelihoods.poisson_nll_loss(
        input, target, log_input, full, eps=eps, reduction=REDUCTIONS[reduction]
    )


@public(method=False)
def ctc_loss(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: int = 0, zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """`nn.functional.ctc_loss`."""
    return ctc.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, REDUCTIONS[reduction],
        zero_infinity,
    )  # fmt: skip


@public(method=False)
def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: int = 0
) -> Any:
    """`nn.functional.margin_ranking_loss`."""
    return margins.margin_ranking_loss(
        input1, input2, target, margin, reduction=REDUCTIONS[reduction]
    )


@public(method=False)
def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: int = 0) -> Any:
    """`nn.functional.hinge_embedding_loss`."""
    return margins.hinge_embedding_loss(input, target, margin, reduction=REDUCTIONS[reduction])


@public(method=False)
def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: int = 0
) -> Any:
    """`nn.functional.cosine_embedding_loss`."""
    return margins.cosine_embedding_loss(
        input1, input2, target, margin, reduction=REDUCTIONS[reduction]
    )


@public(method=False)
def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2.0,
    eps: float = 1e-6, swap: bool = False, reduction: int = 0,
) -> Any:  # fmt: skip
    """`nn.functional.triplet_margin_loss`."""
    return margins.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, reduction=REDUCTIONS[reduction]
    )
