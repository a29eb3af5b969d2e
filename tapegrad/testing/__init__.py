"""torch.testing, and a toolkit for testing gradients by property.

`assert_close` and `make_tensor` are torch's; `gradcheck` and `gradgradcheck` hold gradients against
differences of the function's values, `check_primitive` does so for a person's own primitive. With
Hypothesis installed, `given_gradient` makes a property test of a function, and
`tapegrad.testing.strategies` has the strategies that it draws from.

>>> import tapegrad as tg
>>> x = tg.tensor([0.5, 1.5], dtype=tg.float64, requires_grad=True)
>>> tg.testing.gradcheck(lambda x: (x * x).sum(), x)
True
>>> tg.testing.assert_close(tg.tensor([1., 2.]), tg.tensor([1., 2.5]))
Traceback (most recent call last):
    ...
AssertionError: Tensor-likes are not close!
<BLANKLINE>
Mismatched elements: 1 / 2 (50.0%)
Greatest absolute difference: 0.5 at index (1,) (up to 1e-05 allowed)
Greatest relative difference: 0.20000000298023224 at index (1,) (up to 1.3e-06 allowed)
"""

from typing import Any

from tapegrad.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from tapegrad.testing.comparison import assert_close
from tapegrad.testing.making import make_tensor
from tapegrad.testing.primitives import check_primitive

__all__ = [
    "GradcheckError",
    "assert_close",
    "check_primitive",
    "given_gradient",
    "gradcheck",
    "gradgradcheck",
    "make_tensor",
    "strategies",
]


def __getattr__(name: str) -> Any:
    """What needs Hypothesis is loaded when it is asked for."""
    if name not in ("given_gradient", "strategies"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    strategies = import_module("tapegrad.testing.strategies")  # which says so if it's not there
    if name == "strategies":
        return strategies
    return import_module("tapegrad.testing.properties").given_gradient
