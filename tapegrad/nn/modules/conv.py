"""Convolutions and transposed convolutions of one to three dimensions."""

from __future__ import annotations

import math
from typing import Any

from tapegrad.nn import functional as F
from tapegrad.nn import init
from tapegrad.nn.modules.applied import new_parameter, repeated
from tapegrad.nn.modules.module import Module
from tapegrad.nn.parameter import Parameter
from tapegrad.tensor import Tensor

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
]


class Convolution(Module):
    """What convolutions and transposed ones share: settings, weight and bias."""

    dims: int
    transposed = False
    weight: Parameter
    bias: Parameter | None

    def _set_up(
        self,
        channels: tuple[int, int],
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        for name, count in zip(("in_channels", "out_channels"), channels):
            if count % groups:
                raise ValueError(f"{name} must be divisible by groups")
        modes = ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in modes:
            raise ValueError(f"padding_mode must be one of {set(modes)}, but got {padding_mode=!r}")
        self.in_channels, self.out_channels = channels
        self.kernel_size = repeated(kernel_size, self.dims)
        self.stride = repeated(stride, self.dims)
        self.padding = padding if isinstance(padding, str) else repeated(padding, self.dims)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string {padding!r}, should be one of {{'valid', 'same'}}"
                )
            if padding == "same" and any(step != 1 for step in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        self.dilation = repeated(dilation, self.dims)
        self.output_padding = repeated(output_padding, self.dims)
        self.groups = groups
        self.padding_mode = padding_mode
        first, second = channels[::-1] if not self.transposed else channels
        shape = (first, second // groups, *self.kernel_size)
        self.weight = new_parameter(*shape, device=device, dtype=dtype)
        own = new_parameter(channels[1], device=device, dtype=dtype) if bias else None
        self.register_parameter("bias", own)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias from U(-b, b), b = 1 / sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            if fan_in:
                init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def extra_repr(self) -> str:
        """The settings that aren't the usual ones."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        for name, usual in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            if getattr(self, name) != (usual,) * len(getattr(self, name)):
                text += f", {name}={getattr(self, name)}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class Conv1d(Convolution):
    """Cross-correlation of (N, C, L) or (C, L) with kernels (out, C / groups, k), plus a bias."""

    dims = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        channels = (in_channels, out_channels)
        self._set_up(
            channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode,
            device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        """As many channels as there are kernels."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._padding_of_ends(), self.padding_mode)
            padding = 0
        function = getattr(F, f"conv{self.dims}d")
        return function(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _padding_of_ends(self) -> list[int]:
        """For `pad`, which starts at the last dimension."""
        ends: list[int] = []
        for i in reversed(range(self.dims)):
            if isinstance(self.padding, str):
                both = self.dilation[i] * (self.kernel_size[i] - 1) * (self.padding == "same")
                ends += [both // 2, both - both // 2]
            else:
                ends += [self.padding[i]] * 2
        return ends


class Conv2d(Conv1d):
    """Cross-correlation of (N, C, H, W) or (C, H, W) with kernels, plus a bias."""

    dims = 2


class Conv3d(Conv1d):
    """Cross-correlation of (N, C, D, H, W) or (C, D, H, W) with kernels, plus a bias."""

    dims = 3


class ConvTranspose1d(Convolution):
    """The adjoint of a convolution of (N, out, L): it spreads (N, C, l) out, and adds a bias."""

    dims = 1
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        channels = (in_channels, out_channels)
        self._set_up(
            channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """Of the size that is asked for, among those that the convolution makes the input's."""
        function = getattr(F, f"conv_transpose{self.dims}d")
        padding = self.output_padding
        if output_size is not None:
            padding = self._padding_for(input, list(output_size))
        return function(
            input, self.weight, self.bias, self.stride, self.padding, padding, self.groups,
            self.dilation,
        )  # fmt: skip

    def _padding_for(self, input: Tensor, sizes: list[int]) -> tuple[int, ...]:
        dims = self.dims
        before = input.ndim - dims
        if len(sizes) == before + dims:
            sizes = sizes[before:]
        if len(sizes) != dims:
            raise ValueError(
                f"ConvTranspose{dims}D: for {input.ndim}D input, output_size must have {dims} or "
                f"{before + dims} elements (got {len(sizes)})"
            )
        smallest = [
            (input.shape[before + i] - 1) * self.stride[i]
            - 2 * self.padding[i]
            + self.dilation[i] * (self.kernel_size[i] - 1)
            + 1
            for i in range(dims)
        ]
        largest = [size + step - 1 for size, step in zip(smallest, self.stride)]
        if not all(low <= size <= high for low, size, high in zip(smallest, sizes, largest)):
            raise ValueError(
                f"requested an output size of {sizes}, but valid sizes range from {smallest} to "
                f"{largest} (for an input of {input.shape[2:]})"
            )
        return tuple(size - low for size, low in zip(sizes, smallest))


class ConvTranspose2d(ConvTranspose1d):
    """The adjoint of a two-dimensional convolution, plus a bias."""

    dims = 2


class ConvTranspose3d(ConvTranspose1d):
    """The adjoint of a three-dimensional convolution, plus a bias."""

    dims = 3
