"""Max pooling in 1 to 3 dimensions, and its partial inverse.

The gradient of a maximum goes to its place: the first of equal ones, the last nan.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.fused import fused
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.indexing import add_at
from tapegrad.rules.ondemand.windows import Padding, Sizes, per_dim, positions, symmetric

NN = "nn.functional"


# -- the maximum -----------------------------------------------------------------------------------


def lowest(dtype: np.dtype[Any]) -> Any:
    """What no maximum is below."""
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def are_squares(
    sizes: Sizes, counts: Sizes, kernel: Sizes, stride: Sizes, padding: Padding, dilation: Sizes
) -> bool:
    """Whether windows are squares of 2 x 2 elements beside each other, in all of the rows."""
    if (kernel, stride, padding, dilation) != ((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)):
        return False
    return sizes[0] == 2 * counts[0] and sizes[1] // 2 == counts[1]


def max_forward(x, counts, kernel, stride, padding, dilation):
    dims = len(kernel)
    sizes = x.shape[x.ndim - dims :]
    squares = are_squares(sizes, counts, kernel, stride, padding, dilation)
    fused_pool = fused("square_pool", x) if squares else None
    if fused_pool is not None:
        out = np.empty((*x.shape[: x.ndim - 2], *counts), x.dtype)
        fused_pool(math.prod(x.shape[: x.ndim - 2]), x, out, sizes[0], counts[1], sizes[1])
        return out
    out = np.full((*x.shape[: x.ndim - dims], *counts), lowest(x.dtype), x.dtype)
    for _, source, goal in positions(sizes, counts, kernel, stride, padding, dilation):
        part = out[goal]
        np.maximum(part, x[source], out=part)
    return out


def max_x(out_bar, x, out, counts, kernel, stride, padding, dilation):
    sizes = x.shape[x.ndim - len(kernel) :]
    squares = are_squares(sizes, counts, kernel, stride, padding, dilation)
    fused_x = fused("square_pool_x", out_bar, x, out) if squares else None
    if fused_x is not None:
        covered = sizes[1] == 2 * counts[1]
        x_bar = np.empty_like(x) if covered else np.zeros_like(x)
        operands = (out_bar, x, out, x_bar, sizes[0], counts[1], sizes[1])
        fused_x(math.prod(x.shape[: x.ndim - 2]), *operands)
        return x_bar
    index = max_index(x, out, counts, kernel, stride, padding, dilation)
    apart = all(s > d * (k - 1) for k, s, d in zip(kernel, stride, dilation, strict=True))
    return placed(out_bar, index, tuple(x.shape[x.ndim - len(kernel) :]), not apart)


def max_index_forward(x, y, counts, kernel, stride, padding, dilation):
    sizes = x.shape[x.ndim - len(kernel) :]
    parts = positions(sizes, counts, kernel, stride, padding, dilation)
    # Which position is the first to hold the maximum: how many come before it.
    which = np.zeros(y.shape, np.uint8 if len(parts) < 256 else np.int64)
    found = np.zeros(y.shape, bool)
    for _, source, goal in parts:
        found[goal] |= x[source] == y[goal]
        which += ~found
    starts, offsets = flat_places(sizes, counts, kernel, stride, padding, dilation)
    if found.all():
        return starts + offsets.take(which)
    index = starts + offsets.take(np.minimum(which, len(parts) - 1))
    flat = np.arange(math.prod(sizes)).reshape(sizes)
    for _, source, goal in parts:  # where there are nans, the last
        np.copyto(index[goal], flat[source], where=np.isnan(x[source]))
    return index


@lru_cache(maxsize=64)
def flat_places(
    sizes: Sizes, counts: Sizes, kernel: Sizes, stride: Sizes, padding: Padding, dilation: Sizes
) -> tuple[np.ndarray, np.ndarray]:
    """Where windows begin in the flattened sizes, and the offset of each position from there."""
    steps = [math.prod(sizes[d + 1 :]) for d in range(len(sizes))]
    starts = np.zeros((), np.int64)
    for d, (count, s, p) in enumerate(zip(counts, stride, padding, strict=True)):
        along = (np.arange(count) * s - p[0]) * steps[d]
        starts = starts[..., None] + along
    offsets = [
        sum(i * d * step for i, d, step in zip(k, dilation, steps, strict=True))
        for k, _, _ in positions(sizes, counts, kernel, stride, padding, dilation)
    ]
    return starts, np.array(offsets, np.int64)


def placed_forward(x, y, sizes, repeats):
    lead = x.shape[: x.ndim - len(sizes)]
    rows, total = math.prod(lead), math.prod(sizes)
    flat = y.reshape(rows, y.size // max(rows, 1)) + np.arange(rows)[:, None] * total
    out = np.zeros(rows * total, x.dtype)
    if repeats:
        add_at(out, (flat.ravel(),), x.ravel())
    else:
        out[flat.ravel()] = x.ravel()
    return out.reshape(*lead, *sizes)


def placed_x(out_bar, y, sizes, repeats):
    return taken(out_bar, y, len(sizes), repeats)


def taken_forward(x, y, dims, repeats):
    rows, total = math.prod(x.shape[: x.ndim - dims]), math.prod(x.shape[x.ndim - dims :])
    flat = y.reshape(rows, y.size // max(rows, 1)) + np.arange(rows)[:, None] * total
    return x.reshape(-1).take(flat).reshape(y.shape)


def taken_x(out_bar, y, x_shape, dims, repeats):
    return placed(out_bar, y, x_shape[len(x_shape) - dims :], repeats)


#: The place of each maximum ``y``, in the last dimensions of ``x`` flattened.
max_index = structural("max_index", max_index_forward, None, None)
#: Zeros with ``x`` at the places ``y`` in the last dimensions, flattened; and what is there.
placed = structural("placed", placed_forward, placed_x, None)
taken = structural("taken", taken_forward, taken_x, None)

MAX_POOL = {
    1: structural("max_pool", max_forward, max_x, grad_name="SqueezeBackward1"),
    2: structural("max_pool", max_forward, max_x, grad_name="MaxPool2DWithIndicesBackward0"),
    3: structural("max_pool", max_forward, max_x, grad_name="MaxPool3DWithIndicesBackward0"),
}
UNPOOL = {
    1: structural("max_unpool", placed_forward, placed_x, None, grad_name="SqueezeBackward1"),
    2: structural("max_unpool", placed_forward, placed_x, None, grad_name="MaxUnpool2DBackward0"),
    3: structural("max_unpool", placed_forward, placed_x, None, grad_name="MaxUnpool3DBackward0"),
}


def _counts(
    sizes: Sizes, kernel: Sizes, stride: Sizes, pads: Sizes, dilation: Sizes, ceil: bool
) -> Sizes:
    """How many windows there are; rounded up, as long as the last one begins before the end."""
    counts = []
    for n, k, s, p, d in zip(sizes, kernel, stride, pads, dilation, strict=True):
        count = (n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil else 0)) // s + 1
        if ceil and (count - 1) * s >= n + p:
            count -= 1
        counts.append(count)
    return tuple(counts)


def pool_geometry(
    dims: int, input: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> tuple[Sizes, Sizes, Sizes, Sizes, Sizes]:
    """The counts, sizes, strides, paddings and dilations of windows, checked as torch does."""
    if isinstance(kernel, (tuple, list)) and len(kernel) not in (1, dims):
        raise RuntimeError(
            f"pool{dims}d: kernel_size must either be a single int, or a tuple of {dims} ints"
        )
    kernel = per_dim(kernel, dims, "kernel_size")
    empty = isinstance(stride, (tuple, list)) and not stride
    stride = kernel if stride is None or empty else per_dim(stride, dims, "stride")
    pads = per_dim(padding, dims, "padding")
    dilation = per_dim(dilation, dims, "dilation")
    for name, values in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        if min(values) <= 0:
            raise RuntimeError(f"{name} must be greater than zero, but got {min(values)}")
    shape = input._spec.shape
    if len(shape) not in (dims + 1, dims + 2) or not all(shape[len(shape) - dims - 1 :]):
        raise RuntimeError(
            f"Expected {dims + 1}D or {dims + 2}D (batch mode) tensor with optional 0 dim batch "
            f"size for input, but got: {list(shape)}"
            if dims < 3
            else f"Expected input's non-batch dimensions to have positive length in a non-empty "
            f"4D or 5D (batch mode) tensor, but input has a shape of {list(shape)}"
        )
    if min(pads) < 0:
        raise RuntimeError(f"pad must be non-negative, but got pad: {min(pads)}")
    for k, p, d in zip(kernel, pads, dilation, strict=True):
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, "
                f"kernel_size={k} and dilation={d}"
            )
    counts = _counts(shape[len(shape) - dims :], kernel, stride, pads, dilation, ceil)
    if min(counts) < 1:
        sizes = "x".join(map(str, shape[len(shape) - dims - 1 :]))
        if dims == 1:
            raise RuntimeError(f"Invalid computed output size: {counts[0]}")
        raise RuntimeError(
            f"Given input size: ({sizes}). Calculated output size: "
            f"({'x'.join(map(str, (shape[len(shape) - dims - 1], *counts)))}). Output size is too "
            "small"
        )
    return counts, kernel, stride, pads, dilation


def _max_pool(
    dims: int, input: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool,
    indices: bool,
) -> Any:  # fmt: skip
    counts, kernel, stride, pads, dilation = pool_geometry(
        dims, input, kernel, stride, padding, dilation, ceil
    )
    params = (counts, kernel, stride, symmetric(pads), dilation)
    out = Primitive.apply(MAX_POOL[dims], (input,), params)
    if not indices:
        return out
    return out, Primitive.apply(max_index, (input, out), params)


@public(module=("", NN), method=False)
def max_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The maximum over windows of ``input`` (N, C, L) or (C, L).

    Padding is of -inf. With ``ceil_mode`` a last window may reach over the end. With
    ``return_indices`` the places too, int64, in the last dimensions flattened. Raises RuntimeError
    for sizes that don't fit.
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@public(module=("", NN), method=False)
def max_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """As `max_pool1d` in two dimensions."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@public(module=("", NN), method=False)
def max_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """As `max_pool1d` in three dimensions."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _with_indices(dims: int) -> None:
    pool = {1: max_pool1d, 2: max_pool2d, 3: max_pool3d}[dims]

    def with_indices(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False, return_indices: bool = True,
    ) -> Any:  # fmt: skip
        return pool(input, kernel_size, stride, padding, dilation, ceil_mode, True)

    with_indices.__doc__ = f"`max_pool{dims}d` with the places of the maxima."
    with_indices.__name__ = f"max_pool{dims}d_with_indices"
    public(with_indices, module=NN, method=False)


for _dims in (1, 2, 3):
    _with_indices(_dims)


# -- back to where the maxima were -----------------------------------------------------------------


def _unpool(
    dims: int, input: Any, indices: Any, kernel: Any, stride: Any, padding: Any, size: Any
) -> Any:
    kernel = per_dim(kernel, dims, "kernel_size")
    stride = kernel if stride is None else per_dim(stride, dims, "stride")
    pads = per_dim(padding, dims, "padding")
    shape = input._spec.shape
    if indices._spec.dtype != np.int64:
        raise RuntimeError("elements in indices should be type int64")
    if indices._spec.shape != shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(shape)}) but "
            f"got indices tensor with shape: {list(indices._spec.shape)}"
        )
    if len(shape) not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"Input to max_unpooling{dims}d should be a {dims + 1}d or {dims + 2}d Tensor, but got "
            f"{len(shape)} dimensions."
        )
    last = shape[len(shape) - dims :]
    usual = tuple(
        [(n - 1) * s + k - 2 * p for n, s, k, p in zip(last, stride, kernel, pads, strict=True)]
    )
    sizes = usual if size is None else _unpooled_sizes(tuple(size), usual, stride)
    index = indices._array
    total = math.prod(sizes)
    for wrong in index[(index < 0) | (index >= total)].ravel().tolist()[:1]:
        raise RuntimeError(
            f"Found an invalid max index: {wrong} (output volumes are of size "
            f"{'x'.join(map(str, sizes))})"
        )
    return Primitive.apply(UNPOOL[dims], (input, indices), (sizes, False))


def _unpooled_sizes(size: Sizes, usual: Sizes, stride: Sizes) -> Sizes:
    dims = len(usual)
    size = size[2:] if len(size) == dims + 2 else size
    if len(size) != dims:
        raise ValueError(
            f"output_size should be a sequence containing {dims} or {dims + 2} elements, but it "
            f"has a length of '{len(size)}'"
        )
    for d, (n, m, s) in enumerate(zip(size, usual, stride, strict=True)):
        if not m - s < n < m + s:
            raise ValueError(
                f'invalid output_size "{list(size)}" (dim {d} must be between {m - s} and {m + s})'
            )
    return size


@public(module=NN, method=False)
def max_unpool1d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    output_size: Any = None,
) -> Any:  # fmt: skip
    """Zeros with ``input`` at the ``indices`` that `max_pool1d` returned.

    Of several at one place the last one stays. Raises RuntimeError for an index out of range,
    ValueError for an ``output_size`` that `max_pool1d` wouldn't have had.
    """
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


@public(module=NN, method=False)
def max_unpool2d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    output_size: Any = None,
) -> Any:  # fmt: skip
    """As `max_unpool1d` in two dimensions."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


@public(module=NN, method=False)
def max_unpool3d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    output_size: Any = None,
) -> Any:  # fmt: skip
    """As `max_unpool1d` in three dimensions."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)
