"""torch.func: grad, vjp, jvp, linearize, jacrev, jacfwd, hessian, and how they compose."""

import collections

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.utils import _pytree as pytree

# torch imports torch.jit for forward mode, and warns of it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning"),
]


def tensor(lib, *values):
    return lib.tensor(values, dtype=lib.float64)


def same(lib, a, b):
    assert a.shape == b.shape
    assert lib.allclose(a, b)


X = (0.5, -1.0, 2.0)


# -- grad ------------------------------------------------------------------------------------------


def test_grad(lib):
    x = tensor(lib, *X)
    out = lib.func.grad(lambda x: (x**3).sum())(x)
    same(lib, out, 3 * x**2)
    assert not out.requires_grad


def test_grad_of_grad(lib):
    x = lib.tensor(0.5, dtype=lib.float64)
    grad = lib.func.grad
    same(lib, grad(grad(grad(lib.sin)))(x), -x.cos())


def test_argnums(lib):
    x, y = tensor(lib, *X), tensor(lib, *X) + 1

    def f(x, y, n):
        return (x * y**n).sum()

    grad = lib.func.grad
    same(lib, grad(f, 1)(x, y, 2), 2 * x * y)
    same(lib, grad(f, -2)(x, y, 2), 2 * x * y)
    a, b = grad(f, (1, 0))(x, y, 2)
    same(lib, a, 2 * x * y)
    same(lib, b, y**2)
    (a,) = grad(f, argnums=(0,))(x, y, 2)
    same(lib, a, y**2)


def test_nested_arguments(lib):
    params = {"w": tensor(lib, *X), "more": [tensor(lib, 1.0), (tensor(lib, 2.0),)]}

    def loss(p, scale=1):
        w, (a, (b,)) = p["w"], p["more"]
        return ((w * a).sum() * b).sum() * scale

    out = lib.func.grad(loss)(params, scale=3)
    same(lib, out["w"], tensor(lib, 6.0, 6.0, 6.0))
    same(lib, out["more"][0], tensor(lib, 9.0))
    assert [type(x) for x in (out["more"], out["more"][1])] == [list, tuple]


def test_aux_and_value(lib):
    x = tensor(lib, *X)

    def f(x):
        y = x**2
        return y.sum(), {"y": y}

    gradient, aux = lib.func.grad(f, has_aux=True)(x)
    same(lib, gradient, 2 * x)
    same(lib, aux["y"], x**2)
    assert not aux["y"].requires_grad
    gradient, (value, aux) = lib.func.grad_and_value(f, has_aux=True)(x)
    same(lib, value, (x**2).sum())
    gradient, value = lib.func.grad_and_value(lambda x: f(x)[0])(x)
    same(lib, gradient, 2 * x)
    assert not value.requires_grad


def test_unused_argument(lib):
    x = tensor(lib, *X)
    _, b = lib.func.grad(lambda x, y: x.sum(), (0, 1))(x, x)
    same(lib, b, lib.zeros(3, dtype=lib.float64))
    same(lib, lib.func.grad(lambda x: lib.ones(()))(x), lib.zeros(3, dtype=lib.float64))


def test_outer_values_keep_their_history(lib):
    x = tensor(lib, *X).requires_grad_()
    w = lib.tensor(2.0, dtype=lib.float64, requires_grad=True)
    out = lib.func.grad(lambda x: (w * x**2).sum())(x)
    assert out.requires_grad
    out.sum().backward()
    same(lib, w.grad, (2 * x).sum().detach())
    same(lib, x.grad, lib.full((3,), 4.0, dtype=lib.float64))


def test_without_outer_values_nothing_is_recorded(lib):
    x = tensor(lib, *X)
    w = tensor(lib, *X).requires_grad_()
    gradient, (value, aux) = lib.func.grad_and_value(
        lambda x: ((x**2).sum(), (w * 2, x * w, x * 2)), has_aux=True
    )(x)
    assert not gradient.requires_grad
    assert not value.requires_grad
    assert [a.requires_grad for a in aux] == [True, True, False]


def test_no_grad(lib):
    x = tensor(lib, *X)
    with lib.no_grad():
        same(lib, lib.func.grad(lambda x: (x**2).sum())(x), 2 * x)

    def f(x):
        with lib.no_grad():
            c = x**2
        return (x * c).sum()

    same(lib, lib.func.grad(f)(x), x**2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t, x: t.func.grad(lambda x: x)(x), "return a scalar"),
        (lambda t, x: t.func.grad(lambda x: 1)(x), "to return a Tensor"),
        (lambda t, x: t.func.grad(lambda x: x.sum(), 1)(x), "only 1 positional inputs"),
        (lambda t, x: t.func.grad(lambda x: x.sum(), "a")(x), "argnums must be int"),
        (lambda t, x: t.func.grad(lambda x: x.sum(), ())(x), "non-empty"),
        (lambda t, x: t.func.grad(lambda x: x.sum(), (0, 0))(x), "unique"),
        (lambda t, x: t.func.grad(lambda x: x.sum(), has_aux=True)(x), r"tuple: \(output, aux\)"),
        (lambda t, x: t.func.vjp(lambda x: None, x), "non-empty output"),
        (lambda t, x: t.func.vjp(lambda x: (x, 1), x), "only tensors"),
        (lambda t, x: t.func.vjp(lambda x: x > 0, x), "floating-point or complex"),
        (lambda t, x: t.func.vjp(lambda x: (x, x), x)[1](x), "pytree structure of cotangents"),
        (lambda t, x: t.func.jvp(lambda x: x, x, x), "Expected primals to be a tuple"),
        (lambda t, x: t.func.jvp(lambda x: x, (x,), (x, x)), "same python structure"),
        (lambda t, x: t.func.jvp(lambda x: x, (), ()), "at least one Tensor"),
        (lambda t, x: t.func.jvp(lambda x: t.ones(1), (x,), (x,), strict=True), "independent"),
        (lambda t, x: t.func.linearize(lambda x: x, x)[1](x, x), "same argspec"),
        (lambda t, x: t.func.linearize(lambda x: x, x)[1](x[:2]), "with shape"),
        (lambda t, x: t.func.jacrev(lambda x: x + 1j)(x), "to be real"),
    ],
)
def test_errors(lib, call, message):
    with pytest.raises(RuntimeError, match=message):
        call(lib, tensor(lib, *X))


# -- vjp, jvp, linearize ---------------------------------------------------------------------------


def test_vjp(lib):
    x, y = tensor(lib, *X), tensor(lib, *X) + 1
    out, pull = lib.func.vjp(lambda x, y: {"a": x * y, "b": [x.sum()]}, x, y)
    same(lib, out["a"], x * y)
    one = lib.ones((), dtype=lib.float64)
    for _ in range(2):
        a, b = pull({"a": x, "b": [one]})
        same(lib, a, x * y + 1)
        same(lib, b, x * x)
    out, pull, aux = lib.func.vjp(lambda x: (x.sin(), x.cos()), x, has_aux=True)
    same(lib, aux, x.cos())
    (a,) = pull(x)
    same(lib, a, x * x.cos())
    assert not a.requires_grad


def test_vjp_is_linear_in_what_it_is_given(lib):
    x, v = tensor(lib, *X), tensor(lib, *X).requires_grad_()
    _, pull = lib.func.vjp(lib.sin, x)
    (out,) = pull(v)
    out.sum().backward()
    same(lib, v.grad, x.cos())


def test_jvp(lib):
    x, v = tensor(lib, *X), tensor(lib, 1.0, 2.0, 3.0)
    _, dot = lib.func.jvp(lambda p: (p["x"].sin(), [p["x"] ** 2]), ({"x": x},), ({"x": v},))
    same(lib, dot[0], x.cos() * v)
    same(lib, dot[1][0], 2 * x * v)
    _, dot, aux = lib.func.jvp(lambda x: (x**2, x + 1), (x,), (v,), has_aux=True)
    same(lib, aux, x + 1)
    assert not dot.requires_grad
    assert not aux.requires_grad


def test_linearize(lib):
    x, y = tensor(lib, *X), tensor(lib, *X) + 1
    out, push = lib.func.linearize(lambda x, y: {"a": x * y}, x, y)
    same(lib, out["a"], x * y)
    for v in (x, y):
        same(lib, push(v, x)["a"], v * y + x * x)


# -- Jacobians -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jacrev", "jacfwd"])
def test_jacobians(lib, name):
    jacobian = getattr(lib.func, name)
    x, y = tensor(lib, *X), tensor(lib, *X) + 1
    same(lib, jacobian(lib.sin)(x), lib.diag(x.cos()))
    same(lib, jacobian(lambda x: x.sum())(x), lib.ones(3, dtype=lib.float64))
    same(lib, jacobian(lambda x: x * 2)(x[0]), lib.tensor(2.0, dtype=lib.float64))

    def f(x, y):
        return {"outer": x[:, None] * y, "sum": (x * y).sum()}

    out = jacobian(f, (0, 1))(x, y)
    assert out["outer"][0].shape == (3, 3, 3)
    same(lib, out["outer"][1], lib.einsum("i,jk->ijk", x, lib.eye(3, dtype=lib.float64)))
    same(lib, out["sum"][0], y)
    out, aux = jacobian(lambda x: (x**2, x), has_aux=True)(x)
    same(lib, out, lib.diag(2 * x))
    same(lib, aux, x)
    matrix = x[:, None] * y
    for size in (1, 2, 4, 100):
        if name == "jacrev" or lib is tg:  # torch has it for jacrev only
            same(lib, jacobian(lib.exp, chunk_size=size)(matrix), jacobian(lib.exp)(matrix))


def test_hessian(lib):
    x, y = tensor(lib, *X), tensor(lib, *X) + 1
    same(lib, lib.func.hessian(lambda x: (x**3).sum())(x), lib.diag(6 * x))
    blocks = lib.func.hessian(lambda x, y: (x * y**2).sum(), (0, 1))(x, y)
    same(lib, blocks[0][1], lib.diag(2 * y))
    same(lib, blocks[1][1], lib.diag(2 * x))
    same(lib, blocks[0][0], lib.zeros(3, 3, dtype=lib.float64))


# -- compositions ----------------------------------------------------------------------------------


def mlp(lib, params, x):
    (w, b), (v, c) = params
    return lib.tanh(x @ w + b) @ v + c


def network(lib):
    rng = np.random.default_rng(0)
    shapes = (((3, 4), (4,)), ((4, 2), (2,)))
    params = [tuple(lib.from_numpy(rng.normal(size=s)) for s in pair) for pair in shapes]
    return params, lib.from_numpy(rng.normal(size=(5, 3))), lib.from_numpy(rng.normal(size=(5, 2)))


def leaves(tree):
    return [x for pair in tree for x in pair]


def test_per_sample_gradients(lib):
    params, xs, ys = network(lib)

    def loss(params, x, y):
        return ((mlp(lib, params, x) - y) ** 2).sum()

    grad, vmap = lib.func.grad, lib.func.vmap
    found = vmap(grad(loss), (None, 0, 0))(params, xs, ys)
    rows = [grad(loss)(params, x, y) for x, y in zip(xs, ys)]
    for k, g in enumerate(leaves(found)):
        same(lib, g, lib.stack([leaves(row)[k] for row in rows]))


COMPOSITIONS = {
    "jacfwd of jacrev": lambda t, f, x: t.func.jacfwd(t.func.jacrev(f))(x),
    "jacrev of jacfwd": lambda t, f, x: t.func.jacrev(t.func.jacfwd(f))(x),
    "jacrev of jacrev": lambda t, f, x: t.func.jacrev(t.func.jacrev(f))(x),
    "jacfwd of jacfwd": lambda t, f, x: t.func.jacfwd(t.func.jacfwd(f))(x),
    "jacrev of grad": lambda t, f, x: t.func.jacrev(t.func.grad(f))(x),
    "rows by vjp": lambda t, f, x: t.func.vmap(lambda v: t.func.vjp(t.func.grad(f), x)[1](v)[0])(
        t.eye(3, dtype=x.dtype)
    ),
    "columns by jvp": lambda t, f, x: t.func.vmap(
        lambda v: t.func.jvp(t.func.grad(f), (x,), (v,))[1], out_dims=1
    )(t.eye(3, dtype=x.dtype)),
    "columns by linearize": lambda t, f, x: t.func.vmap(
        t.func.linearize(t.func.grad(f), x)[1], out_dims=1
    )(t.eye(3, dtype=x.dtype)),
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_hessians_by_compositions(lib, name):
    x = tensor(lib, *X)

    def f(x):
        return (x.sin() * x.roll(1, 0)).sum() + x.prod()

    def hessian(x):
        rows = []
        y = x.clone().requires_grad_()
        (g,) = lib.autograd.grad(f(y), y, create_graph=True)
        for k in range(3):
            rows.append(lib.autograd.grad(g[k], y, retain_graph=True)[0])
        return lib.stack(rows)

    wanted = hessian(x)
    same(lib, COMPOSITIONS[name](lib, f, x), wanted)
    if name == "columns by linearize" and lib is not tg:
        return  # torch can't trace within vmap
    xs = lib.stack([x, x + 1])
    mapped = lib.func.vmap(lambda x: COMPOSITIONS[name](lib, f, x))(xs)
    same(lib, mapped, lib.stack([wanted, hessian(x + 1)]))


def test_derivatives_of_maps(lib):
    x, w = tensor(lib, *X), tensor(lib, 1.0, 2.0)

    def outer(x, w):
        return lib.func.vmap(lambda a: a.sin() * w)(x)

    out = lib.func.jacrev(outer, (0, 1))(x, w)
    assert [tuple(block.shape) for block in out] == [(3, 2, 3), (3, 2, 2)]
    same(lib, out[1], lib.einsum("i,jk->ijk", x.sin(), lib.eye(2, dtype=lib.float64)))
    forward = lib.func.jacfwd(outer, (0, 1))(x, w)
    same(lib, forward[0], out[0])
    total = lib.func.grad(lambda x: outer(x, w).sum())(x)
    same(lib, total, x.cos() * 3)


def test_gradients_within_two_maps(lib):
    x, y = tensor(lib, *X), tensor(lib, 1.0, 2.0)
    grad, vmap = lib.func.grad, lib.func.vmap

    def f(x, y):
        return (x * y).sin()

    found = vmap(vmap(grad(f), (None, 0)), (0, None))(x, y)
    same(lib, found, y * (x[:, None] * y).cos())
    second = vmap(vmap(grad(grad(f), 1), (None, 0)), (0, None))(x, y)
    product = x[:, None] * y
    same(lib, second, product.cos() - product * product.sin())
    inner = vmap(lambda x: grad(lambda z: vmap(lambda y: f(z, y))(y).sum())(x))(x)
    same(lib, inner, (y * product.cos()).sum(1))


def test_hessian_vector_products(lib):
    x, v = tensor(lib, *X), tensor(lib, 1.0, 2.0, 3.0)

    def f(x):
        return (x**4).sum()

    same(lib, lib.func.jvp(lib.func.grad(f), (x,), (v,))[1], 12 * x**2 * v)
    same(lib, lib.func.vjp(lib.func.grad(f), x)[1](v)[0], 12 * x**2 * v)
    same(lib, lib.func.grad(lambda x: lib.func.jvp(f, (x,), (v,))[1])(x), 12 * x**2 * v)


def test_complex_gradients(lib):
    z = lib.tensor([1 + 2j, 3 - 1j], dtype=lib.complex128)
    out = lib.func.vmap(lib.func.grad(lambda z: (z * z.conj()).real))(z)
    same(lib, out, 2 * z)


def test_layers_as_functions(lib):
    F = lib.nn.functional
    rng = np.random.default_rng(0)
    x = lib.from_numpy(rng.normal(size=(3, 2, 4, 5)))
    w = lib.from_numpy(rng.normal(size=(6, 2, 3, 3)))
    b = lib.from_numpy(rng.normal(size=6))

    def loss(w, b, x):
        y = F.conv2d(x[None], w, b, padding=1)
        y = F.max_pool2d(F.group_norm(y, 2), 2)
        return F.avg_pool2d(y, 2).pow(2).sum()

    found = lib.func.vmap(lib.func.grad(loss, (0, 1)), (None, None, 0))(w, b, x)
    rows = [lib.func.grad(loss, (0, 1))(w, b, a) for a in x]
    same(lib, found[0], lib.stack([row[0] for row in rows]))
    same(lib, found[1], lib.stack([row[1] for row in rows]))


# -- trees -----------------------------------------------------------------------------------------


def test_trees():
    Pair = collections.namedtuple("Pair", "a b")
    tree = {
        "x": [1, (2, None)],
        "y": Pair(3, collections.OrderedDict(z=4)),
        "d": collections.deque([5], 3),
        "f": collections.defaultdict(list, k=6),
        "none": (),
    }
    leaves, spec = pytree.tree_flatten(tree)
    assert leaves == [1, 2, None, 3, 4, 5, 6]
    assert pytree.tree_unflatten(leaves, spec) == tree
    assert pytree.tree_map(lambda x: x, tree) == tree
    assert pytree.tree_flatten([0, (0, 0)])[1] == pytree.tree_flatten([1, (2, 3)])[1]
    assert pytree.tree_flatten([0, [0, 0]])[1] != spec
    with pytest.raises(ValueError, match="has length 1 but"):
        pytree.tree_unflatten([1], spec)


def test_own_trees():
    class Box:
        def __init__(self, value):
            self.value = value

    pytree.register_pytree_node(Box, lambda b: ([b.value], None), lambda items, _: Box(*items))
    out = tg.func.grad(lambda box: (box.value**2).sum())(Box(tg.ones(2)))
    assert out.value.tolist() == [2.0, 2.0]
