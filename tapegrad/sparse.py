"""Sparse Jacobians and Hessians: patterns found on the tape, and few backward passes.

The function runs once. Which elements of the result depend on which elements of the input follows
from its records, each of which is one of

    elementwise           an element depends on those that broadcasting puts there
    a rearrangement       its forward function, run on numbers, moves them (indexing, reshape, cat)
    a sum of elements     its rule, run on numbers, spreads them (sum, the transpose of indexing)
    another linear one    its rule shows the local Jacobian, row by row (matmul, convolution)
    anything else         each element depends on all

Rows of the Jacobian that share no column can be had from one backward pass, and columns that share
no row from one push forward; a greedy colouring of the rows or columns finds such groups (Curtis,
Powell and Reid, *On the estimation of sparse Jacobian matrices*, 1974). For Hessians, which are
symmetric, a star colouring needs fewer groups (Coleman and More, *Estimation of sparse Hessian
matrices and graph coloring problems*, 1984; as in Gebremedhin, Tarafdar, Manne and Pothen, *New
acyclic and star coloring algorithms with application to computing Hessians*, 2007).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.autograd.engine import grad
from tapegrad.autograd.forward import linearized
from tapegrad.modes import enable_grad
from tapegrad.patterns import Pattern, pattern_of
from tapegrad.recording import wrap
from tapegrad.rules.conversion import clone_
from tapegrad.tape import tape
from tapegrad.tensor import Tensor, from_array, place_of

__all__ = ["hessian", "jacobian", "sparsity"]

Function = Callable[[Any], Any]


def jacobian(func: Function, x: Tensor) -> Any:
    """The Jacobian of ``func`` at ``x``, with a row for each element of the result.

    Args:
        func: a function of a Tensor that returns one.
        x: a real floating Tensor of any shape.

    Returns:
        A ``scipy.sparse.csr_array`` of shape ``(func(x).numel(), x.numel())``, whose entries are
        those that may be other than 0, and in the result's dtype. ``func`` runs twice at most; then
        it takes a backward pass, or a push of tangents, for each colour.

    >>> import tapegrad as tg
    >>> x = tg.arange(4.)
    >>> tg.sparse.jacobian(lambda x: x[1:] * x[:-1], x).toarray()
    array([[1., 0., 0., 0.],
           [0., 2., 1., 0.],
           [0., 0., 3., 2.]], dtype=float32)
    """
    leaf, source, result = _recorded(func, x)
    pattern = _dependence(leaf, result, source)
    by_rows = colouring(pattern)
    by_columns = colouring(pattern.T.tocsr())
    values = np.zeros(pattern.nnz, result._spec.dtype)
    rows, columns = _coordinates(pattern)
    if by_rows is None and by_columns is None:
        raise NotImplementedError(
            "this Jacobian has rows and columns that are all but full: take "
            "autograd.functional.jacobian"
        )
    if by_rows is not None and (by_columns is None or _count(by_rows) <= _count(by_columns)):
        for colour in range(_count(by_rows)):
            group = by_rows == colour
            share = _pulled(result, source, group)
            chosen = group[rows]
            values[chosen] = share[columns[chosen]]
    elif by_columns is not None:
        _, push = linearized(func, (x,))
        for colour in range(_count(by_columns)):
            group = by_columns == colour
            dot = push(wrap(group.reshape(x._spec.shape).astype(x._spec.dtype)))
            chosen = group[columns]
            values[chosen] = dot._array.reshape(-1)[rows[chosen]]
    return _matrix(pattern, values)


def hessian(func: Function, x: Tensor) -> Any:
    """The Hessian of a scalar function at ``x``.

    Args:
        func: a function of a Tensor that returns one of one element.
        x: a real floating Tensor of any shape.

    Returns:
        A symmetric ``scipy.sparse.csr_array`` of shape ``(x.numel(), x.numel())``. ``func`` runs
        once; then it takes a backward pass for each colour.

    Raises RuntimeError if the result has more than one element.

    >>> import tapegrad as tg
    >>> x = tg.ones(3)
    >>> tg.sparse.hessian(lambda x: (x[1:] * x[:-1] ** 2).sum(), x).toarray()
    array([[2., 2., 0.],
           [2., 2., 2.],
           [0., 2., 0.]], dtype=float32)
    """
    leaf, source, result = _recorded(func, x)
    if result._spec.size != 1:
        raise RuntimeError(f"hessian() takes a function to one element, not {result._spec!r}")
    gradient = None
    if place_of(result) is not None:
        with enable_grad():
            (gradient,) = grad(result.reshape(()), source, create_graph=True, allow_unused=True)
    if gradient is None:
        gradient = wrap(np.zeros_like(x._array))
    pattern = _dependence(leaf, gradient, source)
    pattern = (pattern + pattern.T).tocsr()
    colours = star_colouring(pattern)
    rows, columns = _coordinates(pattern)
    # Entry (i, j) is alone in row i of the pass of j's colour, or else (j, i) in that of i's.
    keys = rows.astype(np.int64) * (max(_count(colours), 1)) + colours[columns]
    _, index, counts = np.unique(keys, return_inverse=True, return_counts=True)
    direct = counts[index] == 1
    at = np.where(direct, rows, columns)
    colour_of = np.where(direct, colours[columns], colours[rows])
    values = np.zeros(pattern.nnz, x._spec.dtype)
    for colour in range(_count(colours)):
        share = _pulled(gradient, source, colours == colour)
        chosen = colour_of == colour
        values[chosen] = share[at[chosen]]
    return _matrix(pattern, values)


def sparsity(func: Function, x: Tensor) -> Any:
    """Which elements of ``func(x)`` may depend on which of ``x``: a ``csr_array`` of bools.

    >>> import tapegrad as tg
    >>> tg.sparse.sparsity(lambda x: x.cumsum(0), tg.ones(3)).toarray().astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [1, 1, 1]])
    """
    leaf, source, result = _recorded(func, x)
    return _dependence(leaf, result, source)


def _recorded(func: Function, x: Any) -> tuple[int, Tensor, Tensor]:
    """The serial before, the input at a place of its own, and the result."""
    if not isinstance(x, Tensor) or x._spec.dtype.kind != "f":
        raise TypeError("sparse derivatives are those of a function of a real floating Tensor")
    with enable_grad():
        leaf = from_array(x._array, requires_grad=True)
        start = tape.next_serial()
        source = clone_(leaf)
        result = func(source)
    if not isinstance(result, Tensor):
        raise TypeError(f"the function must return a Tensor, not {type(result).__name__}")
    if result._spec.is_complex:
        raise NotImplementedError("sparse derivatives of a complex result")
    return start, source, result


def _dependence(start: int, result: Tensor, source: Tensor) -> Pattern:
    place = place_of(result)
    own = place_of(source)
    assert own is not None
    found = None
    if place is not None:
        records = tape.records[tape.after(start) :]
        found = pattern_of(records, place, own, source._spec.size)
    if found is None:
        from scipy.sparse import csr_array

        found = csr_array((result._spec.size, source._spec.size), dtype=bool)
    found.sort_indices()
    return found


def _pulled(result: Tensor, source: Tensor, group: np.ndarray) -> np.ndarray:
    """A backward pass: the sum of some rows."""
    if place_of(result) is None:
        return np.zeros(source._spec.size, source._spec.dtype)
    seed = wrap(group.reshape(result._spec.shape).astype(result._spec.dtype))
    (share,) = grad(result, source, seed, retain_graph=True, allow_unused=True)
    return np.zeros(source._spec.size) if share is None else share._array.reshape(-1)


def _coordinates(pattern: Pattern) -> tuple[np.ndarray, np.ndarray]:
    rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    return rows, pattern.indices


def _matrix(pattern: Pattern, values: np.ndarray) -> Any:
    from scipy.sparse import csr_array

    return csr_array((values, pattern.indices, pattern.indptr), shape=pattern.shape)


# -- colouring -------------------------------------------------------------------------------------

#: A graph of conflicts with more edges isn't made.
MOST_CONFLICTS = 50_000_000


def colouring(pattern: Pattern) -> np.ndarray | None:
    """Colours of the rows such that those of one colour share no column: greedy, fullest first.

    None if there would be too many conflicts for it to be of use.
    """
    counts = np.bincount(pattern.indices, minlength=pattern.shape[1]).astype(np.float64)
    if np.dot(counts, counts) > MOST_CONFLICTS:
        return None
    numbers = pattern.astype(np.int32)
    conflicts = (numbers @ numbers.T).tocsr()
    indptr, indices = conflicts.indptr.tolist(), conflicts.indices.tolist()
    colours = [-1] * pattern.shape[0]
    for row in np.argsort(-np.diff(conflicts.indptr), kind="stable").tolist():
        taken = {colours[other] for other in indices[indptr[row] : indptr[row + 1]]}
        colour = 0
        while colour in taken:
            colour += 1
        colours[row] = colour
    return np.array(colours, np.int64)


def _count(colours: np.ndarray) -> int:
    return int(colours.max(initial=-1)) + 1


def star_colouring(pattern: Pattern) -> np.ndarray:
    """Colours of the vertices of a symmetric pattern's graph, greedy.

    Neighbours differ, and each path of four vertices has three colours. Then for an entry (i, j) i
    is the only neighbour of j that has its colour, or j the only one of i.
    """
    indptr, indices = pattern.indptr.tolist(), pattern.indices.tolist()
    count = len(indptr) - 1
    near = [[w for w in indices[indptr[v] : indptr[v + 1]] if w != v] for v in range(count)]
    colours = [-1] * count
    #: A vertex's neighbours by colour; and colours that a neighbour of it can't have, since they
    #: would make a path of four vertices in two colours.
    by_colour: list[dict[int, list[int]]] = [{} for _ in range(count)]
    closed: list[set[int]] = [set() for _ in range(count)]
    for v in np.argsort(-np.diff(pattern.indptr), kind="stable").tolist():
        taken: set[int] = set()
        for w in near[v]:
            if colours[w] < 0:
                taken.update(by_colour[w])
            else:
                taken.add(colours[w])
                taken |= closed[w]
        colour = 0
        while colour in taken:
            colour += 1
        colours[v] = colour
        for group in by_colour[v].values():
            if len(group) > 1:
                for w in group:
                    closed[w].add(colour)
        for w in near[v]:
            group = by_colour[w].setdefault(colour, [])
            group.append(v)
            if len(group) > 1 and colours[w] >= 0:
                for u in group if len(group) == 2 else (v,):
                    closed[u].add(colours[w])
    return np.array(colours, np.int64)
