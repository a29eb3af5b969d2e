"""Checkpoints: save a function's inputs, and compute what its backward needs once more.

Without reentry (the recommended way) hooks on saved tensors note for each saved value only which
one it is; the first that backward asks for makes the function run again, up to the last one. With
reentry, the whole is one `Function`, whose backward runs the function again and then a backward
pass of its own.
"""

from __future__ import annotations

import contextlib
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tapegrad import random
from tapegrad.autograd.engine import backward
from tapegrad.autograd.function import Function
from tapegrad.autograd.hooks import local
from tapegrad.autograd.saved import SavedTensor, saved_tensors_hooks
from tapegrad.modes import enable_grad, modes
from tapegrad.replay import Replay
from tapegrad.tensor import Tensor, from_array, place_of

__all__ = ["CheckpointError", "CheckpointFunction", "checkpoint", "checkpoint_sequential"]
__all__ += ["noop_context_fn", "set_checkpoint_early_stop"]

Contexts = tuple[contextlib.AbstractContextManager[Any], contextlib.AbstractContextManager[Any]]


class CheckpointError(RuntimeError):
    """The function did not do the same when it ran again."""


def noop_context_fn() -> Contexts:
    """The default ``context_fn`` of `checkpoint`: two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


_early_stop = True


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Whether functions checkpointed in this context stop, when run again, at the last saved value.

    It counts where the forward pass runs. They do by default.
    """
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], Contexts] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, of which backward keeps the arguments only.

    When backward needs more, the function runs again: it must do the same then.

    Args:
        function: what to compute.
        args: its arguments. Those that are Tensors are saved.
        use_reentrant: run a backward pass within the backward pass. False is recommended; True
            takes no keyword arguments, and works with ``backward()`` without ``inputs`` only.
        context_fn: returns two context managers, for the function's first and its second run.
        determinism_check: "default" compares shapes and dtypes of what the two runs save, "none"
            doesn't.
        debug: accepted, and without effect.
        early_stop: stop the second run at the last value that is needed.
        preserve_rng_state: let the second run draw the random numbers of the first.

    Raises:
        CheckpointError: the second run saved something else than the first.

    >>> import tapegrad
    >>> from tapegrad.utils.checkpoint import checkpoint
    >>> x = tapegrad.tensor([1., 2.], requires_grad=True)
    >>> checkpoint(lambda x: x.exp().log() * x, x, use_reentrant=False).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. "
            "use_reentrant=False is recommended, but if you need to preserve the current default "
            "behavior, you can pass use_reentrant=True.",
            stacklevel=2,
        )
        use_reentrant = True
    if use_reentrant:
        if kwargs:
            raise ValueError(f"Unexpected keyword arguments: {','.join(kwargs)}")
        if context_fn is not noop_context_fn or debug:
            raise ValueError(
                "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
            )
        if not any(isinstance(a, Tensor) and place_of(a) is not None for a in args):
            warnings.warn(
                "None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2
            )
        return CheckpointFunction.apply(function, preserve_rng_state, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"determinism_check should be one of ['default', 'none'], but got {determinism_check}"
        )
    first, second = context_fn()
    if not modes.grad:
        with first:
            return function(*args, **kwargs)
    run = _Run(function, args, kwargs, preserve_rng_state)
    frame = _Frame(run, second, determinism_check == "default", early_stop and _early_stop)
    with saved_tensors_hooks(frame.pack, _Mark.load), first:
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Tensor,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """Apply functions one after the other, in ``segments`` parts, all but the last checkpointed.

    ``functions`` is a sequence of them, or a module that has it as its children. See `checkpoint`.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be "
            "passed explicitly. use_reentrant=False is recommended, but if you need to preserve "
            "the current default behavior, you can pass use_reentrant=True.",
            stacklevel=2,
        )
        use_reentrant = True
    chain = list(functions.children() if hasattr(functions, "children") else functions)
    size = len(chain) // segments
    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(
            _composed(chain[start:end]),
            input,
            use_reentrant=use_reentrant,
            preserve_rng_state=preserve_rng_state,
        )
    return _composed(chain[end:])(input)


def _composed(functions: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def run(input: Any) -> Any:
        for function in functions:
            input = function(input)
        return input

    return run


# -- without reentry -------------------------------------------------------------------------------


class _Run:
    """A call, to be made once more: with the same arguments and random numbers."""

    def __init__(
        self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any], random_too: bool
    ) -> None:
        self.function = function
        # Through the hooks of an enclosing checkpoint, which computes them again in turn.
        self.args = [_saved(a) for a in args]
        self.kwargs = {name: _saved(a) for name, a in kwargs.items()}
        self.state = random.get_rng_state() if random_too else None

    def again(self) -> Any:
        """Make the call, recorded, on detached arguments."""
        args = [_loaded(a) for a in self.args]
        kwargs = {name: _loaded(a) for name, a in self.kwargs.items()}
        with random.fork_rng(enabled=self.state is not None), enable_grad():
            if self.state is not None:
                random.set_rng_state(self.state)
            return self.function(*args, **kwargs)


def _saved(value: Any) -> Any:
    return SavedTensor(value, place_of(value)) if isinstance(value, Tensor) else value


def _loaded(value: Any) -> Any:
    if not isinstance(value, SavedTensor):
        return value
    tensor = value.load("checkpoint", lambda position: None)
    return from_array(tensor._array, requires_grad=value.place is not None)


class _Stop(Exception):  # noqa: N818 - it is no error
    """Raised within the second run when all that is needed has been computed."""


class _Mark:
    """What a record keeps: which of the values that a checkpoint has saved this one is."""

    __slots__ = ("frame", "number")

    def __init__(self, frame: _Frame, number: int) -> None:
        self.frame = frame
        self.number = number

    def load(self) -> Tensor:
        return self.frame.value(self.number)


class _Held:
    """A saved value of the second run; emptied when it is over, to free the memory."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Frame:
    """One checkpoint: what its first run saved, and what its second run computed."""

    def __init__(self, run: _Run, context: Any, check: bool, early_stop: bool) -> None:
        self.run = run
        self.context = context
        self.check = check
        self.early_stop = early_stop
        self.saved: list[tuple[Any, Any]] = []  # shapes and dtypes
        #: For each backward pass the values that it has not asked for yet.
        self.values: weakref.WeakKeyDictionary[Replay, dict[int, Tensor]]
        self.values = weakref.WeakKeyDictionary()

    def pack(self, tensor: Tensor) -> _Mark:
        self.saved.append((tensor.shape, tensor.dtype))
        return _Mark(self, len(self.saved) - 1)

    def value(self, number: int) -> Tensor:
        walk = local.walks[-1] if local.walks else None
        if walk is None:
            return self._again()[number]
        values = self.values.setdefault(walk, {})
        if number not in values:
            values.update(self._again())
        return values.pop(number)

    def _again(self) -> dict[int, Tensor]:
        held: list[_Held] = []

        def pack(tensor: Tensor) -> _Held:
            held.append(_Held(tensor.detach()))
            if self.early_stop and len(held) == len(self.saved):
                raise _Stop
            return held[-1]

        hooks = saved_tensors_hooks(pack, lambda h: h.tensor)
        with hooks, self.context, contextlib.suppress(_Stop):
            self.run.again()
        values = {i: h.tensor for i, h in enumerate(held)}
        for h in held:
            del h.tensor
        self._compare(values)
        return values

    def _compare(self, values: dict[int, Tensor]) -> None:
        if len(values) != len(self.saved):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the "
                "original forward and recomputation.\n"
                f"Number of tensors saved during forward: {len(self.saved)}\n"
                f"Number of tensors saved during recomputation: {len(values)}."
            )
        differing = [
            f"tensor at position {i}:\nsaved metadata: {_described(*saved)}\n"
            f"recomputed metadata: {_described(values[i].shape, values[i].dtype)}"
            for i, saved in enumerate(self.saved)
            if saved != (values[i].shape, values[i].dtype)
        ]
        if differing and self.check:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have "
                "different metadata than during the forward pass.\n" + "\n".join(differing)
            )


def _described(shape: Any, dtype: Any) -> str:
    return f"{{'shape': {shape}, 'dtype': {dtype}}}"


# -- with reentry ----------------------------------------------------------------------------------


class CheckpointFunction(Function):
    """`checkpoint` with ``use_reentrant=True``: a backward pass within the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, function: Callable[..., Any], preserve_rng_state: bool, *args: Any
    ) -> Any:
        """Run the function; nothing of it is recorded."""
        ctx.function = function
        ctx.state = random.get_rng_state() if preserve_rng_state else None
        ctx.args = [None if isinstance(a, Tensor) else a for a in args]
        ctx.tensors = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.save_for_backward(*(args[i] for i in ctx.tensors))
        return function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Run the function again, recorded, and differentiate that."""
        if local.walks[-1].targets is not None:
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or "
                "passing an `inputs` parameter to .backward(). To resolve this error, you can "
                "either set use_reentrant=False, or call .backward() without passing the `inputs` "
                "argument."
            )
        args = list(ctx.args)
        for i, tensor in zip(ctx.tensors, ctx.saved_tensors, strict=True):
            args[i] = from_array(tensor._array, requires_grad=place_of(tensor) is not None)
        with random.fork_rng(enabled=ctx.state is not None), enable_grad():
            if ctx.state is not None:
                random.set_rng_state(ctx.state)
            outputs = ctx.function(*args)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        pairs = [
            (output, gradient)
            for output, gradient in zip(outputs, grads, strict=True)
            if isinstance(output, Tensor) and place_of(output) is not None
        ]
        if not pairs:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        backward([output for output, _ in pairs], [gradient for _, gradient in pairs])
        return None, None, *(a.grad if isinstance(a, Tensor) else None for a in args)
