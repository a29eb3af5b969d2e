"""autograd.Function under vmap: each test runs on tapegrad and, where it is installed, on torch."""

from types import SimpleNamespace

import numpy as np
import pytest


def functions(lib):
    """A product with all that vmap can use, a generated one, and one without either."""

    class Product(lib.autograd.Function):
        @staticmethod
        def forward(x, y):
            return x * y

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, grad):
            x, y = ctx.saved_tensors
            return grad * y, grad * x

    class Generated(Product):
        generate_vmap_rule = True

    seen = []

    class Own(Product):
        @staticmethod
        def vmap(info, in_dims, x, y):
            seen.append((info.batch_size, info.randomness, in_dims, tuple(x.shape)))
            x = x if in_dims[0] is None else x.movedim(in_dims[0], 0)
            y = y if in_dims[1] is None else y.movedim(in_dims[1], 0)
            return Own.apply(x, y), 0

    class Both(Own):
        generate_vmap_rule = True

    return SimpleNamespace(Product=Product, Generated=Generated, Own=Own, Both=Both, seen=seen)


@pytest.fixture
def x(lib):
    return lib.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("name", ["Generated", "Own"])
def test_values_and_gradients(lib, x, name):
    product = getattr(functions(lib), name).apply
    y = lib.tensor([1.0, 2.0, 3.0])
    wanted = (x * y).numpy()
    np.testing.assert_allclose(lib.vmap(product, (0, None))(x, y).numpy(), wanted)
    np.testing.assert_allclose(lib.vmap(product, (None, 0))(y, x).numpy(), wanted)
    np.testing.assert_allclose(lib.vmap(product)(x, x).numpy(), (x * x).numpy())

    def loss(x, y):
        return product(product(x, y), y).sum()

    gradients = lib.vmap(lib.func.grad(loss, (0, 1)), (0, None))(x, y)
    np.testing.assert_allclose(gradients[0].numpy(), np.tile([1.0, 4.0, 9.0], (2, 1)))
    np.testing.assert_allclose(gradients[1].numpy(), 2 * wanted)


def test_maps_within_each_other(lib, x):
    product = functions(lib).Generated.apply
    outer = lib.vmap(lib.vmap(product, (0, None)), (None, 0))
    values = outer(x[0], x[1])
    np.testing.assert_allclose(values.numpy(), np.outer(x[1].numpy(), x[0].numpy()))


def test_what_the_rule_is_told(lib, x):
    made = functions(lib)
    lib.vmap(made.Own.apply, (1, None), randomness="same")(x, x[:, 0])
    size, randomness, in_dims, shape = made.seen[0]
    assert (size, randomness, in_dims[1]) == (3, "same", None)
    assert shape[in_dims[0]] == 3


def test_outputs_that_are_not_mapped(lib, x):
    class Pair(functions(lib).Product):
        @staticmethod
        def vmap(info, in_dims, x, y):
            return (x.sum(1 - in_dims[0]), x.sum()), (0, None)

    y = lib.ones(3)
    first, second = lib.vmap(Pair.apply, (1, None), (0, None))(x, y)
    assert (tuple(first.shape), second.item()) == ((3,), 15.0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Product", "You tried to vmap over Product, but it does not have vmap support"),
        ("Both", "it has both generate_vmap_rule=True and an overridden vmap staticmethod"),
    ],
)
def test_without_a_rule_and_with_two(lib, x, name, message):
    with pytest.raises(RuntimeError, match=message):
        lib.vmap(getattr(functions(lib), name).apply)(x, x)


def test_a_rule_returns_two(lib, x):
    class One(functions(lib).Product):
        @staticmethod
        def vmap(info, in_dims, x, y):
            return x

    with pytest.raises(RuntimeError, match="Expected the vmap staticmethod to have two returns"):
        lib.vmap(One.apply)(x[0], x[0])
