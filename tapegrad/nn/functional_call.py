"""Modules as functions of their parameters: what transformations such as `func.grad` need.

>>> import tapegrad as torch
>>> line = torch.nn.Linear(1, 1)
>>> weights = {"weight": torch.tensor([[2.0]]), "bias": torch.tensor([1.0])}
>>> torch.func.functional_call(line, weights, torch.tensor([3.0]))
tensor([7.])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tapegrad.nn.modules.module import Module
from tapegrad.operators import functions
from tapegrad.tensor import Tensor

__all__ = ["functional_call", "stack_module_state"]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: dict[str, Tensor] | Sequence[dict[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a Module with other Tensors in place of its parameters and buffers.

    Args:
        module: what is called; it is left as it was.
        parameter_and_buffer_dicts: the Tensors by their paths, in one dict or several.
        args: one argument, or a tuple of them.
        kwargs: keyword arguments.
        tie_weights: replace a shared parameter under all its names if it is given under one.
        strict: raise RuntimeError unless each parameter and buffer is given, and nothing else.

    Raises:
        ValueError: a path is in several of the dicts.
        AttributeError: a path leads to no submodule.
    """
    dicts = parameter_and_buffer_dicts
    if isinstance(dicts, dict):
        given = dicts
    elif isinstance(dicts, Sequence):
        if not all(isinstance(one, dict) for one in dicts):
            raise ValueError(
                "Expected all elements of parameter_and_buffer_dicts to be dictionaries"
            )
        given = {}
        for one in dicts:
            repeated = [key for key in one if key in given]
            if repeated:
                raise ValueError(
                    f"{repeated} appeared in multiple dictionaries; behavior of functional call is "
                    "ambiguous"
                )
            given |= one
    else:
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(dicts)}"
        )
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, given, tie_weights, strict):
        return module(*arguments, **(kwargs or {}))


@contextmanager
def _replaced(
    module: Module, given: dict[str, Tensor], tie_weights: bool, strict: bool
) -> Iterator[None]:
    """The Module with the given Tensors, and as it was afterwards."""
    own: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    own |= dict(module.named_buffers(remove_duplicate=False))
    if tie_weights:
        given = _tied(own, given)
    if strict and own.keys() != given.keys():
        errors = [
            f"{kind} key(s): {', '.join(map(repr, keys))}."
            for kind, keys in (
                ("Unexpected", [key for key in given if key not in own]),
                ("Missing", [key for key in own if key not in given]),
            )
            if keys
        ]
        name = type(module).__name__
        raise RuntimeError(f"Error(s) in reparametrizing for {name}:\n\t" + "\n\t".join(errors))
    before = []
    try:
        for path, value in given.items():
            place, _, name = path.rpartition(".")
            holder = module.get_submodule(place)
            fields: dict[str, Any] = holder.__dict__
            for named in (holder._parameters, holder._buffers):
                if name in named:
                    fields = named
            before.append((fields, name, fields.get(name), name in fields))
            fields[name] = value
        yield
    finally:
        for fields, name, value, there in reversed(before):
            fields[name] = value
            if not there:
                del fields[name]


def _tied(own: dict[str, Tensor], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The given Tensors, under all names that the parameters have which they replace."""
    by_parameter: dict[int, Tensor] = {}
    for path, value in given.items():
        if path in own:
            other = by_parameter.setdefault(id(own[path]), value)
            if other is not value:
                raise ValueError(
                    f"functional_call got multiple values for {path!r}, which is tied. Consider "
                    "using tie_weights=False"
                )
    tied = {path: by_parameter[id(p)] for path, p in own.items() if id(p) in by_parameter}
    return given | tied


def stack_module_state(models: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of several Modules of a kind, stacked along a new first dimension.

    The stacked parameters are leaves. Raises RuntimeError for no Modules, for ones of different
    classes, and if only some are in training.
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    stack = functions["stack"]
    params, buffers = {}, {}
    for name, first in models[0].named_parameters():
        stacked = stack([dict(m.named_parameters())[name] for m in models]).detach()
        params[name] = stacked.requires_grad_(first.requires_grad)
    for name, first in models[0].named_buffers():
        stacked = stack([dict(m.named_buffers())[name] for m in models]).detach()
        buffers[name] = stacked.requires_grad_(first.requires_grad)
    return params, buffers
