"""The operands of elementwise operations: what they may be, and the dtype in which torch computes.

The recording path comes here once something is unusual or wrong: numbers, several dtypes, shapes
that don't broadcast. The errors are torch's, in its words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad import dtypes
from tapegrad.primitive import INPUTS, Primitive
from tapegrad.tensor import Tensor, as_tensor_input, from_array

__all__ = [
    "NUMBERS",
    "OPERANDS",
    "as_function",
    "as_operator",
    "check_broadcast",
    "check_inference",
    "not_implemented",
    "promoted",
    "promotion",
    "wrong_type",
]

NUMBERS = (bool, int, float, complex)
OPERANDS = (Tensor, np.ndarray, np.generic, *NUMBERS)


def as_function(primitive: Primitive, inputs: tuple[Any, ...]) -> Any:
    """`apply` for a function called by name with something that isn't a Tensor.

    Raises torch's TypeError for a number where the function takes none.
    """
    for position, value in enumerate(inputs):
        if isinstance(value, NUMBERS) and INPUTS[position] not in primitive.numbers:
            raise wrong_type(primitive, position, value)
    if not any(hasattr(value, "_spec") or type(value) is np.ndarray for value in inputs):
        raise wrong_type(primitive, 0, inputs[0])
    return Primitive.apply(primitive, inputs, ())


def as_operator(primitive: Primitive, inputs: tuple[Any, ...]) -> Any:
    """`apply` for Python's operators: they ask the other operand if they don't know its type."""
    if all(isinstance(value, OPERANDS) for value in inputs):
        return Primitive.apply(primitive, inputs, ())
    return NotImplemented


def wrong_type(primitive: Primitive, position: int, value: Any) -> TypeError:
    """torch's error for an operand that isn't a Tensor."""
    name = "" if primitive.arity > 2 else f" '{('input', 'other')[position]}'"
    return TypeError(
        f"{primitive.name}(): argument{name} (position {position + 1}) must be Tensor, not "
        f"{type(value).__name__}"
    )


def check_broadcast(arrays: tuple[np.ndarray, ...]) -> None:
    """Raise torch's error if the shapes don't broadcast."""
    for a in arrays:
        for b in arrays:
            for k in range(1, min(a.ndim, b.ndim) + 1):
                m, n = a.shape[-k], b.shape[-k]
                if m != n and m != 1 and n != 1:
                    dim = max(a.ndim, b.ndim) - k
                    raise RuntimeError(
                        f"The size of tensor a ({m}) must match the size of tensor b ({n}) at "
                        f"non-singleton dimension {dim}"
                    )


def not_implemented(primitive: Primitive, array: np.ndarray) -> NotImplementedError:
    """torch's error for a dtype that an operation isn't made for."""
    name = dtypes.TYPE_NAMES[array.dtype.name]
    return NotImplementedError(f"\"{primitive.name}_cpu\" not implemented for '{name}'")


def check_inference(tensors: tuple[Any, ...], saved: tuple[Any, ...]) -> None:
    """Raise torch's error if the array of a Tensor made in inference mode is among the saved."""
    for tensor in tensors:
        if (
            isinstance(tensor, Tensor)
            and tensor._spec.inference
            and any(tensor._array is array for array in saved)
        ):
            raise RuntimeError(
                "Inference tensors cannot be saved for backward. Please do not use Tensors created "
                "in inference mode in computation tracked by autograd. To work around this, you "
                "can make a clone to get a normal tensor and use it in autograd, or use "
                "`tapegrad.no_grad()` instead of `tapegrad.inference_mode()`."
            )


# -- the dtype in which torch computes -------------------------------------------------------------

_promotions: dict[Any, np.dtype[Any]] = {}


def promoted(
    primitive: Primitive, inputs: tuple[Any, ...]
) -> tuple[tuple[Tensor, ...], tuple[np.ndarray, ...], tuple[int, ...] | None]:
    """The inputs as Tensors, and their arrays in the dtype in which torch computes.

    Third, if an array had to be cast, the specs that the inputs had.
    """
    start = 1 if primitive.condition else 0
    usual = _of_one_dtype(inputs, start)
    if usual is not None:
        return *usual, None
    try:
        tensors = [x if isinstance(x, Tensor) else as_tensor_input(x, number=True) for x in inputs]
    except TypeError:
        for position, x in enumerate(inputs):
            if not isinstance(x, OPERANDS):
                raise wrong_type(primitive, position, x) from None
        raise
    key = tuple(
        [
            (t._spec.dtype, 2 if type(x) in NUMBERS else 1 if t._spec.ndim == 0 else 0)
            for t, x in zip(tensors[start:], inputs[start:], strict=True)
        ]
    )
    wanted = promotion(key, primitive.floating)
    arrays = []
    mixed = False
    for i, tensor in enumerate(tensors):
        array = tensor._array
        if i < start:
            if array.dtype != np.bool_:
                raise RuntimeError(
                    f"{primitive.name} expected condition to be a boolean tensor, but got a tensor "
                    f"with dtype {tensor.dtype}"
                )
        elif array.dtype != wanted:
            if tensor is inputs[i] or isinstance(inputs[i], np.ndarray):
                array = array.astype(wanted)
            else:  # a number, whose own dtype is the default one
                array = np.array(inputs[i]).astype(wanted)
            mixed = mixed or tensor._place is not None
        arrays.append(array)
    specs = tuple(t._spec.number for t in tensors) if mixed else None
    return tuple(tensors), tuple(arrays), specs


#: Stands for every number beside Tensors of one dtype.
NUMBER = from_array(np.zeros(()))
#: Integers beyond are not exact in every dtype.
EXACT = 1 << 53


def _of_one_dtype(
    inputs: tuple[Any, ...], start: int
) -> tuple[tuple[Tensor, ...], tuple[np.ndarray, ...]] | None:
    """Tensors and arrays, where nothing has to be promoted: floats of one dtype, and numbers.

    The first ``start`` inputs are bools.
    """
    first = inputs[start]
    if type(first) is not Tensor or first._spec.dtype.kind not in "fc":
        return None
    spec = first._spec
    dtype = spec.dtype
    tensors, arrays = [], []
    for i, x in enumerate(inputs):
        kind = type(x)
        if kind is Tensor:
            if x._spec.dtype is not dtype and (i >= start or x._spec.dtype.kind != "b"):
                return None
            tensors.append(x)
            arrays.append(x._array)
        elif kind is float or (kind is int and -EXACT < x < EXACT):
            constant = spec.constants.get(x)
            tensors.append(NUMBER)
            arrays.append(spec.constant(x) if constant is None else constant)
        else:
            return None
    return tuple(tensors), tuple(arrays)


def promotion(key: Any, floating: bool) -> np.dtype[Any]:
    """The dtype for operands of which ``key`` has dtype and kind: 0-d Tensors 1, numbers 2."""
    full_key = (key, floating, dtypes.get_default_dtype())
    wanted = _promotions.get(full_key)
    if wanted is None:
        wanted = _promotions[full_key] = _promotion(key, floating)
    return wanted


def _promotion(key: Any, floating: bool) -> np.dtype[Any]:
    categories: tuple[dtypes.Category, ...] = ("tensor", "scalar", "number")
    operands = [(dtypes.from_numpy(d), categories[c]) for d, c in key]
    result = dtypes.result_type(*operands)
    if floating and not (result.is_floating_point or result.is_complex):
        result = dtypes.get_default_dtype()
    return result.numpy
