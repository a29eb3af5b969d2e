"""Calling a Module that has hooks: the rare way, apart from the short one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd.function import Function
from tapegrad.tensor import Tensor

if TYPE_CHECKING:
    from tapegrad.nn.modules.module import Module

__all__ = ["call_with_hooks"]


def call_with_hooks(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module.forward(*args, **kwargs)`` between the hooks."""
    backward = module._backward_hooks or module._backward_pre_hooks
    watcher = BackwardHooks(module) if backward else None
    done: list[Any] = []
    result = None
    try:
        for hook, options in list(module._forward_pre_hooks.values()):
            if options["with_kwargs"]:
                changed = hook(module, args, kwargs)
                if changed is not None:
                    if not (isinstance(changed, tuple) and len(changed) == 2):
                        raise RuntimeError(
                            "forward pre-hook must return None or a tuple of (new_args, "
                            f"new_kwargs), but got {changed}."
                        )
                    args, kwargs = changed
            else:
                changed = hook(module, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        if watcher is not None:
            args = watcher.watch_inputs(args)
        result = module.forward(*args, **kwargs)
        for key, (hook, options) in list(module._forward_hooks.items()):
            done.append(key)
            result = _after(hook, options, module, args, kwargs, result)
        return result if watcher is None else watcher.watch_outputs(result)
    except Exception:
        for key, (hook, options) in list(module._forward_hooks.items()):
            if options["always_call"] and key not in done:
                _after(hook, options, module, args, kwargs, result)
        raise


def _after(hook: Any, options: Any, module: Any, args: Any, kwargs: Any, result: Any) -> Any:
    given = (args, kwargs) if options["with_kwargs"] else (args,)
    changed = hook(module, *given, result)
    return result if changed is None else changed


class Watch(Function):
    """Hands its inputs on, and calls ``called(grads)`` on their gradients."""

    @staticmethod
    def forward(ctx: Any, called: Any, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The inputs, as other Tensors."""
        ctx.called = called
        ctx.set_materialize_grads(False)
        return tuple(x.view_as(x) for x in inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        """The gradients, or what ``called`` makes of them."""
        return None, *ctx.called(grads)


class BackwardHooks:
    """One call of a Module with backward hooks: what they are to see of the backward pass."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.hooks = [hook for hook, _ in module._backward_hooks.values()]
        self.before = [hook for hook, _ in module._backward_pre_hooks.values()]
        self.grad_output: tuple[Tensor | None, ...] | None = None
        self.inputs_watched = False

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, with Tensors in place of those whose gradients the hooks see."""
        if not self.hooks:
            return args
        count = len(args)
        where = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        if not any(args[i].requires_grad for i in where):
            return args
        self.inputs_watched = True

        def called(grads: tuple[Tensor | None, ...]) -> tuple[Any, ...]:
            full: list[Any] = [None] * count
            for i, grad in zip(where, grads):
                full[i] = grad
            given = self._call_hooks(tuple(full))
            return tuple(given[i] for i in where)

        watched = list(args)
        for i, x in zip(where, Watch.apply(called, *(args[i] for i in where))):
            watched[i] = x
        return tuple(watched)

    def watch_outputs(self, result: Any) -> Any:
        """The result, with Tensors in place of those whose gradients the hooks see."""
        outputs = result if isinstance(result, tuple) else (result,)
        where = [i for i, x in enumerate(outputs) if isinstance(x, Tensor)]
        if not any(outputs[i].requires_grad for i in where):
            return result
        count = len(outputs)

        def called(grads: tuple[Tensor | None, ...]) -> tuple[Any, ...]:
            full: list[Any] = [None] * count
            for i, grad in zip(where, grads):
                full[i] = grad
            given: tuple[Any, ...] = tuple(full)
            for hook in self.before:
                changed = hook(self.module, given)
                if changed is not None:
                    given = _as_gradients(changed, count, "pre hook", "grad_output")
            self.grad_output = given
            if not self.inputs_watched and self.hooks:
                # As torch: there is no input to wait for, so the hooks are called with None.
                self._call_hooks((None,))
            return tuple(given[i] for i in where)

        watched = list(outputs)
        for i, x in zip(where, Watch.apply(called, *(outputs[i] for i in where))):
            watched[i] = x
        return tuple(watched) if isinstance(result, tuple) else watched[0]

    def _call_hooks(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.hooks:
            changed = hook(self.module, grads, self.grad_output)
            if changed is not None:
                if not self.inputs_watched:
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always "
                        "return None or None for all gradients."
                    )
                grads = _as_gradients(changed, len(grads), "hook", "grad_input")
        return grads


def _as_gradients(changed: Any, count: int, kind: str, what: str) -> tuple[Any, ...]:
    changed = changed if isinstance(changed, tuple) else (changed,)
    if len(changed) != count:
        raise RuntimeError(
            f"Backward {kind} returned an invalid number of {what}, got {len(changed)}, but "
            f"expected {count}"
        )
    return changed
