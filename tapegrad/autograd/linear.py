"""Which structural primitives are linear, and so are their own derivatives in forward mode."""

from __future__ import annotations

from tapegrad import broadcast, inplace
from tapegrad.products import batch_products
from tapegrad.rules import (
    addmm,
    batches,
    contraction,
    conversion,
    diagonals,
    flipping,
    gathering,
    indexing,
    linear,
    matrix_products,
    pairs,
    permuting,
    reductions,
    repeating,
    replacing,
    shape,
    splitting,
)
from tapegrad.rules.ondemand import (
    classification,
    convolution,
    embedding,
    folding,
    fourier,
    pooling,
    resampling,
)

__all__ = ["LINEAR"]

#: The forward functions of primitives that are linear in each input whose rule doesn't read it, if
#: the other inputs that the rule doesn't read are 0.
LINEAR = frozenset(
    (
        broadcast._sum_to_shape, broadcast._expand, broadcast._cast_forward,
        conversion.real_forward, conversion.imag_forward, conversion.conj_forward,
        conversion.complex_forward, pairs.as_real_forward, pairs.as_complex_forward,
        shape.reshape_forward, shape.copied_forward, shape.insert_forward,
        permuting.transpose_forward,
        repeating.repeat_forward, repeating.each_forward, flipping.flip_forward,
        flipping.roll_forward, flipping.rot90_forward, splitting.part_forward,
        indexing.basic_forward, indexing.embed_forward, indexing.advanced_forward,
        indexing.accumulate_at_forward, indexing.cleared_forward, indexing.put_forward,
        gathering.add_forward, gathering.along_forward, contraction.put_zeros_forward,
        inplace._replaced_forward,
        replacing.part_forward, replacing.diagonal_forward, replacing.strided_forward,
        batch_products, matrix_products.dot_forward, matrix_products.vdot_forward,
        matrix_products.folded_forward, addmm.addmm_forward, linear.linear_forward,
        batches.product_forward, batches.layers_forward,
        reductions.sum_forward, reductions.sum_all_forward, reductions.mean_forward,
        reductions.mean_all_forward, reductions.cumsum_forward, reductions.reversed_cumsum_forward,
        diagonals.diagonal_forward, diagonals.diagonal_copy_forward,
        diagonals.diagonal_embed_forward, diagonals.trace_forward, diagonals.tril_forward,
        diagonals.triu_forward, diagonals.unfold_forward, diagonals.folded_forward,
        resampling.resample_forward, resampling.transposed_resample_forward,
        convolution.conv_forward, convolution.biased_forward, convolution.transposed_forward,
        convolution.biased_transposed_forward, convolution.correlation_forward,
        embedding.embedding_forward, embedding.rows_forward, embedding.segment_sum_forward,
        embedding.segment_spread_forward, folding.unfold_forward, folding.fold_forward,
        fourier.fft_forward, fourier.rfft_forward, fourier.irfft_forward, fourier.weighted_forward,
        fourier.resized_forward, pooling.placed_forward, pooling.taken_forward,
        classification.nll_forward, classification.scattered_forward,
    )
)  # fmt: skip
