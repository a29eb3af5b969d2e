"""Derivatives of functions: vjp, jvp, jacobian, hessian, hvp and vhp, as torch.autograd.functional.

Inputs and outputs are a Tensor or a tuple of Tensors, and results are nested accordingly. All take

    create_graph: record the computation of the result, to differentiate it.
    strict: raise RuntimeError where an output doesn't depend on an input, instead of giving zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.autograd.batched import pull_batched
from tapegrad.autograd.checked import (
    as_tuple,
    check_scalar,
    detached,
    direction,
    evaluated,
    filled,
    gradients_of,
    leaves_of,
    nested,
)
from tapegrad.autograd.forward import Pushforward, linearized
from tapegrad.batched import Level, levels
from tapegrad.declaration import BatchedAccess
from tapegrad.modes import enable_grad
from tapegrad.primitive import primitives
from tapegrad.recording import wrap
from tapegrad.rules.joining import stack
from tapegrad.spec import specs
from tapegrad.tape import CODE, SPEC, tape
from tapegrad.tensor import Tensor, from_array, place_of

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Tensor | tuple[Tensor, ...]
Function = Callable[..., Any]

_LINEAR = (
    "While computing the hessian, found that the jacobian of the user-provided function with "
    "respect to input {} is independent of the input. This is not allowed in strict mode. You "
    "should ensure that your function is twice differentiable and that the jacobian depends on the "
    "inputs (this would be violated by a linear function for example)."
)
_UNUSED = (
    "The output of the user-provided function is independent of input {}. This is not allowed in "
    "strict mode."
)
_CONSTANT = (
    "The {} of the user-provided function is independent of input {{}}. This is not allowed in "
    "strict mode when create_graph=True."
)


# -- products with the Jacobian --------------------------------------------------------------------


def vjp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """``func(*inputs)``, and the product of the vector ``v`` with its Jacobian.

    ``v`` has the outputs' shapes; it may be left out for a single element.

    >>> import tapegrad
    >>> x = tapegrad.tensor([1., 2.])
    >>> tapegrad.autograd.functional.vjp(lambda x: (x ** 2).sum(), x)
    (tensor(5.), tensor([2., 4.]))
    """
    with enable_grad():
        given, several = as_tuple(inputs, "inputs", "vjp")
        leaves = leaves_of(given, create_graph)
        outputs, several_out = evaluated(func, leaves, "vjp", strict)
        vectors = direction(v, outputs, several_out, "vjp")
        gradients = gradients_of(outputs, leaves, vectors, create_graph)
        constant = _CONSTANT.format("jacobian") if create_graph else ""
        product = filled(gradients, leaves, strict, _UNUSED, constant)
    return (
        nested(detached(outputs, create_graph), several_out),
        nested(detached(product, create_graph), several),
    )


def jvp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """``func(*inputs)``, and the product of its Jacobian with the vector ``v``.

    ``v`` has the inputs' shapes; it may be left out for a single element. With ``strict`` or
    ``create_graph`` the product is the derivative of a vjp for its vector, as in torch, else it is
    pushed forward, which is quicker.
    """
    with enable_grad():
        push = Pushforward(False)
        given, several = as_tuple(inputs, "inputs", "jvp")
        vectors = direction(v, given, several, "jvp")
        leaves = leaves_of(given, create_graph)
        outputs, several_out = evaluated(func, leaves, "jvp", strict)
        product = None if create_graph or strict else _pushed(push, outputs, leaves, vectors)
        if product is None:
            product = _transposed(
                outputs, leaves, vectors, create_graph, strict, _UNUSED, "jacobian"
            )
    return (
        nested(detached(outputs, create_graph), several_out),
        nested(detached(product, create_graph), several_out),
    )


def _pushed(
    push: Pushforward,
    outputs: tuple[Tensor, ...],
    leaves: tuple[Tensor, ...],
    vectors: tuple[Tensor, ...],
) -> tuple[Tensor, ...] | None:
    """The Jacobian times the vector, along what was recorded since ``push`` was made.

    None where it isn't this simple: for complex numbers, within vmap, and where a user's Function
    was recorded, which needn't have a ``jvp``.
    """
    records = tape.records[tape.after(push.start) :]
    if levels.running or any(primitives[r[CODE]].joint is not None for r in records):
        return None
    if any(specs[r[SPEC]].is_complex for r in records) or any(x._spec.is_complex for x in leaves):
        return None
    for leaf, vector in zip(leaves, vectors, strict=True):
        push.add(leaf, vector.to(leaf.dtype))
    push.advance()
    return tuple(map(push.tangent, outputs))


def _transposed(
    outputs: tuple[Tensor, ...],
    leaves: tuple[Tensor, ...],
    vectors: tuple[Tensor, ...],
    create_graph: bool,
    strict: bool,
    missing: str,
    what: str,
) -> tuple[Tensor, ...]:
    """``J v``, the derivative of ``u -> u J`` in the direction ``v``."""
    dummies = tuple(from_array(np.zeros(out._spec.shape, out._spec.dtype), True) for out in outputs)
    rows = gradients_of(outputs, leaves, dummies, True)
    rows = filled(rows, leaves, strict, missing)
    product = gradients_of(rows, dummies, vectors, create_graph)
    constant = _CONSTANT.format(what) if create_graph else ""
    independent = (
        "The gradient with respect to the input is independent of entry {} in the grad_outputs "
        "when using the double backward trick to compute forward mode gradients. This is not "
        "allowed in strict mode."
    )
    return filled(product, outputs, strict, independent, constant)


# -- Jacobians -------------------------------------------------------------------------------------


def jacobian(
    func: Function,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of ``func``: for output ``o`` and input ``x`` of shape ``o.shape + x.shape``.

    Of several outputs and inputs a tuple of tuples, outputs first. ``strategy`` is "reverse-mode",
    one backward pass with a batch of adjoints, or, with ``vectorize``, "forward-mode", one
    push of a tangent for each element of the inputs. ``vectorize`` alone changes nothing.

    >>> import tapegrad
    >>> tapegrad.autograd.functional.jacobian(lambda x: x ** 2, tapegrad.tensor([1., 2.]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your '
            'function has more outputs than inputs, "forward-mode" tends to be more performant. '
            'Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        _check_forward(create_graph, strict, vectorize)
        return _forward_jacobian(func, inputs)
    if strict and vectorize:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not "
            "supported together. Please either set `strict=False` or `vectorize=False`."
        )
    with enable_grad():
        given, several = as_tuple(inputs, "inputs", "jacobian")
        leaves = leaves_of(given, create_graph)
        outputs, several_out = evaluated(func, leaves, "jacobian", strict)
        blocks = tuple(
            nested(_rows(i, output, leaves, create_graph, strict), several)
            for i, output in enumerate(outputs)
        )
    return nested(blocks, several_out)


def _check_forward(create_graph: bool, strict: bool, vectorize: bool) -> None:
    name, mode = "torch.autograd.functional.jacobian", '`strategy="forward-mode"`'
    if create_graph:
        raise NotImplementedError(
            f"{name}: `create_graph=True` and {mode} are not supported together (yet). Please "
            'either set `create_graph=False` or `strategy="reverse-mode"`.'
        )
    if strict:
        raise RuntimeError(
            f"{name}: `strict=True` and {mode} are not supported together (yet). Please either set "
            '`strict=False` or `strategy="reverse-mode"`.'
        )
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only "
            "implemented for `vectorize=True`."
        )


def _rows(
    i: int, output: Tensor, leaves: tuple[Tensor, ...], create_graph: bool, strict: bool
) -> tuple[Tensor, ...]:
    """The blocks of the Jacobian of one output, one for each input."""
    spec = output._spec
    missing = (
        f"Output {i} of the user-provided function is independent of input {{}}. This is not "
        "allowed in strict mode."
    )
    constant = _CONSTANT.format("jacobian") if create_graph else ""
    units = np.eye(spec.size, dtype=spec.dtype).reshape(spec.size, *spec.shape)
    if not strict and spec.size > 1:
        found = pull_batched((output,), leaves, (wrap(units),), True, create_graph)
        if found is not None:
            return tuple(
                wrap(np.zeros(spec.shape + x._spec.shape, x._spec.dtype))
                if block is None
                else block.reshape(spec.shape + x._spec.shape)
                for block, x in zip(found, leaves, strict=True)
            )
    rows = []
    for unit in units:
        gradients = gradients_of((output,), leaves, (wrap(np.asarray(unit)),), create_graph)
        rows.append(filled(gradients, leaves, strict, missing, constant))
    return tuple(
        _block([row[j] for row in rows], spec.shape + x._spec.shape, x, create_graph)
        for j, x in enumerate(leaves)
    )


def _block(rows: list[Tensor], shape: tuple[int, ...], x: Tensor, create_graph: bool) -> Tensor:
    if create_graph and rows:
        made: Tensor = stack(rows).reshape(shape)
        return made
    array = np.array([row._array for row in rows], x._spec.dtype)
    return wrap(array.reshape(shape))


def _forward_jacobian(func: Function, inputs: Tensors) -> Any:
    given, several = as_tuple(inputs, "inputs", "jacobian")
    result, push = linearized(func, given)
    outputs, several_out = as_tuple(result, "outputs", "jacobian")
    zeros = [wrap(np.zeros(x._spec.shape, x._spec.dtype)) for x in given]
    blocks: list[list[Tensor]] = [[] for _ in outputs]
    for j, x in enumerate(given):
        units = np.eye(x._spec.size, dtype=x._spec.dtype).reshape(x._spec.size, *x._spec.shape)
        for block, dots, output in zip(
            blocks, _columns(push, zeros, j, wrap(units)), outputs, strict=True
        ):
            block.append(dots.reshape(output._spec.shape + x._spec.shape))
    return nested(tuple(nested(tuple(row), several) for row in blocks), several_out)


def _columns(push: Any, zeros: list[Tensor], j: int, units: Tensor) -> list[Tensor]:
    """The tangents of all outputs for the unit tangents of input j, in a last dimension."""
    before, after = zeros[:j], zeros[j + 1 :]

    def pushed(unit: Tensor) -> tuple[Tensor, ...]:
        dots = push(*before, unit, *after)
        return dots if isinstance(dots, tuple) else (dots,)

    count = units._spec.shape[0]
    if not tape.notes and count:
        try:
            with Level(count) as level:
                return [level.lowered(dot).movedim(0, -1) for dot in pushed(level.batch(units))]
        except BatchedAccess:
            pass  # a user's Function that looks at values
    rows = [pushed(unit) for unit in units] or [pushed(zeros[j])]
    return [stack(list(column), -1)[..., :count] for column in zip(*rows, strict=True)]


# -- Hessians --------------------------------------------------------------------------------------


def hessian(
    func: Function,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of ``func``, which returns a single element: the Jacobian of its gradient.

    For inputs ``x`` and ``y`` of shape ``x.shape + y.shape``; of several inputs a tuple of tuples.
    ``outer_jacobian_strategy`` is the ``strategy`` of the outer `jacobian`.

    >>> import tapegrad
    >>> tapegrad.autograd.functional.hessian(lambda x: (x ** 3).sum(), tapegrad.tensor([1., 2.]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')
    given, several = as_tuple(inputs, "inputs", "hessian")

    def checked(*args: Tensor) -> Any:
        outputs, several_out = evaluated(func, args, "hessian", strict)
        check_scalar(outputs, several_out, "hessian")
        return outputs[0].squeeze()

    def gradient(*args: Tensor) -> Any:
        found = jacobian(checked, args, create_graph=True)
        if strict:
            for i, part in enumerate(found):
                if place_of(part) is None:
                    raise RuntimeError(_LINEAR.format(i))
        return found

    blocks = jacobian(
        gradient,
        given,
        create_graph=create_graph,
        strict=strict,
        vectorize=vectorize,
        strategy=outer_jacobian_strategy,
    )
    return blocks if several else blocks[0][0]


def _first_derivative(
    func: Function, inputs: Tensors, v: Any, create_graph: bool, strict: bool, where: str
) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor | None, ...], tuple[Tensor, ...], bool]:
    """The output, the inputs to differentiate for, the gradient, and the vector, checked."""
    given, several = as_tuple(inputs, "inputs", where)
    vectors = direction(v, given, several, where)
    leaves = leaves_of(given, create_graph)
    outputs, several_out = evaluated(func, leaves, where, strict)
    check_scalar(outputs, several_out, where)
    one = wrap(np.ones(outputs[0]._spec.shape, outputs[0]._spec.dtype))
    gradients = gradients_of(outputs, leaves, (one,), True)
    if strict:
        filled(gradients, leaves, strict, _UNUSED)
        for i, gradient in enumerate(gradients):
            if gradient is not None and place_of(gradient) is None:
                raise RuntimeError(_LINEAR.format(i))
    return outputs[0], leaves, gradients, vectors, several


_CONSTANT_GRADIENT = (
    "The jacobian of the user-provided function is independent of input {}. This is not allowed in "
    "strict mode."
)


def vhp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """``func(*inputs)``, a single element, and the product of ``v`` with its Hessian.

    ``v`` has the inputs' shapes. As the Hessian is symmetric this is `hvp` too, and quicker.
    """
    with enable_grad():
        output, leaves, gradients, vectors, several = _first_derivative(
            func, inputs, v, create_graph, strict, "vhp"
        )
        second = gradients_of(gradients, leaves, vectors, create_graph)
        constant = _CONSTANT.format("hessian") if create_graph else ""
        product = filled(second, leaves, strict, _CONSTANT_GRADIENT, constant)
    return (
        detached((output,), create_graph)[0],
        nested(detached(product, create_graph), several),
    )


def hvp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """``func(*inputs)``, a single element, and the product of its Hessian with ``v``.

    ``v`` has the inputs' shapes.

    >>> import tapegrad
    >>> x, v = tapegrad.tensor([1., 2.]), tapegrad.tensor([1., 0.])
    >>> tapegrad.autograd.functional.hvp(lambda x: (x ** 3).sum(), x, v)
    (tensor(9.), tensor([6., 0.]))
    """
    with enable_grad():
        push = Pushforward(False)
        output, leaves, gradients, vectors, several = _first_derivative(
            func, inputs, v, create_graph, strict, "hvp"
        )
        whole = filled(gradients, leaves, False)
        product = None if create_graph or strict else _pushed(push, whole, leaves, vectors)
        if product is None:
            product = _transposed(
                whole, leaves, vectors, create_graph, strict, _CONSTANT_GRADIENT, "hessian"
            )
    return (
        detached((output,), create_graph)[0],
        nested(detached(product, create_graph), several),
    )
