"""Vector math: at most 2 units in the last place off, special values as in C99, vectorised."""

from __future__ import annotations

import platform
import re

import numpy as np
import pytest

from tapegrad import loading

pytestmark = [
    pytest.mark.skipif(not loading.load_native(), reason="the native loop can't be used here"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of the references
]

numba = pytest.importorskip("numba")

from tapegrad.kernels import vectormath as vm  # noqa: E402
from tapegrad.kernels.adjoint import adjoint_kernel  # noqa: E402
from tapegrad.kernels.innerloop import compile_loop, inner_loop  # noqa: E402
from tapegrad.kernels.vectormath import trigonometric  # noqa: E402
from tapegrad.kernels.vectormath.branching import Branching  # noqa: E402
from tapegrad.kernels.vectormath.trigonometric import LIMIT  # noqa: E402
from tapegrad.kernels.vectormath.values import VECTOR_BYTES  # noqa: E402
from tapegrad.primitive import primitives  # noqa: E402

DTYPES = (np.float32, np.float64)
OF_TWO = ("pow", "logaddexp")

with_long_double = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="long double is a float64 here"
)

#: In long double; `numpy.<name>` where nothing else is said. None: mpmath is asked.
REFERENCES = {
    "atan": np.arctan,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "pow": np.power,
    "erf": None,
    "erfc": None,
    "gelu": None,
}


def compiled(name, dtype):
    """The function over arrays."""
    arity = 2 if name in vm.of_two else 1
    function = getattr(vm, name)
    kernel = compile_loop(f"vectormath_{name}", function, arity, np.dtype(dtype), vm.stamp())

    def run(*arrays):
        arrays = [np.ascontiguousarray(a, dtype) for a in arrays]
        arrays.append(np.empty_like(arrays[0]))
        addresses = np.array([a.ctypes.data for a in arrays], np.int64)
        sizes = np.array([arrays[0].size], np.int64)
        steps = np.full(len(arrays), np.dtype(dtype).itemsize, np.int64)
        kernel.ctypes(addresses.ctypes.data, sizes.ctypes.data, steps.ctypes.data, 0)
        return arrays[-1]

    return run


def assert_close(found, expected, arguments):
    """At most 2 units in the last place off; expected in long double."""
    dtype = found.dtype
    limits = np.finfo(dtype)
    rounded = expected.astype(dtype)
    finite = np.where(np.isfinite(rounded), np.abs(rounded), limits.max)
    error = np.abs(found.astype(np.longdouble) - expected) / np.spacing(finite)
    same = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
    zero = (rounded == 0) & (found == 0)
    assert np.array_equal(np.signbit(found[zero]), np.signbit(rounded[zero]))
    error = np.where(same, 0, np.where(np.isnan(error), np.inf, error))
    worst = np.argmax(error)
    where = [a[worst] for a in arguments]
    assert error[worst] <= 2, f"{where}: {found[worst]!r}, not {expected[worst]!r}"


def near_quarter_turns():
    """Of each power of two the float64 that comes closest to a multiple of pi / 2."""
    mpmath = pytest.importorskip("mpmath")
    found = []
    with mpmath.workprec(1500):
        for exponent in range(-52, 972, 4):
            # The last convergent of the continued fraction with a denominator below 2**53.
            rest, before, m = 2 / mpmath.pi * mpmath.mpf(2) ** exponent, 0, 1
            while True:
                rest = 1 / (rest - mpmath.floor(rest))
                before, m = m, int(mpmath.floor(rest)) * m + before
                if m >= 2**53:
                    break
            found.append(float(before) * 2.0**exponent)
    return found


def arguments(dtype, count=30_000):
    """Random bit patterns, and numbers where the functions do something."""
    rng = np.random.default_rng(7)
    size = np.dtype(dtype).itemsize
    limits = np.finfo(dtype)
    bits = rng.integers(0, 2 ** (8 * size), 2 * count, dtype=f"u{size}").view(dtype)
    drawn = [rng.normal(0, s, count) for s in (0.1, 1, 10)]
    drawn += [rng.uniform(-s, s, count) for s in (30, 110, 760)]
    drawn += [1 + rng.normal(0, 0.01, count), np.arange(-60, 60) * np.pi / 4]
    drawn += [np.round(2.0 ** rng.uniform(0, 50, count)) * np.pi / 2]
    edges = [0.0, 1.0, 0.5, 2.0, 3.0, np.inf, np.nan, limits.max, limits.tiny, limits.eps]
    edges += [limits.smallest_subnormal, 5 * limits.smallest_subnormal, 2.0**20, 1e30, 1 / 3, LIMIT]
    if dtype == np.float64:
        # And those two that no others come closer to.
        edges += [*near_quarter_turns(), 6381956970095103 * 2.0**797, 5.319372648326541e255]
    edges = np.array(edges, dtype)
    near = [np.nextafter(edges, dtype(s)) for s in (-np.inf, np.inf)]
    values = np.concatenate([bits, *drawn, edges, *near]).astype(dtype)
    return np.concatenate([values, -edges])


def by_mpmath(name, x):
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.prec = 200
    functions = {
        "erf": mpmath.erf,
        "erfc": mpmath.erfc,
        "gelu": lambda v: v * mpmath.erfc(-v / mpmath.sqrt(2)) / 2,
        "sin": mpmath.sin,
        "cos": mpmath.cos,
        "tan": mpmath.tan,
    }

    def long(value):
        high = float(value)
        return np.longdouble(high) + np.longdouble(float(value - high))

    return np.array([long(functions[name](mpmath.mpf(float(v)))) for v in x])


@with_long_double
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [n for n in vm.of_one if REFERENCES.get(n, n)])
def test_functions_are_right(name, dtype):
    x = arguments(dtype)
    if name in ("sin", "cos", "tan"):
        x = x[np.abs(x) < 1e18]  # beyond, long double is reduced by hardware
    reference = REFERENCES.get(name, getattr(np, name, None))
    assert_close(compiled(name, dtype)(x), reference(x.astype(np.longdouble)), [x])


@with_long_double
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["erf", "erfc", "gelu", "sin", "cos", "tan"])
def test_functions_are_right_by_mpmath(name, dtype):
    x = arguments(dtype, 400)
    x = x[np.isfinite(x) & (x != 0)]
    if name in ("erf", "erfc", "gelu"):
        x = x[np.abs(x) < 1e10]
    assert_close(compiled(name, dtype)(x), by_mpmath(name, x), [x])


@with_long_double
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OF_TWO)
def test_functions_of_two_are_right(name, dtype):
    rng = np.random.default_rng(8)
    x = arguments(dtype)
    y = rng.permutation(x)
    edges = np.array([0, 1, 2, 3, 0.5, 1.5, np.inf, np.nan, 1e-30, 1e30, 2.0**24 - 1], dtype)
    edges = np.concatenate([edges, -edges])
    grids = np.meshgrid(edges, edges)
    bases = np.abs(x)
    powers = rng.normal(0, 1, x.size) * 80 / (1e-3 + np.abs(np.log(np.clip(bases, 1e-30, 1e30))))
    x = np.concatenate([x, bases, grids[0].ravel()])
    y = np.concatenate([y, powers, grids[1].ravel()]).astype(dtype)
    expected = REFERENCES.get(name, np.logaddexp)(x.astype(np.longdouble), y.astype(np.longdouble))
    found = compiled(name, dtype)(x, y)
    if name == "logaddexp":  # its two terms may cancel
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(found, expected.astype(dtype), rtol=2 * eps, atol=2 * eps)
    else:
        assert_close(found, expected, [x, y])


SPECIAL = {
    "exp": (1, 1, np.inf, 0),
    "exp2": (1, 1, np.inf, 0),
    "expm1": (0.0, -0.0, np.inf, -1),
    "log": (-np.inf, -np.inf, np.inf, np.nan),
    "log1p": (0.0, -0.0, np.inf, np.nan),
    "sin": (0.0, -0.0, np.nan, np.nan),
    "cos": (1, 1, np.nan, np.nan),
    "tan": (0.0, -0.0, np.nan, np.nan),
    "tanh": (0.0, -0.0, 1, -1),
    "sinh": (0.0, -0.0, np.inf, -np.inf),
    "cosh": (1, 1, np.inf, np.inf),
    "atan": (0.0, -0.0, np.pi / 2, -np.pi / 2),
    "erf": (0.0, -0.0, 1, -1),
    "erfc": (1, 1, 0, 2),
    "sigmoid": (0.5, 0.5, 1, 0),
    "softplus": (np.log(2), np.log(2), np.inf, 0),
    "gelu": (0.0, -0.0, np.inf, np.nan),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", vm.of_one)
def test_special_values(name, dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)
    expected = np.array([*SPECIAL[name], np.nan]).astype(dtype)
    found = compiled(name, dtype)(x)
    np.testing.assert_array_equal(found, expected)
    kept = ~np.isnan(expected)
    assert np.array_equal(np.signbit(found[kept]), np.signbit(expected[kept]))


def is_vectorised(assembly):
    return re.search(r"\bvfn?m(add|sub)\w*p[sd]\b.*%[yz]mm", assembly) is not None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_numbers_have_the_same_results_anywhere_in_an_array(name, dtype):
    """Beside numbers above the limit and below it, in vectors and in what is left over."""
    rng = np.random.default_rng(9)
    run = compiled(name, dtype)
    usual, large = rng.normal(0, 10, 50), rng.uniform(0.9 * LIMIT, 1e15, 50)
    of_each = {}
    for x in np.concatenate([usual, large]).astype(dtype):
        of_each[x] = run(np.array([x]))[0]
    for size in range(1, 50):
        some = np.where(rng.random(size) < 0.1, rng.permutation(large)[:size], usual[:size])
        some = some.astype(dtype)
        np.testing.assert_array_equal(run(some), [of_each[x] for x in some])


only_here = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="x86's instructions are looked for"
)


@only_here
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("name", [*vm.of_one, *OF_TWO])
def test_loops_are_vectorised(name, kind):
    function = getattr(vm, name)

    if name in vm.of_one:

        def loop(x, y, out):
            for i in range(x.size):
                out[i] = function(x[i])
    else:

        def loop(x, y, out):
            for i in range(x.size):
                out[i] = function(x[i], y[i])

    array = getattr(numba, kind)[::1]
    run = numba.njit(numba.void(array, array, array), error_model="numpy")(loop)
    assembly = run.inspect_asm(run.signatures[0])
    assert is_vectorised(assembly)
    if isinstance(getattr(trigonometric, name, None), Branching):
        lanes = 8 * VECTOR_BYTES // int(kind[-2:])
        before = re.split(rf"^{name}_\w+:", assembly, flags=re.MULTILINE)[0]
        assert re.search(rf"\b{name}_(float|double)_\d+_{lanes}\b", before)


@only_here
@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_are_vectorised(dtype, tmp_path, monkeypatch):
    """Those of rules and of forward functions that need an exponential."""
    monkeypatch.setenv("TAPEGRAD_CACHE_DIR", str(tmp_path))
    by_name = {p.name: p for p in primitives}
    kernels = [adjoint_kernel(by_name[n], 0, np.dtype(dtype)) for n in ("erf", "silu", "logaddexp")]
    kernels += [inner_loop(by_name[n], np.dtype(dtype)) for n in ("silu", "mish")]
    for kernel in kernels:
        assert is_vectorised(kernel._library.get_asm_str()), kernel._library.name
        # Also for short arrays that lie beside each other.
        assert "memcheck" not in kernel._library.get_llvm_str()
        if dtype == np.float32:  # and nothing is computed in float64
            assert not re.search(r"\bvcvt\w*2pd\b", kernel._library.get_asm_str())
