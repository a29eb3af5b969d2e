"""gradcheck and gradgradcheck: what they find, what they say, against torch's."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.autograd.differences import central_difference, complex_step
from tapegrad.autograd.gradcheck import GradcheckError
from tapegrad.testing import gradcheck, gradgradcheck


def leaf(data, dtype=tg.float64):
    return tg.tensor(data, dtype=dtype, requires_grad=True)


def half(x):
    """A planted bug: x * x whose gradient is half of what it should be."""
    return x * x.detach()


# -- what is right ---------------------------------------------------------------------------------

RIGHT = {
    "product": (lambda x, y: x * y, ([[0.5, 1.0], [2.0, 3.0]], [1.0, 2.0])),
    "0-d": (lambda x: x.exp(), (0.5,)),
    "empty": (lambda x: x * 2, ([],)),
    "several outputs": (lambda x, y: (x.sum(), y * 2, (x * y).sum()), ([1.0, 2.0], [3.0, 4.0])),
    "an unused input": (lambda x, y: x.sin(), ([1.0, 2.0], [3.0, 4.0])),
    "an output without gradient": (lambda x: (x * x, x.argmax()), ([1.0, 2.0],)),
    "matrices": (lambda x, y: x @ y, ([[1.0, 2.0], [3.0, 4.0]], [[0.5], [1.5]])),
}
COMPLEX = {
    "holomorphic": (lambda z: (z * z * (1 + 2j)).exp(), ([0.1 + 0.2j, -0.3 + 0.1j],)),
    "conjugate": (lambda z: z.conj() * z, ([1 + 2j, 0.5 - 1j],)),
    "to real": (lambda z: z.abs() + z.real, ([1 + 2j, 0.5 - 1j],)),
    "several": (lambda z, w: (z * w, (z + w).imag), ([1 + 2j], [0.5 - 1j])),
    "0-d": (lambda z: z * z, (1 + 2j,)),
    "sign and angle": (lambda z: z.sgn() * z.angle(), ([1 + 2j, 0.5 - 1j],)),
    "matrices": (lambda z, w: z @ w.conj(), ([[1 + 2j, 1j]], [[0.5 - 1j], [2 + 0j]])),
}


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize("name", RIGHT)
def test_right(name, fast_mode) -> None:
    function, data = RIGHT[name]
    inputs = tuple(leaf(values) for values in data)
    before = [x.detach().clone() for x in inputs]
    assert gradcheck(function, inputs, fast_mode=fast_mode, check_forward_ad=True)
    assert gradgradcheck(function, inputs, fast_mode=fast_mode, check_fwd_over_rev=True)
    assert all((a == b).all() for a, b in zip(inputs, before, strict=True))


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize("name", COMPLEX)
def test_right_complex(name, fast_mode) -> None:
    function, data = COMPLEX[name]
    inputs = tuple(leaf(values, tg.complex128) for values in data)
    assert gradcheck(function, inputs, fast_mode=fast_mode, check_forward_ad=True)
    assert gradgradcheck(function, inputs, fast_mode=fast_mode, check_fwd_over_rev=True)


def test_complex_from_real() -> None:
    assert gradcheck(lambda x: x * (1 + 2j), leaf([1.0, 2.0]), check_forward_ad=True)


def test_strides_and_what_else_is_passed() -> None:
    x = tg.from_numpy(np.arange(12.0).reshape(3, 4)[:, ::2].T).requires_grad_()
    assert gradcheck(lambda x, n, k: (x + k) ** n, (x, 3, tg.tensor(2)))
    assert gradcheck(lambda x: x[0] * 2, [x])


def test_what_a_function_captures_is_checked() -> None:
    weight = leaf([1.0, 2.0])
    assert gradcheck(lambda w: (weight * weight).sum(), weight)
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradcheck(lambda w: half(weight).sum(), weight)


def test_grad_outputs() -> None:
    x = leaf([1.0, 2.0])
    assert gradgradcheck(lambda x: x**3, x, leaf([0.5, -1.0]))
    assert gradgradcheck(lambda x: x**3, x, tg.tensor([0.5, -1.0], dtype=tg.float64))
    assert gradgradcheck(lambda x: x**3, x, gen_non_contig_grad_outputs=True)


def test_batched_gradients() -> None:
    with contextlib.suppress(NotImplementedError):  # as long as grad(is_grads_batched=True) is
        assert gradcheck(lambda x: x * x, leaf([1.0, 2.0]), check_batched_grad=True)


# -- what is wrong ---------------------------------------------------------------------------------


def message(check, *args, **options) -> str:
    with pytest.raises(GradcheckError) as caught:
        check(*args, **options)
    return str(caught.value)


def test_message() -> None:
    x = leaf([[0.5, 1.0], [2.0, 3.0]])
    text = message(gradcheck, lambda x, k: (k, half(x).sum(0)), (x, tg.tensor(1.0)))
    assert text == (
        "Jacobian mismatch for output 0 with respect to input 0,\n"
        "numerical:tensor([[1.0000, 0.0000],\n"
        "        [0.0000, 2.0000],\n"
        "        [4.0000, 0.0000],\n"
        "        [0.0000, 6.0000]], dtype=tapegrad.float64)\n"
        "analytical:tensor([[0.5000, 0.0000],\n"
        "        [0.0000, 1.0000],\n"
        "        [2.0000, 0.0000],\n"
        "        [0.0000, 3.0000]], dtype=tapegrad.float64)\n"
        "4 of 8 entries differ. The worst is the derivative of result 1[1] for argument 0[1, 1]: "
        "6 by differences, but 3 by tapegrad. That is 3 off; 0.00601 is allowed (atol=1e-05, "
        "rtol=0.001).\n"
        "All that differ are 0.5 times what they should be.\n"
    )


def test_message_of_fast_mode_shows_the_entries() -> None:
    text = message(gradcheck, half, leaf([0.5, 2.0]), fast_mode=True)
    assert "result 0[1] for argument 0[1]: 4 by differences, but 2 by tapegrad" in text
    assert text.endswith("Fast mode had found it.\n")


def test_message_of_a_missing_path() -> None:
    text = message(gradcheck, lambda x: x.detach() * 2 + x * 0, leaf([1.0, 2.0]))
    assert "All that differ are 0 by tapegrad: something was not recorded." in text


def test_nan_is_the_worst() -> None:
    text = message(gradcheck, lambda x: x + x.detach().sqrt(), leaf(-1.0))
    assert "result 0 for argument 0: nan by differences, but 1 by tapegrad" in text


def test_one_wrong_entry_is_found_in_fast_mode() -> None:
    mask = np.zeros(100)
    mask[57] = 1
    x = leaf(np.linspace(1, 2, 100))
    text = message(gradcheck, lambda x: x + x.detach() * tg.from_numpy(mask), x, fast_mode=True)
    assert "1 of 10000 entries differ" in text
    assert "argument 0[57]" in text


def test_modes_are_named() -> None:
    z = leaf([1 + 2j], tg.complex128)
    assert message(gradcheck, half, z).startswith(
        "While considering the imaginary part of complex outputs only, Jacobian mismatch"
    )
    text = message(gradcheck, half, leaf([1.0]), check_forward_ad=True, check_backward_ad=False)
    assert text.startswith("Jacobian computed with forward mode mismatch for output 0")


def test_second_order_bug() -> None:
    class Once:
        """The gradient is right, and not recorded."""

        def __call__(self, x):
            return x * (2 * x.detach()) - (x.detach() * x.detach())

    assert gradcheck(Once(), leaf([1.0, 2.0])) is True
    assert gradgradcheck(Once(), leaf([1.0, 2.0]), raise_exception=False) is False


def test_raise_exception() -> None:
    assert gradcheck(half, leaf([1.0]), raise_exception=False) is False
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(half, tg.tensor([1.0]), raise_exception=False)


def test_result_that_needs_a_gradient() -> None:
    x = leaf([1.0, 2.0])
    for mode in ({}, {"fast_mode": True}, {"check_forward_ad": True, "check_backward_ad": False}):
        text = message(gradcheck, lambda x: x.detach() * 2, x, **mode)
        assert text == "Numerical gradient for function expected to be zero"
    assert gradcheck(lambda x: (x > 0).long(), x)
    with pytest.raises(ValueError, match="gradgradcheck expects func to have an output"):
        gradgradcheck(lambda x: x.detach(), x)


def test_hooks_that_spoil_the_backward_pass() -> None:
    calls = []

    def drifting(g):
        calls.append(g)
        return g * len(calls)

    def with_hook(hook):
        def function(x):
            y = x * 2
            y.register_hook(hook)
            return y

        return function

    # From the same run on, each backward pass gives another gradient.
    x = leaf([1.0])
    assert message(gradcheck, with_hook(drifting), x).startswith("Backward is not reentrant, i.e.")
    assert "tolerance for nondeterminism was 0.0." in message(gradcheck, with_hook(drifting), x)
    # Right for the adjoint 1, but not proportional to it.
    text = message(gradcheck, with_hook(lambda g: g * 0 + 1), x)
    assert text == "backward not multiplied by grad_output"


def test_outputs_whose_shape_depends_on_values() -> None:
    x = leaf([1.0, 1.0 + 1e-7])
    with pytest.raises(AssertionError, match="outputs with the same shape when inputs are pert"):
        gradcheck(lambda x: x[tg.tensor(x.detach().numpy() > 1)], x)


def test_misuse() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(AssertionError, match="at least one of check_forward_ad or check_backward"):
        gradcheck(half, x, check_backward_ad=False)
    with pytest.raises(AssertionError, match="requires check_backward_ad to be True"):
        gradcheck(half, x, check_batched_grad=True, check_backward_ad=False, check_forward_ad=True)
    with pytest.raises(AssertionError, match="at least one of check_fwd_over_rev or check_rev"):
        gradgradcheck(half, x, check_rev_over_rev=False)
    with pytest.raises(AssertionError, match="check_undefined_grad=True requires check_rev"):
        gradgradcheck(half, x, check_rev_over_rev=False, check_fwd_over_rev=True)
    with pytest.raises(NotImplementedError, match="masked=True"):
        gradcheck(half, x, masked=True)
    with pytest.raises(NotImplementedError, match="check_batched_forward_grad=True"):
        gradcheck(half, x, check_batched_forward_grad=True, check_forward_ad=True)
    with pytest.raises(RuntimeError, match="0th input has a dimension with stride 0"):
        gradcheck(lambda x: x * 2, tg.ones(1, dtype=tg.float64).expand(3).requires_grad_())
    with pytest.raises(TypeError, match="output 1 of func is a float, not a Tensor"):
        gradcheck(lambda x: (x * 2, 1.0), x)
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double"):
        gradcheck(lambda x: x * 2, leaf([1.0], tg.float32), eps=1e-2, rtol=1e-2)


def test_names() -> None:
    assert tg.autograd.gradcheck is gradcheck is tg.testing.gradcheck
    assert tg.autograd.gradcheck.GradcheckError is GradcheckError is tg.testing.GradcheckError
    assert issubclass(GradcheckError, RuntimeError)


# -- differences -----------------------------------------------------------------------------------


def test_complex_step_is_exact() -> None:
    x = leaf([0.3, 1.7])
    direction = np.array([1.0, -0.5])
    (found,) = complex_step(lambda x: (x * x).exp(), [x], 0, direction)
    values = x.detach().numpy()
    np.testing.assert_allclose(found, 2 * values * np.exp(values**2) * direction, rtol=4e-16)
    (near,) = central_difference(lambda x: (x * x).exp(), [x], 0, direction, 1e-6)
    np.testing.assert_allclose(near, found, rtol=1e-8)
    exact = {"complex_step": True, "atol": 1e-14, "rtol": 1e-14}
    assert gradcheck(lambda x: x.sin() * x.exp() / (1 + x), x, **exact)
    assert gradcheck(lambda x, y: x @ y, (leaf([[1.0, 2.0]]), leaf([3.0, 4.0])), **exact)
    assert gradcheck(lambda x: x.sin(), x, fast_mode=True, check_forward_ad=True, **exact)


def test_a_complex_step_sees_what_differences_cannot() -> None:
    x = leaf([1.0, 2.0])

    def nearly(x):
        return x * 3 + (x * 1e-9).detach()

    assert gradcheck(nearly, x)
    text = message(gradcheck, nearly, x, complex_step=True, atol=1e-12, rtol=1e-12)
    assert "by a complex step" in text


def test_where_there_is_no_complex_step() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"output 0 of func is .*float64 for complex inputs"):
        gradcheck(lambda x: x.abs(), x, complex_step=True)
    with pytest.raises(ValueError, match=r"func raised .* for complex inputs; leave complex_step"):
        gradcheck(lambda x: x.clamp(0, 1), x, complex_step=True)
    with pytest.raises(ValueError, match="functions of real inputs, but input 0 is"):
        gradcheck(lambda z: z * z, leaf([1j], tg.complex128), complex_step=True)


# -- torch -----------------------------------------------------------------------------------------

FUNCTIONS = {
    "right": lambda x, y: (x * y, x.sum()),
    "wrong": lambda x, y: x * y.detach() * y,
    "wrong in one output": lambda x, y: (x * y, (x * x.detach()).sum()),
    "not recorded": lambda x, y: x.detach() * 2,
    "unused": lambda x, y: x * 2,
    "no gradient": lambda x, y: (y * x, (x > 1).long()),
}
#: Complex numbers have no order.
CASES = [("float64", name) for name in FUNCTIONS]
CASES += [("complex128", name) for name in FUNCTIONS if name != "no gradient"]


def leaves(torch, dtype):
    data = [[0.5, 1.25], [2.0, 3.0]]
    return [torch.tensor(d, dtype=getattr(torch, dtype), requires_grad=True) for d in data]


def verdict(torch, dtype, name, options):
    """Whether it passes, or the part of the message that torch has too."""
    try:
        return torch.autograd.gradcheck(FUNCTIONS[name], leaves(torch, dtype), **options)
    except torch.autograd.gradcheck.__globals__["GradcheckError"] as error:
        text = str(error).replace("tapegrad", "torch")
        return text.partition("\n1 of")[0].partition("\n2 of")[0].partition("\n4 of")[0].strip()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its first forward mode
@pytest.mark.parametrize("options", [{}, {"raise_exception": False}, {"check_forward_ad": True}])
@pytest.mark.parametrize(("dtype", "name"), CASES)
def test_as_torch(dtype, name, options):
    torch = pytest.importorskip("torch")
    assert verdict(tg, dtype, name, options) == verdict(torch, dtype, name, options)


@pytest.mark.torch
@pytest.mark.parametrize(("dtype", "name"), [case for case in CASES if case[1] != "not recorded"])
def test_second_order_as_torch(dtype, name):
    torch = pytest.importorskip("torch")
    ours, theirs = (
        module.autograd.gradgradcheck(FUNCTIONS[name], leaves(module, dtype), raise_exception=False)
        for module in (tg, torch)
    )
    assert ours == theirs


@pytest.mark.torch
def test_arguments_as_torch():
    torch = pytest.importorskip("torch")
    from inspect import signature

    for ours, theirs in [
        (gradcheck, torch.autograd.gradcheck),
        (gradgradcheck, torch.autograd.gradgradcheck),
        (tg.testing.assert_close, torch.testing.assert_close),
        (tg.testing.make_tensor, torch.testing.make_tensor),
    ]:
        mine = {n: (p.kind, p.default) for n, p in signature(ours).parameters.items()}
        for name, parameter in signature(theirs).parameters.items():
            if name != "device":  # which may be left out here
                assert mine[name] == (parameter.kind, parameter.default), name
