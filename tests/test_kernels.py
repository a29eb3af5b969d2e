"""Kernel = rule, for every elementwise primitive; native walk = Python's; the kernel cache."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad
from tapegrad import loading
from tapegrad.autograd import backward
from tapegrad.contributions import contribution
from tapegrad.primitive import elementwise, primitives, structural
from tapegrad.recording import apply
from tapegrad.rules.ondemand.recurrent import gru_cell_, lstm_cell_, lstm_output_
from tapegrad.tape import tape
from tapegrad.tensor import from_array
from tests.domains import differentiable, inputs_of

ELEMENTWISE = [p for p in primitives if p.elementwise and differentiable(p)]
NATIVE = [p for p in ELEMENTWISE if p.native and p.arity <= 3]
IDS = [p.name for p in NATIVE]

native_only = pytest.mark.skipif(
    not loading.load_native(), reason="the native loop can't be used here"
)


def run_kernel(kernel, primitive, arrays, out, out_bar, x_bar, add):
    values = [np.zeros(0)] * 3
    strides = [0] * 4
    for i, array in enumerate(arrays):
        values[i] = array
        strides[i] = array.strides[0] if array.ndim else 0
    strides[3] = out.strides[0]
    addresses = [v.ctypes.data for v in values]
    kernel.ctypes(
        out_bar.size, add, out_bar.ctypes.data, x_bar.ctypes.data, *addresses, out.ctypes.data,
        *strides,
    )  # fmt: skip


@native_only
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("primitive", NATIVE, ids=IDS)
def test_kernel_is_the_rule(primitive, dtype):
    from tapegrad.kernels.adjoint import adjoint_kernel

    rng = np.random.default_rng(1)
    arrays = [a if a.dtype == bool else a.astype(dtype) for a in inputs_of(primitive, (33,))]
    out = np.asarray(primitive.forward(*arrays)).astype(dtype)
    out_bar = rng.uniform(-1, 1, 33).astype(dtype)
    tolerance = (
        {"rtol": 4e-6, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-13, "atol": 1e-14}
    )
    for i, rule in enumerate(primitive.bound):
        if rule is None:
            continue
        share = rule((out_bar, *arrays, out))
        expected = out_bar * share if rule.partial else share
        kernel = adjoint_kernel(primitive, i, np.dtype(dtype))
        assert kernel is not None
        x_bar = np.full(33, 7, dtype)
        run_kernel(kernel, primitive, arrays, out, out_bar, x_bar, 0)
        np.testing.assert_allclose(x_bar, expected, **tolerance)
        run_kernel(kernel, primitive, arrays, out, out_bar, x_bar, 1)
        np.testing.assert_allclose(x_bar, expected + x_bar * 0 + expected, **tolerance)
        strided = [np.repeat(a, 3)[::3] for a in arrays]
        run_kernel(kernel, primitive, strided, np.repeat(out, 2)[::2], out_bar, x_bar, 0)
        np.testing.assert_allclose(x_bar, expected, **tolerance)
        numbers = [a if j == i else np.array(a[3]) for j, a in enumerate(arrays)]
        some = np.asarray(primitive.forward(*numbers), dtype) * np.ones(33, dtype)
        share = rule((out_bar, *numbers, some))
        run_kernel(kernel, primitive, numbers, some, out_bar, x_bar, 0)
        expected = out_bar * share if rule.partial else share
        np.testing.assert_allclose(x_bar, expected * np.ones(33), **tolerance)


SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-310, 1e300, -1e300, 0.5, 2.0])


@native_only
@pytest.mark.parametrize("primitive", NATIVE, ids=IDS)
def test_kernel_is_the_rule_at_special_values(primitive):
    from tapegrad.kernels.adjoint import adjoint_kernel

    grids = np.meshgrid(*[SPECIAL] * (primitive.arity + 1))
    out_bar, *arrays = [np.ascontiguousarray(g.ravel()) for g in grids]
    if primitive.condition:
        arrays[0] = arrays[0] > 0
    with np.errstate(all="ignore"):
        out = np.asarray(primitive.forward(*arrays)).astype(np.float64)
        for i, rule in enumerate(primitive.bound):
            if rule is None:
                continue
            share = rule((out_bar, *arrays, out))
            expected = np.broadcast_to(out_bar * share if rule.partial else share, out_bar.shape)
            kernel = adjoint_kernel(primitive, i, np.dtype(np.float64))
            x_bar = np.empty_like(out_bar)
            run_kernel(kernel, primitive, arrays, out, out_bar, x_bar, 0)
            np.testing.assert_allclose(x_bar, expected, rtol=1e-9, atol=1e-300)


def both_ways(build, arrays):
    """The gradients of a graph, replayed in Python and natively."""
    results = []
    loaded = loading.native.loaded
    for native in (False, True):
        leaves = [from_array(a.copy(), requires_grad=True) for a in arrays]
        out = build(*leaves)
        loading.native.loaded = loaded and native
        try:
            backward(
                out, from_array(np.linspace(0.5, 1.5, out._spec.size).reshape(out._spec.shape))
            )
        finally:
            loading.native.loaded = loaded
        results.append([None if x.grad is None else x.grad._array for x in leaves])
    return results


def assert_same(results):
    for a, b in zip(*results, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@native_only
@given(st.data())
def test_native_walk_is_the_python_walk(data):
    """Random graphs over random operations, with reuse, constants, broadcasting and reductions."""
    shape = data.draw(st.sampled_from([(), (1,), (4,), (2, 3), (0,), (2, 0)]))
    smooth = [p for p in NATIVE if p.name in ("add", "sub", "mul", "sin", "tanh", "neg", "exp")]
    steps = data.draw(
        st.lists(st.tuples(st.sampled_from(smooth), st.integers(0, 99), st.integers(0, 99),
                           st.sampled_from(["tensor", "number", "row", "sum"])),
                 min_size=1, max_size=30)
    )  # fmt: skip
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    arrays = [rng.uniform(-1, 1, shape), rng.uniform(-1, 1, shape), rng.uniform(-1, 1, ())]

    def build(*leaves):
        values = list(leaves[:2])
        for primitive, a, b, kind in steps:
            x = values[a % len(values)]
            if primitive.arity == 1:
                value = apply(primitive, (x,))
            elif kind == "number":
                value = apply(primitive, (x, 0.75))
            elif kind == "row":
                value = apply(primitive, (x, leaves[2]))
            else:
                value = apply(primitive, (x, values[b % len(values)]))
            if kind == "sum":
                value = value * value.sum()
            values.append(apply_tanh(value))
        return values[-1]

    assert_same(both_ways(build, arrays))


@native_only
def test_a_column_that_was_a_row():
    """Its last stride is that of a dimension of size 1: any number, however contiguous it is."""
    row = np.linspace(0.5, 2.0, 12).reshape(3, 4)
    assert_same(both_ways(lambda x: x[:1].transpose(0, 1).sin().sum(), [row]))
    assert_same(both_ways(lambda x: x[1].unsqueeze(-1).sin().sum(), [row]))


def apply_tanh(value):
    (tanh,) = [p for p in primitives if p.name == "tanh"]
    return apply(tanh, (value,))


@native_only
def test_many_leaves():
    arrays = [np.full(3, 1.0 + i / 1000) for i in range(500)]

    def build(*leaves):
        total = leaves[0]
        for leaf in leaves:
            total = total * leaf + leaf
        return total

    assert_same(both_ways(build, arrays))


SCRIPT = """
    import numpy as np
    from tapegrad import loading
    from tapegrad.autograd import backward
    from tapegrad.tensor import from_array
    assert loading.load_native()
    x = from_array(np.ones(3), requires_grad=True)
    y = x
    for _ in range(50):
        y = y * 1.5 + x
    backward(y, from_array(np.ones(3)))
    print(x.grad._array.tolist())
    from tapegrad.kernels.cache import statistics
    print(statistics["hits"], statistics["misses"])
"""


def run(cache, code=SCRIPT):
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "TAPEGRAD_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    gradient, counts = result.stdout.strip().splitlines()
    hits, misses = map(int, counts.split())
    return gradient, hits, misses


@native_only
def test_a_second_process_compiles_nothing(tmp_path):
    cache = tmp_path / "cache"
    first = run(cache)
    assert first[1] == 0
    assert first[2] > 0
    assert run(cache) == (first[0], first[2], 0)
    assert cache.stat().st_mode & 0o077 == 0, "the cache is closed to others"


@native_only
def test_damaged_and_missing_caches_give_right_results(tmp_path):
    cache = tmp_path / "cache"
    gradient, _, count = run(cache)
    files = sorted(cache.iterdir())
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:1000])
    changed = bytearray(files[2].read_bytes())
    changed[500] ^= 0xFF
    files[2].write_bytes(changed)
    assert run(cache) == (gradient, count - 3, 3)
    assert run(cache) == (gradient, count, 0)
    not_a_directory = tmp_path / "file"
    not_a_directory.write_text("")
    assert run(not_a_directory) == (gradient, 0, count)


@native_only
def test_two_processes_fill_one_cache(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    environment = {**os.environ, "TAPEGRAD_CACHE_DIR": str(tmp_path / "cache")}
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0].splitlines()[0] for process in both]
    assert outputs[0] == outputs[1]
    assert run(tmp_path / "cache")[2] == 0


@native_only
def test_an_edited_rule_gets_a_new_kernel(tmp_path):
    script = """
        import numpy as np
        from tapegrad import loading
        from tapegrad.autograd import backward
        from tapegrad.shortpaths import binary
        from tapegrad.primitive import elementwise
        from tapegrad.tensor import from_array
        def twice_x(y):
            return {factor} * y
        def twice_y(x):
            return x
        twice = binary(elementwise("twice", np.multiply, twice_x, twice_y))
        assert loading.load_native()
        x = from_array(np.ones(3), requires_grad=True)
        y = x
        for _ in range(30):
            y = twice(y, 1.0)
        backward(y, from_array(np.ones(3)))
        print(x.grad._array.tolist())
        from tapegrad.kernels.cache import statistics
        print(statistics["hits"], statistics["misses"])
    """
    cache = tmp_path / "cache"
    first, _, _ = run(cache, script.format(factor="1"))
    second, _, misses = run(cache, script.format(factor="2"))
    assert first == "[1.0, 1.0, 1.0]"
    assert second == str([float(2**30)] * 3)
    assert misses == 1
    assert run(cache, script.format(factor="1"))[0] == first


def test_without_jit_all_is_replayed_in_python():
    code = """
        import sys
        import numpy as np
        from tapegrad import loading
        from tapegrad.autograd import backward
        from tapegrad.tensor import from_array
        x = from_array(np.ones(3), requires_grad=True)
        y = x
        for _ in range(20_000):
            y = y * 1.0
        backward(y, from_array(np.ones(3)))
        assert x.grad._array.tolist() == [1, 1, 1]
        assert "numba" not in sys.modules
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr


def test_contribution_is_none_without_a_rule():
    for primitive in primitives:
        if primitive.elementwise and None in primitive.bound and primitive.arity > 0:
            i = primitive.bound.index(None)
            assert contribution(primitive, (), i, ()) is None
            return


@native_only
def test_a_last_dimension_of_size_1_may_have_any_stride():
    values = np.arange(1.0, 5.0)
    grads = []
    for array in (values.reshape(2, 2, 1), values.reshape(2, 2)[..., None]):
        x = tapegrad.from_numpy(np.ones((2, 2, 1))).requires_grad_()
        y = x * tapegrad.from_numpy(array)
        y.sum().backward()
        grads.append(x.grad.numpy())
    np.testing.assert_array_equal(grads[0], values.reshape(2, 2, 1))
    np.testing.assert_array_equal(grads[1], values.reshape(2, 2, 1))


@native_only
def test_several_outputs_within_a_native_walk():
    def build(x):
        for _ in range(20):
            variance, mean = tapegrad.var_mean(x)
            x = x * 0.9 + variance - mean
        return x

    assert_same(both_ways(build, [np.linspace(-1, 1, 5)]))


#: A call whose record has the rule, and the shapes of its inputs.
def of_small(primitive):
    """Where sigmoid and tanh aren't near their limits."""
    return lambda *inputs: primitive(*[x * 0.2 for x in inputs])


STRUCTURAL = {
    "reductions.sum_all_x": (lambda x: x.sum(), [(3, 4)]),
    "reductions.mean_all_x": (lambda x: x.mean(), [(3, 4)]),
    "shape.reshape_x": (lambda x: (x * 1).reshape(4, 3) * 1, [(3, 4)]),
    "matrix_products.vector_matrix_x": (lambda x, y: x @ y, [(3,), (3, 4)]),
    "matrix_products.vector_matrix_y": (lambda x, y: x @ y, [(3,), (3, 4)]),
    "matrix_products.mv_x": (lambda x, y: x @ y, [(3, 4), (4,)]),
    "matrix_products.mv_y": (lambda x, y: x @ y, [(3, 4), (4,)]),
    "matrix_products.mm_x": (lambda x, y: x @ y, [(2, 3), (3, 4)]),
    "reductions.sum_x": (lambda x: x.sum(1)[:, None] + x.sum(0, keepdim=True), [(3, 4, 2)]),
    "reductions.mean_x": (lambda x: x.mean(1)[:, None] + x.mean(-1, keepdim=True), [(3, 4, 4)]),
    "reductions.cumsum_x": (lambda x: x.cumsum(1) + x.cumsum(0), [(3, 4, 2)]),
    "permuting.transpose_x": (lambda x: x.T * 1, [(3, 4)]),
    "matrix_products.mm_y": (lambda x, y: x @ y, [(2, 3), (3, 4)]),
    "matrix_products.folded_x": (lambda x, y: x @ y.T, [(2, 3, 4), (5, 4)]),
    "matrix_products.folded_y": (lambda x, y: x @ y, [(2, 3, 4), (4, 5)]),
    "matrix_products.matmul_x": (lambda x, y: x @ y, [(2, 3, 4, 5), (2, 3, 5, 6)]),
    "matrix_products.matmul_y": (lambda x, y: x @ y, [(3, 4, 5), (3, 5, 6)]),
    "indexing.basic_x": (
        lambda x: x[:, None, -1] * x[::2, ..., 1:4].sum() + x[..., ::2].sum() * x[..., 1],
        [(3, 4)],
    ),
    "losses.bce_logits_x": (
        lambda x, y: tapegrad.nn.functional.binary_cross_entropy_with_logits(x, y),
        [(3, 4), (3, 4)],
    ),
    "linear.linear_x": (tapegrad.nn.functional.linear, [(2, 3, 4), (5, 4), (5,)]),
    "linear.linear_y": (tapegrad.nn.functional.linear, [(3, 4), (5, 4), (5,)]),
    "linear.linear_z": (tapegrad.nn.functional.linear, [(3, 4), (5, 4), (5,)]),
    "layer_norms.bare_layer_x": (
        lambda x: tapegrad.nn.functional.layer_norm(x, (3, 2)),
        [(70, 3, 2)],
    ),
    "layer_norms.bare_rms_x": (
        lambda x: tapegrad.nn.functional.rms_norm(x, (3, 2), None, 0.1),
        [(70, 3, 2)],
    ),
    "layer_norms.layer_x": (
        lambda x, y, z: tapegrad.nn.functional.layer_norm(x, (3, 2), y, z),
        [(70, 3, 2), (3, 2), (3, 2)],
    ),
    "layer_norms.layer_y": (
        lambda x, y, z: tapegrad.nn.functional.layer_norm(x, (3, 2), y, z),
        [(70, 3, 2), (3, 2), (3, 2)],
    ),
    "layer_norms.layer_z": (
        lambda x, y, z: tapegrad.nn.functional.layer_norm(x, (3, 2), y, z),
        [(70, 3, 2), (3, 2), (3, 2)],
    ),
    "layer_norms.rms_x": (
        lambda x, y: tapegrad.nn.functional.rms_norm(x, (3, 2), y),
        [(70, 3, 2), (3, 2)],
    ),
    "layer_norms.rms_y": (
        lambda x, y: tapegrad.nn.functional.rms_norm(x, (3, 2), y, 0.1),
        [(70, 3, 2), (3, 2)],
    ),
    "normalization.group_x": (
        lambda x, y, z: (
            tapegrad.nn.functional.group_norm(x, 2, y, z)
            + tapegrad.nn.functional.instance_norm(x)
            + tapegrad.nn.functional.group_norm(x, 3)
        ),
        [(3, 6, 5), (6,), (6,)],
    ),
    "normalization.group_y": (
        lambda x, y, z: tapegrad.nn.functional.group_norm(x, 2, y, z),
        [(3, 6, 5, 2), (6,), (6,)],
    ),
    "normalization.group_z": (
        lambda x, y, z: (
            tapegrad.nn.functional.group_norm(x, 2, y, z)
            + tapegrad.nn.functional.instance_norm(x, None, None, y, z)
        ),
        [(3, 6, 5), (6,), (6,)],
    ),
    "softmax.softmax_x": (lambda x: x.softmax(-1), [(2, 3, 17)]),
    "softmax.log_softmax_x": (lambda x: x.log_softmax(1), [(3, 17)]),
    **{
        f"recurrent.{primitive.name}_adjoint_{x}": (of_small(primitive), shapes)
        for primitive, shapes in (
            (lstm_cell_, [(3, 20), (3, 5)]),
            (lstm_output_, [(3, 20), (3, 5)]),
            (gru_cell_, [(2, 2, 51), (2, 2, 51), (2, 2, 17)]),
        )
        for x in primitive.inputs
    },
    "classification.nll_x": (
        lambda x: tapegrad.nn.functional.nll_loss(x, tapegrad.tensor([2, 0, 2])),
        [(3, 4)],
    ),
    "extrema.chosen_x": (lambda x: x.max(1)[0].sum() + x.min(0, True)[0], [(3, 4, 2)]),
    "extrema.shared_x": (lambda x: x.round().amax(1).sum() + x.amin((0, 1)), [(3, 4, 2)]),
    "embedding.embedding_x": (
        lambda x: (
            tapegrad.nn.functional.embedding(tapegrad.tensor([[2, 0], [2, 1]]), x)
            * tapegrad.nn.functional.embedding(tapegrad.tensor([1, 1]), x)
        ),
        [(3, 2)],
    ),
    "gathering.add_x": (
        lambda x, y: x.index_add(0, tapegrad.tensor([2, 0, 2]), y),
        [(4, 2), (3, 2)],
    ),
    "gathering.along_x": (
        lambda x: x.gather(1, INDEX) * x.gather(0, INDEX % 2)[:, :1] + x.view(-1).gather(0, ROW)[0],
        [(3, 3)],
    ),
    "gathering.masked_fill_x": (
        lambda x: (
            x.masked_fill(tapegrad.arange(12).reshape(3, 4) % 3 == 0, tapegrad.tensor(2.0))
            * x.masked_fill(tapegrad.arange(4) > 2, -1.0)
            + x.masked_fill(tapegrad.arange(3)[:, None] > 1, 5.0)
            + x.reshape(1, 3, 4).masked_fill(tapegrad.eye(3, 4) == 1, 2.0)[0]
        ),
        [(3, 4)],
    ),
    "indexing.advanced_x": (
        lambda x: x[INDEX] * x[[0, -1, -1]][1] * x[INDEX, [[1, 0]]].sum(),
        [(3, 4)],
    ),
    "indexing.put_y": (
        lambda x, y: x.index_add(0, tapegrad.tensor([2, 0, 2]), y),
        [(4, 2), (3, 2)],
    ),
    "joining.cat_x": (lambda x: tapegrad.cat([x, x[:, :2], x * x], 1), [(3, 4, 2)]),
    "joining.stack_x": (
        lambda x: tapegrad.stack([x, x * x], 1)[:, 0] * tapegrad.stack([x, x * 2, x], -1)[..., 2],
        [(3, 4)],
    ),
    "flipping.flip_x": (lambda x: x.flip(1) * x.flip(0), [(3, 4, 2)]),
    "matrix_products.dot_x": (lambda x, y: x @ y, [(5,), (5,)]),
    "matrix_products.dot_y": (lambda x, y: tapegrad.dot(x, y), [(5,), (5,)]),
    "losses.huber_x": (
        lambda x, y: tapegrad.nn.functional.huber_loss(x, y, delta=0.3),
        [(3, 4), (3, 4)],
    ),
    "losses.huber_y": (
        lambda x, y: tapegrad.nn.functional.smooth_l1_loss(x, y, beta=0.4, reduction="none"),
        [(3, 4), (3, 4)],
    ),
    "losses.mse_x": (lambda x, y: tapegrad.nn.functional.mse_loss(x, y), [(3, 4), (3, 4)]),
    "losses.mse_y": (lambda x, y: tapegrad.nn.functional.mse_loss(x, y), [(3, 4), (3, 4)]),
    "sorting.sorted_x": (lambda x: x.sort(0)[0] * x.topk(4)[0], [(3, 4)]),
    "reductions.prod_x": (lambda x: x.prod(1).sum() + x.prod(), [(3, 4, 2)]),
    "statistics.logsumexp_x": (lambda x: x.logsumexp(1).sum() + x.logsumexp((0, 1)), [(3, 4, 2)]),
    "statistics.norm_x": (lambda x: x.norm() * x.norm(dim=0) * (x * 0).norm(dim=0), [(3, 4)]),
    "statistics.var_x": (lambda x: x.var(1).sum() + x.var((1, 2), correction=0), [(3, 4, 2)]),
}
INDEX = tapegrad.tensor([[0, 2], [1, 1], [2, 0]])
ROW = tapegrad.tensor([5, 0, 5])


@native_only
def test_every_structural_kernel_is_tested():
    from tapegrad.kernels.structural import KERNELS

    assert set(STRUCTURAL) == set(KERNELS)


@native_only
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", STRUCTURAL)
def test_structural_kernel_is_the_rule(name, dtype, reduction):
    from tapegrad.kernels.compiled import compiled
    from tapegrad.kernels.structural import rule_name

    call, shapes = STRUCTURAL[name]
    if "bce" in name:
        f = tapegrad.nn.functional.binary_cross_entropy_with_logits

        def call(x, y):
            return f(x, y, reduction=reduction)

    if "mse" in name:

        def call(x, y):
            return tapegrad.nn.functional.mse_loss(x, y, reduction=reduction)

    if "nll" in name:

        def call(x):
            target = tapegrad.tensor([2, 0, 2])
            return tapegrad.nn.functional.nll_loss(x, target, reduction=reduction)

    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    wanted = "xyz".index(name[-1])  # the input that the kernel serves

    def build(*leaves):
        inputs = [x.detach() if i != wanted else x for i, x in enumerate(leaves)]
        # Twice, so that the second share is added to the first.
        z = inputs[wanted] * 3
        inputs[wanted] = z
        return (call(*inputs) * call(*inputs)) * 0.7

    results = both_ways(build, arrays)
    code = compiled()
    primitive = next(
        p
        for p in primitives
        for i in range(len(p.bound))
        if code.refresh().structural[p.code]
        if rule_name(p, i) == name
        if code.refresh().addresses[6 * p.code + 2 * i + (dtype == np.float64)] > 0
    )
    assert primitive
    for a, b in zip(*results, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            # In parts of the largest: where a sum cancels, its order shows.
            limit = (3e-6 if dtype == np.float32 else 1e-12) * abs(b).max(initial=0)
            np.testing.assert_allclose(a, b, rtol=0, atol=limit)


@native_only
def test_leaves_get_their_gradients_from_the_loop():
    x = tapegrad.tensor([1.0, 2.0], requires_grad=True)
    again = tapegrad.tensor([3.0, 4.0], requires_grad=True)
    again.grad = tapegrad.tensor([10.0, 20.0])
    wide = tapegrad.ones(2, 2).T.requires_grad_()
    double = tapegrad.tensor([1.0, 2.0], dtype=tapegrad.float64, requires_grad=True)
    dropped = tapegrad.tensor([5.0, 6.0], requires_grad=True)
    y = (x * again).sum() + wide.sum() + double.sum().float() + (x * dropped).sum()
    del dropped
    gradient = again.grad
    y.backward()
    assert x.grad.tolist() == [8, 10]
    assert not x.grad.requires_grad
    assert again.grad is gradient
    assert gradient.tolist() == [11, 22]
    assert wide.grad.tolist() == [[1, 1], [1, 1]]
    assert double.grad.tolist() == [1, 1]
    assert double.grad.dtype == tapegrad.float64
    assert x.grad._array.flags.owndata


ORDERS = [(1, 0), (0, 2, 1), (2, 0, 1), (2, 1, 0), (0, 2, 1, 3), (3, 1, 2, 0), (1, 0, 3, 2)]


@native_only
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_dimensions_in_another_order_natively(order):
    def build(x):
        y = x * 2
        return y.permute(order).exp() * 3 + y.permute(order)

    shape = (3, 17, 4, 5)[: len(order)]
    assert_same(both_ways(build, [np.random.default_rng(0).standard_normal(shape)]))


BATCHES = [
    ((2, 3, 4), (2, 4, 5)), ((2, 2, 3, 4), (2, 2, 4, 1)), ((3, 2, 2, 1, 2), (3, 2, 2, 2, 3)),
    ((2, 3, 4), (1, 4, 5)), ((2, 0, 4), (2, 4, 5)), ((2, 3, 0), (2, 0, 5)), ((2, 3, 4), (4,)),
    ((0, 3, 4), (0, 4, 2)), ((2, 3, 4), (4, 0)), ((2, 3, 4), (5, 2, 4, 1)),
]  # fmt: skip


@native_only
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shapes", BATCHES, ids=str)
def test_batches_of_matrices_natively(shapes, turned):
    """Also of matrices whose dimensions lie in another order in memory."""

    def build(x, y):
        x, y = x * 2, y * 3
        if turned:
            x = x.transpose(-1, -2).contiguous().transpose(-1, -2)
            y = y.movedim(0, -1).contiguous().movedim(-1, 0)
        return x @ y + (x @ y).exp()

    rng = np.random.default_rng(0)
    assert_same(both_ways(build, [rng.uniform(-0.5, 0.5, shape) for shape in shapes]))


INDICES = [
    (slice(1, 3),), (1,), (-1,), (slice(None), 2), (..., 1), (None, 0, slice(None, None, 2)),
    (slice(0, 0),), (slice(2, 1),), (slice(-2, None), slice(1, -1)), (slice(None), None, slice(3)),
    (0, 1), (..., None), (0, ..., 1),
]  # fmt: skip


@native_only
@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 2), (2, 3, 2, 2)], ids=str)
def test_parts_natively(shape, index):
    def build(x):
        y = x * 2
        return (y[index] * 3).sum() + (y[index].exp()).sum()

    assert_same(both_ways(build, [np.random.default_rng(0).standard_normal(shape)]))


SPREADS = [
    ((4, 5), (5,)), ((4, 5), (4, 1)), ((4, 5), (1, 5)), ((4, 5), ()), ((2, 3, 4), (3, 4)),
    ((2, 3, 4), (2, 1, 1)), ((2, 3, 4), (2, 3, 1)), ((2, 3, 4), (3, 1)), ((2, 3, 4), (1, 1, 4)),
    ((4, 1), (1, 5)), ((1,), (3,)), ((0, 5), (5,)), ((4, 5), (1, 1)), ((1, 5), (5,)), ((), ()),
    ((200, 3), (3,)), ((3, 300), (3, 1)),
]  # fmt: skip


@native_only
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shapes", SPREADS, ids=str)
def test_broadcast_inputs_natively(shapes, dtype):
    def build(x, y):
        z = (x * 2) * (y * 1)
        return z / y - tapegrad.maximum(x, y) + y

    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.uniform(0.5, 2, shape), dtype) for shape in shapes]
    for a, b in zip(*both_ways(build, arrays), strict=True):
        rtol = 1e-5 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(a, b, rtol, rtol)


def rule_with(factor):
    def rule(x):
        return x * factor

    return rule


def test_a_fingerprint_tells_the_numbers_that_are_compiled_in():
    from tapegrad.kernels.cache import fingerprint

    assert fingerprint(rule_with(2.0)) == fingerprint(rule_with(2.0))
    assert fingerprint(rule_with(2.0)) != fingerprint(rule_with(3.0))
    spaces = [{"K": k} for k in (1, 1, 2)]
    for space in spaces:
        exec("def rule(x):\n    return helper(x)\ndef helper(x):\n    return x * K", space)
    a, b, c = (fingerprint(space["rule"]) for space in spaces)
    assert a == b != c


def test_a_fingerprint_tells_what_an_intrinsic_writes():
    from numba.extending import intrinsic

    from tapegrad.kernels.cache import fingerprint

    def rule_over(offset):
        @intrinsic
        def moved(typingctx, x):
            def generate(context, builder, signature, given):
                return builder.add(given[0], offset)

            return x(x), generate

        return fingerprint(lambda x: moved(x))

    assert rule_over(1) == rule_over(1) != rule_over(2)


@native_only
def test_a_rule_that_numba_refuses_runs_in_python():
    def rule(x):
        return np.vectorize(lambda v: 2 * v)(x)

    square = elementwise("square_in_python", np.square, rule)
    x = tapegrad.tensor([1.0, 2.0], requires_grad=True)
    square(x * 1).sum().backward()
    assert x.grad.tolist() == [2, 4]


@native_only
def test_a_kernel_stands_beside_tapegrads_own_rules_only():
    from tapegrad.kernels.structural import kernel_of

    space = {"__name__": "mine.shape"}
    exec("def reshape_x(out_bar):\n    return 2 * out_bar", space)
    assert kernel_of(structural("mine", lambda x: x * 2, space["reshape_x"]), 0) is None


@native_only
def test_the_tables_of_specs_grow_by_doubling():
    from tapegrad.kernels.compiled import compiled

    code = compiled()
    for n in range(300):
        tapegrad.ones(1, 1000 + n, requires_grad=True).sum().backward()
    used = code.refresh().of_specs.size
    assert sum(tables.of_specs.size for tables in code._retired) <= 2 * used
    assert len(code._retired) < 20


@native_only
def test_a_walk_that_is_kept_for_another_replay_holds_nothing_of_the_last():
    x = tapegrad.tensor([1.0, 2.0], requires_grad=True)
    tape.sweep(full=True)
    before = tape.next_serial()
    # Without a kernel for cumsum Python takes part.
    (x * 2).cumsum(0).backward(tapegrad.ones(2))
    assert x.grad.tolist() == [4, 2]
    tape.sweep(full=True)
    assert not [record for record in tape.records if record[0] > before]


@native_only
@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
@pytest.mark.parametrize("shape", [(12,), (4, 3)])
def test_no_kernel_reads_beside_an_array_of_another_shape(shape):
    x = tapegrad.ones(2, 3, dtype=tapegrad.float64, requires_grad=True)
    y = tapegrad.ones(3, 4, dtype=tapegrad.float64)
    z = x @ y
    y._array.shape = shape  # what nobody can do through numpy()
    with pytest.raises((RuntimeError, ValueError)):
        z.sum().backward()
    assert x.grad is None
