"""One expression in tapegrad and in torch: values, dtypes, errors, derivatives of two orders."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np

_rng = np.random.default_rng(0)

#: The Tensors that an expression may name; floating-point ones require grad.
NAMED = {
    "a": _rng.normal(size=(3, 4)),
    "b": _rng.normal(size=(2, 3, 4)),
    "b4": _rng.normal(size=(2, 3, 4, 5)),
    "v": _rng.normal(size=5),
    "s": np.array(1.5),
    "sq": _rng.normal(size=(4, 4)),
    "z": np.array([[0.0, 2.0, 3.0], [1.0, 0.0, 0.0], [4.0, 5.0, 6.0]]),
    "zero": np.zeros((2, 3)),
    "one": np.ones((1, 3, 1, 2)),
    "ties": np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]),
    "e": np.zeros((0, 3)),
    "e2": np.zeros((2, 0)),
    "n": np.array([[1.0, np.nan, 3.0], [4.0, 5.0, np.nan]]),
    "inf": np.array([[np.inf, 1.0], [-np.inf, -np.inf]]),
    "f32": _rng.normal(size=(3, 4)).astype(np.float32),
    "h": _rng.normal(size=(3, 4)).astype(np.float16),
    "c": _rng.normal(size=(2, 3)) + 1j * _rng.normal(size=(2, 3)),
    "i": np.array([[3, 1, 2], [0, 5, 5]]),
    "i32": np.array([[3, 1, 2], [0, 5, 5]], np.int32),
    "u8": np.array([250, 10, 3], np.uint8),
    "bo": np.array([[True, False, True], [False, False, False]]),
}

TOLERANCES = {"float16": 1e-2, "float32": 1e-5, "complex64": 1e-5}


def expressions(text: str) -> list[str]:
    """The expressions of a text, of which ``;;`` and the ends of lines are between."""
    parts = [part.strip() for line in text.splitlines() for part in line.split(";;")]
    return [part for part in parts if part]


def _tensors(result, kind):
    if isinstance(result, (tuple, list)) and not hasattr(result, "numel"):
        return [x for part in result for x in _tensors(part, kind)]
    return [result]


def _weights(library, like, function):
    values = function(np.arange(like.numel(), dtype=float) + 1).reshape(tuple(like.shape))
    return library.from_numpy(np.asarray(values).astype(like.detach().numpy().dtype))


def evaluate(library, expression):
    """A description of the results (or the error, in one line), and arrays to be compared."""
    names = {k: v for k, v in NAMED.items() if re.search(rf"\b{k}\b", expression)}
    tensors = {k: library.from_numpy(v.copy()) for k, v in names.items()}
    leaves = [
        x.requires_grad_() for x in tensors.values() if x.is_floating_point() or x.is_complex()
    ]
    scope = {"torch": library, "np": np, "F": library.nn.functional, "math": math, **tensors}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = eval(expression, scope)
        except Exception as error:
            text = f"{type(error).__name__}: {error}".split("\n")[0]
            return text.replace("tapegrad", "torch"), []
    # NumPy's own warnings are left to the library's filter, which "always" has overruled.
    shown = [w.message for w in caught if not issubclass(w.category, RuntimeWarning)]
    texts = {str(message).split(" (Triggered")[0] for message in shown}
    outs = _tensors(result, library.Tensor)
    told = [type(result).__name__, *sorted(t.replace("tapegrad", "torch") for t in texts)]
    arrays = []
    for out in outs:
        if not isinstance(out, library.Tensor):
            told.append(repr(out).replace("tapegrad", "torch"))
            continue
        name = None if out.grad_fn is None else out.grad_fn.name()
        dtype = str(out.dtype).split(".")[1]
        told.append((dtype, tuple(out.shape), out.requires_grad, name))
        arrays.append(out.detach().numpy().copy())
    wanted = [x for x in outs if isinstance(x, library.Tensor) and x.requires_grad]
    if wanted and leaves:
        arrays += _derivatives(library, wanted, leaves)
    return told, arrays


def _derivatives(library, outs, leaves):
    """The gradients, and the gradients of the weighted gradients."""
    grad = library.autograd.grad
    first = grad(
        outs, leaves, [_weights(library, x, np.cos) for x in outs],
        create_graph=True, allow_unused=True,
    )  # fmt: skip
    again = [x for x in first if x is not None and x.requires_grad]
    second = [None] * len(leaves)
    if again:
        weights = [_weights(library, x, np.sin) for x in again]
        second = grad(again, leaves, weights, allow_unused=True)
    made = []
    for leaf, x in zip(leaves * 2, [*first, *second], strict=True):
        # torch tells a gradient that is 0 everywhere in several ways.
        zero = x is None or bool((x == 0).all())
        made.append(np.zeros_like(leaf.detach().numpy()) if zero else x.detach().numpy())
    return made


def assert_same(torch, expression):
    """Raise AssertionError unless the expression means the same in torch and in tapegrad."""
    import tapegrad

    torch.set_warn_always(True)  # also what it warns of but once
    try:
        expected, expected_arrays = evaluate(torch, expression)
    finally:
        torch.set_warn_always(False)
    found, found_arrays = evaluate(tapegrad, expression)
    assert found == expected
    for x, y in zip(found_arrays, expected_arrays, strict=True):
        assert x.dtype == y.dtype
        tolerance = TOLERANCES.get(x.dtype.name, 1e-9)
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)
