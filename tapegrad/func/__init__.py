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

from tapegrad.batched import rules as _rules
from tapegrad.func.jacobians import hessian, jacfwd, jacrev
from tapegrad.func.transforms import grad, grad_and_value, jvp, linearize, vjp
from tapegrad.func.vmap import vmap


def _load() -> None:
    _import_module("tapegrad.batching")


_rules.load = _load

__all__ = [
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "vjp",
    "vmap",
]
