"""Products of batches of matrices, some of which are one matrix, expanded.

This is what a layer does under vmap: the weight, which each sample needs a gradient for, is one
matrix seen many times, so the product is one product of matrices, and its gradients are outer
products.
"""

from __future__ import annotations

import numpy as np

from tapegrad.primitive import structural
from tapegrad.rules.linalg import conjugate_transpose


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
    return product(out_bar, conjugate_transpose(y))


def product_y(out_bar, x):
    return product(conjugate_transpose(x), out_bar)


#: The products of two batches of as many matrices.
product = structural("bmm", product_forward, product_x, product_y)
