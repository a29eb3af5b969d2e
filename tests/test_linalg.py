"""Matrix products, contractions and linear layers: values, errors and derivatives."""

import numpy as np
import pytest

from tapegrad.autograd import grad
from tapegrad.operators import functions as tg
from tapegrad.operators import modules
from tapegrad.recording import wrap
from tapegrad.tensor import from_array
from tests.differences import check_derivatives

RNG = np.random.default_rng(0)
F = modules["nn.functional"]


def A(*shape):  # noqa: N802
    return RNG.uniform(-1, 1, shape)


PRODUCTS = [
    ((4,), (4,)), ((3,), (3, 4)), ((3, 4), (4,)), ((3, 4), (4, 2)), ((2, 3, 4), (4,)),
    ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((3,), (2, 3, 5)), ((2, 1, 3, 4), (5, 4, 6)),
    ((2, 5, 3, 4), (4, 6)), ((3, 4), (2, 4, 1)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((0,), (0,)),
    ((2, 0, 3), (3, 2)), ((1, 3, 4), (2, 4, 5)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", PRODUCTS)
def test_matmul(shapes):
    x, y = (A(*s) for s in shapes)
    out = tg["matmul"](from_array(x), from_array(y))
    np.testing.assert_allclose(out._array, x @ y)
    assert out._array.shape == (x @ y).shape
    check_derivatives(lambda x, y: (x @ y) * 2, [x, y])
    single = from_array(x.astype(np.float32)) @ from_array(y.astype(np.float32))
    assert single._array.dtype == np.float32


@pytest.mark.parametrize("shapes", [s for s in PRODUCTS if all(map(np.prod, s))])
def test_complex_matmul(shapes):
    x, y = (A(*s) + 1j * A(*s) for s in shapes)
    u, v = from_array(x, requires_grad=True), from_array(y, requires_grad=True)
    out_bar = A(*(x @ y).shape) + 1j * A(*(x @ y).shape)
    found = grad(u @ v, [u, v], wrap(np.asarray(out_bar)))
    # <out_bar, d out> for a step dx is <x_bar, dx>.
    for g, d, step in ((found[0], x, lambda d: d @ y), (found[1], y, lambda d: x @ d)):
        d = A(*d.shape) + 1j * A(*d.shape)
        np.testing.assert_allclose(np.vdot(g._array, d), np.vdot(out_bar, step(d)))


def test_integers_and_numpys_functions():
    x = from_array(np.array([[1, 2], [3, 4]]))
    assert (x @ x).tolist() == [[7, 10], [15, 22]]
    a = A(3, 3)
    t = from_array(a, requires_grad=True)
    for function in (np.matmul, np.dot, np.outer):
        b = a[0] if function is np.outer else a
        out = function(t[0] if function is np.outer else t, from_array(b))
        np.testing.assert_allclose(out._array, function(b, b))
        assert out.requires_grad
    np.testing.assert_allclose(np.tensordot(t, t, 2)._array, np.tensordot(a, a, 2))
    np.testing.assert_allclose(np.einsum("ij,jk->i", t, t)._array, np.einsum("ij,jk->i", a, a))
    np.testing.assert_allclose((a @ t)._array, a @ a)
    np.testing.assert_allclose((t @ a)._array, a @ a)


SIZE_ERRORS = [
    ((2, 3), (4, 5), "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    ((3,), (4, 5), "mat1 and mat2 shapes cannot be multiplied (1x3 and 4x5)"),
    ((2, 3, 4), (5, 6), "mat1 and mat2 shapes cannot be multiplied (6x4 and 5x6)"),
    ((2, 3), (4,), "size mismatch, got input (2), mat (2x3), vec (4)"),
    ((2, 3, 4), (5,), "size mismatch, got input (6), mat (6x4), vec (5)"),
    ((3,), (4,), "inconsistent tensor size, expected tensor [3] and src [4] to have the same"),
    ((2, 3, 4), (2, 5, 6), "batch2 tensor to be: [2, 4] but got: [2, 5]."),
    ((2, 3, 4), (3, 4, 6), "The size of tensor a (2) must match the size of tensor b (3) at non-"),
    ((), (3,), "both arguments to matmul need to be at least 1D, but they are 0D and 1D"),
]


@pytest.mark.parametrize(("a", "b", "message"), SIZE_ERRORS)
def test_matmul_size_errors(a, b, message):
    with pytest.raises(RuntimeError) as raised:
        from_array(np.asarray(A(*a))) @ from_array(np.asarray(A(*b)))
    assert message in str(raised.value)


def test_matmul_dtype_errors():
    x, y = from_array(A(3, 3).astype(np.float32)), from_array(A(3, 3))
    with pytest.raises(RuntimeError, match="m1 and m2 to have the same dtype, but got: float != d"):
        x @ y
    with pytest.raises(RuntimeError, match="both vectors to have same dtype, but found Float and"):
        x[0] @ y[0]
    with pytest.raises(TypeError, match="unsupported operand"):
        x @ 2
    with pytest.raises(RuntimeError, match="to have the same dtype"):
        y._array @ x


NAMED = {
    "mm": ((3, 4), (4, 2)), "mv": ((3, 4), (4,)), "dot": ((3,), (3,)), "vdot": ((3,), (3,)),
    "bmm": ((2, 3, 4), (2, 4, 5)), "outer": ((3,), (2,)), "ger": ((3,), (2,)),
    "inner": ((2, 3), (4, 5, 3)), "addmm": ((4,), (3, 2), (2, 4)), "addmv": ((), (4, 3), (3,)),
    "baddbmm": ((3, 1), (2, 3, 2), (2, 2, 4)), "addbmm": ((3, 4), (2, 3, 2), (2, 2, 4)),
    "addr": ((4,), (3,), (4,)),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_named_products(name):
    options = {"beta": 0.5, "alpha": 2} if name.startswith(("add", "badd")) else {}
    arrays = [A(*s) for s in NAMED[name]]
    check_derivatives(lambda *x: tg[name](*x, **options) * 2, arrays)
    check_derivatives(lambda *x: tg[name](*x) * 2, arrays)


def test_beta_0_leaves_the_input_out():
    out = tg["addmm"](from_array(np.full(2, np.nan)), *[from_array(np.eye(2))] * 2, beta=0)
    assert out.tolist() == [[1.0, 0.0], [0.0, 1.0]]


NAMED_ERRORS = [
    ("mm", [(3, 4), (4,)], "mat2 must be a matrix"),
    ("mv", [(3,), (3,)], "vector + matrix @ vector expected, got 1, 1, 1"),
    ("dot", [(3, 4), (3, 4)], "1D tensors expected, but got 2D and 2D tensors"),
    ("bmm", [(3, 4), (3, 4)], "batch1 must be a 3D tensor"),
    ("bmm", [(2, 3, 4), (3, 4, 4)], "batch2 tensor to be: [2, 4] but got: [3, 4]."),
    ("outer", [(3, 4), (3,)], "outer: Expected 1-D argument self, but got 2-D"),
    ("inner", [(3, 4), (3,)], "the last dimension must match on both input tensors"),
    ("addmm", [(2,), (3, 2), (2, 4)], "Target sizes: [3, 4].  Tensor sizes: [2]"),
    ("addmm", [(4,), (3,), (3, 4)], "mat1 must be a matrix, got 1-D tensor"),
    ("tensordot", [(3, 4), (3, 4), 1], "contracted dimensions need to match"),
    ("tensordot", [(3, 4), (3, 4), ([0], [0, 1])], "both dimension lists should have same length"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), NAMED_ERRORS)
def test_named_errors(name, arguments, message):
    tensors = [from_array(A(*arguments[0])), from_array(A(*arguments[1]))]
    rest = [from_array(A(*a)) if name == "addmm" else a for a in arguments[2:]]
    with pytest.raises(RuntimeError) as raised:
        tg[name](*tensors, *rest)
    assert message in str(raised.value)


# -- contractions ----------------------------------------------------------------------------------

EQUATIONS = {
    "ij,ij->i": [(3, 4), (3, 4)], "ij->ji": [(3, 4)], "ij,jk": [(3, 4), (4, 2)], "ii": [(3, 3)],
    "ii->i": [(3, 3)], "...i": [(2, 3, 4)], "...j,...j->...": [(2, 3, 4), (3, 4)],
    "bi,bj->b": [(3, 4), (3, 2)], "i->": [(3,)], "Ab,bC": [(3, 4), (4, 2)],
    "bij,bjk,bkl->bil": [(2, 3, 4), (2, 4, 5), (2, 5, 2)], "ij,ij->ij": [(3, 4), (3, 1)],
    "ij,jk->ik": [(3, 1), (4, 2)], "...ij,...jk->...ik": [(2, 1, 3, 4), (5, 4, 2)],
    "iji->j": [(3, 4, 3)], "iii->i": [(3, 3, 3)], ",->": [(), ()], "i,->i": [(3,), ()],
    "i...->...": [(3, 4)], "ii,ij->j": [(3, 3), (3, 2)], " i j , j k -> i k ": [(3, 4), (4, 2)],
    "ij,kl->": [(3, 4), (2, 2)], "i,i,i->": [(3,), (3,), (3,)],
}  # fmt: skip


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation):
    arrays = [np.asarray(A(*s)) for s in EQUATIONS[equation]]
    if (3, 1) not in EQUATIONS[equation]:
        out = tg["einsum"](equation, *map(from_array, arrays))
        np.testing.assert_allclose(out._array, np.einsum(equation, *arrays))
    check_derivatives(lambda *x: tg["einsum"](equation, *x) * 2, arrays)


def test_large_contractions_go_to_matrix_products():
    x, y = A(4, 30, 50), A(4, 20, 50)
    for equation in ("bij,bkj->bki", "bij,bkj->ik", "bij,bkj->jki"):
        out = tg["einsum"](equation, from_array(x), from_array(y))
        np.testing.assert_allclose(out._array, np.einsum(equation, x, y), atol=1e-12)


def test_einsum_of_lists():
    x, y = from_array(A(3, 4)), from_array(A(4, 2))
    expected = x._array @ y._array
    np.testing.assert_allclose(tg["einsum"](x, [0, 1], y, [1, 2], [0, 2])._array, expected)
    np.testing.assert_allclose(tg["einsum"](x, [..., 1], y, [1, 2])._array, expected)
    np.testing.assert_allclose(tg["einsum"]("ij,jk", [x, y])._array, expected)


EINSUM_ERRORS = [
    ("ij,k", [(3, 4), (3, 4)], "the number of subscripts in the equation (1) does not match"),
    (
        "ij->ik",
        [(3, 4)],
        "output subscript k does not appear in the equation for any input operand",
    ),
    ("ij,jk", [(3, 4), (3, 4)], "subscript j has size 3 for operand 1 which does not broadcast"),
    ("ij", [(3, 4), (3, 4)], "more operands were provided than specified in the equation"),
    ("ij,ij", [(3, 4)], "fewer operands were provided than specified in the equation"),
    ("i1", [(3, 4)], "invalid subscript given at index 1 in the equation string"),
    ("ij->ii", [(3, 4)], "output subscript i appears more than once in the output"),
    ("ii", [(3, 4)], "subscript i is repeated for operand 0 but the sizes don't match, 4 != 3"),
]


@pytest.mark.parametrize(("equation", "shapes", "message"), EINSUM_ERRORS)
def test_einsum_errors(equation, shapes, message):
    with pytest.raises(RuntimeError) as raised:
        tg["einsum"](equation, *[from_array(A(*s)) for s in shapes])
    assert message in str(raised.value)


@pytest.mark.parametrize("dims", [0, 1, 2, ([0], [1]), ([1, 0], [0, 1])])
def test_tensordot(dims):
    x, y = A(3, 3), A(3, 3)
    out = tg["tensordot"](from_array(x), from_array(y), dims)
    np.testing.assert_allclose(out._array, np.tensordot(x, y, dims))
    check_derivatives(lambda x, y: tg["tensordot"](x, y, dims) * 2, [x, y])


# -- layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,), (2, 0)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(batch, bias):
    x, w, b = A(*batch, 4), A(5, 4), A(5)
    arrays = [x, w, b] if bias else [x, w]
    out = F["linear"](*map(from_array, arrays))
    np.testing.assert_allclose(out._array, x @ w.T + (b if bias else 0))
    check_derivatives(lambda *t: F["linear"](*t) * 2, arrays)


def test_linear_errors():
    with pytest.raises(RuntimeError, match="cannot be multiplied \\(6x4 and 3x5\\)"):
        F["linear"](from_array(A(2, 3, 4)), from_array(A(5, 3)), from_array(A(5)))
    with pytest.raises(RuntimeError, match=r"Target sizes: \[3, 5\].  Tensor sizes: \[6\]"):
        F["linear"](from_array(A(3, 4)), from_array(A(5, 4)), from_array(A(6)))
    with pytest.raises(RuntimeError, match="at least 1D, but they are 0D and 2D"):
        F["linear"](from_array(np.array(1.0)), from_array(A(5, 4)))


def test_bilinear():
    check_derivatives(
        lambda x, y, w, b: F["bilinear"](x, y, w, b) * 2, [A(3, 2), A(3, 4), A(5, 2, 4), A(5)]
    )


@pytest.mark.torch
@pytest.mark.parametrize("shapes", PRODUCTS)
def test_matmul_as_torch(shapes):
    torch = pytest.importorskip("torch")
    arrays = [A(*s).astype(np.float32) for s in shapes]
    ours = [from_array(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    out, expected = ours[0] @ ours[1], theirs[0] @ theirs[1]
    np.testing.assert_allclose(out._array, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    got = grad((out * out).sum(), ours)
    wanted = torch.autograd.grad((expected * expected).sum(), theirs)
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g._array, w.numpy(), rtol=1e-4, atol=1e-5)
        assert g._array.dtype == np.float32
