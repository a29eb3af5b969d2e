"""From declarations to what people call: functions, Tensor methods, in-place variants, and NumPy.

Nothing is declared here. Every elementwise primitive that isn't hidden, and every `public`
function, becomes ``tapegrad.<name>``, ``Tensor.<name>`` and (elementwise, or where it is said)
``Tensor.<name>_``; ``np.<ufunc>(tensor)`` and the NumPy functions that a declaration names come
here through Tensor's protocols.

Families with methods of Tensor are installed at import, the others (`tapegrad.rules.ondemand`) by
`load_rest`, when somebody asks for a function that isn't there yet.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import threading
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

import numpy as np

from tapegrad import rules
from tapegrad.declaration import Operator, names_arguments, operators
from tapegrad.inplace import in_place
from tapegrad.loading import native
from tapegrad.primitive import Primitive, by_ufunc, primitives
from tapegrad.recording import apply, mark_view
from tapegrad.shortpaths import binary, short_paths, ternary, unary
from tapegrad.tensor import Tensor, View, from_array

__all__ = ["functions", "hand_on", "load_rest", "modules"]

#: ``tapegrad.<name>`` for each operator, and those of other modules: modules["nn.functional"].
functions: dict[str, Callable[..., Any]] = {}
modules: dict[str, dict[str, Callable[..., Any]]] = {"": functions}
#: By the same names, the dictionaries of the modules that hand the functions on.
_namespaces: dict[str, dict[str, Any]] = {}

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
UNARY_DUNDERS = {"neg": "neg", "abs": "abs", "pos": "positive"}
COMMUTATIVE = {"add", "mul", "and", "or", "xor"}
#: The primitives of ``number - x`` and ``number / x``, whose derivatives have names of their own.
REFLECTED = {"sub": "sub_from", "div": "div_into"}


def _function(primitive: Primitive) -> Callable[..., Any]:
    if primitive.fast is not None:
        function = primitive.fast
    else:

        def function(*inputs: Any) -> Any:
            return Primitive.apply(primitive, inputs, ())

    function.__name__ = function.__qualname__ = primitive.name
    function.__doc__ = f"``{primitive.name}``, elementwise and broadcast."
    return function


#: Functions that are called by name in inner loops, and refuse what isn't a Tensor themselves:
#: a wrapper takes some 70 ns.
DIRECT = frozenset({"relu", "gelu", "silu", "matmul"})


def _hand_out(path: str, name: str, function: Callable[..., Any]) -> None:
    modules.setdefault(path, {})[name] = function
    if path in _namespaces and not name.startswith("numpy_"):
        _namespaces[path][name] = function


def hand_on(path: str, namespace: dict[str, Any]) -> None:
    """Put the functions of ``tapegrad.<path>`` into a module's dictionary, later ones too.

    NumPy's variants of torch's functions (``numpy_*``) are nobody's but NumPy's.
    """
    found = modules.get(path, {})
    namespace.update({n: f for n, f in found.items() if not n.startswith("numpy_")})
    _namespaces[path] = namespace


def _install(name: str, function: Callable[..., Any], method: Any, inplace: bool) -> None:
    module, _, last = name.rpartition(".")
    handed = function
    plain = isinstance(function, FunctionType) and not hasattr(function, "__wrapped__")
    if plain and function not in short_paths and last not in DIRECT:
        handed = names_arguments(function)
    if module or method not in ("only", "property"):
        _hand_out(module, last, handed)
    if module:
        return
    if method == "property":
        setattr(Tensor, name, property(function))
    elif method:
        setattr(Tensor, name, function)
    if inplace:
        setattr(Tensor, name + "_", in_place(function, name + "_"))


#: Methods that torch has as functions, too: ``tapegrad.exp_(x)``.
IN_PLACE_FUNCTIONS = """
abs acos acosh addmv arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh ceil
clamp clamp_max clamp_min clip cos cosh deg2rad erf erfc exp exp2 expm1 fill fix floor frac gcd
i0 index_put lcm ldexp log log10 log1p log2 logit nan_to_num neg negative rad2deg reciprocal relu
round rsqrt sigmoid sin sinc sinh sqrt square tan tanh trunc xlogy zero
""".split()  # noqa: SIM905 - readable so


def _install_all() -> None:
    for file in sorted(os.listdir(rules.__path__[0])):
        if file.endswith((".py", ".pyc")):
            importlib.import_module(f"tapegrad.rules.{file.partition('.')[0]}")
    importlib.import_module("tapegrad.assignment")
    importlib.import_module("tapegrad.conversion")
    _install_declared(primitives, operators)
    for name in IN_PLACE_FUNCTIONS:
        if hasattr(Tensor, name + "_"):
            functions[name + "_"] = names_arguments(getattr(Tensor, name + "_"))
    _install_dunders()


#: What makes the function of an elementwise primitive, by the number of inputs.
SHORT: dict[int, Callable[[Primitive], Callable[..., Any]]] = {1: unary, 2: binary, 3: ternary}


def _install_declared(primitives: Iterable[Primitive], operators: Iterable[Operator]) -> None:
    for primitive in primitives:
        if primitive.elementwise and primitive.arity in SHORT:
            primitive.fast = SHORT[primitive.arity](primitive)
        if not primitive.hidden or primitive.aliases:
            function = _function(primitive)
            own = () if primitive.hidden else (primitive.name,)
            for name in (*own, *primitive.aliases):
                _install(name, function, True, True)
    for operator in operators:
        names = [f"{m}.{operator.name}" if m else operator.name for m in operator.modules]
        for name in (*names, *operator.aliases):
            _install(name, operator.function, operator.method, operator.inplace)
        for numpy_function in operator.numpy:
            _numpy[numpy_function] = operator.function
    _ufuncs.update({**by_ufunc(primitives), **_ufuncs})


_loading = threading.RLock()
_loaded = False


def load_rest() -> None:
    """Load the families that wait until somebody asks for a function that isn't there yet."""
    global _loaded
    with _loading:
        if _loaded:
            return
        _loaded = True  # for what asks while they are loaded
        try:
            from tapegrad.rules import ondemand

            _install_declared(ondemand.primitives, ondemand.operators)
        except BaseException:
            _loaded = False
            raise


def _install_dunders() -> None:
    """Attach Python's operators.

    The primitive itself serves where there is one of that name, since its path is the shortest; a
    public function otherwise, such as ``matmul``, or ``remainder``, which has to choose one of two.
    """
    by_name: dict[str, Primitive | None] = {}
    for p in primitives:
        if p.arity == 2 and p.elementwise:
            by_name[p.name] = None if p.name in by_name else p
    for dunder, name in DUNDERS.items():
        primitive = by_name.get(name)
        if primitive is None:
            function = getattr(Tensor, name)
            reflected = _swapped(function)
        else:
            function = binary(primitive, operator=True)
            number_first = by_name.get(REFLECTED.get(name, name)) or primitive
            reflected = binary(primitive, operator=True, reflected=number_first)
        setattr(Tensor, f"__{dunder}__", function)
        setattr(Tensor, f"__r{dunder}__", function if dunder in COMMUTATIVE else reflected)
        setattr(Tensor, f"__i{dunder}__", in_place(function, name))
    for kind in ("", "r", "i"):  # torch has Python 2's names, too
        setattr(Tensor, f"__{kind}div__", getattr(Tensor, f"__{kind}truediv__"))
    for dunder, name in COMPARISONS.items():
        compare = next(p for p in primitives if p.name == name)
        setattr(Tensor, f"__{dunder}__", binary(compare, operator=True))
    for dunder, name in UNARY_DUNDERS.items():
        setattr(Tensor, f"__{dunder}__", functions[name])


def _install_native() -> None:
    """Let machine code stand for every short path, and for `apply`, wherever they are called."""
    from tapegrad.kernels.compiled import compiled
    from tapegrad.kernels.methods import NativeOperators
    from tapegrad.kernels.native import keep_forever

    load_rest()
    native_operators = NativeOperators(Tensor, compiled().share(Tensor, View, mark_view))
    keep_forever(native_operators)
    numbers = {}
    for function, path in short_paths.items():
        number = native_operators.add(path.primitive, path.short, path.swapped, path.numbers)
        if number is not None:
            numbers[function] = number
    Primitive.apply = staticmethod(native_operators.link(apply))
    for name, value in list(vars(Tensor).items()):
        if isinstance(value, FunctionType) and value in numbers:
            method = native_operators.method(numbers[value], name, value.__doc__ or "")
            setattr(Tensor, name, method)
    made = {}
    for function, number in numbers.items():
        name, doc = short_paths[function].primitive.name, function.__doc__ or ""
        made[function] = native_operators.function(number, name, doc)
        short_paths[function].become(made[function])
    for primitive in primitives:
        if primitive.fast in made:
            primitive.fast = made[primitive.fast]
    for namespace in (*modules.values(), *_namespaces.values()):
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
_IN_ORDER = {
    np.where, np.reshape, np.dot, np.outer, np.einsum, np.tensordot, np.kron, np.linalg.solve,
    np.linalg.tensorsolve, np.linalg.matrix_power, np.linalg.norm,
}  # fmt: skip

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
        # With the checks of a public function, such as matmul's, which takes no numbers.
        if self._spec.dtype.kind == "f":
            inputs = tuple(self.new_tensor(x) if type(x) in (int, float) else x for x in inputs)
        return _numpy[ufunc](*inputs)
    primitive = _ufuncs.get(ufunc)
    if primitive is None or method != "__call__" or kwargs:
        how = f".{method}" if method != "__call__" else ""
        raise NotImplementedError(
            f"np.{ufunc.__name__}{how} on a Tensor{' with ' + ', '.join(kwargs) if kwargs else ''} "
            "is not supported; use a tapegrad function, or tensor.detach().numpy()"
        )
    if primitive.fast is not None and all(type(x) is Tensor for x in inputs):
        return primitive.fast(*inputs)
    return Primitive.apply(
        primitive, inputs, ()
    )  # NumPy takes numbers where torch's functions don't


def _any_differentiable(value: Any) -> bool:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return any(map(_any_differentiable, value))
    return isinstance(value, Tensor) and value._place is not None


def _as_arrays(value: Any) -> Any:
    """The same with the arrays of Tensors, also within lists, tuples and dictionaries."""
    if isinstance(value, dict):
        return {name: _as_arrays(v) for name, v in value.items()}
    if type(value) in (tuple, list):
        return type(value)(map(_as_arrays, value))
    return value._array if isinstance(value, Tensor) else value


def _as_tensor(argument: Any) -> Any:
    return from_array(argument) if isinstance(argument, np.ndarray) else argument


@functools.cache
def _parameters(func: Any) -> list[str]:
    # inspect takes 300 us for a function that is written in C, whose signature it parses.
    return list(inspect.signature(func).parameters)


def _array_function(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """A NumPy function with a Tensor among its arguments."""
    function = _numpy.get(func)
    if function is None:
        if func in (np.shape, np.ndim, np.size):
            return func(args[0]._array, *args[1:], **kwargs)
        if "out" in kwargs or _any_differentiable((args, kwargs)):
            raise NotImplementedError(
                f"np.{func.__name__} on a Tensor is not supported; use a tapegrad function, or "
                "tensor.detach().numpy()"
            )
        return func(*_as_arrays(args), **_as_arrays(kwargs))  # NumPy's result, as with torch
    args = tuple(map(_as_tensor, args))
    if func is np.dot and min(t.ndim for t in args[:2]) > 1 and args[0].ndim + args[1].ndim > 4:
        raise NotImplementedError(
            "np.dot of Tensors of more than 2 dimensions is not supported; use tapegrad.tensordot"
        )
    if func in _IN_ORDER and not kwargs:
        return function(*args)
    if len(args) > 1:
        # NumPy's further positional arguments stand in another order than torch's.
        kwargs = {**dict(zip(_parameters(func)[1:], args[1:], strict=False)), **kwargs}
    renamed = {RENAMED.get(k, k): v for k, v in kwargs.items() if v is not np._NoValue}
    return function(*args[:1], **renamed)


setattr(Tensor, "__array_ufunc__", _array_ufunc)  # noqa: B010 - the stub has it as a method
setattr(Tensor, "__array_function__", _array_function)  # noqa: B010
_install_all()
native.when_loaded.append(_install_native)
