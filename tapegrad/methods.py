"""Tensor's methods that are no operators, attached here and nowhere else.

Operators become methods by their declarations (see `tapegrad.operators`). The rest is what this
module lists: detaching, ``backward`` and hooks, ``new_...``, random numbers in place, questions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad import alike, dtypes, filling, legacy, reshaping, sampling
from tapegrad.autograd.engine import backward as run_backward
from tapegrad.autograd.hooks import (
    register_hook,
    register_post_accumulate_grad_hook,
    retain_grad,
    retains_grad,
)
from tapegrad.axes import wrap_axis
from tapegrad.declaration import by_sample
from tapegrad.inplace import in_place
from tapegrad.rules.conversion import clone_contiguous, conj
from tapegrad.size import Size
from tapegrad.storage import owner
from tapegrad.tensor import Tensor, detached, from_array, view_of

__all__ = [
    "detach",
    "detach_",
    "get_device",
    "is_complex",
    "is_conj",
    "is_floating_point",
    "is_inference",
    "is_neg",
    "is_nonzero",
    "is_same_size",
    "is_signed",
    "is_tensor",
    "numel",
    "resolve_neg",
    "typename",
]


# -- off the tape, and back along it ---------------------------------------------------------------


@by_sample
def detach(input: Tensor) -> Tensor:
    """A Tensor over the same memory that is not recorded."""
    return detached(input, input._array)


def detach_(input: Tensor) -> Tensor:
    """Take the Tensor itself off the tape: it becomes a leaf that doesn't require grad.

    Raises RuntimeError for a view.
    """
    if view_of(input) is not None:
        raise RuntimeError(
            "Can't detach views in-place. Use detach() instead. If you are using "
            "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as "
            "True, gradients are views of DDP buckets, and hence detach_() cannot be called on "
            "these gradients. To fix this error, please refer to the Optimizer.zero_grad() "
            "function in torch/optim/optimizer.py as the solution."
        )
    input._place = None
    return input


def requires_grad_(input: Tensor, requires_grad: bool = True) -> Tensor:
    """Have operations on this leaf recorded, or not. Returns the Tensor itself.

    Raises RuntimeError for a dtype that is neither floating-point nor complex, and where a Tensor
    that is no leaf should stop.
    """
    if requires_grad is False and input._place is None:
        return input
    if not isinstance(requires_grad, bool):
        raise TypeError(
            "requires_grad_(): argument 'requires_grad' (position 1) must be bool, not "
            f"{type(requires_grad).__name__}"
        )
    if not requires_grad and not input.is_leaf:
        raise RuntimeError(
            "you can only change requires_grad flags of leaf variables. If you want to use a "
            "computed variable in a subgraph that doesn't require differentiation use var_no_grad "
            "= var.detach()."
        )
    if requires_grad and input._spec.dtype.kind not in "fc":
        raise RuntimeError("only Tensors of floating point dtype can require gradients")
    if not input.requires_grad or not requires_grad:
        input.requires_grad = requires_grad
    return input


def backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of this Tensor to the ``grad`` of the leaves that it depends on.

    Args:
        gradient: the Tensor's own adjoint, of its shape; for one element it may be left out (1).
        retain_graph: keep what the records have saved, to run backward again. Default: the value
            of ``create_graph``.
        create_graph: record the backward pass too, to differentiate it.
        inputs: accumulate into these only (they may be no leaves).

    Raises:
        RuntimeError: the Tensor does not require grad, the gradient is missing or has another
            shape, saved values have been freed by an earlier call, or changed in place since.
    """
    run_backward(self, gradient, retain_graph, create_graph, inputs=inputs)


backward.__qualname__ = "Tensor.backward"  # for Python's errors on its arguments


# -- sizes and memory ------------------------------------------------------------------------------


def dim(self: Tensor) -> int:
    """The number of dimensions."""
    return self._spec.ndim


def size(self: Tensor, dim: int | None = None) -> Any:
    """The shape, or the size of one dimension."""
    if dim is None:
        return Size(self._spec.shape)
    axis = wrap_axis(dim, self._spec.ndim)
    return self._spec.shape[axis]


def stride(self: Tensor, dim: int | None = None) -> Any:
    """The strides in elements, or that of one dimension."""
    step = self._spec.dtype.itemsize
    strides = tuple(s // step for s in self._array.strides)
    return strides if dim is None else strides[dim]


def is_contiguous(self: Tensor, memory_format: Any = None) -> bool:
    """Whether the elements lie in memory in order, without gaps."""
    return bool(self._array.flags.c_contiguous)


def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """The Tensor itself if it is contiguous, else a copy that is."""
    return self if self._array.flags.c_contiguous else clone_contiguous(self)


def storage_offset(self: Tensor) -> int:
    """The position of the first element in its memory, in elements."""
    start = owner(self._array).ctypes.data
    return int((self._array.ctypes.data - start) // self._spec.dtype.itemsize)


# -- questions -------------------------------------------------------------------------------------


def is_tensor(obj: Any, /) -> bool:
    """Whether it is a Tensor."""
    return isinstance(obj, Tensor)


def _checked(function: str, input: Any) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{function}(): argument 'input' (position 1) must be Tensor, not "
            f"{type(input).__name__}"
        )
    return input


def is_floating_point(input: Tensor) -> bool:
    """Whether its dtype is float16, float32 or float64."""
    return _checked("is_floating_point", input)._spec.dtype.kind == "f"


def is_complex(input: Tensor) -> bool:
    """Whether its dtype is complex64 or complex128."""
    return _checked("is_complex", input)._spec.dtype.kind == "c"


def is_nonzero(input: Tensor) -> bool:
    """Whether its one element is not 0. Raises RuntimeError if it has not one element."""
    return bool(_checked("is_nonzero", input))


def numel(input: Tensor) -> int:
    """The number of elements."""
    return _checked("numel", input)._spec.size


def is_signed(input: Tensor) -> bool:
    """Whether its dtype has negative numbers."""
    return input.dtype.is_signed


def element_size(input: Tensor) -> int:
    """Bytes of one element."""
    return input._spec.dtype.itemsize


def get_device(input: Tensor) -> int:
    """-1: the CPU."""
    return -1


def data_ptr(input: Tensor) -> int:
    """The address of the first element."""
    return int(input._array.__array_interface__["data"][0])


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether the other has the same shape."""
    return input._spec.shape == other._spec.shape


def is_inference(input: Tensor) -> bool:
    """Whether it was made in inference mode."""
    return _checked("is_inference", input)._spec.inference


def is_conj(input: Tensor) -> bool:
    """False: a conjugate is computed at once."""
    return False


def is_neg(input: Tensor) -> bool:
    """False: a negative is computed at once."""
    return False


def resolve_neg(input: Tensor) -> Tensor:
    """The Tensor itself: see `is_neg`."""
    return input


def is_view(self: Tensor) -> bool:
    """Whether it is a differentiable view of another Tensor."""
    return view_of(self) is not None


def typename(obj: Any, /) -> str:
    """The type's name, such as "tapegrad.FloatTensor" or "int"."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    kind = obj if hasattr(obj, "__qualname__") else type(obj)
    module = "" if kind.__module__ == "builtins" else kind.__module__ + "."
    return f"{module}{kind.__qualname__}"


def dim_order(self: Tensor) -> tuple[int, ...]:
    """The dimensions from the outermost to the innermost in memory."""
    return tuple(sorted(range(self._spec.ndim), key=self._array.strides.__getitem__, reverse=True))


def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether the other has the same memory, shape and strides."""
    same = data_ptr(input) == data_ptr(tensor) and input._spec.shape == tensor._spec.shape
    return same and input._array.strides == tensor._array.strides


def _no(input: Tensor) -> bool:
    """False: there are no such Tensors here."""
    return False


def new(self: Tensor, *data: Any) -> Tensor:
    """torch's old constructor, for a Tensor of the same dtype: data, or sizes."""
    made: Tensor = getattr(legacy, dtypes.TYPE_NAMES[self._spec.dtype.name] + "Tensor")(*data)
    return made


def to_dense(self: Tensor, dtype: Any = None, *, masked_grad: Any = None) -> Tensor:
    """The Tensor itself: all are dense."""
    return self if dtype is None else self.to(dtype)


# -- element by element, by Python functions -------------------------------------------------------


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace each element by a Python function of it, in place. Slow; use operators where you can.

    Raises RuntimeError (TypeError for `map_` and `map2_`) if a Tensor requires grad.
    """
    if self.requires_grad:
        raise RuntimeError(
            "Can't call apply_() on Variable that requires grad. Use var.detach().apply_() instead."
        )
    return _by_elements(self, callable)


def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """`apply_`, with a function of the elements of two Tensors."""
    return _by_elements(self, callable, tensor)


def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """`apply_`, with a function of the elements of three Tensors."""
    return _by_elements(self, callable, x, y)


def _by_elements(self: Tensor, function: Callable[..., Any], *others: Tensor) -> Tensor:
    if any(tensor.requires_grad for tensor in (self, *others)):
        raise TypeError("can't map by a Python function where a Tensor requires grad: detach() it")
    arrays = np.broadcast_arrays(*[tensor._array for tensor in (self, *others)])
    values = [function(*numbers) for numbers in zip(*[a.ravel().tolist() for a in arrays])]
    array = np.array(values, self._spec.dtype).reshape(self._spec.shape)
    self.copy_(from_array(array))
    return self


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Set the diagonal to a number, in place; with more than two dimensions, all must be equal.

    ``wrap``: it begins again below the last column of a tall matrix. Raises RuntimeError for fewer
    than two dimensions, and for more of unequal sizes.
    """
    shape = self._spec.shape
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    index = (np.arange(min(shape)),) * len(shape)
    if wrap and len(shape) == 2 and shape[1]:
        steps = np.arange(0, self._spec.size, shape[1] + 1)
        index = (steps // shape[1], steps % shape[1])
    self[tuple(map(from_array, index))] = fill_value
    return self


def _reversed(self: Tensor) -> Tensor:
    return self.flip(tuple(range(self._spec.ndim)))


def _dlpack(input: Tensor, **options: Any) -> Any:
    """The DLPack capsule of the Tensor's memory, for other libraries."""
    return input.numpy().__dlpack__(**options)


def _dlpack_device(input: Tensor) -> tuple[int, int]:
    return input._array.__dlpack_device__()


def _legacy_property(value: Any, text: str) -> property:
    def get(self: Tensor) -> Any:
        return value

    return property(get, doc=text)


METHODS: dict[str, Callable[..., Any]] = {
    "detach": detach,
    "detach_": detach_,
    "requires_grad_": requires_grad_,
    "backward": backward,
    "register_hook": register_hook,
    "register_post_accumulate_grad_hook": register_post_accumulate_grad_hook,
    "retain_grad": retain_grad,
    "new_zeros": alike.new_zeros,
    "new_ones": alike.new_ones,
    "new_full": alike.new_full,
    "new_empty": alike.new_empty,
    "new_empty_strided": alike.new_empty_strided,
    "new_tensor": alike.new_tensor,
    "bernoulli": sampling.bernoulli,
    "multinomial": sampling.multinomial,
    "uniform_": filling.uniform_,
    "normal_": filling.normal_,
    "random_": filling.random_,
    "exponential_": filling.exponential_,
    "bernoulli_": filling.bernoulli_,
    "log_normal_": filling.log_normal_,
    "cauchy_": filling.cauchy_,
    "geometric_": filling.geometric_,
    "new": new,
    "dim": dim,
    "ndimension": dim,
    "size": size,
    "stride": stride,
    "is_contiguous": is_contiguous,
    "contiguous": contiguous,
    "storage_offset": storage_offset,
    "numel": numel,
    "nelement": numel,
    "is_floating_point": is_floating_point,
    "is_complex": is_complex,
    "is_nonzero": is_nonzero,
    "is_signed": is_signed,
    "element_size": element_size,
    "get_device": get_device,
    "data_ptr": data_ptr,
    "is_same_size": is_same_size,
    "is_set_to": is_set_to,
    "is_inference": is_inference,
    "is_conj": is_conj,
    "is_neg": is_neg,
    "is_distributed": _no,
    "_is_view": is_view,
    "resolve_neg": resolve_neg,
    "conj_physical_": in_place(conj, "conj_physical_"),
    "const_data_ptr": data_ptr,
    "dim_order": dim_order,
    "dense_dim": dim,
    "to_dense": to_dense,
    "apply_": apply_,
    "map_": map_,
    "map2_": map2_,
    "fill_diagonal_": fill_diagonal_,
    "__reversed__": _reversed,
    "is_shared": _no,
    "is_pinned": _no,
    "__dlpack__": _dlpack,
    "__dlpack_device__": _dlpack_device,
    **reshaping.METHODS,
}

PROPERTIES: dict[str, property] = {
    "retains_grad": property(retains_grad, doc="Whether `retain_grad` was called on it."),
    "is_sparse": _legacy_property(False, "False: Tensors are dense."),
    "is_quantized": _legacy_property(False, "False: there are no quantized Tensors."),
    "is_meta": _legacy_property(False, "False: every Tensor has its data."),
    "is_mps": _legacy_property(False, "False: there is only the CPU."),
    "is_mkldnn": _legacy_property(False, "False: Tensors are plain arrays."),
    "is_xpu": _legacy_property(False, "False: there is only the CPU."),
    "is_nested": _legacy_property(False, "False: a Tensor is one array."),
    **{
        f"is_{name}": _legacy_property(False, "False: there is only the CPU.")
        for name in ("ipu", "maia", "mtia", "vulkan", "xla")
    },
    "is_sparse_csr": _legacy_property(False, "False: Tensors are dense."),
    "is_cpu": _legacy_property(True, "True: there is only the CPU."),
}

for _name, _method in METHODS.items():
    setattr(Tensor, _name, _method)
for _name, _property in PROPERTIES.items():
    setattr(Tensor, _name, _property)
