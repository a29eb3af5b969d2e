"""Products of batches of matrices, some of which are one matrix, expanded.

This is what a layer does under vmap: the weight, which each sample needs a gradient for, is one
matrix seen many times, so the product is one product of matrices, and its gradients are outer
products.
"""

from __future__ import annotations

import numpy as np

from tapegrad.primitive import structural
from tapegrad.rules.matrices import adjoint, conjugate


def product_forward(x, y):
    # x (B, n, k), y (B, k, p)
    b, n, k = x.shape
    p = y.shape[2]
    if k == 1 or not x.size or not y.size:
        return x * y if k == 1 else np.matmul(x, y)
    if y.strides[0] == 0 and b > 1:
        return x.reshape(b * n, k).dot(y[0]).reshape(b, n, p)
    if x.strides[0] == 0 and b > 1 and p == 1:
        return y.reshape(b, k).dot(x[0].T).reshape(b, n, 1)
    return np.matmul(x, y)


def product_x(out_bar, y):
    return product(out_bar, adjoint(y))


def product_y(out_bar, x):
    return product(adjoint(x), out_bar)


#: The products of two batches of as many matrices.
product = structural("bmm", product_forward, product_x, product_y)


def layers_forward(x, y, z):
    # x (B, k) or (B, n, k), y (B, p, k), z (B, p)
    rows = x if x.ndim == 3 else x[:, None]
    out = product_forward(rows, y.swapaxes(1, 2))
    out += z[:, None]
    return out if x.ndim == 3 else out[:, 0]


def layers_x(out_bar, y, x_shape):
    if len(x_shape) == 3:
        return product(out_bar, conjugate(y))
    return np.reshape(product(np.expand_dims(out_bar, 1), conjugate(y)), x_shape)


def layers_y(out_bar, x):
    if x.ndim == 3:
        return product(np.swapaxes(out_bar, 1, 2), conjugate(x))
    return np.expand_dims(out_bar, 2) * np.expand_dims(conjugate(x), 1)


def layers_z(out_bar, x_shape):
    return np.sum(out_bar, axis=1) if len(x_shape) == 3 else out_bar


#: ``linear``, with a weight and a bias for each sample.
layers = structural("linear", layers_forward, layers_x, layers_y, layers_z)
