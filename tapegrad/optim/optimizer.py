"""Optimizer: groups of parameters, a state for each, and the step that a subclass defines.

A step reads and writes the arrays themselves, in place and with few temporaries, and stamps what it
has changed: a graph that has saved a parameter and is replayed afterwards raises an error.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import numpy as np

from tapegrad.autograd.hooks import Hooks, RemovableHandle
from tapegrad.dtypes import get_default_dtype
from tapegrad.fused import fused
from tapegrad.inplace import check_memory
from tapegrad.modes import enable_grad, no_grad
from tapegrad.nn.parameter import clear_gradient
from tapegrad.storage import are_apart, stamp, stamp_if_shared
from tapegrad.tape import tape
from tapegrad.tensor import Tensor, from_array
from tapegrad.threads import SHARED_BYTES

__all__ = ["Optimizer", "as_real", "check_settings", "required"]

#: Parts in which threads update the elements of all parameters.
PARTS = 16


#: The arrays of parameters to be updated, by the fused function and the numbers that it is given.
Waiting = dict[tuple[Any, ...], list[tuple[np.ndarray, ...]]]


def update_all(kernel: Any, rows: list[tuple[np.ndarray, ...]], numbers: list[float]) -> None:
    """Call a fused function once for many parameters, each with its gradient and state."""
    table = np.array([[row[0].size, *map(id, row)] for row in rows])
    total = sum([row[0].nbytes for row in rows])
    elements = total // rows[0][0].itemsize
    work = total * len(rows[0])
    parts = PARTS if work >= SHARED_BYTES and are_apart([row[0] for row in rows]) else 1
    kernel(parts, table.reshape(-1), table.shape[1], parts, elements, *numbers, work=work)


class Required:
    """The default of a setting that has none."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = Required()


class Optimizer:
    """The base of optimizers. A subclass defines ``_update``, or ``step`` as a whole.

    Args:
        params: the parameters, or dicts with some under "params" and their own settings; each may
            come as a pair with its name.
        defaults: the settings of groups that don't have their own.
    """

    #: Whether weight decay is a part of the gradient, as it is unless an optimizer says otherwise.
    decays_gradient = True
    #: The fused function that does what `_update` does; it has weight decay in it.
    fused_name = ""

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {str(params.type()).replace('tapegrad', 'torch')}"
            )
        if defaults.get("differentiable"):
            raise NotImplementedError(
                f"{type(self).__name__}: differentiable=True isn't supported; write the update "
                "with Tensors, and give the results to func.functional_call"
            )
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._set_hooks()
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _set_hooks(self) -> None:
        self._optimizer_step_pre_hooks = Hooks()
        self._optimizer_step_post_hooks = Hooks()
        #: How many steps were made: schedulers warn if there was none before them.
        self._steps = 0

    def __getstate__(self) -> dict[str, Any]:
        names = ("defaults", "state", "param_groups")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_steps" not in self.__dict__:
            self._set_hooks()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join(lines) + "\n)"

    # -- groups ------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, ``param_group["params"]``, with settings of their own.

        Raises TypeError for what is no Tensor, ValueError for one that is no leaf or is in a group
        already, or if a setting without a default is missing.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        given = param_group["params"]
        if isinstance(given, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        pairs = [
            p if isinstance(p, tuple) else (None, p)
            for p in ([given] if isinstance(given, Tensor) else given)
        ]
        parameters = param_group["params"] = [p for _, p in pairs]
        names = [name for name, _ in pairs if name is not None]
        if names and len(names) < len(pairs):
            raise ValueError(
                "all optimizer params should be with/without names. Some param names are missing"
            )
        if names:
            param_group["param_names"] = names
        for parameter in parameters:
            if not isinstance(parameter, Tensor):
                raise TypeError(
                    "optimizer can only optimize Tensors, but one of the params is "
                    f"{type(parameter).__name__}"
                )
            if not (parameter.is_leaf or parameter.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    "parameter group didn't specify a value of required optimization parameter "
                    f"{name}"
                )
            param_group.setdefault(name, default)
        identities = {id(p) for p in parameters}
        if len(identities) < len(parameters):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this "
                "will cause an error; see github.com/pytorch/pytorch/issues/40967 for more "
                "information",
                stacklevel=3,
            )
        for group in self.param_groups:
            if ("param_names" in group) != bool(names):
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param "
                    f"group {'with' if names else 'without'} names to the optimizer"
                )
            if identities & {id(p) for p in group["params"]}:
                raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                clear_gradient(parameter, set_to_none)

    # -- the step ----------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters by their gradients; those without one are left alone.

        ``closure`` computes the loss and its gradients first, and its result is returned.
        """
        for hook in self._optimizer_step_pre_hooks.values():
            changed = hook(self, (closure,) if closure else (), {})
            if changed is not None:
                (closure, *_), _ = changed
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad(), np.errstate(all="ignore"):
            for group in self.param_groups:
                waiting: Waiting = {}
                for parameter in group["params"]:
                    grad = parameter.grad
                    if grad is not None:
                        self._update_one(parameter, grad, group, waiting)
                for (kernel, *numbers), rows in waiting.items():
                    update_all(kernel, rows, numbers)
        self._steps += 1
        for hook in self._optimizer_step_post_hooks.values():
            hook(self, (), {})
        return loss

    def _update_one(
        self, parameter: Tensor, grad: Tensor, group: dict[str, Any], waiting: Waiting
    ) -> None:
        state = self.state.get(parameter, {})
        array = parameter._array
        update = self._update
        first = not state
        if first:
            self._start(parameter, state, group)
            update = self._first_update
            if state:
                self.state[parameter] = state
        check_memory(array)
        stamp(array, tape.next_serial(), True)
        for value in state.values():
            if type(value) is Tensor:
                stamp_if_shared(value._array, tape.next_serial())
        if self.fused_name and not group.get("amsgrad"):
            names = self._fused_state(group)
            arrays = (array, grad._array, *[state[name]._array for name in names])
            kernel = fused(self.fused_name, *arrays) if _are_alike(arrays) else None
            if kernel is not None:
                numbers = self._fused_numbers(state, group, first)
                waiting.setdefault((kernel, *numbers), []).append(arrays)
                return
        x, g = as_real(array), as_real(grad._array)
        if group.get("maximize"):
            g = -g
        decay = group.get("weight_decay", 0)
        if decay:
            if self.decays_gradient and not group.get("decoupled_weight_decay"):
                part = x * float(decay)
                part += g
                g = part
            else:
                x *= 1 - float(group["lr"]) * float(decay)
        update(x, g, state, group)

    def _fused_state(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The names of the arrays of a parameter's state that the fused function is given."""
        return ()

    def _fused_numbers(
        self, state: dict[str, Any], group: dict[str, Any], first: bool
    ) -> tuple[float, ...]:
        """The numbers that the fused function is given for a parameter; counts its step."""
        raise NotImplementedError

    def _start(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Set the state of a parameter before its first step."""

    def _update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        """Change the parameter ``x`` by its gradient ``g``: real arrays, of one dimension or more.

        ``g`` is not to be written to.
        """
        raise NotImplementedError(f"{type(self).__name__} has no _update, and no step of its own")

    def _first_update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        """`_update` right after `_start`."""
        self._update(x, g, state, group)

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step."""
        return self._optimizer_step_pre_hooks.register(hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return self._optimizer_step_post_hooks.register(hook)

    # -- its state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The states of the parameters, by their numbers, and the groups with their settings."""
        numbers: dict[int, int] = {}
        groups = []
        start = 0
        for group in self.param_groups:
            for i, parameter in enumerate(group["params"], start):
                numbers.setdefault(id(parameter), i)
            start += len(group["params"])
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {numbers[id(k)] if isinstance(k, Tensor) else k: v for k, v in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` has given, for as many groups and parameters.

        Raises ValueError if they are others.
        """
        groups = self.param_groups
        saved = deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        parameters: dict[Any, Tensor] = {}
        for group, other in zip(groups, saved):
            if len(group["params"]) != len(other["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    "optimizer's group"
                )
            parameters.update(zip(other["params"], group["params"]))
            other["params"] = group["params"]
            if "param_names" in group:
                other.setdefault("param_names", group["param_names"])
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            parameter = parameters.get(number, number)
            state[parameter] = {
                name: _taken(name, value, parameter) for name, value in values.items()
            }
        self.__setstate__({"state": state, "param_groups": saved})


def _taken(name: str, value: Any, parameter: Any) -> Any:
    """A value of a state, of the parameter's dtype unless it is a count; not shared."""
    if isinstance(value, Tensor):
        if name != "step" and isinstance(parameter, Tensor) and parameter.is_floating_point():
            value = value.to(parameter.dtype)
        return value.clone()
    if isinstance(value, (list, tuple)):
        return type(value)(_taken(name, part, parameter) for part in value)
    return value


def _are_alike(arrays: tuple[np.ndarray, ...]) -> bool:
    """Whether a parameter's gradient and state have its shape, and the state can be written."""
    shape = arrays[0].shape
    return all(a.shape == shape for a in arrays) and all(a.flags.writeable for a in arrays[2:])


def as_real(array: np.ndarray) -> np.ndarray:
    """The same memory as real numbers, of one dimension or more: that of 0-d arrays has one."""
    if array.dtype.kind == "c":
        return array[..., None].view(array.real.dtype)
    return array if array.ndim else array[None]


def zeros_as(parameter: Tensor) -> Tensor:
    """Zeros of the parameter's shape and dtype."""
    return from_array(np.zeros_like(parameter._array))


def number(value: float = 0.0) -> Tensor:
    """A number that changes from step to step, as torch keeps it: a 0-d Tensor."""
    wide = get_default_dtype().numpy == np.float64
    return from_array(np.array(value, np.float64 if wide else np.float32))


def next_step(state: dict[str, Any]) -> float:
    """Count a step in a parameter's state, and return how many there are."""
    array = state["step"]._array
    array += 1
    return float(array)


_NAMES = {"lr": "learning rate", "eps": "epsilon value"}


def check_settings(settings: dict[str, Any]) -> None:
    """Raise torch's ValueError for a setting that is negative, or a beta that isn't below 1."""
    for name, value in settings.items():
        if name == "betas":
            for i, beta in enumerate(value):
                if not 0 <= beta < 1:
                    raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        elif name == "lr" and isinstance(value, Tensor) and value._spec.size != 1:
            raise ValueError("Tensor lr must be 1-element")
        elif isinstance(value, (int, float, Tensor)) and not value >= 0:
            raise ValueError(f"Invalid {_NAMES.get(name, f'{name} value')}: {value}")


def flags(keys: Iterable[str], given: dict[str, Any]) -> dict[str, Any]:
    """The switches that torch's optimizers have, for a group's settings.

    ``foreach``, ``fused`` and ``capturable`` say how torch computes the same; they are accepted.
    """
    usual = {"maximize": False, "differentiable": False, "capturable": False}
    unknown = set(given) - set(keys)
    if unknown:
        raise TypeError(f"got an unexpected keyword argument '{min(unknown)}'")
    return {key: given.get(key, usual.get(key)) for key in keys}
