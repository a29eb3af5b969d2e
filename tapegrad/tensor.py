"""Tensor: an array and its place on the tape.

A Tensor has four fields: its array, the array's interned spec, its place (see `tapegrad.tape`), and
for a leaf its gradient. What only few Tensors need (being a view) is in a fifth, `_extra`, which is
looked at only where the spec says that the Tensor is special. The operators are not written here:
`tapegrad.operators` makes them from the primitives' declarations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapegrad import devices, dtypes
from tapegrad.layouts import layout, strided
from tapegrad.modes import modes, set_modes, switch
from tapegrad.primitive import Primitive
from tapegrad.size import Size, size_of
from tapegrad.spec import Spec, number_array, spec_of
from tapegrad.storage import aside, version
from tapegrad.tape import tape

__all__ = [
    "Tensor",
    "View",
    "as_tensor_input",
    "check_base",
    "check_differentiable",
    "detached",
    "from_array",
    "kind_of",
    "place_of",
    "view_of",
]


class Tensor:
    """A multi-dimensional array that can be differentiated.

    Made by `tapegrad.tensor` and the other creation functions, by operations on Tensors, and by
    NumPy's functions on them.
    """

    __slots__ = ("__weakref__", "_array", "_extra", "_grad", "_place", "_spec")

    _array: np.ndarray
    _spec: Spec
    _place: int | None
    _grad: Tensor | None
    _extra: View | type[Tensor]

    #: What stands before the values where a Tensor of that kind is printed.
    heading = ""

    __array_priority__ = 1000

    def __init__(self, *data: Any) -> None:
        """torch's legacy constructor: a sequence, or sizes of memory that isn't set."""
        default = dtypes.get_default_dtype().numpy
        if len(data) == 1 and isinstance(data[0], Size):
            made = from_array(np.empty(data[0], default))
        elif len(data) == 1 and not isinstance(data[0], int):
            if not hasattr(data[0], "__len__"):
                raise TypeError(f"new(): data must be a sequence (got {type(data[0]).__name__})")
            made = from_array(np.array(data[0], default))
        else:
            made = from_array(np.empty(data or (0,), default))
        self._array, self._spec, self._place = made._array, made._spec, None

    # -- what it is --------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The shape, a `Size`."""
        return size_of(self._spec.shape)

    @property
    def dtype(self) -> dtypes.dtype:
        """The dtype, such as ``tapegrad.float32``."""
        return dtypes.from_numpy(self._spec.dtype)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._spec.ndim

    @property
    def device(self) -> devices.device:
        """Always the CPU."""
        return devices.device("cpu")

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._spec.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._spec.nbytes

    @property
    def is_cuda(self) -> bool:
        """False: there is only the CPU."""
        return False

    @property
    def layout(self) -> layout:
        """The memory layout: `tapegrad.strided`."""
        return strided

    # -- its place on the tape ---------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this Tensor are recorded. Can be set on a leaf."""
        return place_of(self) is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise RuntimeError("requires_grad must be a bool")
        if not self.is_leaf:
            message = "you can only change requires_grad flags of leaf variables."
            if not value:
                message += (
                    " If you want to use a computed variable in a subgraph that doesn't require "
                    "differentiation use var_no_grad = var.detach()."
                )
            raise RuntimeError(message)
        if value == (place_of(self) is not None):
            return
        if value:
            check_differentiable(self._spec.dtype)
            if self._spec.inference and not modes.inference:
                raise RuntimeError(
                    "Setting requires_grad=True on inference tensor outside InferenceMode is not "
                    "allowed."
                )
            self._place = tape.new_leaf(self)
        else:
            self._place = None

    @property
    def is_leaf(self) -> bool:
        """Whether no record made it: it was created by the user, or does not require grad."""
        place = place_of(self)
        return place is None or place < 0

    @property
    def grad_fn(self) -> Any:
        """The record that made this Tensor, as an `autograd.graph.Node`; None for a leaf."""
        place = place_of(self)
        if place is None or place < 0:
            return None
        from tapegrad.autograd.graph import node

        return node(place)

    @property
    def output_nr(self) -> int:
        """Which output of its record it is."""
        from tapegrad.autograd.graph import output_of

        return output_of(place_of(self))

    @property
    def grad(self) -> Tensor | None:
        """The gradient that ``backward`` has accumulated in this leaf, or None."""
        try:
            return self._grad
        except AttributeError:
            pass
        if not self.is_leaf and place_of(self) not in tape.notes:
            import warnings

            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its "
                ".grad attribute won't be populated during autograd.backward(). If you indeed want "
                "the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the "
                "non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you "
                "access the leaf Tensor instead.",
                UserWarning,
                stacklevel=2,
            )
        return None

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is None:
            del self.grad
            return
        if not isinstance(value, Tensor):
            raise TypeError(
                f"assigned grad expected to be a Tensor or None but got grad of type "
                f"{type(value).__name__}"
            )
        if value is self:
            raise RuntimeError("can't assign Variable as its own grad")
        if value._spec.dtype != self._spec.dtype:
            raise RuntimeError(
                f"attempting to assign a gradient with dtype '{value.dtype}' to a tensor with "
                f"dtype '{self.dtype}'. The gradient must match the tensor's dtype."
            )
        if value._spec.shape != self._spec.shape:
            raise RuntimeError(
                f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of "
                f"size '{list(self.shape)}'. Please ensure that the gradient and the tensor are "
                "the same size"
            )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        if hasattr(self, "_grad"):
            del self._grad

    @property
    def _version(self) -> int:
        """How often its memory was changed in place."""
        if self._spec.inference:
            raise RuntimeError("Inference tensors do not track version counter.")
        return version(self._array)

    @property
    def _base(self) -> Tensor | None:
        """The Tensor that this one is a differentiable view of, or None."""
        view = view_of(self)
        return None if view is None else view.root

    # -- its values --------------------------------------------------------------------------------

    @property
    def data(self) -> Tensor:
        """A Tensor over the same memory that is not recorded. Can be set, to a Tensor."""
        return detached(self, aside(self._array))

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if place_of(self) is not None and value._spec.dtype.kind not in "fc":
            raise RuntimeError(
                "data set to a tensor that requires gradients must be floating point or complex "
                "dtype"
            )
        self._array = value._array
        spec = value._spec.detached
        self._spec = spec if view_of(self) is None else spec.as_special

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """An array over the same memory, not a copy.

        Raises RuntimeError if the Tensor requires grad, unless nothing is recorded or ``force``.
        """
        if not force and modes.grad and place_of(self) is not None:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. "
                "Use tensor.detach().numpy() instead."
            )
        return self._array.view()  # one of its own, whose shape a person may set

    def item(self) -> Any:
        """The one element, as a Python number."""
        if self._spec.size != 1:
            raise RuntimeError(
                f"a Tensor with {self._spec.size} elements cannot be converted to Scalar"
            )
        return self._array.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self._array.tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError("a copy is needed to change the dtype, and copy=False")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __bool__(self) -> bool:
        if self._spec.size == 1:
            return bool(self._array.item())
        if self._spec.size == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")

    def __float__(self) -> float:
        return float(self._number(float))

    def __int__(self) -> int:
        return int(self._number(int))

    def __complex__(self) -> complex:
        return complex(self._number(complex))

    def _number(self, kind: type) -> Any:
        """The one element, for Python's ``float(x)`` and the like, with torch's errors."""
        if self._spec.size != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        number = self._array.item()
        if kind is not complex and isinstance(number, complex):
            if number.imag:
                name = "double" if kind is float else "int64_t"
                raise RuntimeError(f"value cannot be converted to type {name} without overflow")
            return number.real
        return number

    def __index__(self) -> int:
        if self._spec.size != 1 or self._spec.dtype.kind not in "iub":
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self._array.item())

    def __len__(self) -> int:
        if self._spec.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self._spec.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self._spec.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind())  # type: ignore[attr-defined]

    def __contains__(self, element: Any) -> bool:
        if not isinstance(element, (Tensor, bool, int, float, complex, np.generic)):
            raise RuntimeError(
                "Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
                f"{type(element)}."
            )
        value = element._array if isinstance(element, Tensor) else element
        return bool((self._array == value).any())

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        # As torch: a 0-d Tensor is formatted as its number, and others take no format.
        if self._spec.ndim == 0:
            return format(self._array.item(), spec)
        return object.__format__(self, spec)

    def __repr__(self) -> str:
        from tapegrad.printing import format_tensor

        place = place_of(self)
        grad_fn = None
        if place is not None and place > 0:
            from tapegrad.autograd.graph import name_of

            grad_fn = f"<{name_of(place)}>"
        return (kind_of(self) or Tensor).heading + format_tensor(
            self._array, dtype=self.dtype, requires_grad=place is not None, grad_fn=grad_fn
        )

    def __reduce_ex__(self, protocol: Any) -> Any:
        """What isn't a leaf comes back as one, as in torch."""
        kind = kind_of(self)
        grad = self.grad if kind is None and self.is_leaf else None
        return _rebuild, (self._array, place_of(self) is not None, grad, kind)

    def __copy__(self) -> Tensor:
        """A leaf over the same memory, as in torch."""
        return _rebuild(self._array, place_of(self) is not None, kind=kind_of(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment.  Call detach() first."
            )
        kind = kind_of(self)
        recorded = place_of(self) is not None
        made = memo[id(self)] = _rebuild(self._array.copy(), recorded, kind=kind)
        grad = self.grad
        if grad is not None and kind is None:  # torch's Parameters leave theirs behind
            made._grad = from_array(grad._array.copy())
        return made


class View:
    """Why a Tensor is special: it shares the memory of ``base``, from which ``primitive`` made it.

    If an in-place operation has moved the root of the chain of views on to another place, the
    view's own place is derived again, when somebody asks for it.
    """

    __slots__ = (
        "array",
        "base",
        "function",
        "inference",
        "params",
        "primitive",
        "recording",
        "root",
        "root_place",
        "several",
    )

    def __init__(
        self, base: Tensor, primitive: Primitive, params: tuple[Any, ...], recording: bool
    ) -> None:
        self.base = base
        #: The base's array when the view was made; its shape may be changed in place.
        self.array = base._array
        self.root: Tensor = base
        self.primitive = primitive
        self.params = params
        #: Whether it is, or is a view of, one of several views that one function made.
        self.several = primitive.several
        #: Whether it has the derivative of a view: not if it, or one above it, was made under
        #: no_grad or by a user's Function, of which ``function`` is the name.
        self.recording = recording
        self.inference = not recording and modes.inference
        self.function: str | None = None
        above = view_of(base) if base._spec.special else None
        if above is not None:
            self.root = above.root
            self.several = self.several or above.several
            if not above.recording:
                self.recording = False
                self.inference, self.function = above.inference, above.function
        self.root_place = self.root._place


def view_of(tensor: Tensor) -> View | None:
    """The `View` of a Tensor that is one."""
    if not tensor._spec.special:
        return None
    extra = getattr(tensor, "_extra", None)
    return extra if isinstance(extra, View) else None


def kind_of(tensor: Tensor) -> type[Tensor] | None:
    """The class that a Tensor was marked as an instance of, such as `nn.Parameter`.

    Its type stays Tensor, since the short recording paths serve that type alone.
    """
    extra = getattr(tensor, "_extra", None)
    return extra if isinstance(extra, type) else None


def place_of(tensor: Tensor) -> int | None:
    """The Tensor's place now: that of a view whose base has moved on is derived again."""
    view = view_of(tensor)
    if view is None or view.root._place is view.root_place or not view.recording:
        return tensor._place
    chain = []
    while view is not None:
        check_base(view)
        chain.append((tensor, view))
        tensor = view.base
        view = view_of(tensor)
    recording = modes.grad
    set_modes(True, modes.inference)  # for machine code to see, too
    try:
        for tensor, view in reversed(chain):
            again = Primitive.apply(view.primitive, (view.base,), view.params)
            tensor._place = again._place
            view.root_place = view.root._place
    finally:
        set_modes(recording, modes.inference)
    return tensor._place


def check_base(view: View) -> None:
    """Raise RuntimeError if the base isn't what the view was made of any more."""
    if view.array is not view.base._array:
        raise RuntimeError(
            "the base of this view was given another shape or other data in place since the view "
            "was made: make the view again"
        )


def as_tensor_input(value: Any, number: bool = False) -> Tensor:
    """A Tensor from an input of an operation: itself, an array, or (``number``) a Python number."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return from_array(value)
    if number and isinstance(value, (bool, int, float, complex, np.generic)):
        if isinstance(value, np.generic):
            value = value.item()
        return from_array(number_array(value, dtypes.number_dtype(value).numpy))
    raise TypeError(f"expected a Tensor, an array or a number, but got {type(value).__name__}")


def from_array(array: np.ndarray, requires_grad: bool = False) -> Tensor:
    """A leaf Tensor over an array, whose memory it shares where the array is a plain one."""
    if type(array) is not np.ndarray:
        array = np.asarray(array)
        array = array.view(np.ndarray)
    if not array.dtype.isnative or not array.flags.aligned:
        array = array.astype(array.dtype.newbyteorder("="))
    out = Tensor.__new__(Tensor)
    dtypes.from_numpy(array.dtype)
    out._array = array
    out._spec = spec_of(array)
    if not switch.plain and modes.inference:
        out._spec = out._spec.as_inference
    out._place = None
    if requires_grad:
        check_differentiable(array.dtype)
        out._place = tape.new_leaf(out)
    return out


def detached(tensor: Tensor, array: np.ndarray) -> Tensor:
    """A Tensor that isn't recorded, over an array of the Tensor's memory, shape and dtype."""
    out = Tensor.__new__(Tensor)
    out._array = array
    out._spec = tensor._spec.detached
    out._place = None
    return out


def check_differentiable(dtype: np.dtype[Any]) -> None:
    """Raise torch's error for a dtype that can't require gradients."""
    if dtype.kind not in "fc":
        raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")


def _rebuild(
    array: np.ndarray,
    requires_grad: bool,
    grad: Tensor | None = None,
    kind: type[Tensor] | None = None,
) -> Tensor:
    out = from_array(array, requires_grad)
    if kind is not None:
        out._extra = kind
    if grad is not None:
        out._grad = grad
    return out
