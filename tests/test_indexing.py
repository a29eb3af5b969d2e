"""Indexing, assignment, gathering and sorting: values, views, errors and derivatives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tapegrad
from tapegrad.autograd import grad
from tapegrad.operators import functions as tg
from tapegrad.recording import wrap
from tapegrad.tensor import from_array
from tests.differences import check_derivatives

RNG = np.random.default_rng(0)


def T(data, **kwargs):
    return from_array(np.array(data), **kwargs)


def matrix():
    return RNG.uniform(-1, 1, (3, 4))


BASIC = [
    (0, "Select"), (slice(1, 3), "Slice"), (slice(None), "Slice"), (..., "Alias"), ((), "Alias"),
    (None, "Unsqueeze"), ((slice(None), 0), "Select"), ((0, slice(1, 3)), "Slice"),
    ((slice(1, None), None), "Unsqueeze"), ((0, 0), "Select"), ((-1, ...), "Select"),
    ((..., -1), "Select"), (slice(0, 3, 2), "Slice"), ((slice(3, 1), slice(None)), "Slice"),
]  # fmt: skip
ADVANCED = [
    [0, 2], np.array([[0], [2]]), ([0, 2], [1, 1]), (slice(None), [0, 0, 3]), (0, [1, 2]),
    (None, [0, 2]),
    np.array([True, False, True]), ([True, False, True], 1), True, False, (np.array([0, -1]), ...),
    (..., np.array([[0, 1], [1, 1]])), ([0, 1], None, [1, 2]), ([0, 1], slice(1, 3)), [],
]  # fmt: skip


@pytest.mark.parametrize(("index", "name"), BASIC)
def test_basic_indexing_is_a_view(index, name):
    a = matrix()
    x = from_array(a)
    part = x[index]
    assert part._array.shape == a[index].shape
    assert np.array_equal(part._array, a[index])
    assert not part._array.size or np.shares_memory(part._array, a)
    leaf = from_array(a, requires_grad=True)
    assert f"{name}Backward0" in str(leaf[index].grad_fn)
    check_derivatives(lambda x: x[index] * x[index], [a])


def test_a_0d_part_shares_memory():
    x = from_array(np.arange(3.0))
    part = x[1]
    x[1] = 7.0
    assert part.item() == 7.0
    part.fill_(9.0)
    assert x.tolist() == [0.0, 9.0, 2.0]


@pytest.mark.filterwarnings("ignore:Using a non-tuple")
@pytest.mark.parametrize("index", ADVANCED)
def test_advanced_indexing_copies(index):
    a = matrix()
    part = from_array(a)[index]
    assert np.array_equal(part._array, a[tuple(index) if isinstance(index, tuple) else index])
    assert not np.shares_memory(part._array, a)
    check_derivatives(lambda x: x[index] * x[index], [a])


def test_an_int_is_applied_before_arrays():
    a = RNG.uniform(-1, 1, (2, 3, 4))
    x = from_array(a, requires_grad=True)
    part = x[0, :, [1, 2]]
    assert np.array_equal(part._array, a[0][:, [1, 2]])  # NumPy's has the shape (2, 3)
    check_derivatives(lambda x: x[0, :, [1, 2]] * 2, [a])


def test_an_empty_ellipsis_does_not_part_arrays():
    a = RNG.uniform(-1, 1, (2, 3, 4))
    part = from_array(a)[:, [0, 1], ..., [2, 3]]
    assert np.array_equal(part._array, a[:, [0, 1], [2, 3]])


def test_index_tensors_are_copied():
    x = from_array(np.arange(3.0), requires_grad=True)
    index = T([0, 1])
    y = x[index] * x[index]
    index[0] = 2
    (found,) = grad(y.sum(), [x])
    assert found.tolist() == [0.0, 2.0, 0.0]


def test_index_by_a_0d_tensor_is_a_view():
    x = from_array(np.arange(3.0))
    assert np.shares_memory(x[T(1)]._array, x._array)


def test_a_position_that_repeats_counts_as_often():
    for repeats in (3, 2000):  # np.add.at, np.bincount
        x = from_array(np.zeros(5, np.float32), requires_grad=True)
        (found,) = grad(x[np.zeros(repeats, int)].sum(), [x])
        assert found.tolist() == [repeats, 0.0, 0.0, 0.0, 0.0]
        assert found._array.dtype == np.float32
        z = from_array(np.zeros(5, np.complex64), requires_grad=True)
        (found,) = grad(z[np.zeros(repeats, int)], [z], wrap(np.full(repeats, 1j, np.complex64)))
        assert found.tolist() == [repeats * 1j, 0, 0, 0, 0]


ERRORS = [
    (5, IndexError, "index 5 is out of bounds for dimension 0 with size 3"),
    ((0, 7), IndexError, "index 7 is out of bounds for dimension 1 with size 4"),
    ((0, 0, 0), IndexError, "too many indices for tensor of dimension 2"),
    (slice(None, None, -1), ValueError, "step must be greater than zero"),
    (1.5, IndexError, "only integers, slices"),
    ("a", TypeError, "invalid data type 'str'"),
    (np.array([5]), IndexError, "index 5 is out of bounds for dimension 0 with size 3"),
    (np.array([0.5]), IndexError, "must be long, int, byte or bool tensors"),
    (np.array([1], np.int16), IndexError, "must be long, int, byte or bool tensors"),
    (np.array([True, False]), IndexError, "The shape of the mask [2] at index 0 does not match"),
    (([0, 1], [0, 1, 2]), IndexError, "broadcast together with shapes [2], [3]"),
]


@pytest.mark.parametrize(("index", "error", "message"), ERRORS)
def test_index_errors(index, error, message):
    x = from_array(np.zeros((3, 4)))
    with pytest.raises(error) as raised:
        x[index]
    assert message in str(raised.value)
    with pytest.raises(error) as raised:
        x[index] = 1.0
    assert message in str(raised.value)
    assert not x._array.any()


def test_indexing_a_0d_tensor():
    with pytest.raises(IndexError, match="invalid index of a 0-dim tensor"):
        T(1.0)[0]
    with pytest.raises(IndexError, match="slice\\(\\) cannot be applied to a 0-dim tensor"):
        T(1.0)[:]


def test_uint8_masks_and_lists_of_lists_are_deprecated():
    x = from_array(np.arange(3.0))
    with pytest.warns(UserWarning, match="uint8 is now deprecated"):
        assert x[np.array([1, 0, 1], np.uint8)].tolist() == [0.0, 2.0]
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert from_array(np.arange(4.0).reshape(2, 2))[[[0, 1], [1, 0]]].tolist() == [1.0, 2.0]


# -- assignment ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Using a non-tuple")
@pytest.mark.parametrize("index", [i for i, _ in BASIC] + ADVANCED)
def test_assignment(index):
    a = matrix()
    expected = a.copy()
    expected[index] = 2.5
    x = from_array(a.copy())
    x[index] = 2.5
    assert np.array_equal(x._array, expected)
    v = RNG.uniform(-1, 1, a[index].shape)
    where = np.zeros(a.shape)
    np.add.at(where, index, 1.0)
    if where.max(initial=0) > 1:
        return  # whose value stays isn't defined: all get the adjoint, as in torch

    def assigned(x, v):
        y = x * 1
        y[index] = v * v
        return y * y

    check_derivatives(assigned, [a, v])
    check_derivatives(assigned, [a, np.array(0.3)])  # broadcast


def test_assignment_to_a_view_of_a_view():
    def assigned(x, v):
        y = x * 1
        part = y[1:, :2][:, 0]
        part[1:] = v * v
        return y * y * part.sum()

    check_derivatives(assigned, [matrix(), np.array([0.7])])


def test_advanced_assignment_to_a_view():
    def assigned(x, v):
        y = x * 1
        y[1:][:, np.array([0, 2])] = v * v
        y[1, np.array([1, 3])] = v[0]
        return y * y

    check_derivatives(assigned, [matrix(), RNG.uniform(-1, 1, (2, 2))])


def test_assignment_casts_and_undoes_it():
    x = T([1.0, 2.0], requires_grad=True)
    v = from_array(np.array(3.0, np.float32), requires_grad=True)
    y = x * 1
    y[0] = v
    gx, gv = grad((y * y).sum(), [x, v])
    assert gx.tolist() == [0.0, 4.0]
    assert (gv.item(), gv._array.dtype) == (6.0, np.float32)
    i = T([1, 2])
    i[0] = 2.7
    assert i.tolist() == [2, 2]


def test_assignment_of_a_number_to_a_part_that_requires_no_grad():
    x = from_array(np.zeros((2, 3), np.float32))
    x[0] = 1
    x[x == 0] = -1.5
    assert x.tolist() == [[1.0] * 3, [-1.5] * 3]
    assert x._version == 2
    x[None] = 3.0  # a dimension of size 1 has stride 0
    assert x.tolist() == [[3.0] * 3] * 2


def test_assignment_to_leaves():
    x = from_array(np.zeros(3), requires_grad=True)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        x[0] = 1.0
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        x[[0]] = 1.0
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        x.zero_()
    assert not x._array.any()


BAD_VALUES = [
    (0, [1, 2], TypeError, "can't assign a list"),
    (0, None, TypeError, "can't assign a NoneType"),
    (0, T([1.0, 2.0, 3.0]), RuntimeError, "Target sizes: [4].  Tensor sizes: [3]"),
    ([0], T([1.0, 2.0, 3.0]), RuntimeError, "value tensor of shape [3] cannot be broadcast to"),
    ([0], from_array(np.ones(4, np.float32)), RuntimeError, "source and destination dtypes match"),
    (0, 1j, RuntimeError, "cannot be converted to type float64 without overflow"),
]


@pytest.mark.parametrize(("index", "value", "error", "message"), BAD_VALUES)
def test_assignment_of_what_does_not_fit(index, value, error, message):
    x = from_array(np.zeros((3, 4)))
    with pytest.raises(error) as raised:
        x[index] = value
    assert message in str(raised.value)
    assert not x._array.any()


def test_saved_values_that_assignment_changed_are_noticed():
    x = T([1.0, 2.0], requires_grad=True)
    y = x * 1
    z = (y * y).sum()
    y[0] = 5.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        grad(z, [x])


@pytest.mark.parametrize("method", ["fill_", "copy_", "zero_"])
def test_overwriting(method):
    def overwritten(x, v):
        y = x * 1
        y[1:] = 2 * y[1:]
        part = y[:2]
        getattr(part, method)(*([] if method == "zero_" else [v * v]))
        return y * y

    check_derivatives(overwritten, [matrix(), np.array(0.4)])
    x = from_array(matrix(), requires_grad=True)
    y = x * 1
    getattr(y, method)(*([] if method == "zero_" else [2.0]))
    (found,) = grad(y.sum(), [x])
    assert not found._array.any()


# -- gathering and scattering ----------------------------------------------------------------------

INDEX = np.array([[0, 2, 1, 0], [2, 2, 0, 0]])
GATHER = {
    "gather": lambda x, y: tg["gather"](x, 0, wrap(INDEX)),
    "take": lambda x, y: tg["take"](x, T([[0, 5], [-1, 5]])),
    "take_along_dim": lambda x, y: tg["take_along_dim"](x, T([[0], [3], [3]]), 1),
    "take_along_dim_broadcast": lambda x, y: tg["take_along_dim"](x, T([[0, 3]]), 1),
    "index_select": lambda x, y: tg["index_select"](x, 1, T([0, 3, 3])),
    "masked_select": lambda x, y: tg["masked_select"](x, T([True, False, True, True])),
    "scatter": lambda x, y: tg["scatter"](x, 0, T([[0, 2, 1, 0], [2, 1, 0, 1]]), y),
    "scatter_part": lambda x, y: tg["scatter"](x, 1, T([[0, 2], [3, 1]]), y),
    "scatter_value": lambda x, y: tg["scatter"](x, 0, wrap(INDEX), value=2.0),
    "scatter_add": lambda x, y: tg["scatter_add"](x, 0, wrap(INDEX), y),
    "scatter_mean": lambda x, y: tg["scatter_reduce"](x, 0, wrap(INDEX), y, "mean"),
    "scatter_sum": lambda x, y: tg["scatter_reduce"](
        x, 0, wrap(INDEX), y, "sum", include_self=False
    ),
    "scatter_amax": lambda x, y: tg["scatter_reduce"](x, 0, wrap(INDEX), y, "amax"),
    "scatter_amin": lambda x, y: tg["scatter_reduce"](
        x, 0, wrap(INDEX), y, "amin", include_self=False
    ),
    "scatter_prod": lambda x, y: tg["scatter_reduce"](x, 0, wrap(INDEX), y, "prod"),
    "index_add": lambda x, y: tg["index_add"](x, 0, T([0, 2, 2]), y, alpha=2),
    "index_copy": lambda x, y: tg["index_copy"](x, 0, T([2, 0, 1]), y),
    "index_fill": lambda x, y: tg["index_fill"](x, 1, T([0, 3]), y.sum()),
    "index_put": lambda x, y: tg["index_put"](x, (T([0, 2]),), y[0]),
    "index_put_add": lambda x, y: tg["index_put"](x, (T([0, 0]),), y[0], accumulate=True),
    "put": lambda x, y: tg["put"](x, T([0, 5]), y[0, :2]),
    "masked_fill": lambda x, y: tg["masked_fill"](x, x > 0, y.sum()),
    "masked_scatter": lambda x, y: tg["masked_scatter"](x, x > 0, y),
    "fill": lambda x, y: tg["fill"](x, y.sum()),
    "sort": lambda x, y: tg["sort"](x, 0, descending=True).values,
    "topk": lambda x, y: tg["topk"](x, 2).values,
    "kthvalue": lambda x, y: tg["kthvalue"](x, 2, 0).values,
    "msort": lambda x, y: tg["msort"](x),
}


@pytest.mark.parametrize("name", GATHER)
def test_gathering_derivatives(name):
    function = GATHER[name]
    check_derivatives(
        lambda x, y: function(x * x * x, y * 2) * 1.5, [matrix(), RNG.uniform(-1, 1, (3, 4))]
    )


def test_in_place_gathering():
    x, y = from_array(matrix()), from_array(matrix())
    expected = tg["scatter_add"](x, 0, wrap(INDEX), y)
    assert x.scatter_add_(0, wrap(INDEX), y) is x
    assert np.array_equal(x._array, expected._array)

    def changed(x, y):
        z = x * 1
        z.index_add_(0, T([0, 2, 2]), y)
        z[:, 1:].masked_fill_(T([True, False, False]), 0.5)
        z.index_put_((T([1]), T([2])), y[0, :1])
        return z * z

    check_derivatives(changed, [matrix(), matrix()])


GATHER_ERRORS = [
    (lambda x: tg["gather"](x, 0, T([0])), RuntimeError, "same number of dimensions as input"),
    (lambda x: tg["gather"](x, 0, T([[0.0]])), RuntimeError, "Expected dtype int32/int64"),
    (
        lambda x: tg["gather"](x, 0, T([[3]])),
        RuntimeError,
        "index 3 is out of bounds for dimension",
    ),
    (
        lambda x: tg["gather"](x, 1, T([[0]] * 4)),
        RuntimeError,
        "Size does not match at dimension 0",
    ),
    (lambda x: tg["gather"](x, 2, T([[0]])), IndexError, "Dimension out of range"),
    (
        lambda x: tg["scatter"](x, 1, T([[0, 1]]), T([[1.0]])),
        RuntimeError,
        "no larger size than src",
    ),
    (lambda x: tg["take"](x, T([12])), IndexError, "tried to access index 12 on a tensor of 12"),
    (lambda x: tg["index_select"](x, 0, T([3])), IndexError, "index out of range in self"),
    (lambda x: tg["index_add"](x, 0, T([0, 1]), x), RuntimeError, "Number of indices (2)"),
    (lambda x: tg["index_copy"](x, 0, T([0, 1, 5]), x), IndexError, "index 5 is out of bounds"),
    (
        lambda x: tg["masked_fill"](x, T([1, 0, 1, 1]), 1),
        RuntimeError,
        "only supports boolean masks",
    ),
    (
        lambda x: tg["masked_select"](x, T([1, 0, 1, 1])),
        RuntimeError,
        "expected BoolTensor for mask",
    ),
    (lambda x: tg["topk"](x, 5), RuntimeError, "selected index k out of range"),
    (lambda x: tg["kthvalue"](x, 9), RuntimeError, "selected number k out of range"),
    (lambda x: tg["bincount"](T([-1])), RuntimeError, "1-d non-negative integral inputs"),
]


@pytest.mark.parametrize(("call", "error", "message"), GATHER_ERRORS)
def test_gathering_errors(call, error, message):
    with pytest.raises(error) as raised:
        call(from_array(np.zeros((3, 4))))
    assert message in str(raised.value)


# -- sorting, searching, counting ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sort", "topk", "kthvalue"])
def test_positions_that_a_person_changes_are_not_those_of_the_derivative(name):
    x = T([[3.0, 1.0, 2.0]]).requires_grad_()
    values, indices = tg[name](x, *([2] if name != "sort" else []))
    expected = [float(k in indices.tolist()[0]) for k in range(3)] if values.ndim > 1 else [0, 0, 1]
    indices.fill_(0)
    values.sum().backward()
    assert x.grad.tolist() == [expected]


def test_sorting_is_stable_and_puts_nan_last():
    x = T([1.0, 2.0, 1.0, np.nan, 2.0])
    values, indices = tg["sort"](x)
    assert indices.tolist() == [0, 2, 1, 4, 3]
    assert values.tolist()[:4] == [1.0, 1.0, 2.0, 2.0]
    assert tg["argsort"](x, descending=True).tolist() == [3, 1, 4, 0, 2]
    assert tg["sort"](T([True, False])).values.tolist() == [False, True]
    assert tg["sort"](T(3.0)).indices.tolist() == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("descending", [False, True])
def test_the_first_in_order_are_those_of_sort(descending, dtype):
    tapegrad.warmup()
    rng = np.random.default_rng(0)
    for shape in ((9,), (40, 7), (3, 200), (2, 1)):
        array = rng.integers(-4, 5, shape).astype(dtype)
        array[rng.random(shape) < 0.2] = np.nan
        for x in (T(array), T(array * 0), T(np.sort(array)), T(-np.sort(array))):
            expected = tg["sort"](x, descending=descending).values.numpy()
            for k in (1, 2, 5, 16):
                if k <= shape[-1]:
                    values, indices = tg["topk"](x, k, largest=descending)
                    np.testing.assert_array_equal(values.numpy(), expected[..., :k])
                    taken = np.take_along_axis(x.numpy(), indices.numpy(), -1)
                    np.testing.assert_array_equal(taken, values.numpy())
                    assert all(len(set(row)) == k for row in indices.reshape(-1, k).tolist())


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_running_extrema_are_the_last_ones(name):
    tapegrad.warmup()
    sign = 1 if name == "cummax" else -1
    x = T([[1.0, 2.0, 2.0, -1.0, 3.0, 3.0], [np.nan, 1.0, np.nan, 2.0, -np.inf, np.inf]]) * sign
    values, indices = tg[name](x, 1)
    assert indices.tolist() == [[0, 1, 2, 2, 4, 5], [0, 0, 2, 2, 2, 2]]
    assert values[0].tolist() == [sign * v for v in (1, 2, 2, 2, 3, 3)]
    assert values[1].isnan().all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gathering_along_each_axis(axis):
    tapegrad.warmup()
    rng = np.random.default_rng(0)
    x = T(rng.normal(size=(4, 5, 6)))
    whole = [4, 5, 6]
    whole[axis] = 9
    for sizes in (whole, [2, 3, 4], [4, 5, 6]):
        index = rng.integers(0, x.shape[axis], sizes)
        places = list(np.indices(sizes))
        places[axis] = index
        found = tg["gather"](x, axis, T(index))
        np.testing.assert_array_equal(found.numpy(), x.numpy()[tuple(places)])


def test_unique():
    x = T([[3, 1], [3, 2]])
    values, inverse, counts = tg["unique"](x, return_inverse=True, return_counts=True)
    assert values.tolist() == [1, 2, 3]
    assert inverse.tolist() == [[2, 0], [2, 1]]
    assert counts.tolist() == [1, 1, 2]
    assert tg["unique"](T([[3, 1], [3, 1], [0, 1]]), dim=0).tolist() == [[0, 1], [3, 1]]
    values, counts = tg["unique_consecutive"](T([1, 1, 2, 1]), return_counts=True)
    assert (values.tolist(), counts.tolist()) == ([1, 2, 1], [2, 1, 1])


def test_searching_and_counting():
    edges = T([1, 3, 5])
    assert tg["searchsorted"](edges, T([[3, 6], [0, 1]])).tolist() == [[1, 3], [0, 0]]
    assert tg["searchsorted"](edges, T([3]), side="right").tolist() == [2]
    assert tg["bucketize"](T([3]), edges, right=True).tolist() == [2]
    assert tg["searchsorted"](T([[1, 3], [2, 4]]), T([[3], [3]])).tolist() == [[1], [1]]
    assert tg["bincount"](T([1, 3, 1])).tolist() == [0, 2, 0, 1]
    assert tg["bincount"](T([0, 0]), T([0.5, 1.0]), 2).tolist() == [1.5, 0.0]
    assert tg["nonzero"](T([0, 1, 2])).tolist() == [[1], [2]]
    assert [t.tolist() for t in tg["nonzero"](T([[0, 1]]), as_tuple=True)] == [[0], [1]]


# -- against torch ---------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@given(st.data())
def test_indexing_as_torch(data):
    torch = pytest.importorskip("torch")
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3))
    items = st.one_of(
        st.integers(-2, 2), st.none(), st.just(...), st.just([0, 0]),
        st.builds(slice, st.sampled_from([None, 0, 1, -1]), st.sampled_from([None, 2, -1])),
    )  # fmt: skip
    index = tuple(data.draw(st.lists(items, max_size=3).filter(lambda i: i.count(...) < 2)))
    a = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    theirs, ours = torch.tensor(a, requires_grad=True), from_array(a, requires_grad=True)
    try:
        expected = theirs[index]
    except Exception as error:
        with pytest.raises(type(error)):
            ours[index]
        return
    found = ours[index]
    assert np.array_equal(found._array, expected.detach().numpy())
    (wanted,) = torch.autograd.grad((expected**2).sum(), theirs)
    (got,) = grad((found * found).sum(), [ours])
    assert np.array_equal(got._array, wanted.numpy())
