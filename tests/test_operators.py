"""Every primitive's derivatives against differences; dtypes, strides, broadcasting, empties."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.primitive import INPUTS, primitives
from tapegrad.recording import apply
from tapegrad.tape import tape
from tests.differences import check_derivatives
from tests.domains import differentiable, differentiable_inputs, inputs_of
from tests.samples import SAMPLES

ELEMENTWISE = [p for p in primitives if p.elementwise and differentiable(p)]
#: Derivatives that are 0 almost everywhere: nothing to differentiate twice.
FLAT = {"sign", "ceil", "floor", "trunc", "rint", "floor_divide", "trunc_divide"}
#: Reached only from the rules of others, which the second-order tests of those run.
INNER = {
    "to", "output", "embed", "accumulate_at", "scatter_zeros", "constant", "as_tensor",
    "put_zeros", "cleared", "zeros_like", "real", "imag", "conj", "complex", "sum_to_shape",
    "ctc_loss", "ctc_loss_backward",  # of first order only: tests/test_margins.py
    "nll_loss_backward", "reversed_cumsum", "folded", "alias", "normal", "bernoulli", "conv_weight",
    "placed", "taken", "spread", "resample_transposed", "embedding_dense", "segment_spread",
    "fft_weighted", "recurrence", "poisson",
    "cofactors",
    "preaccumulated",  # of first order only: tests/test_tapes.py
}  # fmt: skip
#: Their rules say that there is no derivative.
NOT_IMPLEMENTED = {"geqrf", "linalg_ldl_factor_ex"}


def function_of(primitive):
    """The primitive as a function of its differentiable inputs, the others fixed."""

    def call(arrays):
        wanted = differentiable_inputs(primitive)

        def function(*tensors):
            inputs = [tg.from_numpy(a) for a in arrays]
            for i, x in zip(wanted, tensors, strict=True):
                inputs[i] = x
            return apply(primitive, tuple(inputs))

        return function, [arrays[i] for i in wanted]

    return call


@pytest.mark.parametrize("shape", [(5,), (), (2, 3)], ids=str)
@pytest.mark.parametrize("primitive", ELEMENTWISE, ids=[p.name for p in ELEMENTWISE])
def test_elementwise_derivatives(primitive, shape):
    function, arrays = function_of(primitive)(inputs_of(primitive, shape))
    check_derivatives(function, arrays, second=primitive.name not in FLAT)


@pytest.mark.parametrize("primitive", [p for p in ELEMENTWISE if p.arity > 1], ids=lambda p: p.name)
def test_broadcasting(primitive):
    arrays = inputs_of(primitive, (2, 3))
    arrays[0] = arrays[0][:1]
    arrays[1] = arrays[1][:, :1]
    function, arrays = function_of(primitive)(arrays)
    check_derivatives(function, arrays, second=primitive.name not in FLAT)


@pytest.mark.parametrize("primitive", ELEMENTWISE, ids=[p.name for p in ELEMENTWISE])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_elementwise_dtypes_and_strides(primitive, dtype):
    wide = inputs_of(primitive, (4, 6))
    contiguous = [a if a.dtype == bool else a.astype(dtype) for a in wide]
    strided = [np.repeat(np.asfortranarray(a), 2, 0)[::2] for a in contiguous]
    results = []
    for arrays in (contiguous, strided):
        leaves = [
            tg.from_numpy(a).requires_grad_(i in differentiable_inputs(primitive))
            for i, a in enumerate(arrays)
        ]
        before = tape.next_serial()
        out = apply(primitive, tuple(leaves))
        assert out._array.dtype == dtype
        assert len([r for r in tape.records if r[0] > before]) == 1
        out.backward(tg.ones_like(out))
        grads = [x.grad for x in leaves if x.requires_grad]
        for g in grads:
            assert g._array.dtype == dtype
            assert g._array.shape == (4, 6)
        results.append([out, *grads])
    # One may be replayed by NumPy and the other by compiled code, which round differently.
    rtol, atol = {np.float16: (1e-2, 0), np.float32: (1e-5, 2e-6), np.float64: (1e-5, 0)}[dtype]
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a._array, b.detach().numpy(), rtol, atol)


@pytest.mark.parametrize("primitive", ELEMENTWISE, ids=[p.name for p in ELEMENTWISE])
def test_elementwise_empty(primitive):
    leaves = [
        tg.from_numpy(a).requires_grad_(i in differentiable_inputs(primitive))
        for i, a in enumerate(inputs_of(primitive, (2, 0)))
    ]
    out = apply(primitive, tuple(leaves))
    assert out.shape == (2, 0)
    out.sum().backward()
    for x in leaves:
        if x.requires_grad:
            assert x.grad.shape == (2, 0)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_structural_derivatives(sample):
    check_derivatives(sample.call, sample.arrays())


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_structural_float32(sample):
    arrays = sample.arrays()
    values = {}
    for dtype in (np.float64, np.float32):
        # Constants of a sample are float64: the gradient must come back in the leaf's dtype.
        leaves = [tg.from_numpy(a.astype(dtype)).requires_grad_() for a in arrays]
        out = sample.call(*leaves)
        out.sum().backward()
        values[dtype] = [out] + [x.grad for x in leaves]
        for x in leaves:
            assert x.grad._array.dtype == dtype
    for a, b in zip(values[np.float64], values[np.float32], strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-4, atol=2e-5)


def test_every_structural_primitive_has_a_sample():
    recorded = set()
    for sample in SAMPLES:
        leaves = [tg.from_numpy(a).requires_grad_() for a in sample.arrays()]
        before = tape.next_serial()
        out = sample.call(*leaves)
        recorded |= {primitives[r[1]].name for r in tape.records if r[0] > before}
        del out
    recorded |= INNER | NOT_IMPLEMENTED
    missing = [
        p.name
        for p in primitives
        if not p.elementwise
        and p.inputs is INPUTS  # not one that another test has made
        and p.forward.__module__.startswith("tapegrad.")
        and differentiable(p)
        and p.name not in recorded
    ]
    assert not missing
