"""Orthogonal polynomials of a degree given elementwise; SciPy computes them.

Degrees are cut to integers; below 0 the value is 0, as torch has it. Source: Abramowitz and Stegun,
chapter 22; the Chebyshev polynomials of the third and fourth kind, V and W, are differences and
sums of two of the second (NIST's handbook, 18.7). There are no derivatives, as in torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import Primitive, elementwise
from tapegrad.rules.arguments import check_tensor
from tapegrad.rules.gamma import unknown_derivative


def evaluated(name: str, x: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """``scipy.special.eval_<name>``, in double precision."""
    import scipy.special

    values = getattr(scipy.special, "eval_" + name)(np.maximum(degree, 0), x.astype(np.float64))
    return np.where(degree < 0, 0.0, values)


def chebyshev_v(name: str, x: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """The third kind."""
    return evaluated("chebyu", x, degree) - evaluated("chebyu", x, degree - 1)


def chebyshev_w(name: str, x: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """The fourth kind."""
    return evaluated("chebyu", x, degree) + evaluated("chebyu", x, degree - 1)


def polynomial(
    name: str,
    scipy_name: str,
    evaluate: Callable[[str, np.ndarray, np.ndarray], np.ndarray] = evaluated,
    shifted: bool = False,
) -> None:
    """Declare ``special.<name>``; ``shifted`` from [-1, 1] to [0, 1]."""

    def forward(x, y):
        degree = np.trunc(y).astype(np.int64)
        wide = x.astype(np.float64)
        return evaluate(scipy_name, 2 * wide - 1 if shifted else wide, degree).astype(x.dtype)

    primitive = elementwise(
        "special_" + name, forward, unknown_derivative, None,
        floating=True, native=False, hidden=True,
    )  # fmt: skip

    def function(input: Any, n: Any) -> Any:
        """The polynomial of degree ``n`` at ``input``, elementwise; one of them may be a number."""
        if not hasattr(n, "_spec"):
            check_tensor(name, input)
        return Primitive.apply(primitive, (input, n), ())

    function.__name__ = function.__qualname__ = name
    public(function, module="special", method=False)


for kind, of_kind in (("t", "chebyt"), ("u", "chebyu"), ("v", ""), ("w", "")):
    evaluate = {"v": chebyshev_v, "w": chebyshev_w}.get(kind, evaluated)
    polynomial("chebyshev_polynomial_" + kind, of_kind, evaluate)
    polynomial("shifted_chebyshev_polynomial_" + kind, of_kind, evaluate, shifted=True)
polynomial("hermite_polynomial_h", "hermite")
polynomial("hermite_polynomial_he", "hermitenorm")
polynomial("laguerre_polynomial_l", "laguerre")
polynomial("legendre_polynomial_p", "legendre")
