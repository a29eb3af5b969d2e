"""Factorizations, solvers and the like: complex gradients, failures, edge cases."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tests.differences import check_derivatives

L = tg.linalg
RNG = np.random.default_rng(0)


def complex_matrix(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


def hermitian(x):
    return x + x.mH


def positive(x):
    return x @ x.mH + tg.eye(x.shape[-1], dtype=x.dtype)


def shares(*parts):
    """A real number from complex and real Tensors, of absolute values and all."""
    total = 0.0
    for k, part in enumerate(parts):
        weights = tg.arange(1.0, part.numel() + 1, dtype=tg.float64).reshape(part.shape) + k
        total = total + (weights * part.abs().square()).sum()
    return total


def real_and_imaginary(z):
    return shares(z.real + 2 * z.imag, z.real - z.imag + 1)


COMPLEX = {
    "inv": (lambda x: real_and_imaginary(L.inv(x)), (2, 3, 3)),
    "solve": (lambda x: real_and_imaginary(L.solve(x, x.mT + 1)), (3, 3)),
    "solve_right": (lambda x: real_and_imaginary(L.solve(x, x[:2], left=False)), (3, 3)),
    "solve_triangular": (
        lambda x: real_and_imaginary(L.solve_triangular(x, x.mT, upper=True, left=False)), (3, 3)),
    "cholesky": (lambda x: real_and_imaginary(L.cholesky(positive(x))), (2, 3, 3)),
    "cholesky_upper": (lambda x: real_and_imaginary(L.cholesky(positive(x), upper=True)), (3, 3)),
    "qr": (lambda x: real_and_imaginary(tg.cat(L.qr(x), -1)), (3, 3)),
    "qr_wide": (lambda x: real_and_imaginary(tg.cat(L.qr(x), -1)), (2, 2, 4)),
    "qr_tall": (lambda x: real_and_imaginary(L.qr(x)[0] @ L.qr(x)[1].mT), (4, 4)),
    "lu": (lambda x: real_and_imaginary(L.lu_factor(x)[0]), (2, 3, 3)),
    "lu_wide": (lambda x: real_and_imaginary(L.lu_factor(x)[0]), (2, 4)),
    "lu_tall": (lambda x: real_and_imaginary(L.lu_factor(x)[0]), (4, 2)),
    "lu_solve": (
        lambda x: real_and_imaginary(L.lu_solve(*L.lu_factor(x), x + 1, left=False)), (3, 3)),
    "eigh": (lambda x: shares(*L.eigh(hermitian(x))), (2, 3, 3)),
    "eigh_projector": (lambda x: _projector(L.eigh(hermitian(x))[1]), (3, 3)),
    "eig": (lambda x: shares(*L.eig(x)), (3, 3)),
    "eigvals": (lambda x: real_and_imaginary(L.eigvals(x)), (2, 3, 3)),
    "svd": (lambda x: shares(*L.svd(x, full_matrices=False)), (3, 2)),
    "svd_wide": (lambda x: shares(*L.svd(x, full_matrices=False)), (2, 2, 4)),
    "svd_phases": (lambda x: _polar(L.svd(x, full_matrices=False)), (3, 3)),
    "det": (lambda x: real_and_imaginary(L.det(x)), (2, 3, 3)),
    "slogdet": (lambda x: real_and_imaginary(L.slogdet(x)[0]) * L.slogdet(x)[1], (3, 3)),
    "logdet": (lambda x: real_and_imaginary(x.logdet()), (3, 3)),
    "pinv": (lambda x: real_and_imaginary(L.pinv(x)), (4, 2)),
    "lstsq": (lambda x: real_and_imaginary(L.lstsq(x, x[:, :1] * 1j + 1)[0]), (4, 2)),
    "matrix_exp": (lambda x: real_and_imaginary(x.matrix_exp()), (2, 3, 3)),
    "matrix_power": (lambda x: real_and_imaginary(x.matrix_power(-2)), (3, 3)),
    "householder": (lambda x: real_and_imaginary(L.householder_product(x, x[0])), (3, 3)),
    "ormqr": (lambda x: real_and_imaginary(tg.ormqr(x, x[0], x + 1, False, True)), (3, 3)),
    "cross": (lambda x: real_and_imaginary(L.cross(x, x.conj() * x + 1j)), (2, 3)),
    "addmm": (lambda x: real_and_imaginary(tg.addmm(x, x, x.mT, beta=2j, alpha=1 - 3j)), (3, 3)),
    "nuclear": (lambda x: L.matrix_norm(x, "nuc"), (3, 2)),
    "renorm": (lambda x: real_and_imaginary(x.renorm(2, 0, 1.0)), (3, 2)),
}  # fmt: skip


def _projector(vectors):
    return real_and_imaginary(vectors[:, :1] @ vectors[:, :1].mH)


def _polar(factors):
    u, s, vh = factors
    return real_and_imaginary(u @ vh) + s.sum()


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_gradients(name):
    """With the real and imaginary parts as inputs: then differences know what is right."""
    function, shape = COMPLEX[name]
    x = complex_matrix(*shape)
    check_derivatives(lambda a, b: function(tg.complex(a, b)), [x.real, x.imag], forward=False)


def test_single_precision_stays_single():
    a, z = tg.rand(3, 3) + 3 * tg.eye(3), tg.rand(3, 3, dtype=tg.complex64) + 3 * tg.eye(3)
    for x in (a, z):
        results = [
            L.inv(x), L.solve(x, x), L.solve_triangular(x, x, upper=True), L.cholesky(x @ x.mH),
            *L.qr(x), *L.svd(x)[::2], L.eigh(x @ x.mH)[1], L.det(x), L.lu_factor(x)[0], L.pinv(x),
            L.lstsq(x, x)[0], x.matrix_exp(), L.slogdet(x)[0],
        ]  # fmt: skip
        assert {r.dtype for r in results} == {x.dtype}
        assert {r.dtype for r in L.eig(x)} == {tg.complex64}
        assert {L.svdvals(x).dtype, L.eigvalsh(x).dtype, L.slogdet(x)[1].dtype} == {tg.float32}


# -- failures --------------------------------------------------------------------------------------

FAILURES = [
    (lambda: L.inv(tg.zeros(2, 2)), L.LinAlgError, "linalg.inv: The diagonal element 1 is zero"),
    (lambda: L.inv(tg.stack([tg.eye(2), tg.ones(2, 2)])), L.LinAlgError,
     r"linalg.inv: \(Batch element 1\): The diagonal element 2 is zero"),
    (lambda: L.solve(tg.ones(2, 2), tg.ones(2)), L.LinAlgError,
     "torch.linalg.solve: The solver failed because the input matrix is singular"),
    (lambda: L.cholesky(tg.tensor([[1.0, 2.0], [2.0, 1.0]])), L.LinAlgError,
     r"linalg.cholesky: .* \(the leading minor of order 2 is not positive-definite\)"),
    (lambda: L.svd(tg.tensor([[float("nan"), 1.0]])), L.LinAlgError, "contained non-finite values"),
    (lambda: L.eig(tg.tensor([[float("inf")]])), RuntimeError, "should not contain infs or NaNs"),
    (lambda: L.lu_factor(tg.zeros(2, 2)), RuntimeError, r"lu_factor: U\[1,1\] is zero"),
    (lambda: L.ldl_factor(tg.ones(2, 2)), L.LinAlgError, "D.2,2. is zero"),
    (lambda: L.det(tg.ones(2, 3)), RuntimeError,
     "linalg.det: A must be batches of square matrices, but they are 2 by 3 matrices"),
    (lambda: L.inv(tg.ones(3)), RuntimeError, "A must have at least 2 dimensions"),
    (lambda: L.inv(tg.ones(2, 2).long()), RuntimeError,
     "Expected a floating point or complex tensor as input. Got Long"),
    (lambda: L.inv(tg.ones(2, 2).half()), RuntimeError, "Low precision dtypes not supported"),
    (lambda: L.solve(tg.eye(2), tg.ones(3, 1)), RuntimeError,
     r"Incompatible shapes of A and B for the equation AX = B \(2x2 and 3x1\)"),
    (lambda: L.solve(tg.ones(2, 1, 1), tg.ones(3, 1, 1)), RuntimeError,
     r"size of tensor a \(2\) must match the size of tensor b \(3\) at non-singleton dimension 0"),
    (lambda: L.solve(tg.eye(2), tg.ones(2).double()), RuntimeError, "to have the same dtype"),
    (lambda: L.qr(tg.eye(2), "full"), RuntimeError, "unrecognized mode 'full'"),
    (lambda: L.eigh(tg.eye(2), "X"), RuntimeError, "UPLO argument to be 'L' or 'U', but got X"),
    (lambda: L.multi_dot([tg.eye(2), tg.eye(3)]), RuntimeError, "cannot be multiplied"),
    (lambda: L.matrix_norm(tg.eye(2), 3), RuntimeError, "Order 3 not supported"),
    (lambda: L.matrix_power(tg.zeros(2, 2), -1), L.LinAlgError, "singular"),
    (lambda: L.cross(tg.ones(2), tg.ones(2)), RuntimeError, "dimension -1 must have length 3"),
    (lambda: tg.cdist(tg.ones(1, 2), tg.ones(1, 3)), RuntimeError, "X1: 2 X2: 3"),
    (lambda: tg.cov(tg.ones(2, 2, 2)), RuntimeError, "two or fewer dimensions"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), FAILURES, ids=[f[2] for f in FAILURES])
def test_failures(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_linear_algebra_error_is_torchs():
    assert issubclass(L.LinAlgError, RuntimeError)
    assert L.LinAlgError.__module__ == "tapegrad.linalg"


def test_info_instead_of_errors():
    batch = tg.stack([tg.eye(2), tg.zeros(2, 2)])
    inverse, info = L.inv_ex(batch)
    assert info.tolist() == [0, 1]
    assert inverse[0].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert L.solve_ex(batch, tg.ones(2, 1)).info.tolist() == [0, 1]
    assert L.lu_factor_ex(batch).info.tolist() == [0, 1]
    factor, info = L.cholesky_ex(tg.stack([tg.eye(2), -tg.eye(2)]))
    assert info.tolist() == [0, 1]
    assert factor[0].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(L.LinAlgError):
        L.inv_ex(batch, check_errors=True)


PHASE = [
    lambda x: L.eigh(hermitian(x))[1].real.sum(),
    lambda x: L.eig(x)[1].real.sum(),
    lambda x: L.svd(x)[0].real.sum(),
]


@pytest.mark.parametrize("function", PHASE)
def test_what_depends_on_a_phase_has_no_gradient(function):
    x = tg.from_numpy(complex_matrix(3, 3)).requires_grad_()
    with pytest.raises(RuntimeError, match="ill-defined"):
        function(x).backward()


def test_what_has_no_derivative_says_so():
    x = tg.rand(3, 2).requires_grad_()
    with pytest.raises(NotImplementedError, match=r"use linalg\.qr"):
        tg.geqrf(x)[0].sum().backward()
    with pytest.raises(RuntimeError, match="mode='complete' and nrows > ncols"):
        L.qr(x, "complete")[0].sum().backward()


# -- edge cases ------------------------------------------------------------------------------------


def test_determinants_of_singular_matrices():
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [5.0, 7.0, 9.0]])
    check_derivatives(lambda a: L.det(a), [x])
    check_derivatives(lambda a: L.det(a), [np.diag([0.0, 2.0, 2.0])])
    zero = tg.zeros(2, 2).requires_grad_()
    L.det(zero).backward()
    assert zero.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_only_one_triangle_is_read():
    full = tg.tensor([[4.0, 99.0], [2.0, 3.0]])
    lower = tg.tensor([[4.0, 2.0], [2.0, 3.0]])
    assert L.cholesky(full).tolist() == L.cholesky(lower).tolist()
    assert L.eigvalsh(full).tolist() == L.eigvalsh(lower).tolist()
    assert L.eigvalsh(full.mT, "U").tolist() == L.eigvalsh(lower).tolist()
    b = tg.ones(2, 1)
    expected = L.solve_triangular(lower.tril(), b, upper=False).tolist()
    assert L.solve_triangular(full, b, upper=False).tolist() == expected
    x = full.clone().requires_grad_()
    L.solve_triangular(x, b, upper=False, unitriangular=True).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0], [-1.0, 0.0]]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 0, 0)], ids=str)
def test_empty_matrices(shape):
    x = tg.zeros(shape).requires_grad_()
    results = [*L.svd(x, False), *L.qr(x), L.pinv(x), *L.lu(x)[1:], L.matrix_norm(x)]
    if shape[-1] == shape[-2]:
        results += [L.inv(x), L.det(x), *L.eigh(x), L.cholesky(x), x.matrix_exp()]
    total = sum(r.sum() for r in results)
    total.backward()
    assert x.grad.shape == shape


def test_numpys_functions():
    a = RNG.normal(size=(3, 3))
    t = tg.from_numpy(a.copy()).requires_grad_()
    for name in ("inv", "det", "pinv", "svdvals", "eigvals", "matrix_rank", "norm", "cond"):
        function = getattr(np.linalg, name)
        np.testing.assert_allclose(function(t).detach().numpy(), function(a), err_msg=name)
    np.testing.assert_allclose(np.linalg.solve(t, t)._array, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.kron(t, t)._array, np.kron(a, a))
    np.testing.assert_allclose(np.cov(t)._array, np.cov(a))


def test_lu_is_put_together_again():
    for shape in ((3, 3), (2, 4), (5, 3), (2, 3, 3)):
        x = tg.from_numpy(RNG.normal(size=shape))
        p, lower, upper = L.lu(x)
        np.testing.assert_allclose((p @ lower @ upper)._array, x._array)
        again = tg.lu_unpack(*L.lu_factor(x))
        np.testing.assert_allclose((again.P @ again.L @ again.U)._array, x._array)


def test_distances_of_many_points():
    x, y = RNG.normal(size=(40, 3)), RNG.normal(size=(2, 30, 3))
    expected = np.sqrt(((x[:, None] - y[:, None]) ** 2).sum(-1))
    np.testing.assert_allclose(tg.cdist(tg.from_numpy(x), tg.from_numpy(y))._array, expected)
    same = tg.from_numpy(x).requires_grad_()
    tg.cdist(same, same, compute_mode="donot_use_mm_for_euclid_dist").sum().backward()
    assert np.isfinite(same.grad._array).all()


@pytest.mark.filterwarnings("ignore:cov")
def test_covariances():
    a = RNG.normal(size=(3, 5))
    weights, counts = RNG.uniform(1, 2, 5), RNG.integers(1, 4, 5)
    x = tg.from_numpy(a)
    out = tg.cov(x, fweights=tg.from_numpy(counts), aweights=tg.from_numpy(weights), correction=0)
    np.testing.assert_allclose(out._array, np.cov(a, None, True, False, 0, counts, weights))
    np.testing.assert_allclose(tg.corrcoef(x)._array, np.corrcoef(a))
    assert tg.cov(x[0]).shape == ()
    assert tg.cov(x[:, :1]).isnan().all()
