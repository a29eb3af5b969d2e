"""vmap(f) is the stack of f over the samples: for every primitive, and as torch does it."""

import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.func import grad, jacfwd, jacrev, vmap
from tapegrad.primitive import Primitive, primitives
from tapegrad.utils._pytree import tree_leaves
from tests.domains import inputs_of
from tests.samples import SAMPLES

pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")

B = 3
IN_PLACE = "vmap: inplace arithmetic"


# -- every primitive -------------------------------------------------------------------------------


def masks(n):
    """Which of n inputs are mapped: all, or one of them."""
    return sorted({(True,) * n, *(tuple(i == k for i in range(n)) for k in range(n))})


def first(out):
    return out if isinstance(out, tg.Tensor) else out[0]


def loss_of(function):
    """A real number that depends on all of a function's (first) result."""

    def loss(*args):
        out = first(function(*args))
        out = out.real * 2 + out.imag if out.is_complex() else out
        return (out * out).sum()

    return loss


def check_mapped(function, stacks, mask):
    args = [tg.from_numpy(a if m else np.array(a[0])) for a, m in zip(stacks, mask, strict=True)]
    mapped, message = None, ""
    try:
        mapped = vmap(function, tuple(0 if m else None for m in mask))(*args)
    except RuntimeError as error:
        message = str(error)
    if message:  # a Tensor that isn't mapped can't be changed in place by one that is
        assert message.startswith(IN_PLACE)
        assert not mask[0]
        return
    rows = [
        function(*[a[i].clone() if m else a for a, m in zip(args, mask, strict=True)])
        for i in range(B)
    ]
    columns = zip(*map(tree_leaves, rows), strict=True)
    for found, column in zip(tree_leaves(mapped), columns, strict=True):
        wanted = tg.stack(list(column))
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_structural(sample):
    seeds = [sample.arrays(seed) for seed in range(B)]
    stacks = [np.stack(arrays) for arrays in zip(*seeds, strict=True)]
    n = len(stacks)
    for mask in masks(n):
        check_mapped(sample.call, stacks, mask)
        check_mapped(grad(loss_of(sample.call), tuple(range(n))), stacks, mask)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_jacobians(sample):
    def real(*args):
        out = first(sample.call(*args))
        return out.real * 2 + out.imag if out.is_complex() else out

    args = [tg.from_numpy(a) for a in sample.arrays()]
    argnums = tuple(range(len(args)))
    leaves = [a.clone().requires_grad_() for a in args]
    out = real(*leaves)
    wanted = []
    for unit in np.eye(out.numel()):
        cotangent = tg.from_numpy(unit).reshape(out.shape)
        wanted.append(
            tg.autograd.grad(out, leaves, cotangent, retain_graph=True, materialize_grads=True)
        )
    for jacobian in (jacrev, jacfwd):
        blocks = jacobian(real, argnums)(*args)
        for k, block in enumerate(blocks):
            rows = tg.stack([row[k] for row in wanted]).reshape(block.shape)
            np.testing.assert_allclose(block.numpy(), rows.numpy(), rtol=1e-9, atol=1e-9)


ELEMENTWISE = [p for p in primitives if p.elementwise]


@pytest.mark.parametrize("primitive", ELEMENTWISE, ids=lambda p: p.name)
def test_elementwise(primitive):
    arrays = inputs_of(primitive, (B, 2, 3))

    def function(*args):
        return Primitive.apply(primitive, args, ())

    try:
        function(*map(tg.from_numpy, arrays))
    except (RuntimeError, TypeError):  # it is for integers
        arrays = [np.abs(4 * a).astype(np.int64) for a in arrays]

    n = len(arrays)
    for mask in masks(n):
        check_mapped(function, arrays, mask)
    if n > 1:  # samples of fewer dimensions than what isn't mapped
        low = [arrays[0][:, 0], *arrays[1:]]
        check_mapped(function, low, (True,) + (False,) * (n - 1))
        check_mapped(function, low, (True,) * n)


# -- dims and structures ---------------------------------------------------------------------------


def numbers(lib, *shape):
    n = int(np.prod(shape))
    return (lib.arange(n, dtype=lib.float64).reshape(shape) + 1) / n


def same(lib, a, b):
    assert a.shape == b.shape
    assert lib.allclose(a, b)


def test_in_dims_and_out_dims(lib):
    x, y = numbers(lib, 2, 3, 4), numbers(lib, 4, 3)
    vmap = lib.func.vmap
    same(lib, vmap(lambda x: x.sum(0), in_dims=1)(x), x.sum(0))
    same(lib, vmap(lambda x: x.sum(0), in_dims=-1, out_dims=1)(x), x.sum(0))
    same(lib, vmap(lambda x, y: x @ y, (None, 1))(x, y), (x @ y).movedim(-1, 0))
    same(lib, vmap(lambda x, y: x @ y, (None, 1), out_dims=-1)(x, y), x @ y)
    a, b = vmap(lambda x: (x, x.sum()), out_dims=(2, 0))(x)
    same(lib, a, x.movedim(0, 2))
    same(lib, b, x.sum((1, 2)))


def test_nested_structures(lib):
    x, y = numbers(lib, 3, 2), numbers(lib, 2, 3)

    def f(inputs, scale):
        a, more = inputs["a"], inputs["more"]
        return {"sum": a + more[0], "pair": [a * scale, more[1]]}

    inputs = {"a": x, "more": (y, x)}
    out = lib.func.vmap(f, in_dims=({"a": 0, "more": (1, 0)}, None))(inputs, 2.0)
    same(lib, out["sum"], x + y.T)
    same(lib, out["pair"][0], x * 2)
    same(lib, out["pair"][1], x)
    out = lib.func.vmap(f, in_dims=(0, None), out_dims={"sum": 1, "pair": 0})(
        {"a": x, "more": (x, x)}, 2.0
    )
    same(lib, out["sum"], 2 * x.T)


def test_keywords_are_not_mapped(lib):
    x = numbers(lib, 3, 2)
    same(lib, lib.func.vmap(lambda x, *, y: x * y)(x, y=x[0]), x * x[0])


def test_nested_maps(lib):
    x, y = numbers(lib, 3), numbers(lib, 4)
    vmap = lib.func.vmap
    outer = vmap(vmap(lambda x, y: x * y, (None, 0)), (0, None))
    same(lib, outer(x, y), x[:, None] * y)
    outer = vmap(vmap(lambda x, y: x * y, (0, None), out_dims=0), (None, 0), out_dims=1)
    same(lib, outer(x, y), x[:, None] * y)


def test_what_is_not_mapped_is_expanded(lib):
    x = numbers(lib, 3, 2)
    same(lib, lib.func.vmap(lambda x: lib.ones(2))(x), lib.ones(3, 2))
    assert lib.func.vmap(lambda x: lib.ones(2), out_dims=None)(x).shape == (2,)


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7])
def test_chunks(lib, chunk_size):
    x, y = numbers(lib, 5, 2), numbers(lib, 2, 5)
    f = lib.func.vmap(lambda x, y: (x.sin() * y, x.sum()), (0, 1), (1, 0), chunk_size=chunk_size)
    a, b = f(x, y)
    same(lib, a, (x.sin() * y.T).T)
    same(lib, b, x.sum(1))


def test_shape_and_dtype_are_those_of_a_sample(lib):
    seen = {}

    def f(x):
        seen.update(shape=tuple(x.shape), ndim=x.ndim, numel=x.numel(), length=len(x))
        return x

    lib.func.vmap(f)(lib.ones(4, 3, 2))
    assert seen == {"shape": (3, 2), "ndim": 2, "numel": 6, "length": 3}


def test_promotion_is_that_of_samples(lib):
    number, vector = lib.ones(3, dtype=lib.float64), lib.ones(3, 2, dtype=lib.float32)
    whole = lib.ones(3, 2, dtype=lib.int64)
    vmap = lib.func.vmap
    assert vmap(lambda x, y: x * y)(number, vector).dtype == lib.float32
    assert vmap(lambda x, y: x * y)(number, whole).dtype == lib.float64
    assert vmap(lambda x: x * 1.5)(whole).dtype == lib.get_default_dtype()


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.func.vmap(lambda x: x)(), "got no inputs"),
        (lambda t: t.func.vmap(lambda x: x, None)(t.ones(2)), "expected `in_dims` to be int"),
        (lambda t: t.func.vmap(lambda x: x, (0, 0))(t.ones(2)), "in_dims is not compatible"),
        (lambda t: t.func.vmap(lambda x: x, ("a",))(t.ones(2)), "in_dim must be either"),
        (lambda t: t.func.vmap(lambda x: x)(2), "cannot vmap over non-Tensor arguments"),
        (lambda t: t.func.vmap(lambda x: x, 1)(t.ones(2)), "of dimensionality 1 so expected"),
        (lambda t: t.func.vmap(lambda x, y: x)(t.ones(2), t.ones(3)), "the same size in the"),
        (lambda t: t.func.vmap(lambda x: x, (None,))(t.ones(2)), "at least one Tensor to vmap"),
        (lambda t: t.func.vmap(lambda x: 1)(t.ones(2)), "must only return Tensors"),
        (lambda t: t.func.vmap(lambda x: x, out_dims=None)(t.ones(2)), "when out_dim is None"),
        (lambda t: t.func.vmap(lambda x: x, out_dims=(0, 1))(t.ones(2)), "out_dims is not comp"),
        (lambda t: t.func.vmap(lambda x: x, chunk_size=0), "greater than 0"),
    ],
)
def test_wrong_arguments(lib, call, message):
    with pytest.raises(ValueError, match=message):
        call(lib)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.item(), r"calling .item\(\) on a Tensor"),
        (lambda x: float(x), r"calling .item\(\) on a Tensor"),
        (lambda x: x if x > 0 else -x, "data-dependent control flow"),
        (lambda x: x.reshape(1).nonzero(), "dynamic shape"),
    ],
)
def test_looking_at_values(lib, function, message):
    with pytest.raises(RuntimeError, match=message):
        lib.func.vmap(function)(lib.ones(3))


def test_randomness_must_be_known(lib):
    with pytest.raises(RuntimeError, match="Only allowed values for randomness"):
        lib.func.vmap(lambda x: x, randomness="some")(lib.ones(2))


# -- in place --------------------------------------------------------------------------------------


def test_in_place(lib):
    x, y = numbers(lib, 3, 2), numbers(lib, 3, 2)

    def f(x, y):
        z = x.clone()
        z.mul_(y)
        z[0] = 1
        z[1:].add_(y[1:])
        return z

    wanted = lib.stack([f(a, b) for a, b in zip(x, y)])
    same(lib, lib.func.vmap(f)(x, y), wanted)
    same(lib, lib.func.vmap(f, (0, None))(x, y[0]), lib.stack([f(a, y[0]) for a in x]))


def test_in_place_with_gradients(lib):
    def loss(x):
        y = x * 2
        y[0] = y[1].clone() * x[0]
        y.exp_()
        return y.sum()

    x = numbers(lib, 3, 2)
    wanted = lib.stack([lib.func.grad(loss)(a) for a in x])
    same(lib, lib.func.vmap(lib.func.grad(loss))(x), wanted)


def test_in_place_of_what_is_not_mapped(lib):
    y = lib.zeros(2)
    with pytest.raises(RuntimeError):
        lib.func.vmap(lambda x: y.add_(x))(lib.ones(3, 2))


def test_new_zeros_to_write_to(lib):
    def f(x):
        z = lib.zeros_like(x)
        z[1] = x[0]
        return z

    x = numbers(lib, 3, 2)
    same(lib, lib.func.vmap(f)(x), lib.stack([f(a) for a in x]))


# -- what looks at arrays --------------------------------------------------------------------------

FUNCTIONS = {
    "sort": lambda t, x, i: t.sort(x, dim=0, descending=True)[0],
    "argsort": lambda t, x, i: t.argsort(x, 1),
    "topk": lambda t, x, i: x.topk(2, largest=False).values,
    "kthvalue": lambda t, x, i: x.kthvalue(2, 1, True).values,
    "max": lambda t, x, i: x.max(1).indices,
    "min": lambda t, x, i: x.min(dim=0, keepdim=True).values,
    "median": lambda t, x, i: x.median(0).values,
    "cummax": lambda t, x, i: x.cummax(1).values,
    "gather": lambda t, x, i: x.gather(1, i),
    "take_along_dim": lambda t, x, i: t.take_along_dim(x, i, 1),
    "index_select": lambda t, x, i: x.index_select(1, i[0]),
    "index_add": lambda t, x, i: x.index_add(1, i[0], x[:, :2]),
    "scatter": lambda t, x, i: x.scatter(1, i, x[:, :2] * 2),
    "scatter_add": lambda t, x, i: x.scatter_add(1, i, x[:, :2]),
    "getitem": lambda t, x, i: x[i[:, 0].clamp(max=1), i[:, 1]],
    "getitem_rows": lambda t, x, i: x[i.clamp(max=1)],
    "masked_fill": lambda t, x, i: x.masked_fill(x > 0.5, 7.0),
    "where": lambda t, x, i: t.where(x > 0.5, x, 0.0),
    "one_hot": lambda t, x, i: t.nn.functional.one_hot(i, 4),
    "embedding": lambda t, x, i: t.nn.functional.embedding(i.clamp(max=1), x),
    "cross_entropy": lambda t, x, i: t.nn.functional.cross_entropy(x, i[:, 0]),
    "cross_entropy_one": lambda t, x, i: t.nn.functional.cross_entropy(x[0], i[0, 0]),
    "nll_weighted": lambda t, x, i: t.nn.functional.nll_loss(
        x, i[:, 0], x.new_tensor([1.0, 2.0, 3.0, 4.0]), ignore_index=2
    ),
    "view": lambda t, x, i: x.view(-1).view(4, 2),
    "reshape": lambda t, x, i: x.T.reshape(-1),
    "to": lambda t, x, i: x.to(t.float32) * x.long(),
    "contiguous": lambda t, x, i: x.T.contiguous().flatten(),
    "cholesky": lambda t, x, i: t.linalg.cholesky(x @ x.T + t.eye(2, dtype=x.dtype)),
    "solve": lambda t, x, i: t.linalg.solve(x @ x.T + t.eye(2, dtype=x.dtype), x[:, 0]),
    "svd": lambda t, x, i: t.linalg.svdvals(x),
    "searchsorted": lambda t, x, i: t.searchsorted(x[0].sort().values, x[1].clone()),
    "quantile": lambda t, x, i: x.quantile(0.3, dim=1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_look_at_arrays(lib, name):
    rng = np.random.default_rng(1)
    x = lib.from_numpy(rng.uniform(0, 1, (3, 2, 4)))
    i = lib.from_numpy(rng.permuted(np.tile(np.arange(4), (3, 2, 1)), axis=-1)[..., :2].copy())

    def function(x, i):
        return FUNCTIONS[name](lib, x, i)

    for dims in ((0, 0), (0, None), (None, 0)):
        args = [v if d == 0 else v[0] for v, d in zip((x, i), dims)]
        mapped = lib.func.vmap(function, dims)(*args)
        rows = [function(*[v[k] if d == 0 else v for v, d in zip(args, dims)]) for k in range(3)]
        same(lib, mapped, lib.stack(rows))
    if mapped.is_floating_point():

        def loss(x, i):
            return (function(x, i) ** 2).sum()

        found = lib.func.vmap(lib.func.grad(loss))(x, i)
        same(lib, found, lib.stack([lib.func.grad(loss)(a, b) for a, b in zip(x, i)]))


#: Those of which one sample after the other is computed.
LOOPS = frozenset({"quantile", "searchsorted"})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_runs_one_by_one_is_known(name):
    rng = np.random.default_rng(1)
    x = tg.from_numpy(rng.uniform(0, 1, (3, 2, 4)))
    i = tg.from_numpy(rng.permuted(np.tile(np.arange(4), (3, 2, 1)), axis=-1)[..., :2].copy())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vmap(lambda x, i: FUNCTIONS[name](tg, x, i))(x, i)
    assert (name in LOOPS) == any("performance drop" in str(w.message) for w in caught)


def test_a_loop_warns():
    x = tg.rand(3, 4)
    with pytest.warns(UserWarning, match="performance drop.*quantile"):
        vmap(lambda x: x.quantile(0.5))(x)


# -- random numbers --------------------------------------------------------------------------------


def draws(lib):
    return {
        "rand": lambda x: lib.rand(2),
        "randn": lambda x: lib.randn(2, 3),
        "randint": lambda x: lib.randint(0, 100, (4,)),
        "randn_like": lambda x: lib.randn_like(x),
        "dropout": lambda x: lib.nn.functional.dropout(x, 0.5),
        "bernoulli": lambda x: lib.bernoulli(lib.full((6,), 0.5)),
        "normal_": lambda x: lib.empty_like(x).normal_(),
    }


NAMES = ["rand", "randn", "randint", "randn_like", "dropout", "bernoulli", "normal_"]


@pytest.mark.parametrize("name", NAMES)
def test_randomness(lib, name):
    x = lib.ones(3, 20)
    with pytest.raises(RuntimeError, match="randomness error mode"):
        lib.func.vmap(draws(lib)[name])(x)
    out = lib.func.vmap(draws(lib)[name], randomness="different")(x)
    assert not (out[0] == out[1]).all()
    if name != "normal_":
        out = lib.func.vmap(draws(lib)[name], randomness="same")(x)
        assert (out[0] == out[1]).all()


@pytest.mark.torch
@pytest.mark.parametrize("name", ["rand", "randn", "randint", "randn_like"])
def test_the_same_random_numbers_as_torch(name):
    torch = pytest.importorskip("torch")
    outs = []
    for lib in (tg, torch):
        lib.manual_seed(3)
        outs.append(lib.func.vmap(draws(lib)[name], randomness="different")(lib.ones(3, 20)))
    np.testing.assert_allclose(outs[0].numpy(), outs[1].numpy(), rtol=1e-5, atol=1e-6)


# -- with autograd ---------------------------------------------------------------------------------


def test_backward_through_a_map(lib):
    x = numbers(lib, 3, 2).requires_grad_()
    w = numbers(lib, 2).requires_grad_()
    out = lib.func.vmap(lambda x, w: (x * w).sin().sum(), (0, None))(x, w)
    out.sum().backward()
    same(lib, w.grad, (x * (x * w).cos()).sum(0).detach())


def test_no_vmap_no_trace():
    with pytest.raises(RuntimeError):
        vmap(lambda x: x.item())(tg.ones(2))
    assert tg.modes.switch.batched == 0
