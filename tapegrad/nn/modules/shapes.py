"""Layers without parameters that change shapes, and distances."""

from __future__ import annotations

from typing import Any

from tapegrad.nn import functional as F
from tapegrad.nn.modules.applied import Applied, repeated
from tapegrad.nn.modules.module import Module
from tapegrad.tensor import Tensor

__all__ = [
    "ChannelShuffle",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "CosineSimilarity",
    "Flatten",
    "Fold",
    "PairwiseDistance",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "Unflatten",
    "Unfold",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class Flatten(Module):
    """Make one dimension of those from ``start_dim`` to ``end_dim``."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        """The same elements."""
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """The dimensions."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Make several dimensions of one."""

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        if isinstance(dim, str):
            raise NotImplementedError("Unflatten: there are no named dimensions; give an int")
        for i, size in enumerate(unflattened_size):
            if not isinstance(size, int):
                raise TypeError(
                    "unflattened_size must be tuple of ints, but found element of type "
                    f"{type(size).__name__} at pos {i}"
                )
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        """The same elements."""
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """The dimension and its sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class PixelShuffle(Applied):
    """(*, C r², H, W) to (*, C, H r, W r) (Shi et al. 2016)."""

    function = "pixel_shuffle"

    def __init__(self, upscale_factor: int) -> None:
        super().__init__(upscale_factor=upscale_factor)


class PixelUnshuffle(Applied):
    """(*, C, H r, W r) to (*, C r², H, W)."""

    function = "pixel_unshuffle"

    def __init__(self, downscale_factor: int) -> None:
        super().__init__(downscale_factor=downscale_factor)


class ChannelShuffle(Applied):
    """The channels of (*, C, H, W), dealt out from groups (Zhang et al. 2018)."""

    function = "channel_shuffle"

    def __init__(self, groups: int) -> None:
        super().__init__(groups=groups)


class Fold(Applied):
    """Sums columns of blocks (N, C k, L) up to an image (N, C, H, W)."""

    function = "fold"

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        super().__init__(
            output_size=output_size, kernel_size=kernel_size, dilation=dilation, padding=padding,
            stride=stride,
        )  # fmt: skip


class Unfold(Applied):
    """The blocks of an image (N, C, H, W) as columns (N, C k, L)."""

    function = "unfold"

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__(kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride)


class CosineSimilarity(Applied):
    """The cosine of the angle between two Tensors along ``dim``."""

    function = "cosine_similarity"

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__(dim=dim, eps=eps)

    def extra_repr(self) -> str:
        """Nothing, as in torch."""
        return ""


class PairwiseDistance(Applied):
    """The p-norm of the difference along the last dimension."""

    function = "pairwise_distance"

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__(p=p, eps=eps, keepdim=keepdim)

    def extra_repr(self) -> str:
        """Nothing, as in torch."""
        return ""


# -- sizes of images -------------------------------------------------------------------------------


class Upsample(Applied):
    """An image of another size, interpolated."""

    function = "interpolate"

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        if isinstance(scale_factor, tuple):
            scale_factor = tuple(map(float, scale_factor))
        elif scale_factor:
            scale_factor = float(scale_factor)
        super().__init__(
            size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners,
            recompute_scale_factor=recompute_scale_factor,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Size or factor, and mode."""
        name = "size" if self.scale_factor is None else "scale_factor"
        return f"{name}={getattr(self, name)!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of (N, C, H, W) by the nearest neighbours."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of (N, C, H, W), bilinear, with corners aligned."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


# -- padding ---------------------------------------------------------------------------------------


class Pad(Module):
    """The input, with values added at both ends of its last dimensions."""

    mode: str
    dims: int
    value: float | None = None

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = repeated(padding, 2 * self.dims)

    def forward(self, input: Tensor) -> Tensor:
        """The larger Tensor."""
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        """How many at each end."""
        return str(self.padding)


class ConstantPad1d(Pad):
    """Pads with one value."""

    mode, dims = "constant", 1

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        """How many at each end, and the value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(ConstantPad1d):
    """Pads two dimensions with one value."""

    dims = 2


class ConstantPad3d(ConstantPad1d):
    """Pads three dimensions with one value."""

    dims = 3


class ZeroPad1d(Pad):
    """Pads with zeros."""

    mode, dims, value = "constant", 1, 0.0


class ZeroPad2d(ZeroPad1d):
    """Pads two dimensions with zeros."""

    dims = 2


class ZeroPad3d(ZeroPad1d):
    """Pads three dimensions with zeros."""

    dims = 3


class ReflectionPad1d(Pad):
    """Pads with the values on the other side of the border, which isn't repeated."""

    mode, dims = "reflect", 1


class ReflectionPad2d(ReflectionPad1d):
    """Pads two dimensions by reflection."""

    dims = 2


class ReflectionPad3d(ReflectionPad1d):
    """Pads three dimensions by reflection."""

    dims = 3


class ReplicationPad1d(Pad):
    """Pads with the value at the border."""

    mode, dims = "replicate", 1


class ReplicationPad2d(ReplicationPad1d):
    """Pads two dimensions by replication."""

    dims = 2


class ReplicationPad3d(ReplicationPad1d):
    """Pads three dimensions by replication."""

    dims = 3


class CircularPad1d(Pad):
    """Pads with the values from the other end."""

    mode, dims = "circular", 1


class CircularPad2d(CircularPad1d):
    """Pads two dimensions circularly."""

    dims = 2


class CircularPad3d(CircularPad1d):
    """Pads three dimensions circularly."""

    dims = 3
