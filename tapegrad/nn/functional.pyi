"""torch.nn.functional, as far as tapegrad has it.

Written by ``make stubs`` (``python -m tests.write_stubs``) from the registry: don't edit.
"""

from builtins import bool as _bool
from builtins import complex as _complex
from builtins import float as _float
from builtins import int as _int
from builtins import str as _str
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from tapegrad.tensor import Tensor

_Number: TypeAlias = _bool | _int | _float | _complex | np.number | np.bool
_Operand: TypeAlias = Tensor | np.ndarray | _Number

def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any: ...
def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any: ...
def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any: ...
def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: _bool = False) -> Any: ...
def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: _bool = False) -> Any: ...
def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: _bool = False) -> Any: ...
def affine_grid(theta: Any, size: Any, align_corners: _bool | None = None) -> Any: ...
def alpha_dropout(
    input: Any, p: _float = 0.5, training: _bool = False, inplace: _bool = False
) -> Any: ...
def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: _bool = False,
    count_include_pad: _bool = True,
) -> Any: ...
def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: _bool = False,
    count_include_pad: _bool = True,
    divisor_override: _int | None = None,
) -> Any: ...
def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: _bool = False,
    count_include_pad: _bool = True,
    divisor_override: _int | None = None,
) -> Any: ...
def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: _bool = False,
    momentum: _float = 0.1,
    eps: _float = 1e-05,
) -> Any: ...
def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any: ...
def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
) -> Any: ...
def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
    pos_weight: Any = None,
) -> Any: ...
def celu(input: Any, alpha: _float = 1.0, inplace: _bool = False) -> Any: ...
def celu_(input: Any, *args: Any, **kwargs: Any) -> Any: ...
def channel_shuffle(input: Any, groups: _int) -> Any: ...
def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: _int = 1,
) -> Any: ...
def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: _int = 1,
) -> Any: ...
def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: _int = 1,
) -> Any: ...
def conv_tbc(input: Any, weight: Any, bias: Any, pad: _int = 0) -> Any: ...
def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: _int = 1,
    dilation: Any = 1,
) -> Any: ...
def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: _int = 1,
    dilation: Any = 1,
) -> Any: ...
def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: _int = 1,
    dilation: Any = 1,
) -> Any: ...
def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: _float = 0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
) -> Any: ...
def cosine_similarity(x1: Any, x2: Any, dim: _int = 1, eps: _float = 1e-08) -> Any: ...
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: _int = -100,
    reduce: Any = None,
    reduction: _str = "mean",
    label_smoothing: _float = 0.0,
) -> Any: ...
def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: _int = 0,
    reduction: _str = "mean",
    zero_infinity: _bool = False,
) -> Any: ...
def dropout(input: Any, p: _float = 0.5, training: _bool = True, inplace: _bool = False) -> Any: ...
def dropout1d(
    input: Any, p: _float = 0.5, training: _bool = True, inplace: _bool = False
) -> Any: ...
def dropout2d(
    input: Any, p: _float = 0.5, training: _bool = True, inplace: _bool = False
) -> Any: ...
def dropout3d(
    input: Any, p: _float = 0.5, training: _bool = True, inplace: _bool = False
) -> Any: ...
def elu(input: Any, alpha: _float = 1.0, inplace: _bool = False) -> Any: ...
def elu_(input: Any, *args: Any, **kwargs: Any) -> Any: ...
def embedding(
    input: Any,
    weight: Any,
    padding_idx: _int | None = None,
    max_norm: _float | None = None,
    norm_type: _float = 2.0,
    scale_grad_by_freq: _bool = False,
    sparse: _bool = False,
) -> Any: ...
def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: _float | None = None,
    norm_type: _float = 2,
    scale_grad_by_freq: _bool = False,
    mode: _str = "mean",
    sparse: _bool = False,
    per_sample_weights: Any = None,
    include_last_offset: _bool = False,
    padding_idx: _int | None = None,
) -> Any: ...
def feature_alpha_dropout(
    input: Any, p: _float = 0.5, training: _bool = False, inplace: _bool = False
) -> Any: ...
def fold(
    input: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Any: ...
def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: _bool = False,
    eps: _float = 1e-06,
    reduction: _str = "mean",
) -> Any: ...
def gelu(input: Any, *, approximate: _str = "none") -> Any: ...
def glu(input: Any, dim: _int = -1) -> Any: ...
def grid_sample(
    input: Any,
    grid: Any,
    mode: _str = "bilinear",
    padding_mode: _str = "zeros",
    align_corners: _bool | None = None,
) -> Any: ...
def group_norm(
    input: Any,
    num_groups: _int,
    weight: Any = None,
    bias: Any = None,
    eps: _float = 1e-05,
    cudnn_enabled: _bool = True,
) -> Any: ...
def gumbel_softmax(
    logits: Any, tau: _float = 1, hard: _bool = False, eps: _float = 1e-10, dim: _int = -1
) -> Any: ...
def hardshrink(input: Any, lambd: _float = 0.5) -> Any: ...
def hardsigmoid(input: Any, inplace: _bool = False) -> Any: ...
def hardswish(input: Any, inplace: _bool = False) -> Any: ...
def hardtanh(
    input: Any, min_val: _float = -1.0, max_val: _float = 1.0, inplace: _bool = False
) -> Any: ...
def hardtanh_(input: Any, *args: Any, **kwargs: Any) -> Any: ...
def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: _float = 1.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
) -> Any: ...
def huber_loss(
    input: Any, target: Any, reduction: _str = "mean", delta: _float = 1.0, weight: Any = None
) -> Any: ...
def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: _bool = True,
    momentum: _float = 0.1,
    eps: _float = 1e-05,
) -> Any: ...
def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: _str = "nearest",
    align_corners: _bool | None = None,
    recompute_scale_factor: _bool | None = None,
    antialias: _bool = False,
) -> Any: ...
def kl_div(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
    log_target: _bool = False,
) -> Any: ...
def l1_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
    weight: Any = None,
) -> Any: ...
def layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: _float = 1e-05,
    cudnn_enable: _bool = True,
) -> Any: ...
def leaky_relu(input: Any, negative_slope: _float = 0.01, inplace: _bool = False) -> Any: ...
def leaky_relu_(input: Any, *args: Any, **kwargs: Any) -> Any: ...
def linear(input: Any, weight: Any, bias: Any = None) -> Any: ...
def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: _str = "mean",
    ignore_index: _int | None = None,
    label_smoothing: _float = 0.0,
    options: Any = None,
) -> Any: ...
def local_response_norm(
    input: Any, size: _int, alpha: _float = 0.0001, beta: _float = 0.75, k: _float = 1.0
) -> Any: ...
def log_softmax(
    input: Any, dim: _int | None = None, _stacklevel: _int = 3, dtype: Any = None
) -> Any: ...
def logsigmoid(input: Any) -> Any: ...
def lp_pool1d(
    input: Any, norm_type: _float, kernel_size: Any, stride: Any = None, ceil_mode: _bool = False
) -> Any: ...
def lp_pool2d(
    input: Any, norm_type: _float, kernel_size: Any, stride: Any = None, ceil_mode: _bool = False
) -> Any: ...
def lp_pool3d(
    input: Any, norm_type: _float, kernel_size: Any, stride: Any = None, ceil_mode: _bool = False
) -> Any: ...
def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: _float = 0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
) -> Any: ...
def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: _bool = False,
    return_indices: _bool = False,
) -> Any: ...
def max_pool1d_with_indices(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: _bool = False,
    return_indices: _bool = True,
) -> Any: ...
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: _bool = False,
    return_indices: _bool = False,
) -> Any: ...
def max_pool2d_with_indices(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: _bool = False,
    return_indices: _bool = True,
) -> Any: ...
def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: _bool = False,
    return_indices: _bool = False,
) -> Any: ...
def max_pool3d_with_indices(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: _bool = False,
    return_indices: _bool = True,
) -> Any: ...
def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any: ...
def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any: ...
def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any: ...
def mish(input: Any, inplace: _bool = False) -> Any: ...
def mse_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
    weight: Any = None,
) -> Any: ...
def multi_head_attention_forward(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: _int,
    num_heads: _int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: _bool,
    dropout_p: _float,
    out_proj_weight: Any,
    out_proj_bias: Any,
    training: _bool = True,
    key_padding_mask: Any = None,
    need_weights: _bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: _bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: _bool = True,
    is_causal: _bool = False,
) -> tuple[Any, Any]: ...
def multi_margin_loss(
    input: Any,
    target: Any,
    p: _int = 1,
    margin: _float = 1.0,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
) -> Any: ...
def multilabel_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: _str = "mean"
) -> Any: ...
def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
) -> Any: ...
def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: _int = -100,
    reduce: Any = None,
    reduction: _str = "mean",
) -> Any: ...
def normalize(input: Any, p: _float = 2.0, dim: _int = 1, eps: _float = 1e-12) -> Any: ...
def one_hot(input: Any, num_classes: _int = -1) -> Any: ...
def pad(input: Any, pad: Any, mode: _str = "constant", value: _float | None = None) -> Any: ...
def pairwise_distance(
    x1: Any, x2: Any, p: _float = 2.0, eps: _float = 1e-06, keepdim: _bool = False
) -> Any: ...
def pdist(input: Any, p: _float = 2.0) -> Any: ...
def pixel_shuffle(input: Any, upscale_factor: _int) -> Any: ...
def pixel_unshuffle(input: Any, downscale_factor: _int) -> Any: ...
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: _bool = True,
    full: _bool = False,
    size_average: Any = None,
    eps: _float = 1e-08,
    reduce: Any = None,
    reduction: _str = "mean",
) -> Any: ...
def prelu(input: Any, weight: Any) -> Any: ...
def relu(input: _Operand, inplace: _bool = False) -> Tensor: ...
def relu6(input: Any, inplace: _bool = False) -> Any: ...
def relu_(input: Any, *args: Any, **kwargs: Any) -> Any: ...
def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: _float | None = None
) -> Any: ...
def rrelu(
    input: Any,
    lower: _float = 0.125,
    upper: _float = 0.3333333333333333,
    training: _bool = False,
    inplace: _bool = False,
) -> Any: ...
def rrelu_(input: Any, *args: Any, **kwargs: Any) -> Any: ...
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: _float = 0.0,
    is_causal: _bool = False,
    scale: _float | None = None,
    enable_gqa: _bool = False,
) -> Any: ...
def selu(input: Any, inplace: _bool = False) -> Any: ...
def selu_(input: Any, *args: Any, **kwargs: Any) -> Any: ...
def sigmoid(input: _Operand) -> Tensor: ...
def silu(input: Any, inplace: _bool = False) -> Any: ...
def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
    beta: _float = 1.0,
) -> Any: ...
def soft_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: _str = "mean"
) -> Any: ...
def softmax(
    input: Any, dim: _int | None = None, _stacklevel: _int = 3, dtype: Any = None
) -> Any: ...
def softmin(
    input: Any, dim: _int | None = None, _stacklevel: _int = 3, dtype: Any = None
) -> Any: ...
def softplus(input: Any, beta: _float = 1, threshold: _float = 20) -> Any: ...
def softshrink(input: Any, lambd: _float = 0.5) -> Any: ...
def softsign(input: Any) -> Any: ...
def tanh(input: _Operand) -> Tensor: ...
def tanhshrink(input: Any) -> Any: ...
def threshold(input: Any, threshold: _float, value: _float, inplace: _bool = False) -> Any: ...
def threshold_(input: Any, *args: Any, **kwargs: Any) -> Any: ...
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: _float = 1.0,
    p: _float = 2,
    eps: _float = 1e-06,
    swap: _bool = False,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
) -> Any: ...
def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: _float = 1.0,
    swap: _bool = False,
    reduction: _str = "mean",
) -> Any: ...
def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any: ...
def upsample(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: _str = "nearest",
    align_corners: _bool | None = None,
) -> Any: ...
def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Any: ...
def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Any: ...
