"""Layers of ``nn.functional``: edge cases, running statistics, random draws, error messages."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import loading

F = tg.nn.functional
inf, nan = math.inf, math.nan


def leaf(array):
    return tg.from_numpy(np.array(array)).requires_grad_()


# -- convolution -----------------------------------------------------------------------------------


def test_convolution_is_a_sum_of_products():
    x, w = np.arange(6.0).reshape(1, 1, 6), np.array([[[1.0, 2.0, 4.0]]])
    assert F.conv1d(tg.tensor(x), tg.tensor(w)).tolist() == [[[10, 17, 24, 31]]]
    assert F.conv1d(tg.tensor(x), tg.tensor(w), stride=2, padding=1).tolist() == [[[4, 17, 31]]]
    same = F.conv1d(tg.tensor(x), tg.tensor(w[..., :2]), padding="same")
    assert same.tolist() == [[[2, 5, 8, 11, 14, 5]]]  # the odd zero goes to the end


def test_convolution_of_an_empty_batch():
    x, w = leaf(np.zeros((0, 2, 5))), leaf(np.ones((3, 2, 2)))
    y = F.conv1d(x, w)
    y.sum().backward()
    assert y.shape == (0, 3, 4)
    assert x.grad.shape == (0, 2, 5)
    assert not w.grad.any()


def test_transposed_convolution_is_the_adjoint():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 4, 7, 6)), rng.normal(size=(6, 2, 3, 2))
    y = F.conv2d(tg.tensor(x), tg.tensor(w), None, (2, 3), (1, 2), (1, 2), 2)
    z = rng.normal(size=tuple(y.shape))
    back = F.conv_transpose2d(tg.tensor(z), tg.tensor(w), None, (2, 3), (1, 2), (0, 1), 2, (1, 2))
    assert back.shape == x.shape
    np.testing.assert_allclose((y.numpy() * z).sum(), (back.numpy() * x).sum())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, w: F.conv1d(x, w, padding="some"), "Invalid padding string"),
        (lambda x, w: F.conv1d(x, w, stride=0), "non-positive stride"),
        (lambda x, w: F.conv1d(x, w.double()), r"Input type \(Float\) and weight type \(Double\)"),
        (lambda x, w: F.conv1d(x[:, :1], w), "to have 2 channels, but got 1 channels instead"),
        (lambda x, w: F.conv1d(x[..., :2], w), "Kernel size can't be greater than actual input"),
        (
            lambda x, w: F.conv_transpose1d(x, w.reshape(2, 3, 3), output_padding=1),
            "must be smaller",
        ),
    ],
)
def test_errors_of_convolution(call, message):
    with pytest.raises(RuntimeError, match=message):
        call(tg.zeros(1, 2, 5), tg.zeros(3, 2, 3))


# -- pooling ---------------------------------------------------------------------------------------


def test_the_gradient_of_a_maximum_goes_to_the_first_of_equal_ones_and_the_last_nan():
    x = leaf([[[1.0, 1.0, nan, nan, -inf, -inf]]])
    y, index = F.max_pool1d(x, 2, return_indices=True)
    y.sum().backward()
    np.testing.assert_array_equal(y.detach().numpy(), [[[1, nan, -inf]]])
    assert index.tolist() == [[[0, 3, 4]]]
    assert x.grad.tolist() == [[[1, 0, 0, 1, 1, 0]]]


def test_padding_is_never_a_maximum():
    _, index = F.max_pool1d(tg.full((1, 1, 4), -inf), 2, 2, 1, return_indices=True)
    assert index.tolist() == [[[0, 1, 3]]]
    many = F.max_pool2d(tg.full((1, 1, 20, 20), -1.0), 20, 1, 10)  # more than 255 positions
    assert (many == -1).all()


def test_an_infinity_stays_in_its_windows():
    x = tg.tensor([[[1.0, inf, 3.0, 4.0, 5.0]]])
    assert F.avg_pool1d(x, 2, 1).tolist() == [[[inf, inf, 3.5, 4.5]]]
    assert F.adaptive_avg_pool1d(x, 3).tolist() == [[[inf, inf, 4.5]]]
    y = F.interpolate(x, 10)
    assert y.isinf().sum() == 2


def test_pooling_refuses_integers_where_it_divides():
    assert F.max_pool1d(tg.arange(4).reshape(1, 1, 4), 2).tolist() == [[[1, 3]]]
    with pytest.raises(NotImplementedError, match="floating-point"):
        F.avg_pool1d(tg.arange(4).reshape(1, 1, 4), 2)


def test_unpooling_checks_its_indices():
    with pytest.raises(RuntimeError, match="invalid max index: 9"):
        F.max_unpool1d(tg.ones(1, 2), tg.tensor([[0, 9]]), 2)
    with pytest.raises(ValueError, match="dim 0 must be between"):
        F.max_unpool1d(tg.ones(1, 2), tg.tensor([[0, 1]]), 2, output_size=(9,))


# -- normalization ---------------------------------------------------------------------------------


def test_batch_norm_moves_the_running_statistics_in_place():
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    mean, var = tg.zeros(2, dtype=tg.float64), tg.ones(2, dtype=tg.float64)
    y = F.batch_norm(tg.tensor(x), mean, var, training=True, momentum=0.25)
    np.testing.assert_allclose(y.numpy().mean((0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(mean.numpy(), 0.25 * x.mean((0, 2)))
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * x.var((0, 2), ddof=1))
    before = mean.clone()
    z = F.batch_norm(tg.tensor(x), mean, var, eps=0.0)
    np.testing.assert_allclose(
        z.numpy(), (x - mean.numpy()[:, None]) / np.sqrt(var.numpy()[:, None])
    )
    assert (mean == before).all()


def test_batch_norm_refuses_one_value_per_channel():
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        F.batch_norm(tg.ones(1, 3), None, None, training=True)
    with pytest.raises(RuntimeError, match="running_mean should contain 3 elements not 2"):
        F.batch_norm(tg.ones(2, 3), tg.zeros(2), tg.ones(2))


def test_layer_norm_of_half_precision_computes_in_single():
    x = tg.full((2, 4), 300.0, dtype=tg.float16)  # whose squares overflow
    assert F.layer_norm(x, (4,)).tolist() == [[0, 0, 0, 0]] * 2
    assert F.rms_norm(x, (4,)).tolist() == [[1, 1, 1, 1]] * 2


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("norm", [F.layer_norm, F.rms_norm, F.group_norm])
def test_a_weight_of_another_dtype_has_the_right_gradients(norm, native, monkeypatch):
    if native and not loading.load_native():
        pytest.skip("there is no machine code on this machine")
    monkeypatch.setattr(loading.native, "loaded", native)
    shape = 2 if norm is F.group_norm else (4,)
    results = []
    for dtype in (tg.float16, tg.float32):
        x = (tg.arange(8.0).reshape(2, 4) ** 2).to(dtype).requires_grad_()
        weight = tg.tensor([1.0, 2, 3, 4], requires_grad=True)
        out = norm(x, shape, weight)
        out.backward(tg.arange(8.0).reshape(2, 4).to(out.dtype))
        results.append([x.grad.numpy(), weight.grad.numpy()])
    assert results[0][0].dtype == np.float16
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)


def test_rms_norm_keeps_signs_of_zero_and_refuses_integers():
    assert str(F.rms_norm(tg.tensor([0.0, -0.0]), (2,))) == "tensor([0., -0.])"
    with pytest.raises(NotImplementedError, match="\"rms_norm\" not implemented for 'Long'"):
        F.rms_norm(tg.arange(4), (4,))


def test_statistics_of_another_dtype_leave_the_results_dtype():
    x, mean, var = tg.ones(2, 3, 4, dtype=tg.float16), tg.zeros(3), tg.ones(3)
    assert F.batch_norm(x, mean, var).dtype is tg.float16
    assert F.instance_norm(x, mean.double(), var.double(), use_input_stats=False).dtype is x.dtype


def test_a_normalization_without_gradient_is_not_recorded():
    with tg.no_grad():
        assert not F.layer_norm(leaf(np.ones((2, 3))), (3,)).requires_grad
    assert str(F.layer_norm(leaf(np.ones((2, 3))), (3,)).grad_fn).startswith("<NativeLayerNorm")


# -- the rest --------------------------------------------------------------------------------------


def test_padding():
    x = tg.tensor([[1.0, 2.0, 3.0]])
    assert F.pad(x, (1, -1), value=9.0).tolist() == [[9, 1, 2]]
    assert F.pad(x, (2, 1), "reflect").tolist() == [[3, 2, 1, 2, 3, 2]]
    assert F.pad(x, (1, 2), "circular").tolist() == [[3, 1, 2, 3, 1, 2]]
    assert F.pad(x, (-1, 2), "replicate").tolist() == [[2, 3, 3, 3]]
    for mode, size in (("reflect", 3), ("circular", 4)):
        with pytest.raises(RuntimeError, match="than"):
            F.pad(x, (size, 0), mode)
    y = F.pad(x, (0, 0))
    y[0, 0] = 5
    assert x[0, 0] == 1  # it was copied


def test_unfolding_copies():
    x = tg.ones(1, 1, 2, 2)
    F.unfold(x, 1)[:] = 3
    assert (x == 1).all()


def test_embedding():
    weight = leaf(np.arange(6.0).reshape(3, 2))
    index = tg.tensor([0, 2, 2, 1])
    F.embedding(index, weight, padding_idx=1, scale_grad_by_freq=True).sum().backward()
    assert weight.grad.tolist() == [[1, 1], [0, 0], [1, 1]]
    F.embedding(index, weight, max_norm=1.0)
    np.testing.assert_allclose(np.linalg.norm(weight.detach().numpy(), axis=1), 1, rtol=1e-6)
    with pytest.raises(IndexError, match="index out of range in self"):
        F.embedding(tg.tensor([3]), weight)
    with pytest.raises(NotImplementedError, match="sparse"):
        F.embedding(index, weight, sparse=True)


def test_bags_may_be_empty():
    weight = leaf(np.arange(6.0).reshape(3, 2))
    for mode, expected in (
        ("sum", [[0, 0], [6, 8], [0, 0]]), ("mean", [[0, 0], [3, 4], [0, 0]]),
        ("max", [[0, 0], [4, 5], [0, 0]]),
    ):  # fmt: skip
        y = F.embedding_bag(tg.tensor([1, 2]), weight, tg.tensor([0, 0, 2]), mode=mode)
        assert y.tolist() == expected
        y.sum().backward()
    assert weight.grad.tolist() == [[0, 0], [1.5, 1.5], [2.5, 2.5]]


def test_a_query_that_sees_no_key_gives_0():
    q, k = leaf(np.ones((2, 3))), leaf(np.ones((2, 3)))
    hidden = tg.tensor([[True, False], [False, False]])
    for mask in (hidden, tg.where(hidden, 0.0, -inf).double()):
        y = F.scaled_dot_product_attention(q, k, k, mask)
        assert y.tolist() == [[1, 1, 1], [0, 0, 0]]
        y.sum().backward()
        assert q.grad.isfinite().all()
        assert k.grad.isfinite().all()


def test_dropout_keeps_the_mean():
    tg.manual_seed(0)
    y = F.dropout(tg.ones(10_000), 0.25)
    assert set(y.tolist()) == {0.0, np.float32(1 / 0.75).item()}
    assert abs(y.mean().item() - 1) < 0.02
    assert F.dropout(y, 0.5, training=False) is y
    assert not F.dropout(tg.ones(5), 1.0).any()
    channels = F.dropout2d(tg.ones(4, 50, 2, 3))
    assert ((channels == 0).sum((2, 3)) % 6 == 0).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        F.dropout(y, 1.5)


def test_interpolation_says_what_it_cannot_do():
    x = tg.ones(1, 1, 2, 2)
    with pytest.raises(NotImplementedError, match="antialias"):
        F.interpolate(x, 3, mode="bilinear", antialias=True)
    with pytest.raises(NotImplementedError, match="Got 4D input, but linear mode needs 3D"):
        F.interpolate(x, 3, mode="linear")
    with pytest.raises(ValueError, match="only one of size or scale_factor"):
        F.interpolate(x, 3, 2.0)
    with pytest.warns(UserWarning, match="deprecated"):
        assert F.upsample_nearest(x, 3).shape == (1, 1, 3, 3)


def test_the_gradient_of_pdist_at_0_is_0():
    x = leaf(np.zeros((3, 2)))
    F.pdist(x).sum().backward()
    assert not x.grad.any()


# -- against torch ---------------------------------------------------------------------------------


def both(call, *arrays):
    """The values and gradients of a call in tapegrad and in torch, after the same seed."""
    torch = pytest.importorskip("torch")
    results = []
    for lib in (tg, torch):
        lib.manual_seed(3)
        leaves = [lib.from_numpy(np.array(a)) for a in arrays]
        for x in leaves:
            if x.is_floating_point():
                x.requires_grad_()
        outputs = call(lib, *leaves)
        outputs = [
            y for y in (outputs if isinstance(outputs, tuple) else (outputs,)) if y is not None
        ]
        sum((y * y).sum() for y in outputs).backward()
        grads = [x.grad for x in leaves if x.grad is not None]
        results.append([v.detach().numpy() for v in (*outputs, *grads)])
    for mine, theirs in zip(*results, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    "name",
    ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"],
)
def test_dropout_draws_as_torch(name, p):
    shape = (2, 3, 2, 2, 2) if name == "dropout3d" else (2, 3, 4)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    both(lambda lib, x: getattr(lib.nn.functional, name)(x, p, True), x)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize(
    ("unbatched", "bias", "zero", "masks", "weights", "separate"),
    list(itertools.product([False, True], repeat=6)),
)
def test_multi_head_attention_is_torchs(unbatched, bias, zero, masks, weights, separate):
    rng = np.random.default_rng(0)
    sizes = {"q": (4, 3, 8), "k": (5, 3, 8), "v": (5, 3, 8), "in": (24, 8), "in_b": (24,),
             "bk": (1, 1, 8), "bv": (1, 1, 8), "out": (8, 8), "out_b": (8,)}  # fmt: skip
    arrays = [rng.normal(size=s) for s in sizes.values()]
    hidden = rng.random((3, 5)) < 0.3
    added = rng.normal(size=(4, 5))

    def call(lib, q, k, v, w, b, bk, bv, out, out_b):
        if unbatched:
            q, k, v = q[:, 0], k[:, 0], v[:, 0]
        options = {"need_weights": weights}
        if masks:
            options["key_padding_mask"] = lib.from_numpy(hidden[0] if unbatched else hidden)
            options["attn_mask"] = lib.from_numpy(added)
        if separate:
            parts = zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), w.chunk(3))
            options |= {"use_separate_proj_weight": True, **dict(parts)}
        extra = (bk, bv) if bias else (None, None)
        forward = lib.nn.functional.multi_head_attention_forward
        packed = None if separate else w
        return forward(q, k, v, 8, 2, packed, b, *extra, zero, 0.0, out, out_b, **options)

    both(call, *arrays)


@pytest.mark.torch
@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize(
    ("mode", "options"),
    [("linear", {"align_corners": True}), ("linear", {"align_corners": False}),
     ("nearest-exact", {}), ("nearest", {}), ("area", {})],
)  # fmt: skip
def test_interpolation_of_all_sizes_is_torchs(mode, options, n):
    x = np.random.default_rng(0).normal(size=(1, 2, n))

    def call(lib, x):
        interpolate = lib.nn.functional.interpolate
        return tuple(interpolate(x, m, mode=mode, **options) for m in range(1, 12))

    both(call, x)


@pytest.mark.torch
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("dims", [2, 3])
def test_grid_sample_is_torchs(dims, mode, padding, aligned):
    if dims == 3 and mode == "bicubic":
        return
    rng = np.random.default_rng(0)
    grid = rng.uniform(-3, 3, (2, *(3, 4, 2)[:dims], dims))
    grid.flat[:3] = -1, 1, 0
    x = rng.normal(size=(2, 3, *(4, 5, 3)[:dims]))

    def call(lib, x, grid):
        return lib.nn.functional.grid_sample(x, grid * 1.0, mode, padding, aligned)

    if mode == "nearest":
        both(lambda lib, x: call(lib, x, lib.from_numpy(grid)), x)
    else:
        both(call, x, grid)
