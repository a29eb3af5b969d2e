"""Hypothesis strategies for Tensors, and given_gradient."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import find, given, settings

import tapegrad as tg
from tapegrad.testing import GradcheckError, given_gradient, gradcheck
from tapegrad.testing import strategies as tgst

# -- strategies ------------------------------------------------------------------------------------


@given(st.data())
def test_dtypes_and_shapes(data) -> None:
    assert data.draw(tgst.dtypes("floating")).is_floating_point
    assert data.draw(tgst.dtypes("complex", "floating")) in (
        *(tg.float16, tg.float32, tg.float64, tg.complex64, tg.complex128),
    )
    shape = data.draw(tgst.shapes(min_dims=1, max_dims=2, min_side=0, max_side=4))
    assert 1 <= len(shape) <= 2
    assert max(shape) <= 4
    shapes = data.draw(tgst.broadcastable_shapes(3))
    assert len(shapes) == 3
    np.broadcast_shapes(*shapes)


@given(tgst.dtypes().flatmap(lambda d: st.tuples(st.just(d), tgst.tensors(d, requires_grad=True))))
def test_tensors(drawn) -> None:
    dtype, x = drawn
    assert x.dtype is dtype
    assert x.requires_grad == (dtype.is_floating_point or dtype.is_complex)
    assert x.is_leaf


@given(tgst.tensors(tgst.dtypes("floating"), tgst.shapes(max_dims=1)))
def test_values_are_off_kinks(x) -> None:
    values = x.double().numpy()
    assert (np.abs(values - np.round(values * 20) / 20) > 0.018).all()
    assert (np.abs(values) <= 3).all()


@given(tgst.tensors(shape=(3, 4), unique=True), tgst.tensors(tg.int64, (2,), elements=st.just(5)))
def test_unique_and_elements(x, n) -> None:
    values = np.sort(x.numpy().ravel())
    assert (np.diff(values) > 0.09).all()
    assert n.tolist() == [5, 5]


@given(tgst.away_from(0, 1, 1.02, margin=0.25, min_value=-0.5, max_value=2))
def test_away_from(x) -> None:
    assert -0.5 <= x <= -0.25 or 0.25 <= x <= 0.75 or 1.27 <= x <= 2


def test_away_from_everything() -> None:
    with pytest.raises(ValueError, match=r"no number in \[-1, 1\] is 2 away from all of \(0,\)"):
        tgst.away_from(0, margin=2, min_value=-1, max_value=1)


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "sliced", "stepped", "expanded"])
def test_layouts(layout) -> None:
    kinds = set()

    @settings(max_examples=60)
    @given(tgst.strided_tensors(shape=tgst.shapes(max_dims=3), layouts=[layout]))
    def check(x) -> None:
        array = x.numpy()
        assert array.flags.writeable
        assert all(step >= 0 for step in array.strides)
        kinds.add(array.flags.c_contiguous)
        zero = any(step == 0 and size > 1 for step, size in zip(array.strides, array.shape))
        assert not zero or layout == "expanded"
        if layout != "expanded":
            gradcheck(lambda x: x * x, x.requires_grad_())

    check()
    assert (False in kinds) == (layout != "contiguous")


@given(tgst.broadcastable_tensors(2, unique=True))
def test_broadcastable_tensors(tensors) -> None:
    x, y = tensors
    assert (x + y).shape == np.broadcast_shapes(x.shape, y.shape)


@pytest.mark.parametrize("dtype", [tg.float64, tg.complex128])
@pytest.mark.parametrize("distinct", [False, True])
def test_matrices(dtype, distinct) -> None:
    sizes = st.integers(1, 4)
    batches = tgst.shapes(max_dims=1)
    options = {"condition": 20.0, "distinct": distinct, "dtype": dtype, "batch": batches}

    @given(tgst.matrices(sizes, **options), tgst.matrices(3, 4, **options))
    def check_singular(square, wide) -> None:
        for x in (square, wide):
            values = np.linalg.svd(x.numpy(), compute_uv=False)
            assert (values[..., 0] / values[..., -1] <= 20.0001).all()
            if distinct and values.shape[-1] > 1:
                assert np.diff(-values).min() > 0.02

    @given(tgst.positive_definite_matrices(sizes, **options, requires_grad=True))
    def check_eigen(x) -> None:
        assert x.requires_grad
        array = x.detach().numpy()
        np.testing.assert_array_equal(array, array.swapaxes(-1, -2).conj())
        values = np.linalg.eigvalsh(array)
        assert values.min() >= 0.0499
        assert values.max() <= 1.0001
        if distinct and values.shape[-1] > 1:
            assert np.diff(values).min() > 0.02

    check_singular()
    check_eigen()


def test_matrices_refuse_a_condition_number_of_one() -> None:
    with pytest.raises(ValueError, match="condition number must be greater than 1, but got 1"):
        find(tgst.matrices(condition=1), lambda x: True)


@given(st.from_type(tg.Tensor))
def test_tensors_by_type(x) -> None:
    assert isinstance(x, tg.Tensor)
    assert x.dtype is tg.float64


def test_examples_shrink() -> None:
    assert find(tgst.tensors(), lambda x: True).tolist() == 0.03
    assert find(tgst.matrices(), lambda x: True).shape == (1, 1)
    # (From a fixed seed: a search may end in a minimum that is only local.)
    strided, fixed = tgst.strided_tensors(), settings(database=None)
    least = find(strided, lambda x: not x.is_contiguous(), settings=fixed, random=Random(0))
    assert least.numel() <= 4  # two rows of one column, or a transposed 2 by 2


# -- given_gradient --------------------------------------------------------------------------------


def softplus(x):
    return (1 + x.exp()).log()


@pytest.mark.parametrize("function", [lambda x: x.int(), lambda x: tg.ones(2) * 3])
def test_a_function_without_a_derivative_is_told(function) -> None:
    with pytest.raises(GradcheckError, match="nothing was checked: no result of function"):
        given_gradient()(function)()


def hypotenuse(x, y):
    return (x * x + y * y).sqrt()


def wrong(x, y):
    """Its gradient misses one path, where y is greater than 1."""
    return x * y + tg.where(y.detach() > 1, (y * y).detach(), y * y)


test_softplus = given_gradient()(softplus)
test_softplus_bare = given_gradient(softplus)
test_hypotenuse = given_gradient(order=2, forward=True)(hypotenuse)
test_of_a_shape = given_gradient((2, 3), (3,))(lambda x, b: x @ b)
test_by_name = given_gradient(k=st.integers(1, 3), b=(2,))(lambda x, *, k, b: x * b[0] ** k)
test_by_position_only = given_gradient(y=(2,))(lambda x, /, y: x.sin() * y[0])
test_held = given_gradient(tgst.tensors(), 2.5)(lambda x, factor: x * factor)
test_complex = given_gradient(tgst.tensors(tg.complex128))(lambda z: z * z.conj())
test_complex_step = given_gradient(complex_step=True, rtol=1e-13, atol=1e-13)(softplus)
test_fast = given_gradient(tgst.strided_tensors(), fast_mode=True, order=2)(softplus)
test_function_without_arguments_of_its_own = given_gradient(tg.sin)
test_default_arguments_stay = given_gradient()(lambda x, power=3: x**power)
test_solve = given_gradient(tgst.matrices(), settings=settings(max_examples=10, deadline=None))(
    lambda A: A @ A.T
)


@given_gradient
def test_decorated(x):
    return x.tanh()


def test_a_bug_is_found_and_shrunk() -> None:
    with pytest.raises(GradcheckError) as caught:
        # More examples than elsewhere: by chance 25 may all have no y above 1.
        given_gradient(settings=settings(max_examples=300, deadline=None))(wrong)()
    text = str(caught.value)
    assert text.startswith(
        "a derivative of wrong is wrong at\n"
        "    x = tensor(0.0300, dtype=tapegrad.float64)\n"
        "    y = tensor(1.0300, dtype=tapegrad.float64)\n\n"
        "Jacobian mismatch for output 0 with respect to input 1,\n"
    )
    assert "2.09 by differences, but 0.03 by tapegrad" in text


def test_a_bug_of_second_order_is_found() -> None:
    def once(x):
        return x * (2 * x.detach()) - x.detach() * x.detach()

    given_gradient()(once)()
    with pytest.raises(GradcheckError, match="a derivative of once is wrong at"):
        given_gradient(order=2)(once)()


def test_arguments_that_cannot_be_differentiated() -> None:
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        given_gradient(st.integers())(lambda n: tg.ones(n))()
    with pytest.raises(ValueError, match=r"given_gradient\(order=3\): the order is 1 or 2"):
        given_gradient(order=3)


def test_inputs_outside_the_domain_are_left_out() -> None:
    given_gradient(tgst.tensors(shape=tgst.shapes(max_dims=1, max_side=2)))(lambda x: x.log())()


# -- imports ---------------------------------------------------------------------------------------


def run(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout


def test_hypothesis_is_imported_on_demand() -> None:
    program = """
import sys, tapegrad
assert not [m for m in sys.modules if m.startswith(("tapegrad.testing", "hypothesis"))]
tapegrad.testing.assert_close(1, 1)
assert "hypothesis" not in sys.modules
tapegrad.testing.strategies.tensors()
assert "hypothesis" in sys.modules
"""
    run(program)


@pytest.mark.parametrize("name", ["strategies", "given_gradient"])
def test_without_hypothesis(name) -> None:
    program = f"""
import sys
from random import Random
sys.modules["hypothesis"] = None
import tapegrad
try:
    tapegrad.testing.{name}
except ImportError as error:
    print(error)
"""
    assert "needs Hypothesis: pip install" in run(program)


def test_no_such_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tg.testing.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="module 'tapegrad' has no attribute 'nothing'"):
        tg.nothing  # noqa: B018
