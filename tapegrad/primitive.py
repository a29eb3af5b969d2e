"""What a primitive is: its forward function, its rules, its place in the registry.

A *primitive* is an operation that the tape records. It is declared once, by its forward
function over NumPy arrays and one *rule* for each input:

    def multiply_x(y):
        return y

    def multiply_y(x):
        return x

    multiply = elementwise("mul", np.multiply, multiply_x, multiply_y)

A rule names what it needs, and the tape saves just that. The names are

    x, y, z       the inputs, in order            out      the result
    out_bar       the adjoint of the result       x_shape  the shape of x (likewise y, z)
    inputs        all inputs, of a variadic       shapes   their shapes
    index         which input a variadic's rule is asked for
    any other     a parameter of the forward function (``axis``, ``keepdims``, ...)

A rule that does not ask for ``out_bar`` returns the *local partial* d out / d x, and the driver
multiplies; only elementwise primitives can do so. One that asks for it returns the input's share of
the adjoint itself, and must be linear in ``out_bar``. The rules run on arrays, on Tensors (for
second derivatives) and, for elementwise primitives, compiled by Numba on scalars; so they use
``np.*`` functions, `select` and other primitives, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

import numpy as np

__all__ = ["Primitive", "elementwise", "primitives", "quietly", "select", "structural"]

Rule = Callable[..., Any]
Plan = tuple[tuple[int, ...], Callable[[tuple[Any, ...]], tuple[Any, ...]]]

#: Every primitive, at the index that its records carry as ``code``.
primitives: list[Primitive] = []

INPUTS = ("x", "y", "z", "w")


class Primitive:
    """One differentiable operation over arrays. Calling it records it.

    Called with arrays only it is its forward function; with a Tensor among its inputs it goes
    through `Primitive.apply`, which the recording layer provides, and returns a Tensor.
    """

    __slots__ = (
        "aliases",
        "arity",
        "bound",
        "casts",
        "check",
        "code",
        "condition",
        "contiguous",
        "elementwise",
        "fast",
        "floating",
        "forward",
        "grad_name",
        "hidden",
        "inputs",
        "is_output",
        "joint",
        "name",
        "native",
        "numbers",
        "outputs",
        "params",
        "plans",
        "refuses",
        "rules",
        "saves",
        "scalar",
        "several",
        "split",
        "together",
        "usual",
        "variadic",
        "view",
    )

    #: The rules with their arguments resolved, and the saved fields that each reads.
    bound: tuple[BoundRule | None, ...]
    saves: tuple[frozenset[int], ...]

    #: Set by the recording layer: ``apply(primitive, inputs, params) -> Tensor``.
    apply: Callable[[Primitive, tuple[Any, ...], tuple[Any, ...]], Any]
    #: Set by vmap: ``call(function, args, kwargs)`` where `BatchedAccess` was raised.
    call_batched: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        rules: tuple[Rule | None, ...],
        *,
        elementwise: bool,
        params: tuple[str, ...] = (),
        variadic: bool = False,
        outputs: int = 1,
        grad_name: str | None = None,
        floating: bool = False,
        condition: bool = False,
        view: bool = False,
        several: bool = False,
        contiguous: bool = False,
        numbers: str | None = None,
        refuses: str = "",
        check: Callable[..., None] | None = None,
        native: bool = True,
        scalar: Any = None,
        hidden: bool = False,
        casts: bool = False,
        aliases: tuple[str, ...] = (),
        joint: Callable[..., list[Any]] | None = None,
        together: Callable[..., Any] | None = None,
        shares: Rule | None = None,
        inputs: tuple[str, ...] = INPUTS,
    ) -> None:
        self.name = name
        self.forward = forward
        self.rules = rules
        self.elementwise = elementwise
        self.params = params
        self.split = -len(params) or None  # where the parameters begin in a call's arguments
        self.arity = -1 if variadic else len(rules)
        self.inputs = inputs  # what rules call them
        self.outputs = outputs
        self.grad_name = grad_name or _camel(name) + "Backward0"
        self.floating = floating
        self.condition = condition
        self.view = view
        self.several = several
        self.contiguous = contiguous
        self.refuses = refuses
        self.check = check
        self.native = native and elementwise
        self.scalar = scalar
        self.hidden = hidden or not elementwise
        #: The inputs that may be numbers where the function is called by name.
        self.numbers = numbers if numbers is not None else "xyzw" if self.hidden else "y"
        self.aliases = aliases
        self.casts = casts
        #: ``joint(record, out_bar) -> shares`` where one call gives the shares of all inputs.
        self.joint = joint
        #: ``together(*environment) -> shares`` of all inputs; or None: as the rules do.
        self.together = together
        #: The short recording path of an elementwise primitive, once the operators are made.
        self.fast: Callable[..., Any] | None = None
        #: By the set of inputs that have places, as bits: see `plan`.
        self.plans: dict[int, Plan | None] = {}
        #: Whether it is structural, of a fixed number of inputs and of one result.
        self.usual = not elementwise and not variadic and outputs == 1 and bool(rules)
        #: Whether it is structural, of any number of inputs and of one result.
        self.variadic = not elementwise and variadic and outputs == 1
        #: Whether its records stand for one of several outputs of another record.
        self.is_output = name == "output"
        if shares is not None:
            self.together = BoundRule(self, shares).of
            self.bound = tuple([Share(self, shares, i) for i in range(self.arity)])
        if self.inputs is not INPUTS:
            self.bound  # noqa: B018 - a user's mistake is told at once, and leaves nothing behind
        self.code = len(primitives)
        primitives.append(self)

    def __getattr__(self, name: str) -> Any:
        # Resolved at their first use: most programs use few of the primitives.
        if name == "bound":
            self.bound = tuple(None if r is None else BoundRule(self, r) for r in self.rules)
        elif name == "saves":
            self.saves = tuple(frozenset() if b is None else b.saves for b in self.bound)
        else:
            raise AttributeError(name)
        return getattr(self, name)

    def __call__(self, *args: Any) -> Any:
        fast, split = self.fast, self.split
        inputs = args[:split]
        if hasattr(args[0], "_spec"):
            if fast is not None:
                return fast(*args)
            return Primitive.apply(self, inputs, args[split:] if split else ())
        for value in inputs:
            if type(value) is not np.ndarray and hasattr(value, "_spec"):
                return fast(*args) if fast else Primitive.apply(self, inputs, args[len(inputs) :])
        if self.arity < 0:
            return self.forward(inputs, *args[len(inputs) :])
        return self.forward(*args)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def plan(self, mask: int) -> Plan | None:
        """What a record keeps if the inputs in ``mask`` have places; None: nothing to record.

        The indices of inputs whose place is not kept, since they have no rule, and a function that
        picks what is saved from ``(None, *inputs, result)``. Of a variadic primitive the highest
        bit stands after those of the inputs.
        """
        if self.arity < 0:
            n = mask.bit_length() - 1
            kept = self.saves[0]
            ends = [i + 1 if 0 in kept else 0 for i in range(n)]
            self.plans[mask] = (), itemgetter(*ends, n + 1 if 1 in kept else 0)
            return self.plans[mask]
        inputs = [i for i in range(self.arity) if mask >> i & 1]
        ruled = [i for i in inputs if self.bound[i] is not None]
        saved = frozenset[int]().union(*(self.saves[i] for i in ruled))
        pick = itemgetter(*(i + 1 if i in saved else 0 for i in range(self.arity + 1)))
        dropped = tuple(i for i in inputs if i not in ruled)
        self.plans[mask] = (dropped, pick) if ruled else None
        return self.plans[mask]


class BoundRule:
    """A rule with its arguments resolved: which fields of a record each of its names stands for.

    ``arguments(environment)`` picks them; the environment of a record with n inputs is
    ``(out_bar, *inputs, out, *params, *shapes)``, or for a variadic primitive
    ``(out_bar, inputs, out, *params, shapes, index)``.
    """

    __slots__ = ("arguments", "names", "partial", "rule", "saves", "single")

    def __init__(self, primitive: Primitive, rule: Rule) -> None:
        self.rule = rule
        #: Its arguments, where the inputs are called as in INPUTS.
        self.names = rule.__code__.co_varnames[: rule.__code__.co_argcount]
        self.partial = "out_bar" not in self.names
        if self.partial and not primitive.elementwise:
            raise TypeError(f"{primitive.name}: the rule {rule.__name__} must take out_bar")
        slots = _environment(primitive)
        for name in self.names:
            if name not in slots:
                raise TypeError(
                    f"{primitive.name}: the rule {rule.__name__} names {name!r}, which is none of "
                    f"{', '.join(slots)}"
                )
        positions = [slots[name] for name in self.names]
        usual = dict(zip(primitive.inputs, INPUTS, strict=False))
        self.names = tuple(usual.get(name, name) for name in self.names)
        self.single = len(positions) == 1
        self.arguments = itemgetter(*positions) if positions else _no_arguments
        count = 1 if primitive.arity < 0 else primitive.arity
        #: Indices of the saved fields that the rule reads: inputs 0..n-1, and n for the result.
        self.saves = frozenset(p - 1 for p in positions if 1 <= p <= count + 1)

    def __call__(self, environment: tuple[Any, ...]) -> Any:
        if self.single:
            return self.rule(self.arguments(environment))
        return self.rule(*self.arguments(environment))

    def of(self, *environment: Any) -> Any:
        """The same, called with the fields."""
        return self(environment)


class Share(BoundRule):
    """The rule of one input, where one function gives the shares of all."""

    __slots__ = ("index",)

    def __init__(self, primitive: Primitive, rule: Rule, index: int) -> None:
        super().__init__(primitive, rule)
        self.index = index

    def __call__(self, environment: tuple[Any, ...]) -> Any:
        return super().__call__(environment)[self.index]


def _no_arguments(environment: tuple[Any, ...]) -> tuple[Any, ...]:
    return ()


def _environment(primitive: Primitive) -> dict[str, int]:
    if primitive.arity < 0:
        names = ["out_bar", "inputs", "out", *primitive.params, "shapes", "index"]
    else:
        inputs = primitive.inputs[: primitive.arity]
        names = ["out_bar", *inputs, "out", *primitive.params]
        names += [name + "_shape" for name in inputs]
    return {name: position for position, name in enumerate(names)}


def elementwise(
    name: str, forward: Callable[..., Any], *rules: Rule | None, **options: Any
) -> Primitive:
    """Declare an elementwise primitive: one rule for each input, None where there is no derivative.

    Broadcasting, dtype promotion, conjugation of complex partials, the native kernel and forward
    mode are the driver's. Options: ``floating`` (integers become the default float first),
    ``condition`` (input 0 is a bool that takes no part in promotion), ``native`` (False where Numba
    cannot compile the rule), ``scalar`` (what machine code does to each element, where the forward
    function isn't a ufunc or is a slow one: True for what that does, which Numba must be able to
    compile, or another function that does it; the ufunc that it comes to for reals; or the name of
    a function in `kernels.vectormath`), ``grad_name``
    (torch's name, where it isn't ``<Name>Backward0``), ``aliases`` (further public names;
    "special.expit" is one in that module), ``hidden`` (no function
    and method of its name: a `public` function uses it, or it is only in a module),
    ``numbers`` (the inputs that the function takes Python numbers for, by their names in rules; by
    default "y", of a hidden one all), ``refuses`` (kinds of dtypes, as NumPy's letters, for which
    it isn't implemented), ``check`` (called with the inputs, to raise another error).
    """
    return Primitive(name, forward, rules, elementwise=True, **options)


def structural(
    name: str, forward: Callable[..., Any], *rules: Rule | None, **options: Any
) -> Primitive:
    """Declare a primitive that isn't elementwise. Every rule takes ``out_bar``.

    The forward function's parameters after the inputs are the record's parameters, passed by
    position and hashable where possible. Options: ``variadic`` (one rule for any number of inputs,
    given as a tuple), ``outputs`` (more than one: ``out`` and ``out_bar`` are tuples), ``view``
    (the result shares the input's memory), ``several`` (a view that is one of the several results
    of one function; its last parameter is its number), ``contiguous`` (the result's elements lie in
    order, so that `view` can follow, where NumPy would keep the input's order), ``casts`` (the
    result has another dtype than the input, on purpose), ``together`` (a function of a record's
    environment, see `BoundRule`, that gives the shares of all inputs at once, or None), ``shares``
    (in place of the rules: one that gives the shares of all ``inputs``, whose names are then to be
    given), ``grad_name``.
    """
    if "shares" in options:
        rules = (options["shares"],) * len(options["inputs"])
    code = forward.__code__
    names = code.co_varnames[: code.co_argcount]
    params = names[1:] if options.get("variadic") else names[len(rules) :]
    return Primitive(name, forward, rules, elementwise=False, params=tuple(params), **options)


def select(condition: Any, x: Any, y: Any) -> Any:
    """``x`` where the condition holds, else ``y``: for arrays, Tensors and compiled scalars.

    Unlike a product with 0 it gives no nan where the branch not taken is infinite.
    """
    if type(condition) is np.ndarray and condition.dtype.char == "?" and condition.size > SHORT:
        if type(x) is float and x == 0.0 and _is_like(y, condition):
            return _masked(y, condition.view(np.int8) - np.int8(1))
        if type(y) is float and y == 0.0 and _is_like(x, condition):
            return _masked(x, -condition.view(np.int8))
    return np.where(condition, x, y)


#: Longer arrays are masked bit by bit: np.where takes 3.5 ns an element if it guesses wrong.
SHORT = 500


def _is_like(x: Any, condition: np.ndarray) -> bool:
    return type(x) is np.ndarray and x.dtype.char in "fd" and x.shape == condition.shape


def _masked(x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """``x`` where ``keep`` is -1, and 0 where it is 0."""
    bits = keep.astype(f"i{x.itemsize}")
    bits &= x.view(bits.dtype)
    return bits.view(x.dtype)


def quietly(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call without a floating-point warning or error: torch has none.

    A try costs nothing where an errstate would cost each call; if the user's settings made NumPy
    raise, the call is made again under one.
    """
    try:
        return function(*arguments)
    except (FloatingPointError, RuntimeWarning):
        with np.errstate(all="ignore"):
            return function(*arguments)


def by_ufunc(primitives: Iterable[Primitive]) -> dict[Any, Primitive]:
    """The primitives whose forward is a NumPy ufunc, for ``__array_ufunc__``; the first of each."""
    found: dict[Any, Primitive] = {}
    for primitive in primitives:
        if isinstance(primitive.forward, np.ufunc):
            found.setdefault(primitive.forward, primitive)
    return found


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
