"""Pooling: windows of the input reduced to their maximum, mean or norm."""

from __future__ import annotations

from typing import Any

from tapegrad.nn import functional as F
from tapegrad.nn.modules.applied import Applied, repeated
from tapegrad.nn.modules.module import Module
from tapegrad.tensor import Tensor

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]


class MaxPool1d(Applied):
    """The maximum of each window of (N, C, L) or (C, L)."""

    function = "max_pool1d"

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(
            kernel_size=kernel_size, stride=kernel_size if stride is None else stride,
            padding=padding, dilation=dilation, return_indices=return_indices, ceil_mode=ceil_mode,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The settings."""
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class MaxPool2d(MaxPool1d):
    """The maximum of each window of (N, C, H, W) or (C, H, W)."""

    function = "max_pool2d"


class MaxPool3d(MaxPool1d):
    """The maximum of each window of (N, C, D, H, W) or (C, D, H, W)."""

    function = "max_pool3d"


class MaxUnpool1d(Module):
    """The maxima that `MaxPool1d` has found, back at their places, among zeros."""

    dims = 1

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = repeated(kernel_size, self.dims)
        self.stride = repeated(kernel_size if stride is None else stride, self.dims)
        self.padding = repeated(padding, self.dims)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """Of the size that is asked for."""
        function = getattr(F, f"max_unpool{self.dims}d")
        return function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool2d(MaxUnpool1d):
    """The maxima that `MaxPool2d` has found, back at their places, among zeros."""

    dims = 2


class MaxUnpool3d(MaxUnpool1d):
    """The maxima that `MaxPool3d` has found, back at their places, among zeros."""

    dims = 3


class Averaging(Applied):
    """What the average pools share."""

    def extra_repr(self) -> str:
        """The settings."""
        names = ("kernel_size", "stride", "padding")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class AvgPool1d(Averaging):
    """The mean of each window of (N, C, L) or (C, L)."""

    function = "avg_pool1d"

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(
            kernel_size=repeated(kernel_size, 1),
            stride=repeated(kernel_size if stride is None else stride, 1),
            padding=repeated(padding, 1), ceil_mode=ceil_mode, count_include_pad=count_include_pad,
        )  # fmt: skip


class AvgPool2d(Averaging):
    """The mean of each window of (N, C, H, W) or (C, H, W)."""

    function = "avg_pool2d"

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(
            kernel_size=kernel_size, stride=kernel_size if stride is None else stride,
            padding=padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        )  # fmt: skip


class AvgPool3d(AvgPool2d):
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W)."""

    function = "avg_pool3d"


class LPPool1d(Applied):
    """The p-norm of each window of (N, C, L) or (C, L)."""

    function = "lp_pool1d"

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        super().__init__(
            norm_type=norm_type, kernel_size=kernel_size, stride=stride, ceil_mode=ceil_mode
        )


class LPPool2d(LPPool1d):
    """The p-norm of each window of (N, C, H, W) or (C, H, W)."""

    function = "lp_pool2d"


class LPPool3d(LPPool1d):
    """The p-norm of each window of (N, C, D, H, W) or (C, D, H, W)."""

    function = "lp_pool3d"


class AdaptiveAvgPool1d(Applied):
    """The mean of as many windows as there should be values in the output."""

    function = "adaptive_avg_pool1d"

    def __init__(self, output_size: Any) -> None:
        super().__init__(output_size=output_size)


class AdaptiveAvgPool2d(AdaptiveAvgPool1d):
    """The mean of windows, for an output of (N, C, *output_size)."""

    function = "adaptive_avg_pool2d"


class AdaptiveAvgPool3d(AdaptiveAvgPool1d):
    """The mean of windows, for an output of (N, C, *output_size)."""

    function = "adaptive_avg_pool3d"


class AdaptiveMaxPool1d(Applied):
    """The maximum of as many windows as there should be values in the output."""

    function = "adaptive_max_pool1d"

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size=output_size, return_indices=return_indices)

    def extra_repr(self) -> str:
        """The size."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(AdaptiveMaxPool1d):
    """The maximum of windows, for an output of (N, C, *output_size)."""

    function = "adaptive_max_pool2d"


class AdaptiveMaxPool3d(AdaptiveMaxPool1d):
    """The maximum of windows, for an output of (N, C, *output_size)."""

    function = "adaptive_max_pool3d"
