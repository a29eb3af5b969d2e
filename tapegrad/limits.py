"""The limits of dtypes, as torch's ``finfo`` and ``iinfo`` give them.

>>> from tapegrad.dtypes import float16, int8
>>> finfo(float16).max, iinfo(int8).max
(65504.0, 127)
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from tapegrad import dtypes
from tapegrad.dtypes import dtype
from tapegrad.readonly import ReadOnly, wrong_type

__all__ = ["finfo", "iinfo"]

_Dtype: TypeAlias = dtype  # inside the next classes `dtype` is their attribute


class _Limits(ReadOnly):
    """What `finfo` and `iinfo` share: comparison by the dtype that they describe."""

    __slots__ = ("bits", "dtype")

    bits: int
    dtype: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Limits) and self.dtype == other.dtype

    __hash__ = None  # type: ignore[assignment]  # as in torch


class finfo(_Limits):
    """Limits of a floating-point dtype (the default one, if none is given), as ``torch.finfo``.

    A complex dtype has those of its parts.

        >>> finfo(dtypes.float16).max
        65504.0
    """

    __slots__ = ("eps", "max", "min", "resolution", "smallest_normal", "tiny")

    eps: float
    max: float
    min: float
    resolution: float
    smallest_normal: float
    tiny: float

    def __init__(self, type: _Dtype | None = None) -> None:
        real = _described(self, type or dtypes.get_default_dtype()).to_real()
        if not real.is_floating_point:
            raise TypeError(
                "tapegrad.finfo() requires a floating point input type. Use tapegrad.iinfo to "
                "handle 'tapegrad.finfo'"
            )
        info = np.finfo(real.numpy)
        tiny = float(info.smallest_normal)
        self._fill(bits=info.bits, dtype=real.name, eps=float(info.eps), tiny=tiny)
        self._fill(max=float(info.max), min=float(info.min), smallest_normal=tiny)
        # Not NumPy's number, which is rounded to the dtype: torch's is the double.
        self._fill(resolution=10.0**-info.precision)

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        values = ", ".join(f"{name}={getattr(self, name):g}" for name in names)
        return f"finfo({values}, dtype={self.dtype})"


class iinfo(_Limits):
    """Limits of an integer dtype, as ``torch.iinfo``.

    >>> iinfo(dtypes.int8)
    iinfo(min=-128, max=127, dtype=int8)
    """

    __slots__ = ("max", "min")

    max: int
    min: int

    def __init__(self, type: _Dtype) -> None:
        integer = _described(self, type)
        if integer is dtypes.bool_:
            raise TypeError("tapegrad.bool is not supported by tapegrad.iinfo")
        if integer.is_floating_point or integer.is_complex:
            raise TypeError(
                "tapegrad.iinfo() requires an integer input type. Use tapegrad.finfo to handle "
                "'tapegrad.iinfo'"
            )
        info = np.iinfo(integer.numpy)
        self._fill(bits=info.bits, dtype=integer.name, max=int(info.max), min=int(info.min))

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"


def _described(limits: _Limits, value: object) -> dtype:
    if isinstance(value, dtype):
        return value
    function = type(limits).__name__
    raise TypeError(wrong_type(function, "argument 'type' (position 1)", "dtype", value))
