"""tapegrad.masked: each operation against that of NumPy on the elements that are left."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tests.differences import check_derivatives

masked = tg.masked
MASK = np.array([[True, False, True, True], [False, True, True, False], [True, True, True, False]])
MASKS = {"whole": MASK, "row": MASK[:1], "column": MASK[:, 2:3], "vector": MASK[0]}
X = np.random.default_rng(0).uniform(-2, 2, MASK.shape)

REDUCTIONS = {
    "sum": np.sum,
    "prod": np.prod,
    "amax": np.max,
    "amin": np.min,
    "mean": np.mean,
    "norm": np.linalg.norm,
    "logsumexp": lambda v: np.log(np.exp(v).sum()),
    "var": lambda v: v.var(ddof=1) if len(v) > 1 else np.nan,
    "std": lambda v: v.std(ddof=1) if len(v) > 1 else np.nan,
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, mask):
    array = MASKS[mask]
    whole = np.broadcast_to(array, X.shape)
    x, m = tg.from_numpy(X.copy()), tg.from_numpy(array.copy())
    function = getattr(masked, name)
    mine = function(x, dim=1, mask=m)
    theirs = [REDUCTIONS[name](row[kept]) for row, kept in zip(X, whole, strict=True)]
    np.testing.assert_allclose(mine, theirs)
    np.testing.assert_allclose(function(x, mask=m), REDUCTIONS[name](X[whole]))
    assert function(x, dim=1, keepdim=True, mask=m).shape == (3, 1)


@pytest.mark.parametrize("name", [*REDUCTIONS, "softmax", "log_softmax", "softmin", "cumprod"])
def test_derivatives(name):
    def call(x):
        out = getattr(masked, name)(x, dim=1, mask=tg.from_numpy(MASK[:, :3].copy()))
        return tg.where(tg.isfinite(out), out, 0.0)

    check_derivatives(call, [X[:, :3]], second=name not in ("var", "std"))


def test_masked_out_elements_have_no_gradient():
    x = tg.tensor([1.0, 2.0, tg.inf], requires_grad=True)
    masked.mean(x, mask=tg.tensor([True, True, False])).backward()
    assert x.grad.tolist() == [0.5, 0.5, 0]


def test_nothing_left():
    x, none = tg.tensor([1.0, 2.0]), tg.tensor([False, False])
    assert masked.sum(x, mask=none).item() == 0
    assert masked.prod(x, mask=none).item() == 1
    assert masked.amax(x, mask=none).item() == -tg.inf
    assert masked.amin(tg.tensor([3, 4]), mask=none).item() == 2**63 - 1
    assert masked.mean(x, mask=none).isnan()
    assert masked.median(x, mask=none).isnan()
    assert masked.logsumexp(x, mask=none).item() == -tg.inf


def test_positions_running_sums_and_pairs():
    x = tg.tensor([3.0, 9.0, 1.0, 2.0])
    mask = tg.tensor([True, False, True, True])
    assert masked.argmax(x, 0, mask=mask, dtype=tg.int64).item() == 0
    assert masked.argmin(x, mask=mask, dtype=tg.int64).item() == 2
    assert masked.median(x, mask=mask).item() == 2
    assert masked.cumsum(x, 0, mask=mask).tolist() == [3, 3, 4, 6]
    np.testing.assert_allclose(masked.normalize(x, 1, 0, mask=mask), [1 / 2, 0, 1 / 6, 1 / 3])
    one = masked.logaddexp(x, x, input_mask=mask, other_mask=~mask)
    assert one.tolist() == x.tolist()


def test_dtypes_and_errors():
    x = tg.tensor([1, 2])
    assert masked.sum(x.int()).dtype == tg.int64
    assert masked.cumsum(x.int(), 0).dtype == tg.int32
    assert masked.var(x).dtype == tg.float32
    with pytest.raises(ValueError, match="Could not infer output dtype"):
        masked.mean(x)
    with pytest.raises(ValueError, match="no fully masked out rows"):
        masked.median(x, mask=tg.tensor([False, False]))
    with pytest.raises(IndexError, match="mask dimensionality higher"):
        masked.sum(x, mask=tg.ones(1, 2, dtype=tg.bool))
    with pytest.raises(AssertionError, match="Only one of unbiased and correction"):
        masked.var(x, 0, True, correction=1)
