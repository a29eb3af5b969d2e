"""`backward` and `grad`: what people call, over `tapegrad.replay`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad import dtypes
from tapegrad.autograd.graph import GradientEdge, place_of_edge
from tapegrad.autograd.hooks import (
    after_accumulation,
    before_accumulation,
    local,
    run_hooks,
    run_leaf_hooks,
)
from tapegrad.autograd.walk import Walk, make_walk, observers
from tapegrad.contributions import check_share
from tapegrad.loading import native
from tapegrad.modes import modes, set_modes, switch
from tapegrad.recording import wrap, wrap_saved
from tapegrad.spec import spec_for, specs
from tapegrad.storage import stamp
from tapegrad.tape import SPEC, tape
from tapegrad.tensor import Tensor, place_of

__all__ = ["backward", "grad", "run_walk"]

Tensors = Tensor | GradientEdge | Sequence[Tensor | GradientEdge]
new = Tensor.__new__
OptionalTensors = Tensor | Sequence[Tensor | None] | None


def backward(
    tensors: Tensors,
    grad_tensors: OptionalTensors = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: OptionalTensors = None,
    inputs: Tensors | None = None,
) -> None:
    """Add the gradients of ``tensors`` to the ``grad`` of the leaves that they depend on.

    Args:
        tensors: one Tensor or several.
        grad_tensors: their adjoints, of the same shapes; None for a Tensor of one element is 1.
        retain_graph: keep what the records have saved, to run backward again. Default: the value
            of ``create_graph``.
        create_graph: record the backward pass too, to differentiate it.
        inputs: accumulate into these only (they may be no leaves).

    Raises:
        RuntimeError: a Tensor does not require grad, an adjoint is missing or has another shape,
            saved values have been freed by an earlier call, or changed in place since.
    """
    if (
        native.loaded
        and switch.plain
        and type(tensors) is Tensor
        and not (create_graph or tape.notes or observers)
        and grad_tensors is grad_variables is inputs is None
        and _backward_of_number(tensors, bool(retain_graph))
    ):
        return
    if grad_variables is not None:
        warnings.warn(
            "`grad_variables` is deprecated. Use `grad_tensors` instead.",
            FutureWarning,
            stacklevel=2,
        )
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to "
                "`backward()`. Please only use `grad_tensors`."
            )
        grad_tensors = grad_variables
    if inputs is not None:
        inputs = _several(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    outputs = _several(tensors)
    roots = _roots(outputs, grad_tensors, create_graph)
    targets = None if inputs is None else frozenset(_places(inputs))
    retain = create_graph if retain_graph is None else retain_graph
    wrapping = wrap_saved if create_graph else None
    replay, found = run_walk(roots, retain, wrapping, targets, gives=inputs is None)
    if inputs is None:
        for place, adjoint in replay.leaves.items():
            leaf = tape.leaf(place)
            if leaf is not None:
                _accumulate(leaf, adjoint, place in replay.owned, create_graph)
    else:
        for tensor in inputs:
            adjoint = found.get(_place(tensor) or 0)
            if isinstance(tensor, GradientEdge):
                tensor = tensor.node.variable
            if adjoint is not None:
                _accumulate(tensor, adjoint, False, create_graph)


def _backward_of_number(loss: Tensor, retain: bool) -> bool:
    """`backward` of the usual loss, by machine code as far as it goes; False: of another Tensor."""
    spec, place = loss._spec, loss._place
    if spec.ndim or not spec.plain or place is None or place < 0:
        return False
    one = spec.constants.get(1.0)
    if one is None:
        one = spec.constant(1.0)
    alone = object()
    try:
        tape.begin_replay(alone)
        index = tape.index(place)
        if index is None:
            return False  # for the error
        assert native.alone is not None
        begun = native.alone(index, one, retain)
        if begun is not None:
            replay, _ = run_walk([(place, one)], retain, None, None, gives=True, begun=begun)
            _give(replay)
    finally:
        tape.replays.pop(alone, None)
    return True


def _give(replay: Walk) -> None:
    """Accumulate the adjoints of leaves that have no gradient from machine code."""
    for place, adjoint in replay.leaves.items():
        leaf = tape.leaf(place)
        if leaf is not None:
            _accumulate(leaf, adjoint, place in replay.owned, False)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: OptionalTensors = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the sum of ``outputs`` (weighted by ``grad_outputs``) for ``inputs``.

    Nothing is accumulated. An input that the outputs don't depend on raises RuntimeError, or gives
    None with ``allow_unused``, or zeros with ``materialize_grads``.

    >>> import tapegrad
    >>> x = tapegrad.tensor(3., requires_grad=True)
    >>> (first,) = tapegrad.autograd.grad(x ** 3, x, create_graph=True)
    >>> (second,) = tapegrad.autograd.grad(first, x)
    >>> first.item(), second.item()
    (27.0, 18.0)
    """
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To "
            "accumulate gradient for other parts of the graph, please use torch.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    inputs, outputs = _several(inputs), _several(outputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    if is_grads_batched:
        from tapegrad.autograd.batched import grad_batched

        options = (create_graph, allow_unused, materialize_grads)
        return grad_batched(outputs, inputs, grad_outputs, retain_graph, *options)
    roots = _roots(outputs, grad_outputs, create_graph)
    retain = create_graph if retain_graph is None else retain_graph
    places = _places(inputs)
    wrapping = wrap_saved if create_graph else None
    walk, found = run_walk(roots, retain, wrapping, frozenset(places))
    results: list[Tensor | None] = []
    for i, place in enumerate(places):
        adjoint = found.get(place)
        if adjoint is not None:
            if not create_graph:
                owned = place in walk.owned and place < 0
                adjoint = wrap(adjoint if owned else np.array(adjoint))
                walk.owned.discard(place)  # if it is asked for twice, the second is a copy
            results.append(adjoint)
        elif materialize_grads and isinstance(inputs[i], Tensor):
            spec = inputs[i]._spec
            results.append(wrap(np.zeros(spec.shape, spec.dtype)))
        elif allow_unused:
            results.append(None)
        else:
            raise RuntimeError(
                f"The differentiated Tensor at index {i} appears to not have been used in the "
                "graph. Set allow_unused=True if this is the desired behavior."
            )
    return tuple(results)


def run_walk(
    roots: list[tuple[int, Any]],
    retain: bool,
    wrapping: Callable[[Any, int | None], Any] | None,
    targets: frozenset[int] | None,
    gives: bool = False,
    in_python: bool = False,
    begun: Any = None,
) -> tuple[Walk, dict[int, Any]]:
    """The replay, once it has run, and the adjoints of the targets.

    ``wrapping`` makes Tensors of what records saved; `wrap_saved` has the computation recorded.
    ``begun`` is a native walk from the one root, to go on with.
    """
    replay = make_walk(
        tape,
        roots,
        retain=retain,
        wrap=wrapping,
        targets=targets,
        hook=run_hooks if tape.notes else None,
        gives=gives and not tape.notes,
        in_python=in_python,
    )
    replay.begun = begun
    leaves, found = _in_mode(wrapping is wrap_saved, _run, replay, targets)
    if targets is not None:
        for place in targets:
            if place in leaves:
                found[place] = leaves[place]
    return replay, found


def _run(replay: Walk, targets: frozenset[int] | None) -> tuple[dict[int, Any], dict[int, Any]]:
    depth = len(local.walks)
    try:
        local.walks.append(replay)
        leaves, found = replay.run()
        if tape.notes:
            for place in leaves:
                if place in tape.notes and (targets is None or place in targets):
                    leaves[place] = run_leaf_hooks(place, leaves[place])
                    replay.owned.discard(place)
    finally:
        del local.walks[depth:]
    return leaves, found


def _set_recording(recording: bool) -> None:
    """Set this thread's mode: for all to see if hooks will run, or if it was seen before."""
    modes.grad = recording
    if tape.notes or not switch.plain:
        set_modes(recording, modes.inference)


def _in_mode(recording: bool, function: Callable[..., Any], *args: Any) -> Any:
    """What a function returns that may run hooks, run with recording on or off."""
    before = modes.grad
    try:
        _set_recording(recording)
        return function(*args)
    finally:
        try:
            _set_recording(before)
        except BaseException:  # an interrupt, which may come in any function
            _set_recording(before)
            raise


def _several(values: Tensors) -> tuple[Any, ...]:
    return (values,) if isinstance(values, (Tensor, GradientEdge)) else tuple(values)


def _place(value: Tensor | GradientEdge) -> int | None:
    return place_of(value) if isinstance(value, Tensor) else place_of_edge(value)


def _places(inputs: tuple[Any, ...]) -> list[int]:
    """The inputs' places. Raises RuntimeError for what doesn't require grad."""
    places = []
    for tensor in inputs:
        simple = type(tensor) is Tensor and not tensor._spec.special
        place = tensor._place if simple else _place(tensor)
        if place is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
        places.append(place)
    return places


def _roots(
    outputs: tuple[Any, ...], grads: OptionalTensors, create_graph: bool
) -> list[tuple[int, Any]]:
    """The places of the outputs with their adjoints, all checked before anything is computed."""
    if any(type(output) is GradientEdge for output in outputs):
        outputs = tuple(map(_at_edge, outputs))
    if grads is None and len(outputs) == 1 and not create_graph:
        # The usual loss.
        spec = outputs[0]._spec
        if spec.plain and not spec.ndim and outputs[0]._place is not None:
            one = spec.constants.get(1.0)
            return [(outputs[0]._place, spec.constant(1.0) if one is None else one)]
    if grads is None or isinstance(grads, Tensor):
        adjoints: tuple[Tensor | None, ...] = (grads,)
        if len(outputs) != 1 and grads is None:
            adjoints = (None,) * len(outputs)
    else:
        adjoints = tuple(grads)
    if len(adjoints) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(adjoints)} gradients")
    roots = []
    for i, (output, adjoint) in enumerate(zip(outputs, adjoints, strict=True)):
        place = place_of(output)
        if place is None:
            raise RuntimeError(
                f"element {i} of tensors does not require grad and does not have a grad_fn"
            )
        spec = output._spec
        if adjoint is None:
            if spec.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if spec.dtype.kind == "c":
                raise RuntimeError(
                    "grad can be implicitly created only for real scalar outputs but got "
                    f"{output.dtype}"
                )
            array = spec.constants.get(1.0)
            if array is None or spec.ndim:
                array = np.ones(spec.shape, spec.dtype) if spec.ndim else spec.constant(1.0)
            roots.append((place, wrap(array) if create_graph else array))
            continue
        if not isinstance(adjoint, Tensor):
            raise TypeError(
                f"gradients can be either Tensors or None, but got {type(adjoint).__name__}"
            )
        if adjoint._spec.shape != spec.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {adjoint.shape} and "
                f"output[{i}] has a shape of {output.shape}."
            )
        if (adjoint._spec.dtype.kind == "c") != (spec.dtype.kind == "c"):
            raise RuntimeError(
                "For complex Tensors, both grad_output and output are required to have the same "
                f"dtype. Mismatch in dtype: grad_output[{i}] has a dtype of {adjoint.dtype} and "
                f"output[{i}] has a dtype of {output.dtype}."
            )
        if adjoint._spec.dtype != spec.dtype:
            adjoint = adjoint.to(dtypes.from_numpy(spec.dtype))
        roots.append((place, adjoint if create_graph else adjoint._array))
    return roots


def _at_edge(output: Tensor | GradientEdge) -> Tensor:
    """A Tensor at the place of an edge, of the right shape and dtype."""
    if isinstance(output, Tensor):
        return output
    place = place_of_edge(output)
    record = tape.record(place) if place is not None and place > 0 else None
    if record is None:
        made: Tensor = output.node.variable
        return made
    spec = specs[record[SPEC]]
    return wrap(np.broadcast_to(np.zeros((), spec.dtype), spec.shape), place)


def _accumulate(tensor: Tensor, adjoint: Any, owned: bool, create_graph: bool) -> None:
    """``tensor.grad += adjoint``; a gradient never shares memory with anything else."""
    noted = tape.notes and place_of(tensor)
    if noted:
        adjoint = _in_mode(create_graph, before_accumulation, noted, adjoint)
    before = getattr(tensor, "_grad", None)
    if create_graph:
        tensor._grad = adjoint if before is None else before + adjoint
    elif before is None:
        check_share(adjoint, tensor._spec.shape)
        gradient = new(Tensor)
        array = tensor._array
        if owned and adjoint.strides == array.strides and adjoint.dtype == array.dtype:
            gradient._array = adjoint
        else:  # a copy, in the layout of the leaf
            gradient._array = np.empty_like(array)
            gradient._array[...] = adjoint
        spec = tensor._spec
        gradient._spec = spec_for(spec.shape, spec.dtype) if spec.special else spec
        gradient._place = None
        tensor._grad = gradient
    elif before.requires_grad or not before._array.flags.writeable:
        check_share(adjoint, before._spec.shape)
        tensor._grad = wrap(np.asarray(np.add(before._array, adjoint)))
    else:
        check_share(adjoint, before._spec.shape)
        stamp(before._array, tape.next_serial())
        np.add(before._array, adjoint, out=before._array)
    if noted:
        _in_mode(create_graph, after_accumulation, noted, tensor, adjoint)
