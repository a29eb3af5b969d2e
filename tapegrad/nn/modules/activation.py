"""Activations: elementwise functions, and the softmax family."""

from __future__ import annotations

import warnings
from typing import Any

from tapegrad.nn import functional as F
from tapegrad.nn import init
from tapegrad.nn.modules.applied import Applied, new_parameter
from tapegrad.nn.modules.module import Module
from tapegrad.nn.parameter import Parameter
from tapegrad.tensor import Tensor

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


# -- without settings, or with `inplace` only ------------------------------------------------------


class ReLU(Module):
    """``max(x, 0)``."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Elementwise."""
        return F.relu(input, self.inplace) if self.inplace else F.relu(input)

    def extra_repr(self) -> str:
        """Whether in place."""
        return "inplace=True" if self.inplace else ""


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``."""

    def forward(self, input: Tensor) -> Tensor:
        """Elementwise."""
        return F.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        """Elementwise."""
        return F.tanh(input)


class LogSigmoid(Applied):
    """``log(1 / (1 + exp(-x)))``."""

    function = "logsigmoid"


class Softsign(Applied):
    """``x / (1 + |x|)``."""

    function = "softsign"


class Tanhshrink(Applied):
    """``x - tanh(x)``."""

    function = "tanhshrink"


class Switched(Applied):
    """An activation that may work in place, and has no other setting."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class ReLU6(Switched):
    """``min(max(x, 0), 6)``."""

    function = "relu6"


class SELU(Switched):
    """The scaled exponential linear unit (Klambauer et al. 2017)."""

    function = "selu"


class SiLU(Switched):
    """``x * sigmoid(x)``."""

    function = "silu"


class Mish(Switched):
    """``x * tanh(softplus(x))``."""

    function = "mish"


class Hardswish(Switched):
    """``x * min(max(x + 3, 0), 6) / 6``."""

    function = "hardswish"

    def extra_repr(self) -> str:
        """Nothing, as in torch."""
        return ""


class Hardsigmoid(Hardswish):
    """``min(max(x + 3, 0), 6) / 6``."""

    function = "hardsigmoid"


# -- with settings ---------------------------------------------------------------------------------


class ELU(Applied):
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)``."""

    function = "elu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(alpha=alpha, inplace=inplace)


class CELU(Applied):
    """``max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))``."""

    function = "celu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(alpha=alpha, inplace=inplace)


class LeakyReLU(Applied):
    """``x`` where it is positive, else ``negative_slope * x``."""

    function = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(negative_slope=negative_slope, inplace=inplace)


class RReLU(Applied):
    """`LeakyReLU` with a random slope for each element in training, the mean of them otherwise."""

    function = "rrelu"

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False
    ) -> None:
        super().__init__(lower=lower, upper=upper, inplace=inplace)

    def forward(self, input: Any) -> Any:
        """Elementwise."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Hardtanh(Applied):
    """``min(max(x, min_val), max_val)``."""

    function = "hardtanh"

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        for old, new, value in (("min", "min_val", min_value), ("max", "max_val", max_value)):
            if value is not None:
                warnings.warn(
                    f"keyword argument `{old}_value` is deprecated and rename to `{new}`",
                    FutureWarning,
                    stacklevel=2,
                )
        min_val = min_val if min_value is None else min_value
        max_val = max_val if max_value is None else max_value
        super().__init__(min_val=min_val, max_val=max_val, inplace=inplace)
        if not min_val < max_val:
            raise AssertionError("max_val must be greater than min_val")


class Threshold(Applied):
    """``x`` where it is above the threshold, else ``value``."""

    function = "threshold"

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(threshold=threshold, value=value, inplace=inplace)


class GELU(Applied):
    """``x * Phi(x)``, Phi the normal distribution function (Hendrycks & Gimpel 2016)."""

    function = "gelu"

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=approximate)


class Softplus(Applied):
    """``log(1 + exp(beta * x)) / beta``, or ``x`` where ``beta * x`` is above the threshold."""

    function = "softplus"

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)


class Hardshrink(Applied):
    """``x`` where ``|x| > lambd``, else 0."""

    function = "hardshrink"

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)

    def extra_repr(self) -> str:
        """The bound."""
        return str(self.lambd)


class Softshrink(Hardshrink):
    """``x`` moved towards 0 by ``lambd``, as far as 0."""

    function = "softshrink"


class PReLU(Module):
    """`LeakyReLU` with slopes that are learnt, one for all channels or one for each."""

    weight: Parameter

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = new_parameter(num_parameters, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the slopes to the first value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Elementwise; channels are along dimension 1."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """How many slopes."""
        return f"num_parameters={self.num_parameters}"


# -- along a dimension -----------------------------------------------------------------------------


class GLU(Applied):
    """The first half along a dimension, times the sigmoid of the other (Dauphin et al. 2017)."""

    function = "glu"

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)


class Softmax(Applied):
    """``exp(x)``, divided by its sum along ``dim``."""

    function = "softmax"

    def __init__(self, dim: int | None = None) -> None:
        super().__init__(dim=dim)


class Softmin(Softmax):
    """`Softmax` of ``-x``."""

    function = "softmin"


class LogSoftmax(Softmax):
    """The logarithm of `Softmax`."""

    function = "log_softmax"


class Softmax2d(Module):
    """`Softmax` over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        """Of the input's shape."""
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)
