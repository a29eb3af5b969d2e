"""Tensor's methods that are no operators, attached here and nowhere else.

Operators become methods by their declarations (see `tapegrad.operators`). The rest is what this
module lists: detaching, ``backward`` and hooks, ``new_...``, random numbers in place, questions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad import alike, filling, sampling
from tapegrad.autograd.engine import backward as run_backward
from tapegrad.autograd.hooks import (
    register_hook,
    register_post_accumulate_grad_hook,
    retain_grad,
    retains_grad,
)
from tapegrad.primitive import wrap_axis
from tapegrad.rules.conversion import clone_contiguous
from tapegrad.size import Size
from tapegrad.storage import owner
from tapegrad.tensor import Tensor, detached, view_of

__all__ = [
    "detach",
    "detach_",
    "is_complex",
    "is_floating_point",
    "is_inference",
    "is_nonzero",
    "is_tensor",
    "numel",
]


# -- off the tape, and back along it ---------------------------------------------------------------


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


def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether the other has the same memory, shape and strides."""
    same = data_ptr(input) == data_ptr(tensor) and input._spec.shape == tensor._spec.shape
    return same and input._array.strides == tensor._array.strides


def _no(input: Tensor) -> bool:
    """False: there are no such Tensors here."""
    return False


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
    "is_shared": _no,
    "is_pinned": _no,
    "__dlpack__": _dlpack,
    "__dlpack_device__": _dlpack_device,
}

PROPERTIES: dict[str, property] = {
    "retains_grad": property(retains_grad, doc="Whether `retain_grad` was called on it."),
    "is_sparse": _legacy_property(False, "False: Tensors are dense."),
    "is_quantized": _legacy_property(False, "False: there are no quantized Tensors."),
    "is_meta": _legacy_property(False, "False: every Tensor has its data."),
    "is_mps": _legacy_property(False, "False: there is only the CPU."),
    "is_mkldnn": _legacy_property(False, "False: Tensors are plain arrays."),
    "is_xpu": _legacy_property(False, "False: there is only the CPU."),
    "is_cpu": _legacy_property(True, "True: there is only the CPU."),
}

for _name, _method in METHODS.items():
    setattr(Tensor, _name, _method)
for _name, _property in PROPERTIES.items():
    setattr(Tensor, _name, _property)
