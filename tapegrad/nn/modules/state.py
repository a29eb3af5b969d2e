"""A Module's state: its parameters and persistent buffers under their paths, out and in again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tapegrad.autograd.hooks import Hooks, RemovableHandle
from tapegrad.modes import no_grad
from tapegrad.nn.parameter import Parameter
from tapegrad.tensor import Tensor

if TYPE_CHECKING:
    from tapegrad.nn.modules.module import Module

__all__ = ["IncompatibleKeys", "State", "StateDict"]


class IncompatibleKeys(NamedTuple):
    """The keys that `load_state_dict` has found missing, and those that it can't place."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self[0]}, unexpected_keys={self[1]})"


class State(OrderedDict[str, Any]):
    """A state dict: an OrderedDict with the versions of the Modules as ``_metadata``."""

    _metadata: dict[str, dict[str, Any]]

    def __repr__(self) -> str:
        return f"OrderedDict({dict(self)})"


#: The key of what `get_extra_state` returns.
EXTRA = "_extra_state"


class StateDict:
    """`state_dict` and `load_state_dict`, as Modules have them."""

    _version: int
    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _state_dict_hooks: Hooks
    _load_state_dict_pre_hooks: Hooks
    _load_state_dict_post_hooks: Hooks

    def get_extra_state(self) -> Any:
        """What else belongs to the state; may be defined by subclasses."""
        raise RuntimeError(
            "Reached a code path in Module.get_extra_state() that should never be called."
        )

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` has given; to be defined together with it."""
        raise RuntimeError(
            "Reached a code path in Module.set_extra_state() that should never be called."
        )

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """Parameters and persistent buffers by their paths, in an OrderedDict.

        They share the Module's memory. They are detached unless ``keep_vars``.
        """
        if destination is None:
            destination = State()
            destination._metadata = {}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = {"version": self._version}
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}{name}."
                module.state_dict(destination=destination, prefix=path, keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            hook(self, destination, prefix, {})
        return destination

    def _own_state(self) -> dict[str, Tensor]:
        transient = self._non_persistent_buffers_set
        buffers = {name: b for name, b in self._buffers.items() if name not in transient}
        return {n: x for n, x in (*self._parameters.items(), *buffers.items()) if x is not None}

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, value in self._own_state().items():
            destination[prefix + name] = value if keep_vars else value.detach()
        if type(self).get_extra_state is not StateDict.get_extra_state:
            destination[prefix + EXTRA] = self.get_extra_state()

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy parameters and buffers from a dict of them by their paths.

        Args:
            state_dict: what `state_dict` has given.
            strict: raise RuntimeError for keys that are missing or can't be placed.
            assign: take the Tensors themselves, instead of copying their values.

        Returns:
            ``missing_keys`` and ``unexpected_keys``, lists of paths.

        Raises:
            RuntimeError: keys don't match, or sizes don't.
            TypeError: ``state_dict`` is no mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        versions = getattr(state_dict, "_metadata", {})
        state = OrderedDict(state_dict)
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []

        def load(module: Any, prefix: str) -> None:
            described = dict(versions.get(prefix[:-1], {}))
            if assign:
                described["assign_to_params_buffers"] = True
            module._load_from_state_dict(
                state, prefix, described, True, missing, unexpected, errors
            )
            for name, child in module._modules.items():
                if child is not None:
                    load(child, f"{prefix}{name}.")
            for hook in module._load_state_dict_post_hooks.values():
                hook(module, IncompatibleKeys(missing, unexpected))

        load(self, "")
        if strict:
            for kind, keys in (("Unexpected", unexpected), ("Missing", missing)):
                if keys:
                    listed = ", ".join(f'"{key}"' for key in keys)
                    errors.insert(0, f"{kind} key(s) in state_dict: {listed}. ")
        if errors:
            name = type(self).__name__
            raise RuntimeError(
                f"Error(s) in loading state_dict for {name}:\n\t" + "\n\t".join(errors)
            )
        return IncompatibleKeys(missing, unexpected)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load the Module's own parameters and buffers, without those of its children."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(
                state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                error_msgs,
            )  # fmt: skip
        own = self._own_state()
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, value in own.items():
            if prefix + name in state_dict:
                given = state_dict[prefix + name]
                error = self._load_one(name, value, given, prefix + name, assign)
                if error:
                    error_msgs.append(error)
            elif strict:
                missing_keys.append(prefix + name)
        extra = prefix + EXTRA
        takes_extra = type(self).set_extra_state is not StateDict.set_extra_state
        if takes_extra and extra in state_dict:
            self.set_extra_state(state_dict[extra])
        elif takes_extra and strict:
            missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        for key in state_dict if strict else ():
            if key.startswith(prefix) and key != extra:
                name, dot, _ = key[len(prefix) :].partition(".")
                if name not in (self._modules if dot else own):
                    unexpected_keys.append(key)

    def _load_one(self, name: str, value: Tensor, given: Any, key: str, assign: bool) -> str:
        """Load one parameter or buffer; returns what is wrong, or an empty string."""
        if not isinstance(given, Tensor):
            return (
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like '
                f"object from checkpoint but received {type(given)}"
            )
        if value.ndim == 0 and given.shape == (1,):
            given = given[0]
        if given.shape != value.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {given.shape} from "
                f"checkpoint, the shape in current model is {value.shape}."
            )
        try:
            with no_grad():
                if not assign:
                    value.copy_(given)
                elif isinstance(value, Parameter) and not isinstance(given, Parameter):
                    setattr(self, name, Parameter(given, requires_grad=value.requires_grad))
                else:
                    setattr(self, name, given.requires_grad_(value.requires_grad))
        except Exception as error:
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are '
                f"{value.shape} and whose dimensions in the checkpoint are {given.shape}, an "
                f"exception occurred : {error.args}."
            )
        return ""

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` at the end of `state_dict`."""
        return self._state_dict_hooks.register(hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, ...)`` before the Module's state is loaded."""

        def bound(*args: Any) -> None:
            hook(self, *args)

        return self._load_state_dict_pre_hooks.register(bound)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after the Module's state is loaded."""
        return self._load_state_dict_post_hooks.register(hook)
