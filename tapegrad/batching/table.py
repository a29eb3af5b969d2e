"""Which structural primitive has which rule, by its forward function."""

from __future__ import annotations

from typing import Any

from tapegrad import assignment, broadcast, inplace
from tapegrad.batching import indices, products, shapes
from tapegrad.products import batch_products
from tapegrad.rules import (
    addmm,
    comparison,
    contraction,
    conversion,
    cumulative,
    determinants,
    diagonals,
    extrema,
    factorizations,
    flipping,
    gathering,
    indexing,
    joining,
    linear,
    lu,
    matrix_functions,
    matrix_products,
    norms,
    pairs,
    permuting,
    pseudoinverses,
    reductions,
    repeating,
    replacing,
    selection,
    shape,
    softmax,
    solvers,
    sorting,
    spectral,
    splitting,
    statistics,
    triangular,
)
from tapegrad.rules import (
    batches as batches_,
)
from tapegrad.rules.ondemand import (
    classification,
    convolution,
    dotproducts,
    embedding,
    folding,
    fourier,
    layer_norms,
    losses,
    normalization,
    padding,
    pooling,
    recurrent,
    resampling,
)

_FAMILIES: dict[Any, tuple[Any, ...]] = {
    shapes.along: (
        reductions.sum_forward, reductions.nansum_forward, reductions.mean_forward,
        reductions.prod_forward, reductions.cumsum_forward, reductions.reversed_cumsum_forward,
        reductions.cumprod_forward, reductions.all_forward, reductions.any_forward,
        reductions.count_nonzero_forward, softmax.softmax_forward, softmax.log_softmax_forward,
        extrema.amax_forward, extrema.amin_forward, extrema.aminmax_forward,
        cumulative.logcumsumexp_forward,
        statistics.var_forward, statistics.std_forward, statistics.var_mean_forward,
        statistics.std_mean_forward, statistics.logsumexp_forward, statistics.norm_forward,
        repeating.each_forward,
    ),
    shapes.argument: (extrema.argmax_forward, extrema.argmin_forward),
    shapes.by_params: (
        shape.reshape_forward, shape.copied_forward, shape.insert_forward,
        diagonals.diagonal_forward, diagonals.diagonal_copy_forward,
        diagonals.diagonal_embed_forward, diagonals.unfold_forward, diagonals.folded_forward,
        flipping.flip_forward, flipping.rot90_forward, fourier.fft_forward, fourier.rfft_forward,
        fourier.irfft_forward, fourier.weighted_forward, fourier.resized_forward,
        resampling.resample_forward, resampling.transposed_resample_forward,
        indexing.basic_forward, indexing.embed_forward, splitting.part_forward,
    ),
    shapes.as_is: (
        broadcast._cast_forward, conversion.real_forward, conversion.imag_forward,
        conversion.conj_forward, diagonals.tril_forward, diagonals.triu_forward,
        solvers.inv_ex_forward, factorizations.cholesky_ex_forward, factorizations.qr_forward,
        factorizations.geqrf_forward, spectral.eigh_forward, spectral.eigvalsh_forward,
        spectral.eigvals_forward, spectral.eig_forward, spectral.svdvals_forward,
        spectral.svd_forward, determinants.det_forward, determinants.slogdet_forward,
        determinants.cofactors_forward, lu.lu_factor_forward, matrix_functions.matrix_exp_forward,
        pairs.as_real_forward, pairs.as_complex_forward, selection.nan_to_num_complex_forward,
        padding.pad_forward, pooling.max_forward, assignment.zeros_forward,
        shape.view_dtype_forward, lu.permutation_forward, dotproducts.masked_softmax_forward,
        recurrent.states_forward,
    ),
    shapes.stacked: (
        pooling.max_index_forward, pooling.placed_forward, pooling.taken_forward,
        matrix_functions.cross_forward, dotproducts.attention_forward,
        recurrent.lstm_cell_forward, recurrent.lstm_output_forward, recurrent.gru_cell_forward,
    ),
    shapes.aligned: (
        conversion.complex_forward, comparison.isclose_forward, norms.euclidean_forward,
        triangular.solve_triangular_forward,
    ),
    shapes.whole_sum: (reductions.sum_all_forward,),
    shapes.whole_mean: (reductions.mean_all_forward,),
    shapes.permuted: (permuting.transpose_forward,),
    shapes.expanded: (broadcast._expand,),
    shapes.summed: (broadcast._sum_to_shape,),
    shapes.repeated: (repeating.repeat_forward,),
    shapes.traced: (diagonals.trace_forward,),
    shapes.rolled: (flipping.roll_forward,),
    shapes.strided: (replacing.strided_forward,),
    shapes.joined: (joining.cat_forward, joining.stack_forward),
    shapes.losses: (
        losses.mse_forward, losses.huber_forward, losses.bce_logits_forward, losses.bce_forward,
        losses.bce_weighted_forward,
    ),
    shapes.standard: (
        normalization.standard_forward, normalization.group_forward, layer_norms.layer_forward,
        layer_norms.bare_layer_forward, layer_norms.rms_forward, layer_norms.bare_rms_forward,
    ),
    shapes.sequences: (
        recurrent.lstm_forward, recurrent.gru_forward, recurrent.rnn_forward,
    ),
    shapes.one_batch: (folding.unfold_forward, folding.fold_forward),
    indices.taken: (indexing.advanced_forward,),
    indices.along: (gathering.along_forward,),
    indices.scattered: (
        indexing.accumulate_at_forward, contraction.put_zeros_forward, sorting.spread_forward,
    ),
    indices.cleared: (indexing.cleared_forward,),
    indices.replaced: (
        indexing.put_forward, gathering.add_forward, replacing.part_forward,
    ),
    indices.on_diagonal: (replacing.diagonal_forward,),
    indices.masked: (gathering.masked_fill_forward,),
    indices.copied: (assignment.copy_forward,),
    indices.likelihood: (classification.nll_forward,),
    indices.likelihood_adjoint: (classification.scattered_forward,),
    indices.embedded: (embedding.embedding_forward,),
    indices.embedding_adjoint: (embedding.rows_forward,),
    products.matmul: (
        batch_products, matrix_products.dot_forward, matrix_products.mm_forward,
        matrix_products.folded_forward, batches_.product_forward,
    ),
    products.vdot: (matrix_products.vdot_forward,),
    products.linear: (linear.linear_forward,),
    products.added: (addmm.addmm_forward,),
    products.einsum: (contraction.einsum_forward,),
    products.convolution: (
        convolution.conv_forward, convolution.biased_forward, convolution.transposed_forward,
        convolution.biased_transposed_forward,
    ),
    products.correlation: (convolution.correlation_forward,),
    shapes.with_tolerances: (pseudoinverses.pinv_forward,),
    indices.part_replaced: (inplace._replaced_forward,),
    products.solved: (solvers.solve_ex_forward,),
}  # fmt: skip

#: The rules of structural primitives.
RULES = {forward: rule for rule, forwards in _FAMILIES.items() for forward in forwards}
