"""autograd.functional, on tapegrad and on torch."""

import numpy as np
import pytest

import tapegrad
from tapegrad.autograd.functional import hessian, jacobian

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture
def functional(lib):
    return lib.autograd.functional


@pytest.fixture
def x(lib):
    return lib.tensor([1.0, 2.0])


@pytest.fixture
def y(lib):
    return lib.tensor([3.0, 4.0])


def check(result, expected):
    """Compare nested tuples of Tensors with nested lists."""
    if isinstance(result, (tuple, list)):
        assert len(result) == len(expected)
        for a, b in zip(result, expected, strict=True):
            check(a, b)
    else:
        np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-6, atol=1e-6)


def square(a):
    return a**2


def cubes(a):
    return (a**3).sum()


def two(a, b):
    return (a * b).sum(), a.exp()


def mixed(a, b):
    return (a**2 * b).sum()


E = np.exp([1.0, 2.0])
MIXED = [[[[6, 0], [0, 8]], [[2, 0], [0, 4]]], [[[2, 0], [0, 4]], [[0, 0], [0, 0]]]]


def test_vjp(lib, functional, x, y):
    check(functional.vjp(square, x, y), [[1, 4], [6, 16]])
    check(functional.vjp(cubes, x), [9, [3, 12]])
    v = (lib.tensor(1.0), lib.ones(2))
    check(functional.vjp(two, (x, y), v), [[11, E], [[3 + E[0], 4 + E[1]], [1, 2]]])


def test_jvp(lib, functional, x, y):
    check(functional.jvp(square, x, y), [[1, 4], [6, 16]])
    check(functional.jvp(square, lib.tensor(2.0)), [4, 4])
    check(functional.jvp(two, (x, y), (y, x)), [[11, E], [30, E * [3, 4]]])


def test_jacobian(lib, functional, x, y):
    check(functional.jacobian(square, x), [[2, 0], [0, 4]])
    check(functional.jacobian(cubes, (x,)), [[3, 12]])
    check(functional.jacobian(lambda a: (a.sum(), a), x), [[1, 1], np.eye(2)])
    matrix = lib.ones(3, 2)
    assert functional.jacobian(lambda a: a @ x, matrix).shape == (3, 3, 2)
    options = ({}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"})
    for each in options:
        result = functional.jacobian(two, (x, y), **each)
        check(result, [[[3, 4], [1, 2]], [np.diag(E), np.zeros((2, 2))]])
        assert not result[0][0].requires_grad


def test_hessian(functional, x, y):
    check(functional.hessian(cubes, x), [[6, 0], [0, 12]])
    check(functional.hessian(lambda a: a.sum(), x), np.zeros((2, 2)))
    forward = {"vectorize": True, "outer_jacobian_strategy": "forward-mode"}
    for each in ({}, {"vectorize": True}, forward):
        check(functional.hessian(mixed, (x, y), **each), MIXED)


def test_hvp_and_vhp(lib, functional, x, y):
    for product in (functional.hvp, functional.vhp):
        check(product(cubes, x, y), [9, [18, 48]])
        check(product(mixed, (x, y), (y, x)), [19, [[20, 40], [6, 16]]])
        check(product(lambda a: a.sum(), x, y), [3, [0, 0]])
        check(product(lambda a: a**3, lib.tensor(2.0)), [8, 12])


def test_constants_give_zeros(lib, functional, x):
    constant = lib.ones(())
    check(functional.vjp(lambda a: constant, x), [1, [0, 0]])
    check(functional.jvp(lambda a: constant, x, x), [1, 0])
    check(functional.jacobian(lambda a: lib.ones(2), x), np.zeros((2, 2)))
    check(functional.jacobian(lambda a: (a > 0).long(), x), np.zeros((2, 2)))
    check(functional.hessian(lambda a: constant, x), np.zeros((2, 2)))


def test_create_graph(lib, functional, x, y):
    w = lib.tensor([1.0, 1.0], requires_grad=True)
    leaf = x.clone().requires_grad_()

    def weighted(a):
        return (w * a**3).sum()

    cases = {
        functional.vjp: [[1, 8], [3, 12]],
        functional.hvp: [[1, 8], [18, 48]],
        functional.vhp: [[1, 8], [18, 48]],
        functional.jvp: [[1, 8], [9, 48]],
    }
    for function, (of_value, of_product) in cases.items():
        v = () if function is functional.vjp else (y,)
        value, product = function(weighted, leaf, *v, create_graph=True)
        check(lib.autograd.grad(value, w, retain_graph=True)[0], of_value)
        check(lib.autograd.grad(product.sum(), w, retain_graph=True)[0], of_product)
        assert lib.autograd.grad(product.sum(), leaf)[0].shape == (2,)
        value, product = function(weighted, leaf, *v)
        assert not value.requires_grad
        assert not product.requires_grad
    for function in (functional.jacobian, functional.hessian):
        result = function(weighted, leaf, create_graph=True)
        check(lib.autograd.grad(result.sum(), leaf)[0], [6, 12] if result.ndim == 1 else [6, 6])


def test_forward_over_reverse_keeps_the_graph_of_parameters(lib, functional, x):
    w = lib.tensor([1.0, 1.0], requires_grad=True)
    result = functional.jacobian(lambda a: w * a**2, x, vectorize=True, strategy="forward-mode")
    check(result, [[2, 0], [0, 4]])


# -- errors ----------------------------------------------------------------------------------------

WRONG = [
    (lambda f, x, y: f.vjp(square, x), RuntimeError,
     r"v can only be None if the user-provided function returns a single Tensor"),
    (lambda f, x, y: f.vjp(square, x, y[:1]), RuntimeError,
     r"v has invalid size: should be .*\[2\]\) but got .*\[1\]\)"),
    (lambda f, x, y: f.jvp(mixed, (x, y), (x, y[:1])), RuntimeError,
     r"Entry 1 in v has invalid size: should be .*\[2\]\) but got .*\[1\]\)"),
    (lambda f, x, y: f.vjp(two, (x, y), x), RuntimeError,
     r"v is a tuple of invalid length: should be 2 but got 1"),
    (lambda f, x, y: f.vjp(lambda a: 3, x), TypeError,
     r"The outputs of the user-provided function given to vjp must be either a Tensor or a tuple "
     r"of Tensors but the given outputs of the user-provided function has type <class 'int'>"),
    (lambda f, x, y: f.jacobian(square, 3), TypeError,
     r"The inputs given to jacobian must be .* but the given inputs has type <class 'int'>"),
    (lambda f, x, y: f.hessian(mixed, (x, 3)), TypeError,
     r"The inputs given to hessian must be .* but the value at index 1 has type <class 'int'>"),
    (lambda f, x, y: f.vhp(mixed, [x, y], [x, y]), TypeError, r"has type <class 'list'>"),
    (lambda f, x, y: f.jvp(square, x), RuntimeError,
     r"v can only be None if the input to the user-provided function is a single Tensor"),
    (lambda f, x, y: f.jacobian(square, x, strategy="sideways"), AssertionError,
     r'Expected strategy to be either "forward-mode" or "reverse-mode"'),
    (lambda f, x, y: f.jacobian(square, x, strategy="forward-mode"), NotImplementedError,
     r"only ?implemented for `vectorize=True`"),
    (lambda f, x, y: f.jacobian(square, x, True, False, True, "forward-mode"), NotImplementedError,
     r"`create_graph=True` and `strategy=.forward-mode.` are not supported together"),
    (lambda f, x, y: f.jacobian(square, x, False, True, True, "forward-mode"), RuntimeError,
     r"`strict=True` and `strategy=.forward-mode.` are not supported together"),
    (lambda f, x, y: f.jacobian(square, x, strict=True, vectorize=True), RuntimeError,
     r"`strict=True` and `vectorized=True` are not supported together"),
    (lambda f, x, y: f.hessian(cubes, x, outer_jacobian_strategy="up"), AssertionError,
     r'Expected strategy to be either "forward-mode" or "reverse-mode"'),
    (lambda f, x, y: f.hessian(square, x), RuntimeError,
     r"returned by the function given to hessian should contain a single element"),
    (lambda f, x, y: f.hessian(two, (x, y)), RuntimeError,
     r"function given to hessian should return a single Tensor"),
    (lambda f, x, y: f.hvp(square, x, y), RuntimeError,
     r"returned by the function given to hvp should contain a single element"),
    (lambda f, x, y: f.vhp(two, (x, y), (x, y)), RuntimeError,
     r"function given to vhp should return a single Tensor"),
]  # fmt: skip

CONSTANT = r"Output 0 of the user-provided function does not require gradients"
UNUSED = r"independent of input 1. This is not allowed in strict mode"
LINEAR = r"the jacobian .* with respect to input 0 is independent of the input"
STRICT = [
    (lambda f, x, y: f.vjp(lambda a: a.detach(), x, x, strict=True), CONSTANT),
    (lambda f, x, y: f.vjp(lambda a, b: a.sum(), (x, y), strict=True), UNUSED),
    (lambda f, x, y: f.vjp(lambda a: a.sum(), x, strict=True, create_graph=True),
     r"jacobian .* independent of input 0. This is not allowed .* when create_graph=True"),
    (lambda f, x, y: f.jvp(lambda a: a.detach(), x, x, strict=True), CONSTANT),
    (lambda f, x, y: f.jvp(lambda a, b: a * 2, (x, y), (x, y), strict=True), UNUSED),
    (lambda f, x, y: f.jacobian(two, (x, y), strict=True),
     r"Output 1 of the user-provided function is independent of input 1"),
    (lambda f, x, y: f.jacobian(lambda a: a.detach(), x, strict=True), CONSTANT),
    (lambda f, x, y: f.jacobian(lambda a: a * 2, x, strict=True, create_graph=True),
     r"jacobian .* independent of input 0. This is not allowed .* when create_graph=True"),
    (lambda f, x, y: f.hessian(lambda a: a.sum(), x, strict=True), LINEAR),
    (lambda f, x, y: f.hvp(lambda a: a.sum(), x, y, strict=True), LINEAR),
    (lambda f, x, y: f.vhp(lambda a: a.sum(), x, y, strict=True), LINEAR),
    (lambda f, x, y: f.vhp(lambda a: a.sum().detach(), x, y, strict=True), CONSTANT),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_errors(functional, x, y, call, error, message):
    with pytest.raises(error, match=message):
        call(functional, x, y)


@pytest.mark.parametrize(("call", "message"), STRICT)
def test_strict(functional, x, y, call, message):
    with pytest.raises(RuntimeError, match=message):
        call(functional, x, y)


def test_against_finite_differences():
    rng = np.random.default_rng(0)
    w = tapegrad.from_numpy(rng.standard_normal((3, 4)))
    x = rng.standard_normal(4)

    def net(a):
        return ((w @ a).tanh() @ w).softmax(0)

    def at(array):
        return net(tapegrad.from_numpy(array)).numpy()

    step = 1e-6
    columns = [(at(x + step * e) - at(x - step * e)) / (2 * step) for e in np.eye(4)]
    for options in ({}, {"vectorize": True, "strategy": "forward-mode"}):
        result = jacobian(net, tapegrad.from_numpy(x), **options)
        np.testing.assert_allclose(result.numpy(), np.stack(columns, -1), atol=1e-8)
    second = hessian(lambda a: net(a)[0], tapegrad.from_numpy(x))
    np.testing.assert_allclose(second.numpy(), second.numpy().T, atol=1e-12)


@pytest.fixture
def cube(lib):
    """A custom Function without ``jvp``."""

    class Cube(lib.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            ctx.save_for_backward(a)
            return a**3

        @staticmethod
        def backward(ctx, bar):
            (a,) = ctx.saved_tensors
            return 3 * a**2 * bar

    return Cube.apply


@pytest.mark.parametrize("name", ["jvp", "hvp"])
@pytest.mark.parametrize("kind", ["plain", "unused", "constant", "Function", "dtypes"])
def test_products_are_the_same_with_and_without_graph(lib, functional, cube, name, kind):
    w = lib.arange(9.0).reshape(3, 3).double().requires_grad_()
    inputs = lib.tensor([1.0, 2.0, -1.0]).double(), lib.tensor([0.5, 3.0, 1.0]).double()
    v = lib.tensor([1.0, 0.0, 2.0]).double(), lib.tensor([-1.0, 1.0, 0.5]).double()
    if kind == "dtypes":
        v = v[0].float(), v[1]

    def function(a, b):
        if kind == "constant":
            out = w @ lib.ones(3).double()
        elif kind == "unused":
            out = (w @ a).tanh()
        else:
            out = (w @ a).tanh() * (cube(b) if kind == "Function" else b**3)
        return out.sum() if name == "hvp" else (out, out * 2)

    product = getattr(functional, name)
    value, pushed = product(function, inputs, v)
    expected, transposed = product(function, inputs, v, create_graph=True)
    flat = [*(value if name == "jvp" else [value]), *pushed]
    for a, b in zip(flat, [*(expected if name == "jvp" else [expected]), *transposed], strict=True):
        assert not a.requires_grad
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-12)


def test_products_with_complex_numbers(lib, functional):
    x, v = lib.tensor([1 + 2j, 3.0]), lib.tensor([1j, 1.0])
    _, product = functional.jvp(lambda a: a * a, x, v)
    np.testing.assert_allclose(product.numpy(), [2 * (1 + 2j) * 1j, 6], rtol=1e-6)
