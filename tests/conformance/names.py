"""The operators of torch that tapegrad sets out to have, by their names in torch's table `op_db`.

A name followed by a dot and a variant is that variant's row; a name alone is every row of it.
"""

from __future__ import annotations

#: What most programs use: every sample must agree.
CORE = """
abs add atan atan2 ceil clamp clamp_min clamp_max cos div erf erfc exp expm1 floor floor_divide
lerp lgamma log log10 log1p log2 logit maximum minimum mul nan_to_num neg pow reciprocal remainder
round rsqrt sigmoid sign sin sqrt square sub tan tanh addcmul eq ne lt le gt ge isnan isinf
isfinite isclose allclose equal logical_and logical_or logical_not where sum mean prod std var
amax amin max min argmax argmin all any logsumexp norm median cumsum cumprod count_nonzero
var_mean quantile reshape view view_as flatten unflatten squeeze unsqueeze transpose permute
movedim T t expand expand_as broadcast_to broadcast_tensors cat stack hstack vstack split chunk
unbind repeat repeat_interleave tile roll flip narrow select index_select index_add index_put
gather scatter scatter_add scatter_reduce take_along_dim masked_fill masked_select __getitem__
tril triu diag diagonal diag_embed unfold meshgrid sort argsort topk unique bincount searchsorted
nonzero contiguous clone float double long int bool item fill zeros ones full eye arange linspace
zeros_like ones_like full_like empty empty_like new_zeros new_ones triu_indices matmul mm bmm mv
dot outer addmm baddbmm einsum tensordot trace cross cdist linalg.norm linalg.vector_norm
linalg.det linalg.slogdet logdet linalg.inv linalg.solve linalg.cholesky linalg.qr linalg.svd
linalg.eigh linalg.pinv linalg.lstsq linalg.solve_triangular softmax log_softmax
nn.functional.relu nn.functional.leaky_relu nn.functional.elu nn.functional.selu
nn.functional.gelu nn.functional.silu nn.functional.mish nn.functional.softplus
nn.functional.hardtanh nn.functional.logsigmoid nn.functional.glu nn.functional.prelu
nn.functional.linear nn.functional.embedding nn.functional.one_hot nn.functional.conv1d
nn.functional.conv2d nn.functional.conv_transpose2d nn.functional.max_pool1d
nn.functional.max_pool2d nn.functional.avg_pool1d nn.functional.avg_pool2d
nn.functional.adaptive_avg_pool1d nn.functional.adaptive_avg_pool2d nn.functional.batch_norm
nn.functional.layer_norm nn.functional.group_norm nn.functional.instance_norm
nn.functional.rms_norm nn.functional.normalize nn.functional.pad
nn.functional.scaled_dot_product_attention nn.functional.multi_head_attention_forward
nn.functional.interpolate nn.functional.unfold nn.functional.grid_sample nn.functional.mse_loss
nn.functional.l1_loss nn.functional.smooth_l1_loss nn.functional.huber_loss
nn.functional.cross_entropy nn.functional.nll_loss nn.functional.binary_cross_entropy
nn.functional.binary_cross_entropy_with_logits nn.functional.kl_div
nn.functional.cosine_similarity nn.functional.margin_ranking_loss
nn.functional.triplet_margin_loss
""".split()  # noqa: SIM905 - readable so

#: What some programs use.
FURTHER = """
acos acosh addmm.decomposed addmv addbmm vdot addr addcdiv asin asinh atanh broadcast_shapes
block_diag bitwise_not bitwise_left_shift bitwise_right_shift combinations cartesian_prod cholesky
cholesky_inverse cholesky_solve sum_to_size positive conj conj_physical copysign corrcoef cosh cov
cummax cummin deg2rad diff div.no_rounding_mode div.trunc_rounding div.floor_rounding true_divide
diagonal_scatter fmax fmin fmod frac stft fliplr flipud i0 frexp geqrf gradient isin kthvalue
linspace.tensor_overload logspace logspace.tensor_overload ldexp logaddexp logaddexp2 lu_unpack lu
lu_solve masked_scatter matrix_exp max.reduction_with_dim max.reduction_no_dim nanmedian
var_mean.unbiased std_mean std_mean.unbiased meshgrid.variadic_tensors meshgrid.list_of_tensors
min.reduction_with_dim min.reduction_no_dim nanquantile max.binary min.binary logical_xor
bitwise_and bitwise_or bitwise_xor heaviside lcm gcd softmax.with_dtype nn.functional.softmin
nn.functional.softmin.with_dtype nn.functional.linear_cross_entropy aminmax as_strided
as_strided_scatter nn.functional.adaptive_avg_pool3d nn.functional.adaptive_max_pool1d
nn.functional.adaptive_max_pool2d nn.functional.adaptive_max_pool3d nn.functional.avg_pool3d
nn.functional.conv_transpose1d nn.functional.conv_transpose3d nn.functional.conv3d
nn.functional.local_response_norm nn.functional.pad.constant nn.functional.pad.reflect
nn.functional.pad.replicate nn.functional.pad.replicate_negative nn.functional.pad.circular
nn.functional.hardswish nn.functional.interpolate.nearest nn.functional.interpolate.nearest-exact
nn.functional.interpolate.linear nn.functional.interpolate.bilinear
nn.functional.interpolate.bicubic nn.functional.interpolate.trilinear
nn.functional.interpolate.area nn.functional.upsample_bilinear nn.functional.soft_margin_loss
nn.functional.upsample_nearest nn.functional.multi_margin_loss
nn.functional.multilabel_margin_loss nn.functional.multilabel_soft_margin_loss
nn.functional.max_pool3d nn.functional.max_unpool1d nn.functional.max_unpool1d.grad
nn.functional.max_unpool2d nn.functional.max_unpool2d.grad nn.functional.max_unpool3d
nn.functional.max_unpool3d.grad nn.functional.bilinear nn.functional.celu
nn.functional.hardsigmoid nn.functional.softsign nn.functional.tanhshrink nn.functional.threshold
nextafter igamma igammac nn.functional.softshrink nn.functional.hardshrink nn.functional.relu6
mode mvlgamma.mvlgamma_p_1 mvlgamma.mvlgamma_p_3 mvlgamma.mvlgamma_p_5 dist ormqr float_power qr
rad2deg real rot90 round.decimals_0 round.decimals_3 round.decimals_neg_3 sinc sinh sgn
split.list_args split_with_sizes __radd__ __rdiv__ __rmul__ __rand__ __ror__ __rxor__ __rmatmul__
__rmod__ __rpow__ __rsub__ rsub select_scatter slice_scatter signbit tensor_split hsplit vsplit
dsplit triangular_solve trunc exp2 angle isposinf isneginf isreal svd polygamma.polygamma_n_0
polygamma.polygamma_n_1 polygamma.polygamma_n_2 polygamma.polygamma_n_3 polygamma.polygamma_n_4
ravel unravel_index reshape_as atleast_1d atleast_2d atleast_3d column_stack pinverse index_fill
index_copy index_reduce.mean index_reduce.prod index_reduce.amin index_reduce.amax
unique_consecutive put take byte char half short new_empty new_empty_strided empty_strided
empty_permuted scalar_tensor new_full hypot histogram histogramdd histc bucketize dstack msort
renorm squeeze.multiple trapz trapezoid cumulative_trapezoid xlogy zero_ H mT mH tril_indices kron
inner logcumsumexp digamma erfinv log_softmax.with_dtype norm.nuc norm.fro norm.inf
nn.functional.embedding_bag argwhere nanmean std.unbiased var.unbiased nansum
nn.functional.ctc_loss nn.functional.cosine_embedding_loss nn.functional.gaussian_nll_loss
nn.functional.hinge_embedding_loss nn.functional.pdist nn.functional.poisson_nll_loss
nn.functional.pairwise_distance nn.functional.pixel_shuffle nn.functional.pixel_unshuffle
nn.functional.channel_shuffle diagflat scatter_reduce.sum scatter_reduce.prod scatter_reduce.mean
scatter_reduce.amin scatter_reduce.amax fft.fft fft.fft2 fft.fftn fft.hfft fft.hfft2 fft.hfftn
fft.rfft fft.rfft2 fft.rfftn fft.ifft fft.ifft2 fft.ifftn fft.ihfft fft.ihfft2 fft.ihfftn
fft.irfft fft.irfft2 fft.irfftn fft.fftshift fft.ifftshift linalg.cross linalg.diagonal
linalg.cholesky_ex linalg.vecdot linalg.cond linalg.eig linalg.eigvals linalg.eigvalsh
linalg.householder_product linalg.ldl_factor linalg.ldl_factor_ex linalg.ldl_solve
linalg.lstsq.grad_oriented linalg.matrix_power linalg.multi_dot linalg.norm.subgradients_at_zero
linalg.matrix_norm linalg.vander linalg.lu_factor linalg.lu_factor_ex linalg.lu linalg.lu_solve
linalg.inv_ex linalg.solve_ex linalg.matrix_rank linalg.matrix_rank.hermitian linalg.pinv.singular
linalg.pinv.hermitian linalg.svdvals linalg.tensorinv linalg.tensorsolve signal.windows.hamming
signal.windows.hann signal.windows.bartlett signal.windows.blackman signal.windows.cosine
signal.windows.exponential signal.windows.gaussian signal.windows.kaiser
signal.windows.general_cosine signal.windows.general_hamming signal.windows.nuttall special.i0e
special.i1 special.i1e special.ndtr special.polygamma.special_polygamma_n_0 special.xlog1py
special.zeta special.entr special.ndtri special.log_ndtr special.erfcx special.airy_ai
special.bessel_j0 special.bessel_j1 special.bessel_y0 special.bessel_y1
special.chebyshev_polynomial_t special.chebyshev_polynomial_u special.chebyshev_polynomial_v
special.chebyshev_polynomial_w special.hermite_polynomial_h special.hermite_polynomial_he
special.laguerre_polynomial_l special.legendre_polynomial_p special.modified_bessel_i0
special.modified_bessel_i1 special.modified_bessel_k0 special.modified_bessel_k1
special.scaled_modified_bessel_k0 special.scaled_modified_bessel_k1
special.shifted_chebyshev_polynomial_t special.shifted_chebyshev_polynomial_u
special.shifted_chebyshev_polynomial_v special.shifted_chebyshev_polynomial_w
special.spherical_bessel_j0 masked.sum masked.prod masked.cumsum masked.cumprod masked.amax
masked.amin masked.argmax masked.argmin masked.mean masked.median masked.norm masked.var
masked.std masked.softmax masked.log_softmax masked.softmin masked.normalize masked.logaddexp
masked.logsumexp
""".split()  # noqa: SIM905 - readable so
