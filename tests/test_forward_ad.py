"""Dual Tensors, on tapegrad and on torch."""

import numpy as np
import pytest

import tapegrad

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture
def fw(lib):
    return pytest.importorskip(f"{lib.__name__}.autograd.forward_ad")


def check(tensor, values):
    np.testing.assert_allclose(tensor.detach().numpy(), values, rtol=1e-6)


def test_make_and_unpack(lib, fw):
    x, v = lib.tensor([1.0, 2.0]), lib.tensor([3.0, 4.0])
    with fw.dual_level():
        dual = fw.make_dual(x, v)
        assert dual.data_ptr() == x.data_ptr() if hasattr(dual, "data_ptr") else True
        primal, tangent = fw.unpack_dual(dual)
        check(primal, [1, 2])
        check(tangent, [3, 4])
        y = dual * dual + x
        result = fw.unpack_dual(y)
        assert not result.primal.requires_grad
        assert not result.tangent.requires_grad
        check(result.primal, [2, 6])
        check(result.tangent, [6, 16])
        check(fw.unpack_dual(y.exp().sum()).tangent, 6 * np.exp(2) + 16 * np.exp(6))
        assert fw.unpack_dual(x * 2).tangent is None
        assert fw.unpack_dual(result.primal).tangent is None


def test_tangents_end_with_the_level(lib, fw):
    with fw.dual_level():
        dual = fw.make_dual(lib.ones(2), lib.ones(2))
    assert fw.unpack_dual(dual).tangent is None
    with fw.dual_level():
        assert fw.unpack_dual(dual * 2).tangent is None


def test_enter_and_exit(lib, fw):
    assert fw.enter_dual_level() == 0
    assert fw.unpack_dual(fw.make_dual(lib.ones(2), lib.ones(2))).tangent is not None
    with pytest.raises(RuntimeError, match=r"Nested forward mode AD is not supported"):
        fw.enter_dual_level()
    fw.exit_dual_level()
    with pytest.raises(RuntimeError, match=r"no level exists, make sure to enter_dual_level"):
        fw.make_dual(lib.ones(2), lib.ones(2))
    with pytest.raises(RuntimeError, match=r"Dual level must be a positive number"):
        fw.exit_dual_level()


def test_what_is_no_dual(lib, fw):
    one, three = lib.ones(2), lib.ones(3)
    with fw.dual_level():
        with pytest.raises(RuntimeError, match=r"of size \[2\] while .* is of size \[3\]"):
            fw.make_dual(one, three)
        with pytest.raises(ValueError, match=r"Expected primal to be floating point or complex"):
            fw.make_dual(one.long(), one)
        with pytest.raises(ValueError, match=r"Expected tangent to be floating point or complex"):
            fw.make_dual(one, one.long())
        with pytest.raises(RuntimeError, match=r"already has a forward gradient at the same lev"):
            fw.make_dual(fw.make_dual(one, one), one)


def test_through_views_and_in_place(lib, fw):
    with fw.dual_level():
        dual = fw.make_dual(lib.tensor([1.0, 2.0]), lib.tensor([3.0, 4.0]))
        y = dual * 1
        y[0].mul_(dual[1])
        check(fw.unpack_dual(y).tangent, [10, 4])
        variance, mean = lib.var_mean(dual)
        check(fw.unpack_dual(mean).tangent, 3.5)
        check(fw.unpack_dual(variance).tangent, 1)


def test_with_reverse_mode(lib, fw):
    x = lib.tensor([1.0, 2.0], requires_grad=True)
    v = lib.tensor([1.0, -1.0])
    with fw.dual_level():
        result = fw.unpack_dual((fw.make_dual(x, v) ** 3).sum())
        assert result.primal.requires_grad
        assert result.tangent.requires_grad
        check(lib.autograd.grad(result.tangent, x, retain_graph=True)[0], [6, -12])
        check(lib.autograd.grad(result.primal, x)[0], [3, 12])


def test_forward_over_reverse(lib, fw):
    x = lib.tensor([1.0, 2.0], requires_grad=True)
    with fw.dual_level():
        dual = fw.make_dual(x, lib.tensor([1.0, -1.0]))
        (gradient,) = lib.autograd.grad((dual**3).sum(), dual, create_graph=True)
        check(fw.unpack_dual(gradient).tangent, [6, -12])


def test_the_tangent_is_differentiable(lib, fw):
    v = lib.tensor([1.0, -1.0], requires_grad=True)
    with fw.dual_level():
        dual = fw.make_dual(lib.tensor([1.0, 2.0]), v)
        tangent = fw.unpack_dual((dual**2).sum()).tangent
        check(lib.autograd.grad(tangent, v)[0], [2, 4])


def test_functions_without_jvp(lib, fw):
    class Double(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    with (
        fw.dual_level(),
        pytest.raises(NotImplementedError, match=r"must implement the jvp function"),
    ):
        fw.unpack_dual(Double.apply(fw.make_dual(lib.ones(2), lib.ones(2))))


def test_a_loop_does_not_push_the_same_records_again():
    fw = tapegrad.autograd.forward_ad
    with fw.dual_level():
        x = fw.make_dual(tapegrad.ones(2), tapegrad.ones(2))
        for _ in range(50):
            x = x * x.cos()
            tangent = fw.unpack_dual(x).tangent
    assert tangent.isfinite().all()
