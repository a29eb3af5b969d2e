"""Contractions: ``einsum``, ``tensordot`` and what follows from them.

The rule of einsum is einsum again: the adjoint of an operand is the contraction of the result's
adjoint with the other operands, onto the operand's letters. A letter that only this operand has was
summed, so its share is the same along it; one that it has twice stood for a diagonal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.primitive import structural
from tapegrad.rules.arguments import dtype_name
from tapegrad.rules.arithmetic import mul
from tapegrad.rules.matrices import conjugate, fitted

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

#: From so many products on a contraction of two operands goes to BLAS, which is slower to set up.
MANY = 20_000


def einsum_forward(inputs, equation):
    terms, result = equation.split("->")
    if len(inputs) == 2:
        a, b = terms.split(",")
        return contracted(inputs[0], inputs[1], a, b, result)
    return np.einsum(equation, *inputs, optimize=len(inputs) > 2)


def contracted(x: np.ndarray, y: np.ndarray, a: str, b: str, result: str) -> np.ndarray:
    """Two operands, as one product of (batches of) matrices where that is worth it."""
    sizes: dict[str, int] = {}
    for letter, n in zip(a + b, x.shape + y.shape, strict=True):
        sizes[letter] = max(n, sizes.get(letter, n))
    work = 1
    for n in sizes.values():
        work *= n
    same = all(sizes[c] == n for c, n in zip(a + b, x.shape + y.shape, strict=True))
    summed = [c for c in a if c in b and c not in result]
    alone = any((c in a) != (c in b) and c not in result for c in sizes)
    repeated = len(set(a)) < len(a) or len(set(b)) < len(b)
    if work < MANY or not same or not summed or alone or repeated:
        return np.einsum(f"{a},{b}->{result}", x, y)
    batch = [c for c in a if c in b and c in result]
    left = [c for c in a if c not in b]
    right = [c for c in b if c not in a]
    x = x.transpose([a.index(c) for c in batch + left + summed])
    y = y.transpose([b.index(c) for c in batch + summed + right])
    lead = [sizes[c] for c in batch]
    inner = 1
    for c in summed:
        inner *= sizes[c]
    rows, columns = [sizes[c] for c in left], [sizes[c] for c in right]
    product = np.matmul(x.reshape(*lead, -1, inner), y.reshape(*lead, inner, -1))
    order = batch + left + right
    product = product.reshape(lead + rows + columns)
    return product.transpose([order.index(c) for c in result])


def einsum_x(out_bar, inputs, shapes, equation, index):
    terms, result = equation.split("->")
    names = terms.split(",")
    mine = names[index]
    others = [(n, x) for i, (n, x) in enumerate(zip(names, inputs)) if i != index]
    distinct = "".join(dict.fromkeys(mine))
    known = set(result).union(*[set(n) for n, _ in others])
    present = "".join(c for c in distinct if c in known)
    operands = [out_bar] + [conjugate(x) for _, x in others]
    share = einsum_(*operands, ",".join([result] + [n for n, _ in others]) + "->" + present)
    sizes: dict[str, int] = dict(zip(mine, shapes[index]))
    full = tuple(sizes[c] for c in distinct)
    if tuple(share.shape) != full:
        found = dict(zip(present, tuple(share.shape)))
        share = np.reshape(share, tuple(found.get(c, 1) for c in distinct))
        # Where this operand has size 1 and others had more, it was broadcast.
        share = fitted(share, tuple(min(n, m) for n, m in zip(tuple(share.shape), full)))
        if tuple(share.shape) != full:
            share = np.broadcast_to(share, full)
    return share if distinct == mine else _on_diagonal(share, distinct, mine, shapes[index])


def _on_diagonal(share, distinct, mine, shape):
    grid = np.ogrid[tuple(slice(shape[mine.index(c)]) for c in distinct)]
    where = dict(zip(distinct, grid))
    return put_zeros(share, shape, tuple(where[c] for c in mine))


def put_zeros_forward(x, shape, index):
    out = np.zeros(shape, x.dtype)
    out[index] = x
    return out


def put_zeros_x(out_bar, index):
    return out_bar[index]


put_zeros = structural("put_zeros", put_zeros_forward, put_zeros_x)
einsum_ = structural("einsum", einsum_forward, einsum_x, variadic=True, grad_name="ViewBackward0")
#: One operand: torch names it by what is left to do.
permuted_ = structural(
    "einsum", einsum_forward, einsum_x, variadic=True, grad_name="PermuteBackward0"
)
summed_ = structural("einsum", einsum_forward, einsum_x, variadic=True, grad_name="SumBackward1")


@public(method=False, numpy=[np.einsum])
def einsum(equation: Any, *operands: Any) -> Any:
    """Einstein's summation: products of the operands, summed over the letters not in the result.

    ``einsum("ij,jk->ik", x, y)``; without ``->`` the result has the letters that occur
    once, sorted. Also ``einsum(x, [0, 1], y, [1, 2], [0, 2])``. A letter that an operand has twice
    takes its diagonal, ``...`` stands for dimensions that broadcast. Raises RuntimeError for an
    equation that doesn't fit the operands.

    >>> import tapegrad
    >>> tapegrad.einsum("ij,j->i", tapegrad.eye(2), tapegrad.tensor([1., 2.]))
    tensor([1., 2.])
    """
    if not isinstance(equation, str):
        equation, operands = _from_lists((equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not operands:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one "
            "operand and its subscripts list"
        )
    full = explicit(equation, [x.ndim for x in operands])
    _check_sizes(full, operands)
    if len(operands) == 1:
        term, result = full.split("->")
        return (permuted_ if set(term) == set(result) else summed_)(*operands, full)
    for x in operands[1:]:
        if x._spec.dtype != operands[0]._spec.dtype:
            names = [dtype_name(operands[0]), dtype_name(x)]
            raise RuntimeError(f"expected scalar type {names[0]} but found {names[1]}")
    return einsum_(*operands, full)


def _from_lists(items: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The equation of operands and lists of numbers, and the operands."""

    def letters(numbers: Any) -> str:
        return "".join("..." if n is Ellipsis else LETTERS[n] for n in numbers)

    operands, lists = items[0 : len(items) - len(items) % 2 : 2], items[1::2]
    equation = ",".join(map(letters, lists))
    if len(items) % 2:
        equation += "->" + letters(items[-1])
    return equation, operands


def explicit(equation: str, ndims: list[int]) -> str:
    """The equation without blanks and ellipses, and with its result, checked."""
    _check_letters(equation)
    equation = equation.replace(" ", "")
    left, arrow, right = equation.partition("->")
    names = left.split(",")
    if len(names) != len(ndims):
        raise RuntimeError(
            "einsum(): more operands were provided than specified in the equation"
            if len(ndims) > len(names)
            else "einsum(): fewer operands were provided than specified in the equation"
        )
    extra = [ndim - len(t.replace("...", "")) for t, ndim in zip(names, ndims, strict=True)]
    for i, (term, n) in enumerate(zip(names, extra, strict=True)):
        if n and (n < 0 or "..." not in term):
            count, dims = len(term.replace("...", "")), ndims[i]
            end = "and no ellipsis was given" if "..." not in term else "even with the ellipsis"
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({count}) "
                f"{'is more than' if n < 0 and '...' in term else 'does not match'} the number of "
                f"dimensions ({dims}) for operand {i} {end}"
            )
    used = set(equation)
    spare = [c for c in LETTERS if c not in used]
    batch = "".join(spare[: max((n for t, n in zip(names, extra) if "..." in t), default=0)])
    full = [t.replace("...", batch[len(batch) - n :]) for t, n in zip(names, extra, strict=True)]
    letters = "".join(names).replace("...", "")
    if not arrow:
        result = batch + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
        return ",".join(full) + "->" + result
    result = right.replace("...", batch)
    for c in right.replace("...", ""):
        if right.count(c) > 1:
            raise RuntimeError(
                f"einsum(): output subscript {c} appears more than once in the output"
            )
        if c not in letters:
            raise RuntimeError(
                f"einsum(): output subscript {c} does not appear in the equation for any input "
                "operand"
            )
    return ",".join(full) + "->" + result


def _check_letters(equation: str) -> None:
    left = equation.split("->")[0]
    allowed = equation.replace("...", "   ").replace("->", "  ", 1)
    for i, c in enumerate(allowed):
        if (c not in LETTERS and c not in " ,") or (c == "," and i > len(left)):
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {i} in the equation string, "
                "subscripts must be in [a-zA-Z]"
            )


def _check_sizes(equation: str, operands: tuple[Any, ...]) -> None:
    sizes: dict[str, int] = {}
    for i, (term, x) in enumerate(zip(equation.split("->")[0].split(","), operands, strict=True)):
        own: dict[str, int] = {}
        for c, n in zip(term, x._spec.shape, strict=True):
            if own.setdefault(c, n) != n:
                raise RuntimeError(
                    f"einsum(): subscript {c} is repeated for operand {i} but the sizes don't "
                    f"match, {n} != {own[c]}"
                )
            seen = sizes.get(c, 1)
            if n != seen and n != 1 and seen != 1:
                raise RuntimeError(
                    f"einsum(): subscript {c} has size {n} for operand {i} which does not "
                    f"broadcast with previously seen size {seen}"
                )
            sizes[c] = n if seen == 1 else seen


@public(method=False, numpy=[np.tensordot])
def tensordot(a: Any, b: Any, dims: Any = 2, *, input: Any = None, axes: Any = None) -> Any:
    """The sum of products over ``dims``: a number of last and first dimensions, or two lists."""
    dims = dims if axes is None else axes
    if hasattr(dims, "_spec"):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        left, right = list(range(-dims, 0)), list(range(dims))
    else:
        left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
    if len(left) != len(right):
        raise RuntimeError("both dimension lists should have same length")
    for p, q in zip(left, right, strict=True):
        n, m = a._spec.shape[wrap_axis(p, a.ndim)], b._spec.shape[wrap_axis(q, b.ndim)]
        if n != m and n != 1 and m != 1:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {n} in dim {p} and "
                f"second has size {m} in dim {q}"
            )
    letters = iter(LETTERS)
    first = [next(letters) for _ in range(a.ndim)]
    second = [next(letters) for _ in range(b.ndim)]
    for p, q in zip(left, right, strict=True):
        second[q] = first[p]
    result = [c for c in first if c not in second] + [c for c in second if c not in first]
    return einsum("".join(first) + "," + "".join(second) + "->" + "".join(result), a, b)


@public
def inner(input: Any, other: Any) -> Any:
    """The sum of products over the last dimension of both."""
    if not input.ndim or not other.ndim:
        return mul(input, other)
    if input._spec.shape[-1] != other._spec.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    return tensordot(input, other, dims=([-1], [-1]))


@public(module="nn.functional", method=False)
def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """``input1 @ weight[k] @ input2 + bias[k]`` for each k; weight is (out, in1, in2)."""
    out = einsum("...i,kij,...j->...k", input1, weight, input2)
    return out if bias is None else out + bias
