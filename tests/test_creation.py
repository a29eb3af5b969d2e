"""Functions that make Tensors: values, dtypes, errors, memory; and the same calls in torch."""

import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tests.same_as_torch import outcome

# -- tensor and the like ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, tg.float32),
        (1, tg.int64),
        (True, tg.bool),
        (1j, tg.complex64),
        ([], tg.float32),
        ([1, 2.5], tg.float32),
        ([True, 2], tg.int64),
        ([1, 2.5, 1j], tg.complex64),
        (((1, 2), [3, 4]), tg.int64),
        (range(3), tg.int64),
        (np.float64(1), tg.float64),
        ([np.float32(1), 2.0], tg.float32),
        ([np.float32(1), np.float64(2)], tg.float64),
        ([np.int32(1)], tg.int32),
        (np.ones(2, np.float16), tg.float16),
        ([np.ones(2), [1, 2]], tg.float64),
        ([tg.tensor(1.0), 2], tg.float32),
        ([tg.tensor([1.0], dtype=tg.float64), 2], tg.float64),
    ],
)
def test_tensor_infers_the_dtype(data, dtype):
    x = tg.tensor(data)
    assert x.dtype is dtype
    assert x.is_leaf
    assert not x.requires_grad


def test_the_default_dtype_is_that_of_floats():
    tg.set_default_dtype(tg.float64)
    try:
        assert tg.tensor([1.0]).dtype is tg.float64
        assert tg.tensor([1j]).dtype is tg.complex128
        assert tg.zeros(1).dtype is tg.ones(1).dtype is tg.rand(1).dtype is tg.float64
        assert tg.linspace(0, 1, 2).dtype is tg.arange(1.0).dtype is tg.float64
    finally:
        tg.set_default_dtype(tg.float32)


def test_tensor_copies():
    array = np.ones(2)
    x = tg.tensor(array)
    array[0] = 5
    assert x.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tg.tensor([[1, 2], [3]]), ValueError, "expected sequence of length 2 at dim 1"),
        (lambda: tg.tensor([[[1, 2]], [[3]]]), ValueError, "length 2 at dim 2 (got 1)"),
        (lambda: tg.tensor([[1], 3]), TypeError, "not a sequence"),
        (lambda: tg.tensor([1, [3]]), TypeError, "'list' object cannot be interpreted"),
        (lambda: tg.tensor("a"), TypeError, "new(): invalid data type 'str'"),
        (lambda: tg.tensor(["a"]), ValueError, "too many dimensions 'str'"),
        (lambda: tg.tensor(None), RuntimeError, "Could not infer dtype of NoneType"),
        (lambda: tg.tensor([None]), RuntimeError, "Could not infer dtype of NoneType"),
        (lambda: tg.tensor({}), RuntimeError, "Could not infer dtype of dict"),
        (lambda: tg.tensor([2**63]), ValueError, "Overflow when unpacking long long"),
        (lambda: tg.tensor([300], dtype=tg.uint8), RuntimeError, "without overflow"),
        (lambda: tg.tensor([np.nan], dtype=tg.int64), RuntimeError, "without overflow"),
        (lambda: tg.tensor([1j], dtype=tg.float32), TypeError, "must be real number, not complex"),
        (lambda: tg.tensor([1], requires_grad=True), RuntimeError, "floating point and complex"),
        (lambda: tg.tensor([1.0], dtype="float32"), TypeError, "argument 'dtype' must be"),
        (lambda: tg.tensor([1.0], device="cuda"), AssertionError, "not compiled with CUDA"),
        (lambda: tg.tensor([1.0], pin_memory=True), RuntimeError, "pin_memory=True requires"),
        (lambda: tg.tensor([tg.ones(2)]), ValueError, "only one element tensors"),
        (lambda: tg.from_numpy([1]), TypeError, "expected np.ndarray (got list)"),
        (lambda: tg.from_numpy(np.ones(3)[::-1]), ValueError, "At least one stride"),
        (lambda: tg.from_numpy(np.ones(3, ">f4")), ValueError, "byte order"),
        (lambda: tg.from_numpy(np.array(["a"])), TypeError, "can't convert np.ndarray of type"),
        (lambda: tg.asarray([1.0], copy=False), ValueError, "can't alias arbitrary sequence"),
        (lambda: tg.zeros(-1), RuntimeError, "Dimension size must be non-negative"),
        (lambda: tg.ones(2, -1), RuntimeError, "negative dimension -1: [2, -1]"),
        (lambda: tg.zeros(2.5), TypeError, "must be tuple of ints, not float"),
        (lambda: tg.zeros(()).reshape(5), RuntimeError, "invalid"),
        (lambda: tg.zeros(2**62, 2**62), RuntimeError, "Storage size calculation overflowed"),
        (lambda: tg.zeros(2, out=tg.zeros(2)), NotImplementedError, "out.copy_"),
        (lambda: tg.zeros(2, layout=tg.sparse_coo), NotImplementedError, "dense"),
        (lambda: tg.full((2,), 300, dtype=tg.uint8), RuntimeError, "type uint8_t without overflow"),
        (lambda: tg.full((2,), 1e40), RuntimeError, "type float without overflow"),
        (lambda: tg.full(2, 1), TypeError, "must be tuple of ints, not int"),
        (lambda: tg.arange(0, 3, 0), RuntimeError, "step must be nonzero"),
        (lambda: tg.arange(3, 0), RuntimeError, "inconsistent with step sign"),
        (lambda: tg.arange(np.inf), RuntimeError, "unsupported range: 0 -> inf"),
        (lambda: tg.arange(3, dtype=tg.bool), NotImplementedError, "'Bool'"),
        (lambda: tg.linspace(0, 1, -1), RuntimeError, "number of steps must be non-negative"),
        (lambda: tg.eye(-1), RuntimeError, "n must be greater or equal to 0, got -1"),
        (lambda: tg.rand(2, dtype=tg.int64), NotImplementedError, "'Long'"),
        (lambda: tg.rand(2, generator=3), TypeError, "must be tapegrad.Generator, not int"),
        (lambda: tg.randint(3, 2), TypeError, "argument 'size' (position 2)"),
        (lambda: tg.randint(3, 3, (2,)), RuntimeError, "'from' to be less than 'to'"),
        (lambda: tg.normal(0.0, 1.0), TypeError, "invalid combination of arguments"),
        (lambda: tg.normal(tg.ones(2), -1.0), RuntimeError, "expects std >= 0.0"),
        (lambda: tg.set_default_device("cuda"), AssertionError, "not compiled with CUDA"),
        (lambda: tg.zeros_like([1]), TypeError, "must be Tensor, not list"),
    ],
)
def test_bad_arguments_raise(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_a_tensor_of_a_tensor_warns():
    x = tg.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="To copy construct from a tensor"):
        y = tg.tensor(x)
    assert not y.requires_grad
    with pytest.warns(UserWarning, match=r"rather than tensor.new_tensor\(sourceTensor\)"):
        x.new_tensor(x)
    with pytest.warns(UserWarning, match="Converting a tensor with requires_grad=True"):
        tg.tensor([x[0], 1])


def test_from_numpy_shares_memory():
    array = np.zeros((2, 3))[:, ::2]
    x = tg.from_numpy(array)
    x[0, 1] = 5
    assert array[0, 1] == 5
    assert np.shares_memory(x.numpy(), array)
    assert np.shares_memory(tg.as_tensor(array).numpy(), array)
    assert np.shares_memory(tg.asarray(array).numpy(), array)
    assert not np.shares_memory(tg.asarray(array, copy=True).numpy(), array)
    assert not np.shares_memory(tg.as_tensor(array, dtype=tg.float32).numpy(), array)


def test_a_read_only_array_warns_and_cannot_be_written():
    array = np.ones(2)
    array.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        x = tg.from_numpy(array)
    with pytest.raises(RuntimeError):
        x.add_(1)


def test_as_tensor_keeps_tensors_and_their_history():
    x = tg.ones(2, requires_grad=True)
    assert tg.as_tensor(x) is x
    y = tg.as_tensor(x, dtype=tg.float64)
    y.sum().backward()
    assert x.grad.tolist() == [1, 1]
    assert tg.asarray(x, requires_grad=False).requires_grad is False


def test_buffers():
    memory = bytearray(b"\x01\x00\x02\x00")
    x = tg.frombuffer(memory, dtype=tg.int16)
    assert x.tolist() == [1, 2]
    memory[0] = 7
    assert x.tolist() == [7, 2]
    assert tg.frombuffer(memory, dtype=tg.int16, count=1, offset=2).tolist() == [2]
    with pytest.raises(ValueError, match="multiple of element size"):
        tg.frombuffer(bytearray(3), dtype=tg.int16)


def test_dlpack():
    x = tg.arange(3.0)
    assert np.from_dlpack(x).tolist() == [0, 1, 2]
    assert tg.from_dlpack(np.ones(2)).tolist() == [1, 1]


# -- of a size, in order ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [tg.zeros, tg.ones, tg.empty, tg.rand, tg.randn])
def test_sizes_are_ints_or_one_sequence(make):
    for sizes in [(2, 3), ((2, 3),), ([2, 3],), (tg.Size([2, 3]),), (np.int64(2), tg.tensor(3))]:
        assert make(*sizes).shape == (2, 3)
    assert make(size=(2, 3)).shape == (2, 3)
    assert make(()).shape == ()
    assert make(0, 3).shape == (0, 3)
    x = make(2, dtype=tg.float64, requires_grad=True, device="cpu", layout=tg.strided)
    assert x.dtype is tg.float64
    assert x.requires_grad
    assert x.is_leaf


def test_full_takes_the_dtype_of_the_value():
    assert tg.full((2,), 1).dtype is tg.int64
    assert tg.full((2,), True).tolist() == [True, True]
    assert tg.full((2,), 1000.5).tolist() == [1000.5, 1000.5]
    assert tg.full((), tg.tensor(3)).tolist() == 3
    assert tg.full((2,), float("inf")).tolist() == [np.inf, np.inf]
    assert tg.full((2,), -1, dtype=tg.uint8).tolist() == [255, 255]


def test_arange():
    assert tg.arange(3).tolist() == [0, 1, 2]
    assert tg.arange(3, 0, -1).tolist() == [3, 2, 1]
    assert tg.arange(1, 2, 0.25).tolist() == [1, 1.25, 1.5, 1.75]
    assert tg.arange(0, 5, 1.5, dtype=tg.int64).tolist() == [0, 1, 2, 3, 4]
    assert tg.arange(0).shape == (0,)
    assert tg.arange(end=2, dtype=tg.int8).dtype is tg.int8
    assert tg.arange(2**62, 2**62 + 2).tolist() == [2**62, 2**62 + 1]
    assert tg.arange(3.0, requires_grad=True).requires_grad


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 50))
def test_linspace_meets_both_ends(start, end, n):
    x = tg.linspace(start, end, n, dtype=tg.float64).numpy()
    assert len(x) == n
    np.testing.assert_allclose(x, np.linspace(start, end, n), rtol=1e-12, atol=1e-9)
    if n > 1:
        assert x[0] == start
        assert x[-1] == end


def test_triangles():
    assert tg.tril_indices(2, 2).tolist() == [[0, 1, 1], [0, 0, 1]]
    assert tg.triu_indices(2, 3, 1, dtype=tg.int32).tolist() == [[0, 0, 1], [1, 2, 2]]


def test_alike():
    x = tg.ones(2, 3, dtype=tg.float64).t()
    for make in (tg.zeros_like, tg.ones_like, tg.empty_like, tg.rand_like, tg.randn_like):
        y = make(x, requires_grad=True)
        assert y.shape == (3, 2)
        assert y.dtype is tg.float64
        assert y.stride() == x.stride()
        assert y.requires_grad
    assert tg.full_like(x, 2, dtype=tg.int32).tolist() == [[2, 2]] * 3
    assert tg.randint_like(x, 3, 4).tolist() == [[3, 3]] * 3
    assert x.new_zeros(2).dtype is x.new_ones((1, 2)).dtype is x.new_full((2,), 1).dtype
    assert x.new_tensor([1, 2]).dtype is tg.float64
    assert x.new_empty(2, 3, dtype=tg.int8).dtype is tg.int8
    assert tg.empty_strided((2, 3), (1, 2)).stride() == (1, 2)
    assert tg.empty_permuted((2, 3), (1, 0)).stride() == (1, 2)


# -- random numbers --------------------------------------------------------------------------------


def test_generators():
    assert tg.manual_seed(3) is tg.default_generator
    assert tg.initial_seed() == 3
    state = tg.get_rng_state()
    assert state.dtype is tg.uint8
    first = tg.rand(4)
    tg.set_rng_state(state)
    assert tg.equal(tg.rand(4), first)
    generator = tg.Generator().manual_seed(3)
    assert tg.equal(tg.rand(4, generator=generator), first)
    generator.set_state(state)
    assert tg.equal(tg.rand(4, generator=generator), first)


def test_filling_in_place():
    x = tg.empty(50)
    version = x._version
    assert x.uniform_(2, 3) is x
    assert x._version == version + 1
    assert ((x >= 2) & (x < 3)).all()
    assert (x.random_(5) < 5).all()
    assert (x.random_(5, 7) >= 5).all()
    assert (x.bernoulli_(1.0) == 1).all()
    assert (x.bernoulli_(tg.zeros(50)) == 0).all()
    assert (x.exponential_(2.0) >= 0).all()
    leaf = tg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        leaf.normal_()
    with tg.no_grad():
        leaf.normal_()
    assert leaf.requires_grad
    y = leaf * 2
    y.view(2)[:1].uniform_()
    y.sum().backward()
    assert leaf.grad.tolist() == [0, 2]


def test_no_gradient_flows_through_a_draw():
    p = tg.full((3,), 0.5, requires_grad=True)
    std = tg.ones(2, 1, requires_grad=True)
    loss = tg.bernoulli(p).sum() + tg.normal(p, std).sum() + tg.normal(p).sum()
    (loss + tg.normal(0.0, std).sum()).backward()
    assert p.grad.tolist() == [0, 0, 0]
    assert std.grad.tolist() == [[0], [0]]


def test_dtypes_and_layouts_pickle_to_themselves():
    for value in (tg.float32, tg.strided, tg.preserve_format, tg.device("cpu"), tg.Size([2])):
        again = pickle.loads(pickle.dumps(value))
        assert again == value
    assert repr(tg.strided) == "tapegrad.strided"
    assert tg.zeros(1).layout is tg.strided


def test_legacy_types():
    assert tg.LongTensor([1, 2]).dtype is tg.int64
    assert tg.FloatTensor(2, 3).shape == (2, 3)
    assert isinstance(tg.ones(1), tg.FloatTensor)
    assert not isinstance(tg.ones(1), tg.DoubleTensor)


def test_complex_and_polar():
    a, b = (tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True) for _ in range(2))
    assert tg.complex(a, b).tolist() == [1 + 1j, 2 + 2j]
    assert tg.autograd.gradcheck(tg.complex, (a, b)) if hasattr(tg.autograd, "gradcheck") else True
    z = tg.complex(a, b)
    ga, gb = tg.autograd.grad(z, (a, b), tg.tensor([1 + 2j, 3 + 4j], dtype=tg.complex128))
    assert (ga.tolist(), gb.tolist()) == ([1, 3], [2, 4])
    np.testing.assert_allclose(
        tg.polar(a, b).detach().numpy(), [1, 2] * np.exp(1j * np.array([1, 2]))
    )
    with pytest.raises(RuntimeError, match="Expected object of scalar type Double but got"):
        tg.complex(a, b.float())


# -- the same calls in torch -----------------------------------------------------------------------

SAME = """
torch.tensor([1, 2.5, 1j])
torch.tensor([[], []])
torch.tensor(())
torch.tensor([1e50], dtype=torch.float16)
torch.tensor([-1], dtype=torch.uint8)
torch.tensor([300.5], dtype=torch.uint8)
torch.tensor([200], dtype=torch.int8)
torch.tensor(2**63)
torch.tensor([1j], dtype=torch.bool)
torch.tensor([np.int32(1), 2])
torch.tensor([torch.tensor([1.]), 2.])
torch.tensor(bytearray(b'abc'))
torch.tensor([[[1]], [3]])
torch.tensor(b'abc')
torch.asarray(np.array([1.]), dtype=torch.float32, copy=False)
torch.zeros((2, 2.5))
torch.zeros('a')
torch.zeros((2, 3), 4)
torch.zeros(True)
torch.zeros(2, dtype=int)
torch.ones(2, dtype=torch.int64, requires_grad=True)
torch.full((2,), 1j, dtype=torch.float32)
torch.full((2,), torch.tensor([3.]))
torch.eye(2, 3, dtype=torch.bool)
torch.eye(2.)
torch.arange(1, 1.3, 0.1)
torch.arange(2.5, dtype=torch.int64)
torch.arange(0.5, 5.5, dtype=torch.int64)
torch.arange(0, 5, 1.5, dtype=torch.int32)
torch.arange(torch.tensor(3.), 5)
torch.arange(np.float64(3))
torch.arange(0, 2**63)
torch.arange(1j)
torch.arange('a')
torch.linspace(10, 0, 4, dtype=torch.int64)
torch.linspace(0, 1j, 3)
torch.linspace(0, 1, 1)
torch.linspace(-3, 7, 101)
torch.linspace(torch.tensor([0.]), torch.tensor(1.), 3)
torch.logspace(0, 2, 3, 2)
torch.logspace(0, 2j, 3)
torch.scalar_tensor(True)
torch.tril_indices(3, 4, 1)
torch.triu_indices(-1, 4)
torch.tril_indices(2, 2, dtype=torch.float32)
torch.rand(2, 3)
torch.randn(20, dtype=torch.float64)
torch.randn(2, dtype=torch.complex64)
torch.randint(5, (6,))
torch.randint(0, (2,))
torch.randint(low=1, high=5, size=(2,), dtype=torch.float32)
torch.randint(5, (2,), dtype=torch.complex64)
torch.randperm(7)
torch.randperm(-1)
torch.randperm(3, dtype=torch.bool)
torch.normal(1.5, 2.0, (20,))
torch.normal(torch.zeros(2), torch.ones(3))
torch.normal(torch.arange(20.), 2.)
torch.normal(1., torch.arange(20.))
torch.normal(torch.arange(20.), torch.arange(20.))
torch.normal(torch.zeros(2), torch.tensor(-1.))
torch.normal(torch.zeros(2, dtype=torch.int64), 1.)
torch.normal(torch.zeros(2), torch.ones(2, dtype=torch.float64))
torch.bernoulli(torch.full((9,), 0.5))
torch.bernoulli(torch.tensor([0, 1]))
torch.poisson(torch.linspace(0, 30, 40))
torch.poisson(torch.linspace(9, 1e6, 30, dtype=torch.float64)), torch.rand(2)
torch.poisson(torch.full((3000,), 0.7)).sum(), torch.rand(2)
torch.poisson(torch.tensor([3]))
torch.poisson(torch.tensor([3., -1]))
torch.poisson(torch.ones(2, requires_grad=True))
torch.poisson(torch.ones(3, 2).half())
torch.bernoulli(torch.tensor([0., 2.]))
torch.multinomial(torch.tensor([0., 1., 3.]), 2)
torch.rand_like(torch.ones(2, dtype=torch.int64))
torch.randint_like(torch.ones(5), 3)
torch.full_like(torch.ones(2, dtype=torch.int64), 2.5)
torch.ones(2).new_ones((2, 3), dtype=torch.int32, requires_grad=True)
torch.empty(20).uniform_(1, 4)
torch.empty(20).normal_(1, 4)
torch.empty(20).random_()
torch.empty(20, dtype=torch.float64).random_()
torch.empty(20, dtype=torch.int64).random_()
torch.empty(20, dtype=torch.int32).random_()
torch.empty(20, dtype=torch.int8).random_()
torch.empty(20, dtype=torch.uint8).random_()
torch.empty(20, dtype=torch.bool).random_()
torch.empty(20, dtype=torch.float16).random_()
torch.empty(20).random_(5)
torch.empty(20).random_(2, 5)
torch.empty(20).bernoulli_(0.3)
torch.empty(20).bernoulli_(torch.full((20,), 0.3))
torch.empty(4, 6).t().normal_()
torch.empty(4, 6, dtype=torch.float64).t().normal_(1, 4)
torch.empty(4, 6)[:, 1:5].normal_()
torch.empty(4, 6)[:, 2].normal_()
torch.empty(4, 6, dtype=torch.complex64).t().normal_()
torch.empty(4, 6).t().uniform_(1, 4)
torch.empty(4, 6)[::2, 1:].uniform_()
torch.empty(2, 3, 4).permute(2, 0, 1)[1:].uniform_()
torch.empty(2, 3, 4).permute(2, 0, 1).exponential_()
torch.empty(4, 6).t().random_(9)
torch.empty(4, 6).t().bernoulli_(0.3)
torch.empty(4, 6).t().bernoulli_(torch.arange(24.).view(6, 4) / 24)
torch.empty(4, 1).t().bernoulli_(torch.arange(4.) / 4)
torch.rand_like(torch.ones(4, 6).t())
torch.randn_like(torch.ones(4, 6).t())
torch.randn_like(torch.ones(4, 6)[:, 1:5])
torch.randint_like(torch.ones(2, 3, 4).transpose(0, 1), 9)
torch.rand_like(torch.ones(1, 4).expand(3, 4))
torch.dropout(torch.ones(4, 6).t(), 0.4, True)
torch.dropout(torch.ones(2, 3, 4).transpose(0, 1), 0.4, True)
torch.dropout(torch.ones(4, 6)[:, 1:5], 0.4, True)
torch.dropout(torch.ones(1, 4).expand(3, 4), 0.4, True)
torch.dropout(torch.ones(4, 1).expand(4, 3), 0.4, True)
torch.dropout(torch.ones(2, 1, 4).expand(2, 3, 4).transpose(0, 2), 0.4, True)
torch.alpha_dropout(torch.ones(4, 6).t(), 0.4, True)
torch.vmap(lambda x: torch.dropout(x.t(), 0.4, True), randomness="same")(torch.ones(3, 4, 6))
torch.vmap(lambda x: torch.dropout(x.t(), 0.4, True), randomness="different")(torch.ones(3, 4, 6))
torch.vmap(lambda x: torch.rand_like(x.t()), randomness="different")(torch.ones(3, 4, 6))
torch.nn.init.trunc_normal_(torch.empty(4, 6).t())
torch.nn.init.trunc_normal_(torch.empty(9, 6)[:, 1:5], b=0.5)
torch.nn.functional.layer_norm(torch.ones(2, 3, 4).transpose(0, 1), (4,)).stride()
torch.nn.functional.rms_norm(torch.ones(2, 3, 4).transpose(0, 1), (4,)).stride()
torch.nn.functional.group_norm(torch.ones(2, 3, 4).transpose(0, 1), 1).stride()
torch.nn.functional.instance_norm(torch.ones(2, 3, 4).transpose(0, 1)).stride()
torch.ones(2, 3, 4).transpose(0, 1).softmax(-1).stride()
torch.ones(2, 3, 4).transpose(0, 1).softmax(0).stride()
torch.ones(2, 3, 4).transpose(0, 1).log_softmax(-1).stride()
torch.cat([torch.ones(2, 3, 4).transpose(0, 1), torch.ones(2, 3, 4).transpose(0, 1)]).stride()
torch.stack([torch.ones(2, 3, 4).transpose(0, 1), torch.ones(2, 3, 4).transpose(0, 1)], 1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).masked_fill(torch.ones(4, 2, 3) > 0, 1.0).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).masked_fill(torch.zeros(3).bool(), 1.0).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).cumsum(0).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).cumprod(-1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).cummax(0)[0].stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).logcumsumexp(1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).roll(1, 0).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).tril().stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).triu().stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).sum(-1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).sum(1, keepdim=True).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).mean(-1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).prod(-1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).amax(-1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).max(-1)[0].stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).var(-1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).std(-1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).norm(dim=-1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).logsumexp(-1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).any(-1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).all(-1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).argmax(-1).stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).median(-1)[0].stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).clone().stride()
torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).double().stride()
torch.ones(1, 4).expand(3, 4).clone().view(-1)
torch.ones(1, 4).expand(3, 4).double().stride()
torch.is_floating_point(1)
torch.numel([1])
torch.is_nonzero(torch.tensor([1., 2]))
torch.set_rng_state(3)
torch.complex(torch.ones(2), torch.zeros(2, dtype=torch.float64))
torch.complex(torch.ones(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
torch.Tensor(2.5)
torch.Tensor([1, 2])
"""


@pytest.mark.torch
@pytest.mark.parametrize("expression", SAME.strip().splitlines())
def test_as_torch(expression):
    import torch

    assert outcome(tg, expression) == outcome(torch, expression)
