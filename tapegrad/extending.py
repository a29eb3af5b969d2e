"""A person's own primitives: a NumPy or Numba function, and a rule for each of its inputs.

    @tg.primitive
    def damped(x, rate):
        return np.exp(-rate * x)

    def damped_x(rate, out):
        return -rate * out

    def damped_rate(x, out):
        return -x * out

    damped.defpartials(x=damped_x, rate=damped_rate)

The rules are those of `tapegrad.primitive`, with the function's own names for its inputs, and what
is made of them is a primitive like any other.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.conversion import converted
from tapegrad.dtypes import from_numpy
from tapegrad.primitive import INPUTS, BoundRule, Primitive
from tapegrad.shortpaths import binary, unary
from tapegrad.tensor import Tensor, as_tensor_input, place_of

__all__ = ["UserPrimitive", "primitive"]

Function = Callable[..., Any]


def primitive(
    function: Function | None = None, *, name: str | None = None, outputs: int = 1
) -> Any:
    """Make a function of arrays one that can be differentiated: a decorator.

    Declare its derivatives by `UserPrimitive.defpartials` if it is elementwise, else by
    `UserPrimitive.defvjp`. Then it takes Tensors, arrays and numbers, promotes and broadcasts them,
    and has derivatives of any order, in reverse and in forward mode; what calls it with arrays only
    gets an array.

    Args:
        function: a function of arrays, compiled by Numba or not. If it is elementwise, one that
            Numba's ``njit`` made may be written for scalars.
        name: what the tape calls it; by default the function's name.
        outputs: how many arrays it returns, as a tuple if more than one.

    >>> import numpy as np, tapegrad as tg
    >>> @tg.primitive
    ... def softplus(x):
    ...     return np.logaddexp(x, 0)
    >>> def slope(x):
    ...     return 1 / (1 + np.exp(-x))
    >>> softplus.defpartials(x=slope)
    <primitive softplus(x)>
    >>> x = tg.tensor([0., 1.], requires_grad=True)
    >>> y = softplus(x)
    >>> y
    tensor([0.6931, 1.3133], grad_fn=<SoftplusBackward0>)
    >>> y.sum().backward()
    >>> x.grad
    tensor([0.5000, 0.7311])
    """
    if function is None:
        return functools.partial(primitive, name=name, outputs=outputs)
    return UserPrimitive(function, name, outputs)


class UserPrimitive:
    """What `primitive` makes of a function. Calling it records it."""

    def __init__(self, function: Function, name: str | None, outputs: int) -> None:
        if not callable(function):
            raise TypeError(f"primitive() takes a function, not {type(function).__name__}")
        functools.update_wrapper(self, function)
        self.name: str = getattr(function, "__name__", "") if name is None else name
        if not self.name.isidentifier():
            raise ValueError(f"{self.name!r} is no name for a primitive; pass name=...")
        self.outputs = outputs
        self.function = function
        #: Once its derivatives are declared.
        self.primitive: Primitive | None = None
        #: Rules that Numba has compiled, by the functions that they were.
        self._compiled: dict[Function, Any] = {}
        self._signature = _signature_of(function, self.name)
        self._names = tuple(self._signature.parameters)
        self._count = len(self._names)
        for taken in {"out", "out_bar"}.intersection(self._names):
            raise TypeError(
                f"{self.name}: no argument can be called {taken!r}, which a rule has for the "
                "result or its adjoint; rename it"
            )
        self._run: Callable[..., Any] = self._not_declared

    def __repr__(self) -> str:
        return f"<primitive {self.name}({', '.join(self._names)})>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != self._count:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args = bound.args
        return self._run(*args)

    def defpartials(self, *partials: Function | None, **named: Function | None) -> UserPrimitive:
        """Declare an elementwise function by its local partial derivatives.

        Args:
            partials, named: for each argument a function that returns the derivative of the result
                by it, of the shapes and dtypes of the arguments; None, or nothing, for an argument
                without derivative. A partial names what it needs: the arguments, by the names that
                the function has for them, and ``out``, the result. One that names ``out_bar``, the
                adjoint of the result, returns the argument's share of it instead, which must be
                linear in it.

        With ``np`` functions, operators and primitives only, derivatives of higher order follow.
        Partials are compiled by Numba where it can do so, and run in Python where it can't: in
        place of ``np.where``, which it compiles for arrays only, take ``select`` of
        `tapegrad.primitive`.
        Integers become the default float, and the function must return the dtype it is given.

        Returns the primitive. Raises TypeError if a partial is for, or names, what isn't there.
        """
        rules = self._rules("defpartials", partials, named, len(self._names))
        if self.outputs != 1:
            raise TypeError(f"{self.name}: an elementwise primitive has one output; use defvjp")
        forward = _elementwise_forward(self.name, self.function, self._names)
        made = Primitive(
            self.name, forward, rules, elementwise=True, floating=True, hidden=True,
            inputs=self._names,
        )  # fmt: skip
        self._check(made)
        if made.arity <= 2:
            made.fast = unary(made) if made.arity == 1 else binary(made)
        self.primitive = made
        self._run = made if made.fast is None else _short_run(made)
        return self

    def defvjp(self, *vjps: Function | None, **named: Function | None) -> UserPrimitive:
        """Declare any function by its vector-Jacobian products.

        Args:
            vjps, named: for each argument that is an array a function that returns the argument's
                share of the adjoint ``out_bar`` of the result, in the argument's shape; None for
                one without derivative. The arguments behind the last one that is named are
                parameters. A vjp names what it needs: ``out_bar``, the arguments, ``out``, and
                ``<argument>_shape``. Where the primitive has several outputs ``out`` and
                ``out_bar`` are tuples, with None for an output that nothing depends on.

        With ``np`` functions and primitives only, derivatives of higher order and forward mode
        follow. Returns the primitive. Raises TypeError if a vjp is for, or names, what isn't there;
        backward raises RuntimeError if one returns another shape.

        >>> import numpy as np, tapegrad as tg
        >>> @tg.primitive
        ... def total(x, axis=None):
        ...     return x.sum(axis)
        >>> def total_vjp(out_bar, x_shape, axis):
        ...     return np.broadcast_to(out_bar if axis is None else
        ...                            np.expand_dims(out_bar, axis), x_shape)
        >>> total.defvjp(x=total_vjp)
        <primitive total(x, axis)>
        >>> total(tg.ones(2, 3, requires_grad=True), axis=1)
        tensor([3., 3.], grad_fn=<TotalBackward0>)
        """
        rules = self._rules("defvjp", vjps, named, None)
        count = len(rules)
        made = Primitive(
            self.name, _structural_forward(self, count), rules, elementwise=False,
            params=self._names[count:], outputs=self.outputs, inputs=self._names,
        )  # fmt: skip
        self._check(made)
        self.primitive = made
        self._run = functools.partial(_run_structural, self, made)
        return self

    def kernel(self, argument: str) -> str:
        """The source of the compiled kernel that gives an argument its share of the adjoint.

        Only an elementwise primitive has some: raises TypeError for others, for an argument without
        derivative, and for a partial that Numba can't compile.

        >>> import tapegrad as tg
        >>> def square_x(x):
        ...     return 2 * x
        >>> square = tg.primitive(lambda x: x * x, name="square").defpartials(square_x)
        >>> "X_BAR[i] += OUT_BAR[i] * rule(X[i])" in square.kernel("x")
        True
        """
        from tapegrad.kernels.adjoint import adjoint_kernel, kernel_source

        made = self.primitive
        index = self._names.index(argument) if argument in self._names else -1
        rule = made.bound[index] if made is not None and 0 <= index < made.arity else None
        if made is None or rule is None:
            raise TypeError(f"{self.name} has no derivative for {argument!r}")
        if not made.elementwise or adjoint_kernel(made, index, np.dtype(np.float64)) is None:
            raise TypeError(f"{self.name}: the derivative for {argument!r} runs in Python")
        return kernel_source(made, index, f"{self.name}_{argument}")

    def _rules(
        self,
        method: str,
        given: tuple[Function | None, ...],
        named: dict[str, Function | None],
        count: int | None,
    ) -> tuple[Function | None, ...]:
        """The rules in the order of the arguments, without Numba's wrapping."""
        names = self._names
        if len(given) > len(names):
            raise TypeError(
                f"{self.name}.{method}() got {len(given)} functions for the "
                f"{len(names)} arguments {', '.join(names)}"
            )
        for name in named:
            if name not in names:
                raise TypeError(
                    f"{self.name}.{method}() got a rule for {name!r}, which is none of the "
                    f"arguments {', '.join(names)}"
                )
            if name in names[: len(given)]:
                raise TypeError(f"{self.name}.{method}() got two rules for {name!r}")
        every = {**dict(zip(names, given, strict=False)), **named}
        if not any(rule is not None for rule in every.values()):
            raise TypeError(f"{self.name}.{method}() got no rule")
        if count is None:
            count = 1 + max(names.index(name) for name in every)
        return tuple(self._rule(every.get(name)) for name in names[:count])

    def _rule(self, rule: Function | None) -> Function | None:
        if rule is None:
            return None
        if hasattr(rule, "py_func"):
            self._compiled[rule.py_func] = rule
            rule = rule.py_func
        if not inspect.isfunction(rule):
            raise TypeError(f"{self.name}: a rule must be a Python function, not {rule!r}")
        return rule

    def _check(self, made: Primitive) -> None:
        made.bound = tuple(
            None if rule is None else _CheckedRule(made, i, rule, self._compiled.get(rule))
            for i, rule in enumerate(made.rules)
        )

    def _not_declared(self, *args: Any) -> Any:
        if any(isinstance(value, Tensor) for value in args):
            raise TypeError(
                f"{self.name} has no derivative yet: declare it by {self.name}.defpartials(...) if "
                f"it is elementwise, or else by {self.name}.defvjp(...)"
            )
        return self.function(*args)


class _CheckedRule(BoundRule):
    """A rule of the user's: what it returns is looked at, where Python runs it."""

    __slots__ = ("argument", "compiled", "elementwise", "name", "shape_at")

    def __init__(self, primitive: Primitive, index: int, rule: Function, compiled: Any) -> None:
        super().__init__(primitive, rule)
        self.compiled = None
        if compiled is not None:
            self.compiled = _vectorized(compiled) if primitive.elementwise else compiled
        self.name = primitive.name
        self.argument = primitive.inputs[index]
        self.elementwise = primitive.elementwise
        self.shape_at = primitive.arity + 2 + len(primitive.params) + index

    def __call__(self, environment: tuple[Any, ...]) -> Any:
        share = self._share(environment)
        if self.elementwise:
            wanted = tuple(environment[0].shape)
            shape = tuple(getattr(share, "shape", ()))
            fits = len(shape) <= len(wanted) and all(
                n in (1, m) for n, m in zip(reversed(shape), reversed(wanted), strict=False)
            )
        else:
            wanted = environment[self.shape_at]
            if isinstance(share, (int, float, complex)):
                share = np.asarray(share)
            shape = tuple(getattr(share, "shape", ()))
            fits = shape == wanted
        if not fits:
            kind = "partial" if self.partial else "share"
            raise RuntimeError(
                f"{self.name}: the rule {self.rule.__name__} returned a {kind} of shape "
                f"{list(shape)} for {self.argument}, where {list(wanted)} is needed"
            )
        return share

    def _share(self, environment: tuple[Any, ...]) -> Any:
        if self.compiled is None:
            return super().__call__(environment)
        given = self.arguments(environment)
        values = (given,) if self.single else given
        if not any(isinstance(value, Tensor) for value in values):
            return self.compiled(*values)
        try:
            return self.rule(*values)
        except Exception as error:
            raise RuntimeError(
                f"{self.name}: the rule {self.rule.__name__} doesn't run on Tensors, as higher "
                "derivatives need it: write it with np functions, select and primitives"
            ) from error


def _signature_of(function: Function, name: str) -> inspect.Signature:
    """The signature, in which all arguments can be passed by position."""
    if isinstance(function, np.ufunc):
        names = INPUTS[: function.nin]
        kind = inspect.Parameter.POSITIONAL_ONLY
        return inspect.Signature([inspect.Parameter(name, kind) for name in names])
    signature = inspect.signature(getattr(function, "py_func", function))
    for parameter in signature.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise TypeError(
                f"a primitive's arguments are passed by position; {name} has {parameter}"
            )
    return signature


def _short_run(made: Primitive) -> Function:
    """The call of a primitive of one or two inputs, in the fewest steps if they are Tensors."""

    def unary_run(x: Any) -> Any:
        return made.fast(x) if type(x) is Tensor else made(x)  # type: ignore[misc]

    def binary_run(x: Any, y: Any) -> Any:
        return made.fast(x, y) if type(x) is Tensor else made(x, y)  # type: ignore[misc]

    return unary_run if made.arity == 1 else binary_run


# -- forward ---------------------------------------------------------------------------------------


def _elementwise_forward(name: str, function: Function, signature: tuple[str, ...]) -> Function:
    """The function, whose result is looked at: its shape and dtype are what the tape counts on."""
    run = _vectorized(function) if hasattr(function, "py_func") else function

    def forward_of_one(x: Any) -> np.ndarray:
        result = run(x)
        if (
            type(result) is np.ndarray
            and result.base is None
            and result is not x
            and type(x) is np.ndarray
            and result.dtype is x.dtype
            and result.shape == x.shape
        ):
            return result
        return _looked_at(name, (x,), result)

    if len(signature) == 1:
        return forward_of_one

    def forward(*arrays: Any) -> np.ndarray:
        result = run(*arrays)
        first, last = arrays[0], arrays[-1]
        if (
            type(result) is type(first) is type(last) is np.ndarray
            and len(arrays) <= 2
            and result.base is None
            and result.dtype is first.dtype
            and result.shape == first.shape == last.shape
            and result is not first
            and result is not last
        ):
            return result
        return _looked_at(name, arrays, result)

    return forward


def _looked_at(name: str, arrays: tuple[Any, ...], result: Any) -> np.ndarray:
    """The result as an array of its own, of the shape and dtype that it must have."""
    result = np.asarray(result)
    arrays = tuple(map(np.asarray, arrays))
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    if result.shape != shape:
        raise RuntimeError(
            f"{name} returned shape {list(result.shape)} for "
            f"{', '.join(str(list(a.shape)) for a in arrays)}; an elementwise primitive returns "
            f"{list(shape)} (one that isn't elementwise is declared by defvjp)"
        )
    dtype = np.result_type(*arrays)
    if result.dtype != dtype:
        if not np.can_cast(result.dtype, dtype, "same_kind"):
            raise RuntimeError(f"{name} returned {result.dtype} for {dtype}")
        return result.astype(dtype)
    if any(np.may_share_memory(result, a) for a in arrays):
        return result.copy()
    return result


def _vectorized(dispatcher: Any) -> Function:
    """Numba's function, which may be one of scalars, over arrays that broadcast."""
    made: list[Any] = []

    def run(*arrays: Any) -> Any:
        from numba import vectorize
        from numba.core.errors import NumbaError

        if not made:
            made.append(vectorize(dispatcher.py_func))
        try:
            return made[0](*arrays)
        except (NumbaError, TypeError):
            return dispatcher(*arrays)  # one of arrays, or of a dtype that has no ufuncs

    return run


def _structural_forward(user: UserPrimitive, count: int) -> Function:
    function = user.function

    def forward(*args: Any) -> Any:
        result = function(*args)
        if user.outputs == 1:
            if isinstance(result, tuple):
                raise RuntimeError(
                    f"{user.name} returned a tuple of {len(result)}: a primitive of several "
                    f"outputs is declared by primitive(outputs={len(result)})"
                )
            return _own(result, args[:count])
        if not isinstance(result, tuple) or len(result) != user.outputs:
            raise RuntimeError(f"{user.name} must return a tuple of {user.outputs} arrays")
        return tuple(_own(part, args[:count]) for part in result)

    return forward


def _own(result: Any, inputs: tuple[Any, ...]) -> np.ndarray:
    result = np.asarray(result)
    shared = any(isinstance(a, np.ndarray) and np.may_share_memory(result, a) for a in inputs)
    return result.copy() if shared else result


def _run_structural(user: UserPrimitive, made: Primitive, *args: Any) -> Any:
    """Call a primitive that has vjps: inputs of one dtype, parameters without Tensors."""
    inputs, params = args[: made.arity], args[made.arity :]
    if not any(isinstance(value, Tensor) for value in args):
        return user.function(*args)
    for name, value in zip(made.params, params, strict=True):
        if isinstance(value, Tensor) and place_of(value) is not None:
            raise TypeError(
                f"{made.name}: {name} requires grad, and has no vjp; declare one, or None if "
                "it has no derivative"
            )
    params = tuple(value._array if isinstance(value, Tensor) else value for value in params)
    tensors = _of_one_dtype([as_tensor_input(value, number=True) for value in inputs])
    return Primitive.apply(made, tensors, params)


def _of_one_dtype(tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """The Tensors, the floating and complex ones of them in the dtype that holds all."""
    dtypes = {t._spec.dtype for t in tensors if t._spec.dtype.kind in "fc"}
    if len(dtypes) <= 1:
        return tuple(tensors)
    wanted = from_numpy(np.result_type(*dtypes))
    return tuple(converted(t, wanted) if t._spec.dtype.kind in "fc" else t for t in tensors)
