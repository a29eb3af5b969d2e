"""`Function`: operations whose derivative the user writes.

``MyFn.apply(x, y)`` runs ``MyFn.forward`` with the tape paused and appends one record, whose
*joint* rule calls ``MyFn.backward``. The record's only parameter is the ``ctx`` that forward got;
it is the outputs' ``grad_fn`` too. Where forward returns a tuple, each output has an ``output``
record, as those of tapegrad's own primitives.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.autograd.graph import Node
from tapegrad.autograd.mapped import apply_mapped
from tapegrad.autograd.saved import SavedTensor, released
from tapegrad.batched import any_batched
from tapegrad.broadcast import fit
from tapegrad.inplace import check_writable, move
from tapegrad.modes import enable_grad, modes, no_grad, settle, switch
from tapegrad.primitive import Primitive
from tapegrad.recording import output, wrap
from tapegrad.rules.indexing import alias_
from tapegrad.spec import Spec
from tapegrad.storage import is_stale, stamp
from tapegrad.tape import PARAMS, PLACE, Record, tape, unshared
from tapegrad.tensor import Tensor, View, place_of, view_of

__all__ = ["BackwardCFunction", "Function", "FunctionCtx", "function_dot", "once_differentiable"]


class FunctionCtx:
    """What forward and backward of a `Function` share, their ``ctx``."""

    needs_input_grad: tuple[bool, ...] = ()
    _to_save: tuple[Any, ...] = ()
    _for_forward: tuple[Any, ...] = ()
    _dirty: tuple[Any, ...] = ()
    _constant_outputs: tuple[Any, ...] = ()
    _materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Save Tensors (or None) for backward, which finds them in ``ctx.saved_tensors``.

        An in-place change of one of them before backward is noticed. Raises TypeError for anything
        that is no Tensor: keep it as an attribute of ``ctx``.
        """
        self._to_save = self._checked(tensors, "save_for_backward can only save variables")

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Save Tensors (or None) for ``jvp``, which finds them in ``ctx.saved_tensors``."""
        self._for_forward = self._checked(tensors, "save_for_forward can only save variables")

    @staticmethod
    def _checked(tensors: tuple[Any, ...], message: str) -> tuple[Any, ...]:
        for i, tensor in enumerate(tensors):
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(f"{message}, but argument {i} is of type {type(tensor).__name__}")
        return tensors

    def mark_dirty(self, *args: Tensor) -> None:
        """Tell that forward has changed these inputs in place. It must return each of them."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Tell that these outputs don't require grad; backward gets zeros for them."""
        self._constant_outputs = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default), not None, for outputs without a gradient."""
        self._materialize = value


class BackwardCFunction(FunctionCtx, Node):
    """The ``ctx`` of one call, and the ``grad_fn`` of what it returned."""

    _forward_cls: type[Function]
    _place = 0  # none yet

    _saved: tuple[SavedTensor | None, ...] | None = ()
    _in_jvp = False
    _argument_count = 0
    #: Of the Tensors among the arguments: where they stand, and their specs.
    _positions: tuple[int, ...] = ()
    _input_specs: tuple[Spec, ...] = ()
    _output_specs: tuple[Spec | None, ...] = ()

    @property
    def _record(self) -> Record | None:  # type: ignore[override]
        return tape.record(self._place)

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What was saved. Raises RuntimeError once backward has freed it."""
        saved = self._saved
        if self._in_jvp and self._for_forward:
            saved = self._for_forward
        if saved is None:
            raise released()
        return tuple(None if s is None else s.load(self.name(), self._output) for s in saved)

    def release(self) -> None:
        """Free what was saved; called by the walk."""
        if self._saved:
            self._saved = None
            self._for_forward = ()

    def _output(self, position: int) -> int | None:
        """The place of an output, as a saved one has it again."""
        record = tape.record(self._place)
        if record is None or len(self._output_specs) == 1:
            return None if record is None else record[PLACE]
        spec = self._output_specs[position]
        assert spec is not None
        place = tape.next_serial()
        fields = (place, output.code, spec.number, (position,), record[PLACE])
        tape.append((*fields, None, None), 0)
        return place

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _joint(record: Record, out_bar: Any) -> list[Any]:
    """The shares of all inputs of a Function: what its backward returns, checked."""
    ctx: BackwardCFunction = record[PARAMS][0]
    name, function = ctx.name(), ctx._forward_cls
    grads = _materialized(ctx, out_bar if type(out_bar) is list else [out_bar])
    settle()
    results = _backward_of(function)(ctx, *grads)
    if type(results) is not tuple:
        results = (results,)
    count = ctx._argument_count
    if len(results) > count and all(r is None for r in results[count:]):
        results = results[:count]
    if len(results) != count:
        raise RuntimeError(
            f"function {name} returned an incorrect number of gradients (expected {count}, got "
            f"{len(results)})"
        )
    for i, result in enumerate(results):
        if result is not None and not isinstance(result, Tensor):
            raise RuntimeError(f"expected Variable or None (got {type(result).__name__})")
        if result is not None and i not in ctx._positions:
            raise RuntimeError(
                f"function {name} returned a gradient different than None at position {i + 1}, but "
                "the corresponding forward input was not a Variable"
            )
    return [
        None if results[i] is None else _fitted(results[i], spec, name, k)
        for k, (i, spec) in enumerate(zip(ctx._positions, ctx._input_specs, strict=True))
    ]


def function_dot(record: Record, dots: list[Any], recording: bool) -> Any:
    """The tangent of a Function's outputs, by its ``jvp``; arrays unless ``recording``."""
    ctx: BackwardCFunction = record[PARAMS][0]
    given: list[Tensor | None] = [None] * ctx._argument_count
    for position, dot in zip(ctx._positions, dots, strict=True):
        given[position] = wrap(dot) if isinstance(dot, np.ndarray) else dot
    ctx._in_jvp = True
    try:
        with enable_grad() if recording else no_grad():
            results = ctx._forward_cls.jvp(ctx, *given)
    finally:
        ctx._in_jvp = False
    several = type(results) is tuple
    found = [
        None if not isinstance(dot, Tensor) else dot if recording else dot._array
        for dot in (results if several else (results,))
    ]
    return tuple(found) if len(ctx._output_specs) > 1 else found[0]


def _backward_of(function: type[Function]) -> Callable[..., Any]:
    own_backward = function.backward is not Function.backward
    if own_backward and function.vjp is not Function.vjp:
        raise RuntimeError(
            "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You "
            "should only implement one of them."
        )
    return function.backward if own_backward else function.vjp


def _materialized(ctx: BackwardCFunction, values: list[Any]) -> list[Tensor | None]:
    """The adjoints of the outputs as Tensors, with zeros for those without one."""
    grads = []
    for value, spec in zip(values, ctx._output_specs, strict=True):
        if value is None and spec is not None and ctx._materialize:
            value = wrap(np.zeros(spec.shape, spec.dtype))
        grads.append(value if value is None or isinstance(value, Tensor) else wrap(value))
    return grads


def _fitted(share: Tensor, spec: Spec, name: str, index: int) -> Tensor:
    """A gradient that backward returned, in the shape and dtype of its input."""
    given, wanted = share._spec.shape, spec.shape
    lead = len(given) - len(wanted)
    if lead < 0 or any(n not in (1, m) for n, m in zip(wanted, given[lead:], strict=True)):
        raise RuntimeError(
            f"Function {name} returned an invalid gradient at index {index} - got {list(given)} "
            f"but expected shape compatible with {list(wanted)}"
        )
    fitted: Tensor = fit(share, spec)
    return fitted


class _FunctionMeta(type):
    """Gives each Function the class of its ``ctx``, named ``<Function>Backward``."""

    _backward_cls: type[BackwardCFunction]

    def __init__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> None:
        super().__init__(name, bases, space)
        cls._backward_cls = type(
            name + "Backward",
            (BackwardCFunction,),
            {"_forward_cls": cls, "__module__": "tapegrad.autograd.function"},
        )
        cls._primitives: dict[int, Primitive] = {}


class Function(metaclass=_FunctionMeta):
    """An operation with a derivative of one's own: subclass it, and call ``apply``.

    Define static methods: ``forward(ctx, *args)``, or ``forward(*args)`` with
    ``setup_context(ctx, inputs, output)``; ``backward(ctx, *grad_outputs)`` (or ``vjp``), which
    returns a gradient or None for each argument of forward; and for forward mode
    ``jvp(ctx, *grad_inputs)``. To be mapped by vmap it needs ``vmap(info, in_dims, *args)``, or
    ``generate_vmap_rule = True``, which runs it for one sample after the other.

    >>> import tapegrad
    >>> class Exp(tapegrad.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         y = x.exp()
    ...         ctx.save_for_backward(y)
    ...         return y
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (y,) = ctx.saved_tensors
    ...         return grad * y
    >>> x = tapegrad.zeros(2, requires_grad=True)
    >>> Exp.apply(x).sum().backward()
    >>> x.grad
    tensor([1., 1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all "
            "static, so you should invoke them on the class itself.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use "
            "new-style autograd function with static forward method."
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs: Tensors, or a tuple with Tensors in it. Nothing is recorded."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Fill ``ctx``, where forward doesn't take it."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients for forward's arguments, given those for its outputs."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The tangents of the outputs, given those of the inputs (None: no tangent)."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with "
            "forward mode AD."
        )

    #: Whether vmap may run it for one sample after the other.
    generate_vmap_rule = False

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        """The outputs for all samples at once, and their mapped dimensions (None: not mapped).

        ``info`` has ``batch_size`` and ``randomness``; an argument is all samples, along the
        dimension that ``in_dims`` has for it.
        """
        raise NotImplementedError("vmap is not implemented.")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward and record it."""
        with_setup = cls.setup_context is not Function.setup_context
        if switch.batched and any_batched(args):
            return apply_mapped(cls, args, cls.vmap is not Function.vmap)
        ctx = cls._backward_cls()
        if with_setup:
            bound = inspect.signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args = bound.args
        elif kwargs:
            args = inspect.signature(cls.forward).bind(ctx, *args, **kwargs).args[1:]
        positions = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        tensors = tuple([args[i] for i in positions])
        places = tuple([place_of(t) if t._spec.special else t._place for t in tensors])
        needs = [False] * len(args)
        for i, place in zip(positions, places, strict=True):
            needs[i] = place is not None
        ctx._argument_count = len(args)
        ctx._positions = tuple(positions)
        ctx._input_specs = tuple([t._spec for t in tensors])
        ctx.needs_input_grad = tuple(needs)
        started = tape.next_serial()
        with no_grad():
            if with_setup:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args)
        if ctx._dirty:
            _check_dirty(ctx, result, tensors, started)
        if True not in needs or not modes.grad:
            return result
        return _recorded(ctx, result, tensors, places)

    @classmethod
    def _primitive(cls, outputs: int) -> Primitive:
        made = cls._primitives.get(outputs)
        if made is None:
            name = cls.__name__
            made = cls._primitives[outputs] = Primitive(
                name, cls.forward, (None,), elementwise=False, variadic=True, outputs=outputs,
                grad_name=name + "Backward", joint=_joint,
            )  # fmt: skip
        return made


def _check_dirty(
    ctx: BackwardCFunction, result: Any, tensors: tuple[Tensor, ...], started: int
) -> None:
    outputs = result if type(result) is tuple else (result,)
    for tensor in ctx._dirty:
        if _index_of(tensor, outputs) < 0:
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as "
                "output. The inputs that are modified inplace must all be outputs of the Function."
            )
        check_writable(tensor)
        if _index_of(tensor, tensors) >= 0 and not is_stale(tensor._array, started):
            stamp(tensor._array, tape.next_serial())  # forward wrote through NumPy


def _index_of(value: Any, values: tuple[Any, ...]) -> int:
    """Where a value itself is among some, or -1: `any` and `next` take three times as long."""
    for i, other in enumerate(values):
        if other is value:
            return i
    return -1


def _recorded(
    ctx: BackwardCFunction, result: Any, tensors: tuple[Tensor, ...], places: tuple[Any, ...]
) -> Any:
    """Append the record of a call, and give the outputs their places."""
    single = type(result) is not tuple
    values = (result,) if single else result
    constant = [
        not isinstance(v, Tensor)
        or not v._spec.differentiable
        or _index_of(v, ctx._constant_outputs) >= 0
        for v in values
    ]
    ctx._output_specs = tuple([v._spec if isinstance(v, Tensor) else None for v in values])
    if False not in constant:
        return result
    spec = values[constant.index(False)]._spec
    primitive = ctx._forward_cls._primitive(len(values))
    place = tape.next_serial()
    shapes = tuple([spec.shape for spec in ctx._input_specs])
    saved = (None,) * (len(tensors) + 1)
    ctx._place = unshared(place)
    kept = sum([t._spec.nbytes for t in ctx._to_save if t is not None])
    tape.append((place, primitive.code, spec.number, (ctx, shapes), *places, *saved), kept)
    outputs: list[Any] = []
    for i, value in enumerate(values):
        if constant[i]:
            is_input = isinstance(value, Tensor) and _index_of(value, tensors) >= 0
            outputs.append(wrap(value._array) if is_input else value)
            continue
        own = place
        if len(values) > 1:
            own = tape.next_serial()
            fields = (own, output.code, value._spec.number, (i,), place)
            tape.append((*fields, None, None), 0)
        outputs.append(_placed(ctx, value, own, tensors))
    _save(ctx, values, tensors, places)
    return outputs[0] if single else tuple(outputs)


def _placed(
    ctx: BackwardCFunction, value: Tensor, place: int, tensors: tuple[Tensor, ...]
) -> Tensor:
    """An output at its place: itself, or a view of an input that was returned as it is."""
    if _index_of(value, ctx._dirty) >= 0:
        move(value, place)
        return value
    if _index_of(value, tensors) >= 0 or value._place is not None:
        base, value = value, wrap(value._array)
        value._extra = View(base, alias_, ((...,),), False)
        value._spec = value._spec.as_special
    view = view_of(value)
    if view is not None:
        view.recording = False
        view.function = ctx._forward_cls.__name__
    value._place = place
    return value


def _save(
    ctx: BackwardCFunction, values: tuple[Any, ...], tensors: tuple[Tensor, ...],
    places: tuple[Any, ...],
) -> None:  # fmt: skip
    """Save what forward asked for, now that the outputs have their places."""

    def saved(tensor: Tensor | None) -> SavedTensor | None:
        if tensor is None:
            return None
        position, source = _index_of(tensor, values), _index_of(tensor, tensors)
        if position >= 0 and (source < 0 or _index_of(tensor, ctx._dirty) >= 0):
            constant = _index_of(tensor, ctx._constant_outputs) >= 0
            return SavedTensor(tensor, None, None if constant else position)
        return SavedTensor(tensor, place_of(tensor) if source < 0 else places[source])

    ctx._saved = tuple(map(saved, ctx._to_save))
    ctx._for_forward = tuple(map(saved, ctx._for_forward))
    ctx._to_save = ctx._dirty = ctx._constant_outputs = ()


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a ``backward`` that can't be differentiated; trying to raises RuntimeError."""

    @functools.wraps(function)
    def wrapper(ctx: Any, *args: Any) -> Any:
        recording = modes.grad
        with no_grad():
            results = function(ctx, *args)
        if not recording:
            return results
        # Without a gradient coming in that could be differentiated, there is nothing to refuse.
        sources = [a for a in args if isinstance(a, Tensor) and place_of(a) is not None]
        if not sources:
            return results
        several = type(results) is tuple
        guarded = tuple(
            Error.apply(r, *sources) if isinstance(r, Tensor) else r
            for r in (results if several else (results,))
        )
        return guarded if several else guarded[0]

    return wrapper


class Error(Function):
    """The identity, whose derivative is an error."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *sources: Tensor) -> Tensor:
        return wrap(x._array)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )
