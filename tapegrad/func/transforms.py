"""`grad`, `vjp`, `jvp` and `linearize`: functions of Tensors made from functions of Tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tapegrad.autograd.forward import Pushforward
from tapegrad.batched import levels, merged, separated
from tapegrad.func.evaluation import Evaluation, differentiated, with_aux
from tapegrad.modes import enable_grad, modes
from tapegrad.recording import wrap
from tapegrad.tape import tape
from tapegrad.tensor import Tensor, place_of
from tapegrad.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

__all__ = ["grad", "grad_and_value", "jvp", "linearize", "vjp"]

Argnums = int | tuple[int, ...]


def _plain_aux(evaluation: Any, aux: Any) -> Any:
    leaves, spec = tree_flatten(aux)
    return tree_unflatten(evaluation.values(leaves), spec)


# -- reverse mode ----------------------------------------------------------------------------------


def grad(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that computes the gradient of ``func``, which returns a 0-d Tensor.

    Args:
        func: its arguments are anything; those that it is differentiated for, Tensors or nested
            tuples, lists and dicts of them.
        argnums: which positional argument that is, or which ones, as a tuple.
        has_aux: ``func`` returns ``(output, aux)``; so ``(gradient, aux)`` is returned.

    Returns:
        A function that returns the gradient, nested as the argument is; of several arguments a
        tuple. It can be differentiated and mapped again.

    Raises RuntimeError for an output that isn't a 0-d Tensor.

    >>> import tapegrad
    >>> second = tapegrad.func.grad(tapegrad.func.grad(tapegrad.sin))
    >>> second(tapegrad.tensor(1.)) + tapegrad.tensor(1.).sin()
    tensor(0.)
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        gradient, _, aux = _gradient(func, argnums, has_aux, args, kwargs)
        return (gradient, aux) if has_aux else gradient

    return wrapped


def grad_and_value(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """As `grad`, but ``(gradient, value)``; with ``has_aux`` ``(gradient, (value, aux))``."""

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        gradient, value, aux = _gradient(func, argnums, has_aux, args, kwargs)
        return gradient, (value, aux) if has_aux else value

    return wrapped


def _gradient(
    func: Callable[..., Any], argnums: Argnums, has_aux: bool, args: Any, kwargs: Any
) -> tuple[Any, Any, Any]:
    evaluation = Evaluation()
    leaves, spec, replaced = differentiated(args, argnums)
    own = [evaluation.input(x) for x in leaves]
    result = evaluation.run(func, *replaced(own), **kwargs)
    out, aux = with_aux(result, has_aux, "grad_and_value(f)(*args)")
    if not isinstance(out, Tensor):
        raise RuntimeError(
            f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(out)}"
        )
    if out._spec.ndim:
        raise RuntimeError(
            "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor "
            f"with {out._spec.ndim} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
        )
    one = wrap(out._spec.constant(1.0))
    gradients = evaluation.pull([out], [one], retain=has_aux)
    (value,) = evaluation.values((out,))
    if has_aux:
        aux = _plain_aux(evaluation, aux)
    return tree_unflatten(gradients, spec), value, aux


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of ``func(*primals)``, and the function that multiplies with its Jacobian.

    Args:
        func: a function of Tensors, or nested tuples, lists and dicts of them, which returns such.
        primals: where it is evaluated.
        has_aux: ``func`` returns ``(output, aux)``; ``aux`` is returned as the third.

    Returns:
        ``(output, vjp_fn)``; ``vjp_fn(cotangents)`` takes what has the output's structure and
        returns a tuple of what the primals are.

    >>> import tapegrad
    >>> value, pull = tapegrad.func.vjp(tapegrad.sin, tapegrad.zeros(2))
    >>> pull(tapegrad.tensor([1., 2.]))
    (tensor([1., 2.]),)
    """
    out, pull, aux = pullback(func, primals, None, has_aux)
    return (out, pull, aux) if has_aux else (out, pull)


def pullback(
    func: Callable[..., Any], primals: tuple[Any, ...], argnums: Any, has_aux: bool
) -> tuple[Any, Callable[..., Any], Any]:
    """`vjp` for some of the primals."""
    evaluation = Evaluation()
    leaves, spec, replaced = differentiated(primals, argnums)
    own = [evaluation.input(x) for x in leaves]
    result = evaluation.run(func, *replaced(own))
    out, aux = with_aux(result, has_aux, "vjp(f, *primals)")
    outputs, out_spec = tree_flatten(out)
    check_outputs(outputs, "vjp(f, *primals)")
    for output in outputs:
        if output._spec.dtype.kind not in "fc":
            raise RuntimeError(
                "vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got "
                f"Tensor with dtype {output.dtype}"
            )

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        bars, bar_spec = tree_flatten(cotangents)
        if bar_spec != out_spec:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of "
                f"outputs to the function. cotangents: {bar_spec}, primal output: {out_spec}"
            )
        for output, bar in zip(outputs, bars, strict=True):
            if bar._spec.shape != output._spec.shape:
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[0] has a shape of {bar.shape} and output[0] "
                    f"has a shape of {output.shape}."
                )
        return tree_unflatten(evaluation.pull(outputs, bars, retain_graph), spec)

    values = tree_unflatten(evaluation.values(outputs), out_spec)
    return values, pull, _plain_aux(evaluation, aux) if has_aux else None


def check_outputs(outputs: list[Any], name: str) -> None:
    """Raise RuntimeError unless there are outputs, all Tensors."""
    if not outputs or (len(outputs) == 1 and outputs[0] is None):
        raise RuntimeError(
            f"{name}: Expected f to be a function that has non-empty output (got output = "
            f"{outputs})"
        )
    for output in outputs:
        if not isinstance(output, Tensor):
            raise RuntimeError(
                f"{name}: expected f(*primals) to return only tensors, got unsupported type "
                f"{type(output)}"
            )


# -- forward mode ----------------------------------------------------------------------------------

JVP = "jvp(f, primals, tangents)"


class Linearization:
    """A function evaluated at inputs of its own, along which tangents are pushed."""

    def __init__(
        self,
        func: Callable[..., Any],
        primals: tuple[Any, ...],
        argnums: Any,
        has_aux: bool,
        tangents: list[Any] | None = None,
    ) -> None:
        running = self._running = list(levels.running)
        self._push = Pushforward(modes.grad)
        leaves, self.spec, replaced = differentiated(primals, argnums)
        self.primals = leaves
        _check_tensors(leaves, "primals")
        self._inputs = [self._push.input(merged(x, running) if running else x) for x in leaves]
        if tangents is not None:
            self._seed(tangents)
        with enable_grad():
            own = [separated(x, running) for x in self._inputs] if running else self._inputs
            result = func(*replaced(own))
        out, aux = with_aux(result, has_aux, JVP)
        outputs, self.out_spec = tree_flatten(out)
        check_outputs(outputs, JVP)
        self._outputs = [merged(x, running) for x in outputs] if running else outputs
        self._end = tape.next_serial()
        # Without tangents: to know what depends on more than the inputs.
        self._push.advance(self._end)
        self.values = self._shown(outputs)
        self.out = tree_unflatten(self.values, self.out_spec)
        self.aux: Any = None
        if has_aux:
            aux_leaves, aux_spec = tree_flatten(aux)
            self.aux = tree_unflatten(self._shown(aux_leaves), aux_spec)

    def _shown(self, outputs: list[Any]) -> list[Any]:
        if not self._running:
            return [
                self._push.value(x) if isinstance(x, Tensor) and is_placed(x) else x
                for x in outputs
            ]
        return [
            separated(self._push.value(merged(x, self._running)), self._running)
            if isinstance(x, Tensor) and is_placed(x)
            else x
            for x in outputs
        ]

    def _seed(self, tangents: list[Any]) -> None:
        if self._running:
            tangents = [merged(x_dot, self._running) for x_dot in tangents]
        self._push.seed(tuple(self._inputs), tuple(tangents))

    def push(self, tangents: list[Any]) -> list[Any]:
        """The tangents of the outputs, for those of the inputs."""
        self._seed(tangents)
        self._push.advance(self._end)
        return self.tangents()

    def tangents(self) -> list[Any]:
        """The tangents of the outputs that were pushed last."""
        tangents = list(map(self._push.tangent, self._outputs))
        return [separated(t, self._running) for t in tangents] if self._running else tangents

    def independent(self) -> bool:
        """Whether an output doesn't depend on the inputs."""
        return any((place_of(x) or 0) not in self._push.dots for x in self._outputs)


def is_placed(tensor: Any) -> bool:
    """Whether a Tensor, or a Batched's values, is on the tape."""
    while hasattr(tensor, "_value"):
        tensor = tensor._value
    return place_of(tensor) is not None


def _check_tensors(values: list[Any], name: str) -> None:
    if not values:
        raise RuntimeError(f"{JVP}: Expected {name} to contain at least one Tensor.")
    for value in values:
        if not isinstance(value, Tensor):
            raise RuntimeError(f"{JVP}: Expected {name} to only contain Tensors, got {type(value)}")


def jvp(
    func: Callable[..., Any],
    primals: Any,
    tangents: Any,
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """The value of ``func(*primals)`` and its derivative in the direction of the tangents.

    Args:
        func: a function of Tensors, or nested tuples, lists and dicts of them, which returns such.
        primals: a tuple: where it is evaluated, floating or complex Tensors.
        tangents: of the same structure, shapes and dtypes.
        strict: raise RuntimeError where an output doesn't depend on the primals.
        has_aux: ``func`` returns ``(output, aux)``; ``aux`` is returned as the third.

    Returns:
        The output and its tangent, nested as ``func`` returns them. Both can be differentiated for
        what requires grad outside; jvp can be nested.

    >>> import tapegrad
    >>> x = tapegrad.tensor([1., 2.])
    >>> tapegrad.func.jvp(lambda x: x * x, (x,), (tapegrad.ones(2),))
    (tensor([1., 4.]), tensor([2., 4.]))
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(
            f"{JVP}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals)."
        )
    primals_spec, (dots, tangents_spec) = tree_flatten(primals)[1], tree_flatten(tangents)
    if primals_spec != tangents_spec:
        raise RuntimeError(
            f"{JVP}: Expected primals and tangents to have the same python structure. For example, "
            "if primals is a tuple of 3 tensors, tangents also must be. Got primals with structure "
            f"{primals_spec} and tangents with structure {tangents_spec}"
        )
    _check_tensors(dots, "tangents")
    for primal, dot in zip(tree_leaves(primals), dots, strict=True):
        if isinstance(primal, Tensor) and primal._spec is not dot._spec:
            _check_tangent(primal, dot)
    linear = Linearization(func, primals, None, has_aux, dots)
    out_dots = linear.tangents()
    if strict and linear.independent():
        raise RuntimeError(
            "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. "
            "This is not allowed with strict=True."
        )
    result = linear.out, tree_unflatten(out_dots, linear.out_spec)
    return (*result, linear.aux) if has_aux else result


def _check_tangent(primal: Tensor, dot: Tensor) -> None:
    if primal._spec.shape != dot._spec.shape or primal._spec.dtype != dot._spec.dtype:
        raise RuntimeError(
            f"{JVP}: got a primal of {primal._spec!r} with a tangent of {dot._spec!r}; they must "
            "have the same shape and dtype"
        )


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of ``func(*primals)``, and the function that pushes tangents: `jvp`, run once.

    Args:
        func: a function of Tensors, or nested tuples, lists and dicts of them, which returns such.
        primals: where it is evaluated.

    Returns:
        ``(output, jvp_fn)``; ``jvp_fn(*tangents)`` takes what has the structure, shapes and dtypes
        of the primals, and returns what has the output's.

    >>> import tapegrad
    >>> value, push = tapegrad.func.linearize(tapegrad.sin, tapegrad.zeros(2))
    >>> push(tapegrad.tensor([1., 2.]))
    tensor([1., 2.])
    """
    linear = Linearization(func, primals, None, False)

    def push(*tangents: Any) -> Any:
        dots, spec = tree_flatten(tangents)
        if spec != linear.spec:
            raise RuntimeError(
                f"Expected the tangents {spec} to have the same argspec as the primals "
                f"{linear.spec}"
            )
        for i, (dot, primal) in enumerate(zip(dots, linear.primals, strict=True)):
            for what in ("shape", "dtype"):
                got, wanted = getattr(dot, what), getattr(primal, what)
                if got != wanted:
                    raise RuntimeError(
                        f"tangent:{i} with {what} {got} in flattened pytree doesn't match the "
                        f"{what} {wanted} of the corresponding primal"
                    )
        return tree_unflatten(linear.push(dots), linear.out_spec)

    return linear.out, push
