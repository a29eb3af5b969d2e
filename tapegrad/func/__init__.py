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

from tapegrad.func.jacobians import hessian, jacfwd, jacrev
from tapegrad.func.transforms import grad, grad_and_value, jvp, linearize, vjp
from tapegrad.func.vmap import vmap

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
