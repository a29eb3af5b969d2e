"""Fused convolution, pooling, scattering and optimizers' updates beside what NumPy does."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import loading, threads
from tapegrad.fused import library
from tapegrad.storage import clock
from tapegrad.tape import tape

F = tg.nn.functional
pytestmark = pytest.mark.skipif(
    not loading.load_native(), reason="there is no machine code on this machine"
)


def random(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def gradients(function, arrays):
    leaves = [tg.from_numpy(a.copy()).requires_grad_() for a in arrays]
    out = function(*leaves)
    weights = random(*out.shape, dtype=out.detach().numpy().dtype, seed=1)
    loaded, loading.native.loaded = loading.native.loaded, False  # small ones would be the loop's
    try:
        out.backward(tg.from_numpy(weights))
    finally:
        loading.native.loaded = loaded
    return [out.detach().numpy(), *(x.grad.numpy() for x in leaves)]


def assert_fused_is_numpy(function, arrays, monkeypatch, *names):
    """With the fused functions of these names, and without any."""
    from tapegrad.kernels.fused import find as found

    called = []

    def find(name, dtype):
        called.append(name)
        return found(name, dtype)

    with monkeypatch.context() as patch:
        patch.setattr(library, "find", find)
        with_it = gradients(function, arrays)
    assert set(names) <= set(called)
    with monkeypatch.context() as patch:
        patch.setattr(library, "find", None)
        without = gradients(function, arrays)
    eps = np.finfo(arrays[0].dtype).eps
    for a, b in zip(with_it, without, strict=True):
        finite = b[np.isfinite(b)]
        limit = 50 * eps * max(1.0, float(np.abs(finite).max(initial=0.0)))
        np.testing.assert_allclose(a, b, rtol=100 * eps, atol=limit, strict=True)


# -- convolution -----------------------------------------------------------------------------------

CONVOLUTION = ("windowed", "window_products", "channel_sums")
GEOMETRIES = [
    # input, weight, stride, padding, dilation, groups
    ((1, 1, 1), (1, 1, 1), 1, 0, 1, 1),
    ((3, 2, 200), (7, 2, 5), 1, 2, 1, 1),
    ((2, 6, 40), (9, 2, 3), 3, 4, 2, 3),
    ((2, 3, 90), (4, 3, 5), 2, 1, 1, 1),
    ((5, 3, 12, 13), (6, 3, 3, 3), 1, 1, 1, 1),
    ((9, 4, 20, 21), (17, 4, 3, 2), (2, 1), (0, 2), 1, 1),
    ((2, 8, 15, 9), (8, 1, 3, 3), 1, 1, 1, 8),
    ((2, 8, 15, 9), (16, 1, 3, 3), 2, 0, (1, 2), 8),
    ((2, 3, 9, 9), (4, 3, 2, 2), 4, 0, 1, 1),
    ((2, 3, 7, 7), (5, 3, 1, 1), 3, 1, 1, 1),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), (1, 2, 3), 1, 1, 1),
    ((2, 4, 4, 5, 6), (6, 2, 3, 2, 2), 1, (1, 0, 2), (1, 2, 1), 2),
]


def by_dims(name, shape):
    return getattr(F, f"{name}{len(shape) - 2}d")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_convolution(geometry, dtype, monkeypatch):
    shape, weight, *options = geometry

    def call(x, w, b):
        return by_dims("conv", shape)(x, w, b, *options)

    arrays = [random(*s, dtype=dtype) for s in (shape, weight, weight[:1])]
    assert_fused_is_numpy(call, arrays, monkeypatch, *CONVOLUTION)


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_transposed_convolution(geometry, extra, monkeypatch):
    shape, weight, stride, padding, dilation, groups = geometry
    if extra and stride == 1 == dilation:
        pytest.skip("the padding is too large")
    smaller = (shape[0], weight[0], *[max(n // 3, 3) for n in shape[2:]])
    bias = (weight[1] * groups,)

    def call(x, w, b):
        apply = by_dims("conv_transpose", shape)
        return apply(x, w, b, stride, padding, extra, groups, dilation)

    arrays = [random(*s) for s in (smaller, weight, bias)]
    try:
        gradients(call, arrays)
    except RuntimeError:
        pytest.skip("not of these sizes")
    assert_fused_is_numpy(call, arrays, monkeypatch, *CONVOLUTION)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_not_finite_stays_where_it_belongs(value, which, monkeypatch):
    arrays = [random(2, 2, 6, 7), random(3, 2, 3, 3)]
    arrays[which][1, 1, 2, 0] = value
    with np.errstate(invalid="ignore"):
        for padding in (0, 1):
            assert_fused_is_numpy(
                lambda x, w, p=padding: F.conv2d(x, w, None, 1, p), arrays, monkeypatch, "windowed"
            )


def test_padding_of_one_side(monkeypatch):
    arrays = [random(2, 3, 8, 9), random(4, 3, 2, 4)]
    assert_fused_is_numpy(
        lambda x, w: F.conv2d(x, w, padding="same"), arrays, monkeypatch, "windowed"
    )


def test_layouts_that_are_not_fused():
    x, w = random(5, 6, 2, 3).transpose(3, 2, 0, 1), random(4, 2, 3, 3)
    out = F.conv2d(tg.from_numpy(x), tg.from_numpy(w))
    expected = F.conv2d(tg.from_numpy(np.ascontiguousarray(x)), tg.from_numpy(w))
    tg.testing.assert_close(out, expected)


# -- pooling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [2, 3, 14, 32, 70])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_squares(width, dtype, monkeypatch):
    x = random(2, 3, 6, width, dtype=dtype).round(1)  # with ties
    names = ("square_pool", "square_pool_x")
    assert_fused_is_numpy(lambda x: F.max_pool2d(x, 2), [x], monkeypatch, *names)
    x.flat[::7] = np.nan
    x.flat[::11] = -np.inf
    assert_fused_is_numpy(lambda x: F.max_pool2d(x, 2), [x], monkeypatch, *names)


# -- scattering ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "index"),
    [
        ((5, 64), ([0, 3, 3, -1, 0],)),
        ((4, 5, 64), (slice(None), [0, 3, 3, -1, 0])),
        ((40, 5), (slice(None), [0, 3, -2, 3] * 10)),
        ((7, 5, 4, 2), (slice(None), [[0, 1], [-1, 1]] * 10, [2])),
        ((1000,), ([5, 5, -7] * 200,)),
    ],
)
def test_positions_that_repeat(shape, index, monkeypatch):
    index = tuple(np.array(i) if isinstance(i, list) else i for i in index)

    def call(x):
        return x[index]

    assert_fused_is_numpy(call, [random(*shape)], monkeypatch, "add_rows")
    expected = random(*shape)
    taken = random(*expected[index].shape, seed=2)
    np.add.at(expected, index, taken)
    places = tuple(tg.from_numpy(i) for i in index if isinstance(i, np.ndarray))
    if len(places) == len(index):
        x = tg.from_numpy(random(*shape))
        out = x.index_put(places, tg.from_numpy(taken), accumulate=True)
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize("wrong", [5, -6])
def test_positions_out_of_bounds(wrong):
    x, index = tg.zeros(5, 300), tg.tensor([0, wrong])
    with pytest.raises(IndexError, match=f"index {wrong} is out of bounds"):
        x[index]
    with pytest.raises(IndexError, match=f"index {wrong} is out of bounds"):
        x.index_put((index,), tg.ones(2, 300), accumulate=True)


def test_many_rows_are_shared(monkeypatch):
    index = np.random.default_rng(0).integers(0, 50, 9000)
    x, y = tg.zeros(50, 64), random(9000, 64, dtype="float32")
    out = x.index_add(0, tg.from_numpy(index), tg.from_numpy(y))
    monkeypatch.setattr(library, "find", None)
    again = x.index_add(0, tg.from_numpy(index), tg.from_numpy(y))
    np.testing.assert_array_equal(out.numpy(), again.numpy())


# -- optimizers ------------------------------------------------------------------------------------

SETTINGS = [
    (tg.optim.SGD, {}),
    (tg.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    (tg.optim.SGD, {"momentum": 0.9, "dampening": 0.3, "maximize": True}),
    (tg.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (tg.optim.Adam, {}),
    (tg.optim.Adam, {"weight_decay": 0.1, "maximize": True}),
    (tg.optim.Adam, {"amsgrad": True}),
    (tg.optim.AdamW, {"weight_decay": 0.1}),
]


def trained(kind, options, dtype, first=()):
    shapes = [(3, 4), (), (70,), (300, 100)]
    parameters = [
        tg.from_numpy(np.asarray(random(*s, dtype=dtype, seed=i))).requires_grad_()
        for i, s in enumerate(shapes)
    ]
    parameters.append(tg.from_numpy(random(4, 5, dtype=dtype).T).requires_grad_())
    optimizer = kind(parameters, lr=0.1, **options)
    for step in range(3):
        for i, x in enumerate(parameters):
            if step or i != 1:  # one begins later
                x.grad = tg.from_numpy(np.asarray(random(*x.shape, dtype=dtype, seed=7 * step + i)))
        optimizer.step()
    state = [v.numpy() for s in optimizer.state.values() for v in s.values()]
    return [x.detach().numpy() for x in parameters] + state, [x._version for x in parameters]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "options"), SETTINGS)
def test_updates(kind, options, dtype, monkeypatch):
    arrays, versions = trained(kind, options, dtype)
    monkeypatch.setattr(library, "find", None)
    others, expected = trained(kind, options, dtype)
    assert versions == expected
    for a, b in zip(arrays, others, strict=True):
        np.testing.assert_array_equal(a, b)


def test_updates_refuse_memory_that_cannot_be_written():
    x = tg.from_numpy(np.ones(3, np.float32)).requires_grad_()
    x._array.flags.writeable = False
    x.grad = tg.ones(3)
    with pytest.raises(RuntimeError, match="unsupported operation"):
        tg.optim.SGD([x], lr=0.1).step()
    assert x.tolist() == [1, 1, 1]


# -- stamps ----------------------------------------------------------------------------------------


def test_accumulating_leaves_older_records_alone():
    x = tg.ones(3, requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    before = clock.latest
    y.backward(retain_graph=True)
    assert clock.latest == before
    assert x.grad.tolist() == [4, 4, 4]
    assert x.grad._version == 1


def test_a_step_leaves_other_graphs_alone():
    layer = tg.nn.Linear(3, 2)
    kept = (tg.ones(3, requires_grad=True) * 2).sum()
    for kind in (tg.optim.SGD, tg.optim.Adam, tg.optim.RMSprop):
        optimizer = kind(layer.parameters(), lr=0.1)
        layer(tg.ones(4, 3)).sum().backward()
        before = clock.latest
        optimizer.step()
        with tg.no_grad():
            layer.weight -= 0.1 * layer.weight.grad
        assert clock.latest == before
    kept.backward()


@pytest.mark.parametrize(
    "start", [lambda: tg.ones(3), lambda: tg.ones(2, 3)[1], lambda: tg.rand(3)]
)
def test_a_change_of_what_was_saved_is_told(start):
    x = start().detach().requires_grad_()
    y = (x * x).sum()
    serial = tape.next_serial()
    x.grad = tg.ones(3)
    tg.optim.SGD([x], lr=0.1).step()
    assert clock.latest > serial
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_a_change_of_a_saved_gradient_is_told():
    x, y = tg.ones(3, requires_grad=True), tg.ones(3, requires_grad=True)
    (x * x).sum().backward()
    z = (x.grad * y).sum()
    (x * x).sum().backward()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


# -- averages --------------------------------------------------------------------------------------

AVERAGES = [
    (lambda x: F.avg_pool2d(x, 2), (2, 3, 6, 8)),
    (lambda x: F.avg_pool2d(x, 3, 2, 1), (2, 3, 7, 8)),
    (lambda x: F.avg_pool2d(x, (3, 2), (1, 3), (1, 0), True, False), (3, 8, 9)),
    (lambda x: F.avg_pool2d(x, 2, 3, 0, divisor_override=5), (2, 1, 8, 7)),
    (lambda x: F.avg_pool1d(x, 4, 3, 2, True), (2, 3, 12)),
    (lambda x: F.adaptive_avg_pool2d(x, (3, 5)), (2, 2, 7, 6)),
    (lambda x: F.adaptive_avg_pool2d(x, (9, 2)), (2, 2, 4, 6)),
    (lambda x: F.adaptive_avg_pool1d(x, 3), (2, 2, 1000)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("function", "shape"), AVERAGES)
def test_averages(function, shape, dtype, monkeypatch):
    x = random(*shape, dtype=dtype)
    assert_fused_is_numpy(function, [x], monkeypatch, "averages", "averages_x")
    for value in (np.nan, np.inf, -np.inf):
        x[(0,) * x.ndim] = value
        assert_fused_is_numpy(function, [x], monkeypatch, "averages")


def test_averages_of_nothing():
    x = tg.ones(2, 3, 4, 4, requires_grad=True)
    out = F.adaptive_avg_pool2d(x, (0, 2))
    assert out.shape == (2, 3, 0, 2)
    out.sum().backward()
    assert not x.grad.any()
    assert F.avg_pool2d(tg.ones(0, 3, 4, 4), 2).shape == (0, 3, 2, 2)


# -- losses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_cross_entropy_at_special_values(dtype, reduction, monkeypatch):
    x, y = np.abs(random(100, dtype=dtype)), np.abs(random(100, dtype=dtype, seed=1))
    x[:4], y[2:4] = [0, 1, 0, 1], [0, 1]
    one = tg.tensor(0.5, dtype=tg.from_numpy(x).dtype)

    def plain(x):
        return F.binary_cross_entropy(x, tg.from_numpy(y), reduction=reduction)

    def scaled(x):
        return F.binary_cross_entropy(x, tg.from_numpy(y), one, reduction=reduction)

    for function in (plain, scaled):
        assert_fused_is_numpy(function, [x], monkeypatch, "bce_x")

    def of_logits(x):
        return F.binary_cross_entropy_with_logits(x, tg.from_numpy(y), reduction=reduction)

    x[:5] = [np.nan, np.inf, -np.inf, 1000, -1000]
    assert_fused_is_numpy(of_logits, [x], monkeypatch, "bce_logits", "bce_logits_x")


# -- normalization ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(200, 70), (2, 1024), (5, 1030), (2100, 1), (65, 40, 1, 1)])
def test_batch_norm_of_columns(shape, dtype, monkeypatch):
    x = random(*shape, dtype=dtype) + 5 * random(*shape[1:], dtype=dtype, seed=1)
    weight, bias = random(shape[1], dtype=dtype, seed=2), random(shape[1], dtype=dtype, seed=3)

    def whole(x, weight, bias):
        return F.batch_norm(x, None, None, weight, bias, True)

    names = ("columns", "columns_adjoint")
    assert_fused_is_numpy(whole, [x, weight, bias], monkeypatch, *names)

    def bare(x):
        return F.batch_norm(x, None, None, training=True)

    assert_fused_is_numpy(bare, [x], monkeypatch, *names)
    for value in (np.nan, np.inf, -np.inf):
        x[1, 0] = value
        assert_fused_is_numpy(bare, [x], monkeypatch, *names)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
def test_rms_norm_of_special_values(value, monkeypatch):
    x, weight = random(3, 40), random(40, seed=1)
    x[1, 3] = value
    x[2] = value

    def normed(x, weight):
        return F.rms_norm(x, (40,), weight)

    assert_fused_is_numpy(normed, [x, weight], monkeypatch, "layer", "layer_adjoint")


NORMS = {
    "batch": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (6, 40, 3)),
    "columns": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (70, 40)),
    "group": (lambda x, w, b: F.group_norm(x, 8, w, b), (3, 40, 7)),
    "instance": (lambda x, w, b: F.instance_norm(x, None, None, w, b), (3, 40, 7)),
    "layer": (lambda x, w, b: F.layer_norm(x, (40,), w, b), (131, 40)),
    "rms": (lambda x, w, b: F.rms_norm(x, (40,), w) + b, (131, 40)),
}


@pytest.mark.parametrize("wanted", ["x", "w", "b", "xw", "xb", "wb"])
@pytest.mark.parametrize("name", NORMS)
def test_norms_of_which_some_inputs_need_gradients(name, wanted, monkeypatch):
    call, shape = NORMS[name]
    arrays = {"x": random(*shape), "w": random(40, seed=1), "b": random(40, seed=2)}

    def some(*leaves):
        given = dict(zip(wanted, leaves, strict=True))
        return call(*[given.get(k, tg.from_numpy(a)) for k, a in arrays.items()])

    assert_fused_is_numpy(some, [arrays[k] for k in wanted], monkeypatch)


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_transposed_arrays(name, monkeypatch):
    call, shape = NORMS[name]
    kernel = {"columns": "columns", "layer": "layer", "rms": "layer"}.get(name, "standard")

    def transposed(x, w, b):
        return call(x.mT, w, b).mT

    arrays = [random(*shape[:-2], shape[-1], shape[-2]), random(40, seed=1), random(40, seed=2)]
    assert_fused_is_numpy(transposed, arrays, monkeypatch, kernel, kernel + "_adjoint")


@pytest.mark.parametrize("name", NORMS)
def test_norms_far_from_0(name):
    """The variance isn't a difference of large numbers."""
    call, shape = NORMS[name]
    if name == "rms":
        pytest.skip("its rows aren't centred")
    x = 100 + random(*shape, dtype="float32")
    weight, bias = random(40, dtype="float32", seed=1), random(40, dtype="float32", seed=2)
    arrays = [x, weight, bias]
    exact = gradients(call, [a.astype("float64") for a in arrays])
    for a, b in zip(gradients(call, arrays), exact, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NORMS)
def test_norms_on_several_threads(name, monkeypatch):
    call, shape = NORMS[name]
    arrays = [random(*shape), random(40, seed=1), random(40, seed=2)]
    alone = gradients(call, arrays)
    before = tg.get_num_threads()
    monkeypatch.setattr(threads, "LARGE_BYTES", 0)
    tg.set_num_threads(3)
    try:
        shared = gradients(call, arrays)
    finally:
        tg.set_num_threads(before)
    for a, b in zip(shared, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
