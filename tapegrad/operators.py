"""From declarations to what people call: functions, Tensor methods, in-place variants, and NumPy.

Nothing is declared here. Every elementwise primitive that isn't hidden, and every `public`
function, becomes ``tapegrad.<name>``, ``Tensor.<name>`` and (elementwise, or where it is said)
``Tensor.<name>_``; ``np.<ufunc>(tensor)`` and the NumPy functions that a declaration names come
here through Tensor's protocols.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from tapegrad import rules
from tapegrad.inplace import in_place
from tapegrad.primitive import Primitive, by_ufunc, operators, primitives
from tapegrad.recording import apply, binary, mark_view, unary
from tapegrad.replay import native
from tapegrad.tensor import Tensor

__all__ = ["functions", "modules", "namespaces"]

#: ``tapegrad.<name>`` for each operator, and those of other modules: modules["nn.functional"].
functions: dict[str, Callable[..., Any]] = {}
modules: dict[str, dict[str, Callable[..., Any]]] = {"": functions}
#: Modules' dictionaries that hand the functions on.
namespaces: list[dict[str, Any]] = []
#: The short recording paths, with their primitives and whether the operands are swapped.
short_paths: dict[Callable[..., Any], tuple[Primitive, bool]] = {}
#: What machine code refers to by address.
_alive: list[Any] = []

#: Python's operators with two operands: there are reflected and in-place ones as well.
DUNDERS = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "pow": "pow",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}
#: Those without.
COMPARISONS = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}
UNARY_DUNDERS = {"neg": "neg", "abs": "abs", "invert": "bitwise_not", "pos": "positive"}
COMMUTATIVE = {"add", "mul", "and", "or", "xor"}


def _function(primitive: Primitive) -> Callable[..., Any]:
    if primitive.fast is not None:
        function = primitive.fast
    else:

        def function(*inputs: Any) -> Any:
            return Primitive.apply(primitive, inputs, ())

    function.__name__ = function.__qualname__ = primitive.name
    function.__doc__ = f"``{primitive.name}``, elementwise and broadcast."
    return function


def _install(name: str, function: Callable[..., Any], method: Any, inplace: bool) -> None:
    if method not in ("only", "property"):
        functions[name] = function
    if method == "property":
        setattr(Tensor, name, property(function))
    elif method:
        setattr(Tensor, name, function)
    if inplace:
        setattr(Tensor, name + "_", in_place(function, name + "_"))


def _install_all() -> None:
    for family in pkgutil.iter_modules(rules.__path__):
        importlib.import_module(f"tapegrad.rules.{family.name}")
    importlib.import_module("tapegrad.assignment")
    importlib.import_module("tapegrad.conversion")
    for primitive in primitives:
        if primitive.elementwise and primitive.arity in (1, 2):
            primitive.fast = (unary if primitive.arity == 1 else binary)(primitive)
            short_paths[primitive.fast] = (primitive, False)
        if not primitive.hidden:
            function = _function(primitive)
            for name in (primitive.name, *primitive.aliases):
                _install(name, function, True, True)
    for operator in operators:
        for module in operator.modules:
            if module:
                modules.setdefault(module, {})[operator.name] = operator.function
        if "" in operator.modules:
            for name in (operator.name, *operator.aliases):
                _install(name, operator.function, operator.method, operator.inplace)
        for numpy_function in operator.numpy:
            _numpy[numpy_function] = operator.function
    _install_dunders()
    _ufuncs.update(by_ufunc())


def _install_dunders() -> None:
    """Attach Python's operators.

    The primitive itself serves where there is one of that name, since its path is the shortest; a
    public function otherwise, such as ``matmul``.
    """
    by_name = {p.name: p for p in primitives if p.elementwise}
    for dunder, name in DUNDERS.items():
        primitive = by_name.get(name)
        if primitive is not None and primitive.fast is not None:
            function = reflected = primitive.fast
            if dunder not in COMMUTATIVE:
                reflected = binary(primitive, reflected=True)
                short_paths[reflected] = (primitive, True)
        else:
            function, reflected = functions[name], _swapped(functions[name])
        setattr(Tensor, f"__{dunder}__", function)
        setattr(Tensor, f"__r{dunder}__", function if dunder in COMMUTATIVE else reflected)
        setattr(Tensor, f"__i{dunder}__", in_place(function, name))
    for dunder, name in {**COMPARISONS, **UNARY_DUNDERS}.items():
        setattr(Tensor, f"__{dunder}__", functions[name])


def _install_native() -> None:
    """Put machine code in the place of every short path, wherever it can be called."""
    from tapegrad.kernels.methods import NativeOperators
    from tapegrad.kernels.run import compiled

    native_operators = NativeOperators(Tensor, compiled().share(Tensor, mark_view))
    _alive.append(native_operators)
    numbers = {}
    for function, (primitive, reflected) in short_paths.items():
        number = native_operators.add(primitive, function, reflected)
        if number is not None:
            numbers[function] = number
    Primitive.apply = staticmethod(native_operators.link(apply))
    for name, value in list(vars(Tensor).items()):
        if isinstance(value, FunctionType) and value in numbers:
            method = native_operators.method(numbers[value], name, value.__doc__ or "")
            setattr(Tensor, name, method)
    made = {}
    for function, number in numbers.items():
        primitive, reflected = short_paths[function]
        if not reflected:
            made[function] = native_operators.function(
                number, primitive.name, function.__doc__ or ""
            )
            primitive.fast = made[function]
    for namespace in (*modules.values(), *namespaces):
        for name, value in list(namespace.items()):
            if isinstance(value, FunctionType) and value in made:
                namespace[name] = made[value]
    _numpy.update({f: made[v] for f, v in _numpy.items() if v in made})


def _swapped(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def reflected(input: Any, other: Any) -> Any:
        return function(other, input)

    return reflected


_numpy: dict[Any, Callable[..., Any]] = {}
_ufuncs: dict[Any, Primitive] = {}

#: ``np.add.reduce`` and the like, with the torch functions of several dims that do the same.
_REDUCTIONS = {np.add: "sum", np.maximum: "amax", np.minimum: "amin"}

#: NumPy functions that have their arguments in torch's order, under other names.
_IN_ORDER = {np.where, np.reshape, np.dot, np.outer, np.einsum, np.tensordot}

#: NumPy's names of arguments, and torch's.
RENAMED = {
    "a": "input", "x": "input", "arr": "input", "axis": "dim", "keepdims": "keepdim",
    "a_min": "min", "a_max": "max",
}  # fmt: skip


def _array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """``np.<ufunc>(...)`` with a Tensor among its inputs: the primitive of that ufunc."""
    if method == "reduce" and ufunc in _REDUCTIONS:
        function = functions[_REDUCTIONS[ufunc]]
        return function(inputs[0], dim=kwargs.get("axis", 0), keepdim=kwargs.get("keepdims", False))
    if ufunc in _numpy and method == "__call__" and not kwargs:
        return _numpy[ufunc](*inputs)  # with the checks of a public function, such as matmul's
    primitive = _ufuncs.get(ufunc)
    if primitive is None or method != "__call__" or kwargs:
        how = f".{method}" if method != "__call__" else ""
        raise NotImplementedError(
            f"np.{ufunc.__name__}{how} on a Tensor{' with ' + ', '.join(kwargs) if kwargs else ''} "
            "is not supported; use a tapegrad function, or tensor.detach().numpy()"
        )
    return (primitive.fast or primitive)(*inputs)


def _array_function(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """A NumPy function with a Tensor among its arguments."""
    function = _numpy.get(func)
    if function is None:
        raise NotImplementedError(
            f"np.{func.__name__} on a Tensor is not supported; use a tapegrad function, or "
            "tensor.detach().numpy()"
        )
    if func in _IN_ORDER and not kwargs:
        return function(*args)
    if len(args) > 1:
        # NumPy's further positional arguments stand in another order than torch's.
        names = list(inspect.signature(func).parameters)
        kwargs = {**dict(zip(names[1:], args[1:], strict=False)), **kwargs}
    renamed = {RENAMED.get(k, k): v for k, v in kwargs.items() if v is not np._NoValue}
    return function(*args[:1], **renamed)


setattr(Tensor, "__array_ufunc__", _array_ufunc)  # noqa: B010 - the stub has it as a method
setattr(Tensor, "__array_function__", _array_function)  # noqa: B010
_install_all()
native.when_loaded.append(_install_native)
