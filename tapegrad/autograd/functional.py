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
from tapegrad.autograd.engine import grad
from tapegrad.autograd.forward import Pushforward, linearized
from tapegrad.batched import Level, levels
from tapegrad.modes import enable_grad
from tapegrad.primitive import BatchedAccess, primitives
from tapegrad.recording import wrap
from tapegrad.rules.conversion import clone_
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


# -- inputs and outputs ----------------------------------------------------------------------------


def _tuple(values: Any, what: str, where: str) -> tuple[tuple[Tensor, ...], bool]:
    """A Tensor or a tuple of them as a tuple, and whether it was one."""
    several = isinstance(values, tuple)
    if what == "outputs":
        subject = f"outputs of the user-provided function given to {where}"
        detail = "given outputs of the user-provided function"
    else:
        subject, detail = f"{what} given to {where}", f"given {what}"
    for i, value in enumerate(values if several else (values,)):
        if not isinstance(value, Tensor):
            found = f"value at index {i}" if several else detail
            raise TypeError(
                f"The {subject} must be either a Tensor or a tuple of Tensors but the {found} has "
                f"type {type(value)}."
            )
    return (values if several else (values,)), several


def _nested(values: tuple[Any, ...], several: bool) -> Any:
    return values if several else values[0]


def _leaves(inputs: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    """Tensors of the same values to differentiate for, attached to the inputs if asked."""
    return tuple(
        clone_(x) if create_graph and place_of(x) is not None else from_array(x._array, True)
        for x in inputs
    )


def _detached(values: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    return values if create_graph else tuple(wrap(value._array) for value in values)


def _evaluated(
    func: Function, inputs: tuple[Tensor, ...], where: str, strict: bool
) -> tuple[tuple[Tensor, ...], bool]:
    """The outputs of a function, checked."""
    outputs, several = _tuple(func(*inputs), "outputs", where)
    if strict:
        for i, output in enumerate(outputs):
            if place_of(output) is None:
                raise RuntimeError(
                    f"Output {i} of the user-provided function does not require gradients. The "
                    "outputs must be computed in a differentiable manner from the input when "
                    "running in strict mode."
                )
    return outputs, several


def _scalar(outputs: tuple[Tensor, ...], several: bool, where: str) -> None:
    if several:
        raise RuntimeError(f"The function given to {where} should return a single Tensor")
    if outputs[0]._spec.size != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {where} should contain a single element"
        )


def _direction(v: Any, like: tuple[Tensor, ...], several: bool, where: str) -> tuple[Tensor, ...]:
    """The vector ``v``, checked against what it is multiplied with."""
    if v is None:
        if len(like) != 1 or like[0]._spec.size != 1:
            what = (
                "the user-provided function returns"
                if where == "vjp"
                else "the input to the user-provided function is"
            )
            raise RuntimeError(
                f"The vector v can only be None if {what} a single Tensor with a single element."
            )
        return (wrap(np.ones(like[0]._spec.shape, like[0]._spec.dtype)),)
    vectors, _ = _tuple(v, "v", where)
    if len(vectors) != len(like):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}."
        )
    for i, (vector, value) in enumerate(zip(vectors, like, strict=True)):
        if vector._spec.shape != value._spec.shape:
            entry = f"Entry {i} in v" if several else "v"
            raise RuntimeError(
                f"{entry} has invalid size: should be {value.shape} but got {vector.shape}."
            )
    return vectors


def _gradient(
    outputs: tuple[Tensor | None, ...],
    inputs: tuple[Tensor, ...],
    vectors: tuple[Tensor | None, ...],
    create_graph: bool,
    retain: bool = True,
) -> tuple[Tensor | None, ...]:
    """`grad` that skips outputs without a place; None for an input that none depends on."""
    pairs = [
        (out, v)
        for out, v in zip(outputs, vectors, strict=True)
        if out is not None and place_of(out) is not None
    ]
    if not pairs:
        return (None,) * len(inputs)
    used, adjoints = zip(*pairs, strict=True)
    return grad(used, inputs, adjoints, retain, create_graph, allow_unused=True)


def _filled(
    gradients: tuple[Tensor | None, ...],
    inputs: tuple[Tensor, ...],
    strict: bool,
    missing: str = "",
    constant: str = "",
) -> tuple[Tensor, ...]:
    """Zeros for None; ``missing`` and ``constant`` are what strict mode raises otherwise."""
    filled = []
    for i, (gradient, x) in enumerate(zip(gradients, inputs, strict=True)):
        if gradient is None:
            if strict:
                raise RuntimeError(missing.format(i))
            gradient = wrap(np.zeros(x._spec.shape, x._spec.dtype))
        elif strict and constant and place_of(gradient) is None:
            raise RuntimeError(constant.format(i))
        filled.append(gradient)
    return tuple(filled)


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
        given, several = _tuple(inputs, "inputs", "vjp")
        leaves = _leaves(given, create_graph)
        outputs, several_out = _evaluated(func, leaves, "vjp", strict)
        vectors = _direction(v, outputs, several_out, "vjp")
        gradients = _gradient(outputs, leaves, vectors, create_graph)
        constant = _CONSTANT.format("jacobian") if create_graph else ""
        product = _filled(gradients, leaves, strict, _UNUSED, constant)
    return (
        _nested(_detached(outputs, create_graph), several_out),
        _nested(_detached(product, create_graph), several),
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
        given, several = _tuple(inputs, "inputs", "jvp")
        vectors = _direction(v, given, several, "jvp")
        leaves = _leaves(given, create_graph)
        outputs, several_out = _evaluated(func, leaves, "jvp", strict)
        product = None if create_graph or strict else _pushed(push, outputs, leaves, vectors)
        if product is None:
            product = _transposed(
                outputs, leaves, vectors, create_graph, strict, _UNUSED, "jacobian"
            )
    return (
        _nested(_detached(outputs, create_graph), several_out),
        _nested(_detached(product, create_graph), several_out),
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
    rows = _gradient(outputs, leaves, dummies, True)
    rows = _filled(rows, leaves, strict, missing)
    product = _gradient(rows, dummies, vectors, create_graph)
    constant = _CONSTANT.format(what) if create_graph else ""
    independent = (
        "The gradient with respect to the input is independent of entry {} in the grad_outputs "
        "when using the double backward trick to compute forward mode gradients. This is not "
        "allowed in strict mode."
    )
    return _filled(product, outputs, strict, independent, constant)


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
        given, several = _tuple(inputs, "inputs", "jacobian")
        leaves = _leaves(given, create_graph)
        outputs, several_out = _evaluated(func, leaves, "jacobian", strict)
        blocks = tuple(
            _nested(_rows(i, output, leaves, create_graph, strict), several)
            for i, output in enumerate(outputs)
        )
    return _nested(blocks, several_out)


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
        gradients = _gradient((output,), leaves, (wrap(np.asarray(unit)),), create_graph)
        rows.append(_filled(gradients, leaves, strict, missing, constant))
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
    given, several = _tuple(inputs, "inputs", "jacobian")
    result, push = linearized(func, given)
    outputs, several_out = _tuple(result, "outputs", "jacobian")
    zeros = [wrap(np.zeros(x._spec.shape, x._spec.dtype)) for x in given]
    blocks: list[list[Tensor]] = [[] for _ in outputs]
    for j, x in enumerate(given):
        units = np.eye(x._spec.size, dtype=x._spec.dtype).reshape(x._spec.size, *x._spec.shape)
        for block, dots, output in zip(
            blocks, _columns(push, zeros, j, wrap(units)), outputs, strict=True
        ):
            block.append(dots.reshape(output._spec.shape + x._spec.shape))
    return _nested(tuple(_nested(tuple(row), several) for row in blocks), several_out)


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
    given, several = _tuple(inputs, "inputs", "hessian")

    def checked(*args: Tensor) -> Any:
        outputs, several_out = _evaluated(func, args, "hessian", strict)
        _scalar(outputs, several_out, "hessian")
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
    given, several = _tuple(inputs, "inputs", where)
    vectors = _direction(v, given, several, where)
    leaves = _leaves(given, create_graph)
    outputs, several_out = _evaluated(func, leaves, where, strict)
    _scalar(outputs, several_out, where)
    one = wrap(np.ones(outputs[0]._spec.shape, outputs[0]._spec.dtype))
    gradients = _gradient(outputs, leaves, (one,), True)
    if strict:
        _filled(gradients, leaves, strict, _UNUSED)
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
        second = _gradient(gradients, leaves, vectors, create_graph)
        constant = _CONSTANT.format("hessian") if create_graph else ""
        product = _filled(second, leaves, strict, _CONSTANT_GRADIENT, constant)
    return (
        _detached((output,), create_graph)[0],
        _nested(_detached(product, create_graph), several),
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
        filled = _filled(gradients, leaves, False)
        product = None if create_graph or strict else _pushed(push, filled, leaves, vectors)
        if product is None:
            product = _transposed(
                filled, leaves, vectors, create_graph, strict, _CONSTANT_GRADIENT, "hessian"
            )
    return (
        _detached((output,), create_graph)[0],
        _nested(_detached(product, create_graph), several),
    )
