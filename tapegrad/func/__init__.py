"""torch.func: derivatives and maps of functions, which compose.

>>> import tapegrad
>>> from tapegrad.func import grad, vmap
>>> def loss(w, x, y):
...     return (x @ w - y) ** 2
>>> w, xs, ys = tapegrad.ones(2), tapegrad.tensor([[1., 2.], [3., 4.]]), tapegrad.zeros(2)
>>> vmap(grad(loss), in_dims=(None, 0, 0))(w, xs, ys)      # a gradient for each sample
tensor([[ 6., 12.],
[42., 56.]])
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

from tapegrad.func.jacobians import hessian, jacfwd, jacrev
from tapegrad.func.transforms import grad, grad_and_value, jvp, linearize, vjp
from tapegrad.func.vmap import vmap

if TYPE_CHECKING:
    from tapegrad.nn.functional_call import functional_call, stack_module_state


def __getattr__(name: str) -> _Any:
    """What needs nn, which is loaded when it is asked for."""
    if name in ("functional_call", "stack_module_state"):
        return getattr(_import_module("tapegrad.nn.functional_call"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "stack_module_state",
    "vjp",
    "vmap",
]
