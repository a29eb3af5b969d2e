"""torch.masked, as far as tapegrad has it.

Written by ``make stubs`` (``python -m tests.write_stubs``) from the registry: don't edit.
"""

from builtins import bool as _bool
from builtins import complex as _complex
from builtins import float as _float
from builtins import int as _int
from typing import Any, TypeAlias

import numpy as np

from tapegrad.tensor import Tensor

_Number: TypeAlias = _bool | _int | _float | _complex | np.number | np.bool
_Operand: TypeAlias = Tensor | np.ndarray | _Number

def amax(
    input: Any, dim: Any = None, *, keepdim: _bool = False, dtype: Any = None, mask: Any = None
) -> Any: ...
def amin(
    input: Any, dim: Any = None, *, keepdim: _bool = False, dtype: Any = None, mask: Any = None
) -> Any: ...
def argmax(
    input: Any, dim: Any = None, *, keepdim: _bool = False, dtype: Any = None, mask: Any = None
) -> Any: ...
def argmin(
    input: Any, dim: Any = None, *, keepdim: _bool = False, dtype: Any = None, mask: Any = None
) -> Any: ...
def cumprod(input: Any, dim: _int, *, dtype: Any = None, mask: Any = None) -> Any: ...
def cumsum(input: Any, dim: _int, *, dtype: Any = None, mask: Any = None) -> Any: ...
def log_softmax(input: Any, dim: _int, *, dtype: Any = None, mask: Any = None) -> Any: ...
def logaddexp(
    input: _Operand,
    other: _Operand,
    *,
    dtype: Any = None,
    input_mask: Any = None,
    other_mask: Any = None,
) -> Tensor: ...
def logsumexp(
    input: Any, dim: Any = None, *, keepdim: _bool = False, dtype: Any = None, mask: Any = None
) -> Any: ...
def mean(
    input: Any, dim: Any = None, *, keepdim: _bool = False, dtype: Any = None, mask: Any = None
) -> Any: ...
def median(
    input: Any, dim: _int = -1, *, keepdim: _bool = False, dtype: Any = None, mask: Any = None
) -> Any: ...
def norm(
    input: Any,
    ord: _float = 2.0,
    dim: Any = None,
    *,
    keepdim: _bool = False,
    dtype: Any = None,
    mask: Any = None,
) -> Any: ...
def normalize(
    input: Any, ord: _float, dim: _int, *, eps: _float = 1e-12, dtype: Any = None, mask: Any = None
) -> Any: ...
def prod(
    input: Any, dim: Any = None, *, keepdim: _bool = False, dtype: Any = None, mask: Any = None
) -> Any: ...
def softmax(input: Any, dim: _int, *, dtype: Any = None, mask: Any = None) -> Any: ...
def softmin(input: Any, dim: _int, *, dtype: Any = None, mask: Any = None) -> Any: ...
def std(
    input: Any,
    dim: Any = None,
    unbiased: _bool | None = None,
    *,
    correction: Any = None,
    keepdim: _bool = False,
    dtype: Any = None,
    mask: Any = None,
) -> Any: ...
def sum(
    input: Any, dim: Any = None, *, keepdim: _bool = False, dtype: Any = None, mask: Any = None
) -> Any: ...
def var(
    input: Any,
    dim: Any = None,
    unbiased: _bool | None = None,
    *,
    correction: Any = None,
    keepdim: _bool = False,
    dtype: Any = None,
    mask: Any = None,
) -> Any: ...
