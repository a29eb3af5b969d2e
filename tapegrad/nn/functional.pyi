"""torch.nn.functional, as far as tapegrad has it.

Written by ``make stubs`` (``python -m tests.write_stubs``) from the registry: don't edit.
"""

from builtins import bool as _bool
from builtins import complex as _complex
from builtins import float as _float
from builtins import int as _int
from builtins import str as _str
from typing import Any, TypeAlias

import numpy as np

from tapegrad.tensor import Tensor

_Number: TypeAlias = _bool | _int | _float | _complex | np.number | np.bool
_Operand: TypeAlias = Tensor | np.ndarray | _Number

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
def elu(input: Any, alpha: _float = 1.0, inplace: _bool = False) -> Any: ...
def gelu(input: Any, *, approximate: _str = "none") -> Any: ...
def hardshrink(input: Any, lambd: _float = 0.5) -> Any: ...
def hardsigmoid(input: Any, inplace: _bool = False) -> Any: ...
def hardswish(input: Any, inplace: _bool = False) -> Any: ...
def hardtanh(
    input: Any, min_val: _float = -1.0, max_val: _float = 1.0, inplace: _bool = False
) -> Any: ...
def huber_loss(
    input: Any, target: Any, reduction: _str = "mean", delta: _float = 1.0, weight: Any = None
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
def leaky_relu(input: Any, negative_slope: _float = 0.01, inplace: _bool = False) -> Any: ...
def linear(input: Any, weight: Any, bias: Any = None) -> Any: ...
def log_softmax(
    input: Any, dim: _int | None = None, _stacklevel: _int = 3, dtype: Any = None
) -> Any: ...
def logsigmoid(input: Any) -> Any: ...
def mish(input: Any, inplace: _bool = False) -> Any: ...
def mse_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: _str = "mean",
    weight: Any = None,
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
def one_hot(tensor: Any, num_classes: _int = -1) -> Any: ...
def prelu(input: Any, weight: Any) -> Any: ...
def relu(input: Any, inplace: _bool = False) -> Any: ...
def relu6(input: Any, inplace: _bool = False) -> Any: ...
def selu(input: Any, inplace: _bool = False) -> Any: ...
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
