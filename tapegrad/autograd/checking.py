"""How `gradcheck` works: two matrices for each input and output, which must be close.

Both are of the same bilinear form ``v J u``, one row for each direction ``u`` of the input and one
column for each cotangent ``v`` of the output:

    numerical      differences of the function's values along u, times v
    analytical     the backward pass from v, times u; or forward mode along u

With all basis vectors for u and v they are the Jacobian, transposed. Fast mode takes one random u
and one random v.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapegrad import random
from tapegrad.autograd.differences import as_tuple, central_difference, complex_step
from tapegrad.autograd.engine import grad
from tapegrad.autograd.forward import jvp
from tapegrad.autograd.gradcheck import GradcheckError
from tapegrad.autograd.mismatch import Side, describe
from tapegrad.recording import wrap
from tapegrad.tensor import Tensor, from_array

__all__ = ["Check", "gradient_function"]

Matrix = np.ndarray


@dataclass(frozen=True)
class Part:
    """Of a complex output or input its real or imaginary part; of a real one all of it."""

    name: str
    unit: complex

    def of(self, array: np.ndarray) -> np.ndarray:
        """The part, of an array."""
        return np.asarray(array.imag if self.unit == 1j else array.real)


IMAGINARY, REAL, ALL = Part("imaginary", 1j), Part("real", 1), Part("", 1)


def parts_of(tensor: Tensor) -> tuple[Part, ...]:
    """The parts that are checked one by one."""
    return (REAL, IMAGINARY) if tensor._spec.dtype.kind == "c" else (ALL,)


def unit_vector(rng: np.random.Generator, size: int) -> np.ndarray:
    """Random and positive, so that tolerances can be projected as the matrices are."""
    vector = rng.random(size)
    return np.asarray(vector / (np.linalg.norm(vector) or 1.0))


class Check:
    """One check of a function at some inputs; each method raises GradcheckError if it fails."""

    def __init__(
        self,
        func: Callable[..., Any],
        inputs: Any,
        eps: float,
        atol: float,
        rtol: float,
        fast: bool,
        complex_step: bool,
    ) -> None:
        self.func, self.inputs = func, as_tuple(inputs)
        self.eps, self.atol, self.rtol = eps, atol, rtol
        self.complex_step = complex_step
        self.rng = np.random.default_rng(0)  # the user's streams are left alone
        self.wanted = [
            i for i, x in enumerate(self.inputs) if isinstance(x, Tensor) and x.requires_grad
        ]
        self.leaves = tuple(self.inputs[i] for i in self.wanted)
        self._check_inputs()
        self.results = as_tuple(func(*self.inputs))
        for k, out in enumerate(self.results):
            if not isinstance(out, Tensor):
                raise TypeError(
                    f"gradcheck: output {k} of func is a {type(out).__name__}, not a Tensor"
                )
        self.kept = [k for k, out in enumerate(self.results) if out.requires_grad]
        self.outputs = tuple(self.results[k] for k in self.kept)
        self.directions = [self._vectors(x, fast) for x in self.leaves]
        self.cotangents = [self._vectors(y, fast)[0] for y in self.outputs]
        self.fast = fast
        self._numerical: list[list[list[Matrix]]] | None = None

    def _vectors(self, tensor: Tensor, fast: bool) -> list[np.ndarray | None]:
        """For each part of the tensor the vectors, as rows; None stands for all basis vectors."""
        count = len(parts_of(tensor))
        if not fast:
            return [None] * count
        return [unit_vector(self.rng, tensor._spec.size)[None] for _ in range(count)]

    def _check_inputs(self) -> None:
        if not self.wanted:
            raise ValueError(
                "gradcheck expects at least one input tensor to require gradient, but none of "
                "them have requires_grad=True."
            )
        for i, x in zip(self.wanted, self.leaves, strict=True):
            if x._spec.dtype.itemsize < 8 * (1 + (x._spec.dtype.kind == "c")):
                warnings.warn(
                    f"Input #{i} requires gradient and is not a double precision floating point "
                    "or complex. This check will likely fail if all the inputs are not of double "
                    "precision floating point or complex. ",
                    stacklevel=4,
                )
            array = x._array
            steps = zip(array.strides, array.shape)
            if array.size and any(step == 0 and size > 1 for step, size in steps):
                raise RuntimeError(
                    f"The {i}th input has a dimension with stride 0. gradcheck only supports "
                    "inputs that are non-overlapping to be able to compute the numerical gradients "
                    "correctly. You should call .contiguous on the input before passing it to "
                    "gradcheck."
                )
            if self.complex_step and x._spec.dtype.kind == "c":
                raise ValueError(
                    f"complex_step=True differentiates functions of real inputs, but input {i} is "
                    f"{x.dtype}"
                )

    # -- the numerical side ------------------------------------------------------------------------

    def numerical(self, n: int) -> list[list[Matrix]]:
        """For each part of the n-th leaf: the differences of each result along its directions."""
        if self._numerical is None:
            self._numerical = [self._differences(i) for i in range(len(self.leaves))]
        return self._numerical[n]

    def _differences(self, n: int) -> list[list[Matrix]]:
        leaf, found = self.leaves[n], []
        for part, rows in zip(parts_of(leaf), self.directions[n], strict=True):
            columns = [
                self._along(self.wanted[n], (part.unit * u).reshape(leaf._spec.shape))
                for u in _rows(rows, leaf._spec.size)
            ]
            found.append(
                [
                    np.array([column[k] for column in columns]).reshape(len(columns), y._spec.size)
                    for k, y in enumerate(self.results)
                ]
            )
        return found

    def _along(self, index: int, direction: np.ndarray) -> list[np.ndarray]:
        if self.complex_step:
            return complex_step(self.func, self.inputs, index, direction)
        return central_difference(self.func, self.inputs, index, direction, self.eps)

    # -- reverse mode ------------------------------------------------------------------------------

    def backward_mode(self, nondet_tol: float, check_dtypes: bool) -> None:
        """The backward pass against differences."""
        if not self.outputs:
            self._expect_zero()
        for k, out in enumerate(self.outputs):
            for part in reversed(parts_of(out)):
                found = self._adjoints(k, part, check_dtypes)
                again = self._adjoints(k, part, check_dtypes)
                for one, two in zip(found, again, strict=True):
                    if one.size and np.abs(one - two).max() > nondet_tol:
                        raise GradcheckError(
                            "Backward is not reentrant, i.e., running backward with same input and "
                            "grad_output multiple times gives different values, although "
                            "analytical gradient matches numerical gradient. The tolerance for "
                            f"nondeterminism was {nondet_tol}."
                        )
                for n, adjoint in enumerate(found):
                    self._compare(n, k, part, adjoint)

    def _compare(self, n: int, k: int, part: Part, adjoint: Matrix) -> None:
        numerical = [part.of(matrices[self.kept[k]]) for matrices in self.numerical(n)]
        analytical = [p.of(adjoint) for p in parts_of(self.leaves[n])]
        weight, v = 1.0, self.cotangents[k]
        if v is None:
            analytical = [a.T for a in analytical]
        else:
            directions = [u for u in self.directions[n] if u is not None]
            numerical = [m @ v.T for m in numerical]
            analytical = [u @ a.T for u, a in zip(directions, analytical, strict=True)]
            weight = float(v.sum() * sum(u.sum() for u in directions))
        a, b = _joined(analytical), _joined(numerical)
        if not np.allclose(a, b, self.rtol, self.atol * weight):
            self._fail(n, k, part, "outputs", a, b)

    def _adjoints(self, k: int, part: Part, check_dtypes: bool) -> list[Matrix]:
        """For each leaf, a row for each cotangent: the gradients from it."""
        out = self.outputs[k]
        rows: list[list[np.ndarray]] = [[] for _ in self.leaves]
        for v in _rows(self.cotangents[k], out._spec.size):
            out_bar = wrap((part.unit * v).reshape(out._spec.shape).astype(out._spec.dtype))
            found = grad(out, self.leaves, out_bar, retain_graph=True, allow_unused=True)
            for row, g, x in zip(rows, found, self.leaves, strict=True):
                if g is None:
                    row.append(np.zeros(x._spec.size, x._spec.dtype))
                    continue
                if check_dtypes and g._spec.dtype != x._spec.dtype:
                    raise GradcheckError("Gradient has dtype mismatch")
                if g._spec.shape != x._spec.shape:
                    raise GradcheckError("Analytical gradient has incorrect size")
                row.append(g._array.reshape(-1))
        return [
            np.array(row, x._spec.dtype).reshape(len(row), x._spec.size)
            for row, x in zip(rows, self.leaves, strict=True)
        ]

    def _expect_zero(self) -> None:
        for n in range(len(self.leaves)):
            for matrices in self.numerical(n):
                floating = [m for m, y in zip(matrices, self.results) if y._spec.dtype.kind in "fc"]
                if any(m.any() for m in floating):
                    raise GradcheckError("Numerical gradient for function expected to be zero")

    # -- forward mode ------------------------------------------------------------------------------

    def forward_mode(self) -> None:
        """Forward mode against differences."""
        if not self.outputs:
            self._expect_zero()
        for n, leaf in enumerate(self.leaves):
            for p, part in reversed([*enumerate(parts_of(leaf))]):
                rows = self.directions[n][p]
                weight = 1.0 if rows is None else float(rows.sum())
                dots = self._tangents(n, part, rows)
                for k, i in enumerate(self.kept):
                    expected = self.numerical(n)[p][i]
                    if not np.allclose(dots[i], expected, self.rtol, self.atol * weight):
                        self._fail(n, k, part, "inputs", dots[i], expected)

    def _tangents(self, n: int, part: Part, rows: np.ndarray | None) -> list[Matrix]:
        """For each result, a row for each direction: its tangent."""
        leaf, index = self.leaves[n], self.wanted[n]
        fixed = [x.detach() if isinstance(x, Tensor) else x for x in self.inputs]

        def of_part(x: Tensor) -> tuple[Any, ...]:
            arguments = list(fixed)
            if part is IMAGINARY:
                arguments[index] = wrap(np.asarray(leaf._array.real + 0j)) + x * 1j
            elif part is REAL:
                arguments[index] = x + wrap(np.asarray(1j * leaf._array.imag))
            else:
                arguments[index] = x
            return as_tuple(self.func(*arguments))

        primal = wrap(part.of(leaf._array).copy())
        columns: list[tuple[Any, ...]] = []
        for u in _rows(rows, leaf._spec.size):
            tangent = wrap(u.reshape(leaf._spec.shape).astype(primal._spec.dtype))
            columns.append(jvp(of_part, (primal,), (tangent,))[1])
        return [
            np.array([column[k]._array.reshape(-1) for column in columns]).reshape(
                len(columns), y._spec.size
            )
            for k, y in enumerate(self.results)
        ]

    # -- other faults ------------------------------------------------------------------------------

    def zero_adjoints(self) -> None:
        """A backward pass from zeros must give zeros."""
        if not self.outputs:
            return
        zeros = [wrap(np.zeros(y._spec.shape, y._spec.dtype)) for y in self.outputs]
        found = grad(self.outputs, self.leaves, zeros, retain_graph=True, allow_unused=True)
        for g, x in zip(found, self.leaves, strict=True):
            if g is None:
                continue
            if g._array.any():
                raise GradcheckError("backward not multiplied by grad_output")
            if g._spec.dtype != x._spec.dtype:
                raise GradcheckError("grad is incorrect type")
            if g._spec.shape != x._spec.shape:
                raise GradcheckError("grad is incorrect size")

    def undefined_adjoints(self) -> None:
        """Of several outputs any one may have no adjoint, which stands for zeros."""
        if len(self.outputs) < 2:
            return
        for left_out in range(len(self.outputs)):
            outputs = [y for y in as_tuple(self.func(*self.inputs)) if y.requires_grad]
            del outputs[left_out]
            zeros = [wrap(np.zeros(y._spec.shape, y._spec.dtype)) for y in outputs]
            try:
                found = grad(outputs, self.leaves, zeros, allow_unused=True)
            except RuntimeError as error:
                raise GradcheckError(
                    "Expected backward function to handle undefined output grads, but without one "
                    f"for output {left_out} it raised: {error}"
                ) from error
            if any(g is not None and g._array.any() for g in found):
                raise GradcheckError(
                    "Expected all input grads to be undefined or zero when all output grads are "
                    f"undefined or zero, but they aren't when output {left_out} has none"
                )

    def batched(self) -> None:
        """``is_grads_batched=True`` must give what a loop gives."""
        for k, out in enumerate(self.outputs):
            seeds = [wrap(random_values(out, self.rng)) for _ in range(2)]
            options: dict[str, Any] = {"retain_graph": True, "materialize_grads": True}
            stacked = wrap(np.stack([v._array for v in seeds]))
            found = grad(out, self.leaves, stacked, is_grads_batched=True, **options)
            expected = [grad(out, self.leaves, v, **options) for v in seeds]
            for n, (batch, *one_by_one) in enumerate(zip(found, *expected, strict=True)):
                loop = np.stack([g._array for g in one_by_one if g is not None])
                if batch is None or not np.allclose(batch._array, loop):
                    raise GradcheckError(
                        f"For output {k} and input {n}: batched gradients differ from a loop's.\n\n"
                        f"Got:\n{batch}\n\nExpected:\n{wrap(loop)}"
                    )

    # -- messages ----------------------------------------------------------------------------------

    def _fail(
        self, n: int, k: int, part: Part, of: str, analytical: Matrix, numerical: Matrix
    ) -> None:
        """Raise what differs, of which fast mode finds the entries by a slow check."""
        forward = of == "inputs"
        if self.fast:
            options = (self.eps, self.atol, self.rtol, False, self.complex_step)
            slow = Check(self.func, self.inputs, *options)
            try:
                slow.forward_mode() if forward else slow.backward_mode(np.inf, False)
            except GradcheckError as error:
                raise GradcheckError(f"{error}Fast mode had found it.\n") from None
        prefix = f"While considering the {part.name} part of complex {of} only, "
        mode = "computed with forward mode " if forward else ""
        message = (
            f"{prefix if part.name else ''}Jacobian {mode}mismatch for output {k} with respect to "
            f"input {n},\nnumerical:{wrap(numerical)}\nanalytical:{wrap(analytical)}\n"
        )
        if self.fast:
            message += (
                "These are random projections of the Jacobians, each entry of which is within the "
                "tolerance: use fast_mode=False, or wider tolerances.\n"
            )
        else:
            message += describe(
                analytical,
                numerical,
                Side(f"argument {self.wanted[n]}", self.leaves[n]._spec.shape),
                Side(f"result {self.kept[k]}", self.outputs[k]._spec.shape),
                (self.atol, self.rtol),
                "a complex step" if self.complex_step else "differences",
            )
        raise GradcheckError(message)


def _rows(vectors: np.ndarray | None, size: int) -> Iterator[np.ndarray]:
    """The vectors, or all basis vectors."""
    if vectors is not None:
        yield from vectors
        return
    for i in range(size):
        basis = np.zeros(size)
        basis[i] = 1.0
        yield basis


def _joined(parts: Sequence[Matrix]) -> Matrix:
    """Along the real directions, and 1j times along the imaginary ones."""
    return parts[0] if len(parts) == 1 else np.asarray(parts[0] + 1j * parts[1])


def gradient_function(
    func: Callable[..., Any], inputs: Any, grad_outputs: Any, strided: bool
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The gradient as a function of inputs and adjoints, and where it is to be checked."""
    arguments = as_tuple(inputs)
    if grad_outputs is None:
        outputs = [y for y in as_tuple(func(*arguments)) if y.requires_grad]
        adjoints = tuple(_random_adjoint(y, strided) for y in outputs)
        if not adjoints:
            raise ValueError("gradgradcheck expects func to have an output that requires grad")
    else:
        adjoints = as_tuple(grad_outputs)
    count = len(arguments)
    wanted = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad]
    live = [i for i, v in enumerate(adjoints) if v.requires_grad]

    def gradient(*values: Any) -> tuple[Any, ...]:
        # Forward mode hands in detached values, of which all but one stay constant.
        primals = [_live(x) if i in wanted else x for i, x in enumerate(values[:count])]
        seeds = [_live(v) if i in live else v for i, v in enumerate(values[count:])]
        outputs = [y for y in as_tuple(func(*primals)) if y.requires_grad]
        leaves = [primals[i] for i in wanted]
        found = grad(outputs, leaves, seeds, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradient, (*arguments, *adjoints)


def _live(tensor: Tensor) -> Tensor:
    return tensor if tensor.requires_grad else from_array(tensor._array, requires_grad=True)


def random_values(tensor: Tensor, rng: np.random.Generator) -> np.ndarray:
    """Numbers of the tensor's shape and dtype, whose parts are uniform in [-1, 1)."""
    values = sum(p.unit * rng.uniform(-1, 1, tensor._spec.shape) for p in parts_of(tensor))
    return np.asarray(values, tensor._spec.dtype)


def _random_adjoint(output: Tensor, strided: bool) -> Tensor:
    """torch's random adjoint, after the same seed."""
    shape, dtype = output._spec.shape, output._spec.dtype
    if not strided or output._spec.size < 2:
        return from_array(random.uniform(shape, dtype, None, -1, 1), requires_grad=True)
    array = random.uniform((*shape[:-1], 2 * shape[-1]), dtype, None, -1, 1)
    return from_array(array[..., 1::2], requires_grad=True)
