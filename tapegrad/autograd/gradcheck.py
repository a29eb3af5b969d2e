"""`gradcheck` and `gradgradcheck`: gradients held against differences of the function's values.

>>> import tapegrad
>>> x = tapegrad.tensor([0.5, 1., 2.], dtype=tapegrad.float64, requires_grad=True)
>>> tapegrad.autograd.gradcheck(lambda x: x.log() * x, x)
True

What does the work is in `tapegrad.autograd.checking`, which is loaded by the first call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapegrad.tensor import Tensor

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A gradient that differs from the function's differences, or a backward pass that is amiss."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
    complex_step: bool = False,
) -> bool:
    """Hold the gradients of ``func`` at ``inputs`` against differences of its values.

    The difference is the central one, ``(f(x + eps) - f(x - eps)) / (2 eps)``, an entry at a time.
    For a complex input it is ``df/dx + i df/dy`` (Kreutz-Delgado, "The complex gradient operator
    and the CR-calculus", 2009); the real and the imaginary part of a complex output are checked as
    two outputs. The inputs' memory is perturbed in place and restored, so that a function which
    reads an input other than through its argument (a parameter of a module) is checked too.

    Args:
        func: takes the inputs, returns a Tensor or a tuple of Tensors.
        inputs: a Tensor or a tuple; those that require grad are differentiated. float64 or
            complex128: the default tolerances are too narrow for less.
        eps: the step of the difference.
        atol, rtol: what is allowed, ``atol + rtol * |difference|`` in each entry.
        raise_exception: False returns False instead of raising GradcheckError.
        nondet_tol: by how much two runs of the same backward pass may differ.
        check_undefined_grad: also leave out each output of several in turn.
        check_grad_dtypes: require that a gradient has its input's dtype.
        check_batched_grad: also hold ``grad(is_grads_batched=True)`` against a loop.
        check_batched_forward_grad: not supported.
        check_forward_ad: check forward mode as well.
        check_backward_ad: False leaves the backward pass out.
        fast_mode: compare ``v J u`` for one random ``u`` and ``v`` instead of every entry of the
            Jacobian J. Two calls of ``func`` an input; one wrong entry is still seen, unless it
            falls below the tolerance.
        masked: for sparse inputs, of which there are none; True is not supported.
        complex_step: differentiate by ``imag(f(x + ih)) / h`` with h = 1e-20, exact to the last
            digits, so that tolerances can be narrow (Squire and Trapp, SIAM Review 40, 1998). For
            real inputs and outputs, and a ``func`` that takes complex inputs and is analytic: no
            ``abs``, ``real`` or comparison. What it captures otherwise is not differentiated.

    Returns:
        True. False if the gradients are wrong and ``raise_exception`` is False.

    Raises:
        GradcheckError: what is wrong: where, by how much, the worst entry.
        ValueError: no input requires grad; ``complex_step`` where it can't be used.
        RuntimeError: elements of an input that share memory.
        NotImplementedError: what is said above not to be supported.
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError(
            "Expected at least one of check_forward_ad or check_backward_ad to be True"
        )
    if check_batched_grad and not check_backward_ad:
        raise AssertionError(
            "Setting check_batched_grad=True requires check_backward_ad to be True"
        )
    if masked:
        raise NotImplementedError(
            "gradcheck(masked=True) is not supported: there are no sparse Tensors; leave it out"
        )
    if check_batched_forward_grad:
        raise NotImplementedError(
            "gradcheck(check_batched_forward_grad=True) is not supported: check each direction by "
            "check_forward_ad=True"
        )
    from tapegrad.autograd.checking import Check

    try:
        check = Check(func, inputs, eps, atol, rtol, fast_mode, complex_step)
        if check_backward_ad:
            check.backward_mode(nondet_tol, check_grad_dtypes)
        if check_forward_ad:
            check.forward_mode()
        if check_backward_ad:
            if check_batched_grad:
                check.batched()
            check.zero_adjoints()
            if check_undefined_grad:
                check.undefined_adjoints()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Hold the gradients of the gradients of ``func`` against differences of its gradients.

    `gradcheck` of ``(inputs, grad_outputs) -> grad(func(inputs), inputs, grad_outputs)``.

    Args:
        func, inputs: as for `gradcheck`.
        grad_outputs: the adjoints of the outputs. None: random ones in [-1, 1).
        gen_non_contig_grad_outputs: make those random ones strided.
        check_fwd_over_rev: also push tangents through the backward pass.
        check_rev_over_rev: False leaves the backward pass through the backward pass out.

    The other arguments, what is returned and raised are those of `gradcheck`.
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError(
            "Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True"
        )
    for name, value in [
        ("check_undefined_grad", check_undefined_grad),
        ("check_batched_grad", check_batched_grad),
    ]:
        if value and not check_rev_over_rev:
            raise AssertionError(f"Setting {name}=True requires check_rev_over_rev to be True")
    from tapegrad.autograd.checking import gradient_function

    gradient, arguments = gradient_function(func, inputs, grad_outputs, gen_non_contig_grad_outputs)
    return gradcheck(
        gradient,
        arguments,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


# `tapegrad.autograd.gradcheck` is this function, which in `import` statements names this module.
gradcheck.GradcheckError = GradcheckError  # type: ignore[attr-defined]
