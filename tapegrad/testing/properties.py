"""`given_gradient`: property tests of gradients, in a line each."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from typing import Any

import hypothesis as hyp
import hypothesis.strategies as st
import numpy as np

from tapegrad import random
from tapegrad.autograd.differences import as_tuple
from tapegrad.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from tapegrad.tensor import Tensor, from_array
from tapegrad.testing.strategies import broadcastable_shapes, broadcastable_tensors, tensors

__all__ = ["given_gradient"]

Test = Callable[[], None]


def given_gradient(
    *domains: Any,
    order: int = 1,
    forward: bool = False,
    fast_mode: bool = False,
    complex_step: bool = False,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    settings: hyp.settings | None = None,
    **named_domains: Any,
) -> Any:
    """A test that a function's gradients are right, at inputs that Hypothesis draws.

        test_softplus = given_gradient()(softplus)

        @given_gradient(tgst.matrices(), b=tgst.tensors(shape=(3,)), order=2)
        def test_solve(A, b):
            return solve(A, b)

    pytest collects the test as any other, and it can be called. Where a derivative is wrong it
    raises GradcheckError, whose message shows a small input, which one it is, and by how much.

    Args:
        domains: a strategy for each argument, in order, or a shape, or a value to hold it at. By
            default the arguments that have no default value are float64 Tensors of up to two
            dimensions, whose shapes broadcast, with values that differ, away from usual kinks.
        named_domains: the same, by the argument's name.
        order: 2 checks second derivatives too.
        forward: whether to check forward mode too.
        fast_mode, complex_step, eps, atol, rtol: as for `gradcheck`.
        settings: Hypothesis's; by default without a deadline, since a first example may compile.

    All floating and complex Tensors that are drawn are differentiated. An input at which a result
    is not finite is outside the function's domain, and another is drawn.

    >>> given_gradient((2, 2))(lambda x: x.sin() * x)()
    """
    if order not in (1, 2):
        raise ValueError(f"given_gradient(order={order}): the order is 1 or 2")
    tolerances: dict[str, Any] = {"eps": eps, "atol": atol, "rtol": rtol, "fast_mode": fast_mode}

    def decorate(function: Callable[..., Any]) -> Test:
        title = getattr(function, "__name__", type(function).__name__)
        title = "function" if title == "<lambda>" else title
        drawn, positional = _domains(function, domains, named_domains)
        names = list(drawn)  # those passed by position first

        def check(**values: Any) -> None:
            inputs = tuple(_leaf(values[name]) for name in names)

            def call(*arguments: Any) -> Any:
                rest = zip(names[positional:], arguments[positional:], strict=True)
                return function(*arguments[:positional], **dict(rest))

            results = as_tuple(call(*inputs))
            if not all(map(_finite, results)):
                hyp.reject()
            try:
                gradcheck(
                    call, inputs, check_forward_ad=forward, complex_step=complex_step, **tolerances
                )
                if order == 2:
                    with random.fork_rng():  # the same adjoints for the same example
                        random.manual_seed(0)
                        gradgradcheck(call, inputs, check_fwd_over_rev=forward, **tolerances)
            except GradcheckError as error:
                where = "\n".join(f"    {name} = {values[name]!r}" for name in names)
                raise GradcheckError(
                    f"a derivative of {title} is wrong at\n{where}\n\n{error}"
                ) from None
            if not any(isinstance(r, Tensor) and r.requires_grad for r in results):
                raise GradcheckError(
                    f"nothing was checked: no result of {title} depends on its arguments by "
                    "operations that can be differentiated"
                )

        check.__name__ = check.__qualname__ = title
        test: Test = (settings or _settings())(hyp.given(**drawn)(check))
        return test

    if len(domains) == 1 and inspect.isroutine(domains[0]):  # as in @given_gradient, bare
        function, domains = domains[0], ()
        return decorate(function)
    return decorate


def _settings() -> hyp.settings:
    """No deadline, since a first example may compile; and one failure, told by our message."""
    phases = [phase for phase in hyp.Phase if phase is not hyp.Phase.explain]
    return hyp.settings(deadline=None, report_multiple_bugs=False, phases=phases)


def _domains(
    function: Callable[..., Any], domains: tuple[Any, ...], named: dict[str, Any]
) -> tuple[dict[str, st.SearchStrategy[Any]], int]:
    """A strategy for each argument by its name, and how many are passed by position."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # a function in C
        parameters = []
    ordered = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in ordered[: len(domains)]]
    names += [f"argument_{i}" for i in range(len(names), len(domains))]
    given = dict(zip(names, domains, strict=True)) | named
    free = [p for p in parameters if p.default is p.empty and p.name not in given]
    free = [p for p in free if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    shapes = broadcastable_shapes(len(free) or 1, max_dims=2)
    group = st.shared(broadcastable_tensors(len(free), shapes=shapes, unique=True), key=object())
    drawn = {name: _strategy(domain) for name, domain in given.items()}
    for i, p in enumerate(free):
        drawn[p.name] = group.map(operator.itemgetter(i))
    for p in reversed(parameters):
        if p.kind is p.POSITIONAL_ONLY and p.name in drawn:
            drawn = {p.name: drawn.pop(p.name)} | drawn
    position_only = sum(p.kind is p.POSITIONAL_ONLY and p.name in drawn for p in parameters)
    return drawn, max(len(domains), position_only)


def _strategy(domain: Any) -> st.SearchStrategy[Any]:
    """A strategy itself; Tensors of a shape; or any other value alone."""
    if isinstance(domain, st.SearchStrategy):
        return domain
    if isinstance(domain, tuple):
        return tensors(shape=domain, unique=math.prod(domain) <= 60)
    return st.just(domain)


def _leaf(value: Any) -> Any:
    if isinstance(value, Tensor) and value._spec.dtype.kind in "fc":
        return from_array(value._array, requires_grad=True)
    return value


def _finite(value: Any) -> bool:
    return not isinstance(value, Tensor) or bool(np.isfinite(value._array).all())
