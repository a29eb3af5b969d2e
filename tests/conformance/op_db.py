"""torch's own table of operators with sample inputs, run against tapegrad.

``python -m tests.conformance.op_db [name ...]`` prints what agrees, by family, and why the rest
does not; with ``-v`` every difference.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import (
    BinaryUfuncInfo,
    OpInfo,
    ReductionOpInfo,
    UnaryUfuncInfo,
)

import tapegrad as tg
from tests.conformance.names import CORE, FURTHER

# The samples are small, and tests run side by side: torch's threads would wait for each other.
torch.set_num_threads(1)

DTYPES = (torch.float64, torch.float32, torch.complex128, torch.int64, torch.bool)
#: Relative to the largest entry, by precision: of values, of gradients, of second order.
TOLERANCE = {64: (1e-7, 1e-6, 1e-5), 32: (2e-4, 2e-3, 5e-3)}
#: Their values are whatever the memory held.
UNINITIALISED = {"empty", "empty_like", "new_empty", "new_empty_strided", "empty_strided",
                 "empty_permuted"}  # fmt: skip
MODULES = ("nn.functional", "linalg", "special", "fft", "signal.windows", "masked")
#: Where torch is not the measure: the row, what isn't compared with it, and why.
#: "gradient", "second order": nothing from there on; "nan": its nan of second order; "digits": what
#: comes after the sixth.
TORCH_IS_WRONG = {
    "as_strided_scatter": ("gradient", "the input's is no derivative, as torch's table knows"),
    "nn.functional.ctc_loss": ("second order", "torch has none"),
    "linalg.norm.subgradients_at_zero": ("nan", "at 0, where the gradient is 0; torch's table "
                                         "expects its derivatives to fail"),
    "masked.logaddexp": ("nan", "of what the mask leaves out; torch's table skips it"),
    "special.bessel_j0": ("digits", "off by 4e-7 up to x = 30, SciPy's by 3e-16"),
    "special.bessel_y1": ("digits", "off by 8e-7 up to x = 30, SciPy's by 9e-16"),
}  # fmt: skip


def key(op: OpInfo) -> str:
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name


BY_KEY: dict[str, OpInfo] = {}
for _op in op_db:
    BY_KEY.setdefault(key(_op), _op)


def rows(names: list[str]) -> list[str]:
    """The keys of the table that the names stand for."""
    found = []
    for name in names:
        variants = [k for k, op in BY_KEY.items() if op.name == name]
        found += [name] if name in BY_KEY else variants
    return list(dict.fromkeys(found))


def family(name: str) -> str:
    for module in MODULES:
        if name.startswith(module + "."):
            return module
    op = BY_KEY[name]
    if isinstance(op, UnaryUfuncInfo | BinaryUfuncInfo):
        return "elementwise"
    return "reductions" if isinstance(op, ReductionOpInfo) else "others"


# -- the same call in tapegrad ---------------------------------------------------------------------


def function(op: OpInfo) -> Callable[..., Any]:
    """tapegrad's function (or method, or property) of the same name."""
    if getattr(op.op, "__name__", "") == "<lambda>":
        # The table's own spelling of the call, with tapegrad for torch.
        names = {**op.op.__globals__, "torch": tg, "wrapper_set_seed": _seeded}
        return types.FunctionType(op.op.__code__, names, "call", None, op.op.__closure__)
    value: Any = tg
    for part in op.name.split("."):
        value = getattr(value, part, None)
    if value is None or op.variant_test_name == "list_args":
        return functools.partial(_method, op.name)
    return value


def _seeded(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    tg.manual_seed(42)  # as torch's
    return function(*args, **kwargs)


def _method(name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    return getattr(x, name)(*args, **kwargs)


def _as_torch(value: Any) -> Any:
    return torch.from_numpy(value.detach().numpy()) if isinstance(value, tg.Tensor) else value


def _in_torch(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of torch's, for masks, as one of tapegrad's Tensors."""

    def call(*args: Any, **kwargs: Any) -> Any:
        kwargs = {k: _as_torch(v) for k, v in kwargs.items()}
        return tg.from_numpy(function(*map(_as_torch, args), **kwargs).numpy())

    return call


def wrapper(op: OpInfo, mine: bool) -> Callable[..., Any] | None:
    """What the table wraps a call in, to make it differentiable; for tapegrad in its functions."""
    given = op.gradcheck_wrapper
    if not mine or not isinstance(given, types.FunctionType):
        return given
    masked = types.SimpleNamespace(
        _output_mask=_in_torch(lambda _, *a, **k: torch.masked._output_mask(op.op, *a, **k)),
        _input_mask=_in_torch(torch.masked._input_mask),
    )
    names = {**given.__globals__, "torch": types.SimpleNamespace(**{**vars(tg), "masked": masked})}
    made = types.FunctionType(
        given.__code__, names, given.__name__, given.__defaults__, given.__closure__
    )
    made.__kwdefaults__ = given.__kwdefaults__
    return made


def shared(value: Any, made: dict[Any, Any]) -> Any:
    """torch's arguments as tapegrad's over the same memory: what overlaps there overlaps here."""
    if isinstance(value, torch.Tensor):
        if id(value) not in made:
            made[id(value)] = _view(value, made)
        return made[id(value)]
    if isinstance(value, dict):
        return {k: shared(v, made) for k, v in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)(shared(v, made) for v in value)
    return ours(value, [])


def _view(value: torch.Tensor, memories: dict[Any, np.ndarray]) -> Any:
    storage, size = value.untyped_storage(), value.element_size()
    where = storage.data_ptr(), value.dtype
    if where not in memories:
        flat = value.detach().as_strided((storage.nbytes() // size,), (1,), 0)
        memories[where] = flat.numpy()
    memory = memories[where]
    steps = [n * size for n in value.stride()]
    offset = value.storage_offset() * size
    return tg.from_numpy(np.ndarray(value.shape, memory.dtype, memory, offset, steps))


def ours(value: Any, leaves: list[Any]) -> Any:
    """A torch sample's argument as tapegrad's; the Tensors that require grad go to ``leaves``."""
    if isinstance(value, torch.Tensor):
        array = value.detach().numpy(force=True)
        # The strides are kept: what a view may be depends on them.
        made = tg.as_tensor(np.array(array, copy=True, order="K", subok=False))
        if made.stride() != value.stride() and array.size:
            made = _strided(array)
        if value.requires_grad:
            made.requires_grad_()
            leaves.append(made)
        return made
    if isinstance(value, torch.dtype | torch.device | torch.layout | torch.memory_format):
        text = str(value).removeprefix("torch.")
        return tg.device(text) if isinstance(value, torch.device) else getattr(tg, text)
    if isinstance(value, torch.Size):
        return tg.Size(value)
    if isinstance(value, dict):
        return {k: ours(v, leaves) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(ours(v, leaves) for v in value))
    if isinstance(value, list | tuple):
        return type(value)(ours(v, leaves) for v in value)
    return value


def _strided(array: np.ndarray) -> Any:
    span = sum((n - 1) * abs(s) for n, s in zip(array.shape, array.strides, strict=True))
    buffer = np.zeros(span // array.itemsize + 1, array.dtype)
    made = np.lib.stride_tricks.as_strided(buffer, array.shape, array.strides)
    made[...] = array
    return tg.from_numpy(made)


def torch_leaves(value: Any, leaves: list[torch.Tensor]) -> Any:
    """The sample's argument, its leaves our own (samples may share theirs)."""
    if isinstance(value, torch.Tensor):
        if value.requires_grad:
            with torch.no_grad():
                copy = value.detach().clone(memory_format=torch.preserve_format)
                if copy.stride() != value.stride():
                    copy = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype)
                    copy.copy_(value)
            leaves.append(copy.requires_grad_())
            return leaves[-1]
        return value.detach().clone() if value.numel() else value
    if isinstance(value, dict):
        return {k: torch_leaves(v, leaves) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(torch_leaves(v, leaves) for v in value))
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)(torch_leaves(v, leaves) for v in value)
    return value


# -- comparison ------------------------------------------------------------------------------------


def flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size | tg.Size):
        return [x for v in value for x in flat(v)]
    if isinstance(value, dict):
        return [x for v in value.values() for x in flat(v)]
    return [value]


def numpy_of(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        return value.detach().numpy(force=True)
    if isinstance(value, tg.Tensor):
        return value.detach().numpy()
    return np.asarray(value)


class DifferenceError(Exception):
    """What tapegrad's result has that torch's has not."""


@dataclass(frozen=True)
class Measure:
    """How closely a row's results in a dtype must agree."""

    row: str
    dtype: torch.dtype
    order: int = 0  # 0: values, 1: gradients, 2: second order
    uninitialised: bool = False

    def tolerance(self, dtype: np.dtype) -> float:
        """That of the less precise dtype: the sample's, or the result's."""
        real = torch.empty(0, dtype=self.dtype).abs().numpy().dtype
        single = np.dtype(np.float32) in (real, dtype) or dtype == np.complex64
        found = TOLERANCE[32 if single else 64][self.order]
        return max(found, 1e-6) if self.spares("digits") else found

    def spares(self, what: str) -> bool:
        return self.row in TORCH_IS_WRONG and TORCH_IS_WRONG[self.row][0] == what

    def same(self, what: str, mine: Any, theirs: Any) -> None:
        """Raise `DifferenceError` unless the two agree."""
        if (mine is None) != (theirs is None):
            # An undefined gradient is one of zeros.
            mine, theirs = (
                np.zeros_like(numpy_of(theirs if mine is None else mine)) if v is None else v
                for v in (mine, theirs)
            )
        if mine is None:
            return
        if not isinstance(theirs, torch.Tensor | np.ndarray):
            if type(mine) is not type(theirs) and not isinstance(theirs, torch.Size | torch.dtype):
                raise DifferenceError(
                    f"{what}: {type(mine).__name__}, torch has {type(theirs).__name__}"
                )
            if isinstance(theirs, torch.dtype):
                mine, theirs = (str(v).split(".")[-1] for v in (mine, theirs))
        a, b = numpy_of(mine), numpy_of(theirs)
        if a.shape != b.shape:
            raise DifferenceError(f"{what}: shape {a.shape}, torch has {b.shape}")
        if a.dtype != b.dtype:
            raise DifferenceError(f"{what}: dtype {a.dtype}, torch has {b.dtype}")
        if self.uninitialised or not b.size:
            return
        if b.dtype.kind not in "fc":
            if not np.array_equal(a, b):
                raise DifferenceError(f"{what}: {a.tolist()}, torch has {b.tolist()}"[:300])
            return
        finite = np.abs(b[np.isfinite(b)])
        scale = max(1.0, finite.max()) if finite.size else 1.0
        tolerance = self.tolerance(b.dtype)
        close = np.isclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
        if self.order == 2 and self.spares("nan"):
            close |= np.isnan(b)
        if not close.all():
            at = tuple(int(i) for i in np.argwhere(~close)[0])
            raise DifferenceError(f"{what}: at {at} {a[at]}, torch has {b[at]} ({(~close).sum()} "
                                  f"of {close.size} differ)")  # fmt: skip


@dataclass
class Outcome:
    """How many samples of an operator agree, and what the others say."""

    samples: int = 0
    agree: int = 0
    differences: list[str] = field(default_factory=list)


def dtypes_of(op: OpInfo) -> list[torch.dtype]:
    supported = op.supported_dtypes("cpu")
    chosen = [d for d in DTYPES[:3] if d in supported]
    return chosen or [d for d in DTYPES if d in supported][:1]


def run(name: str, dtype: torch.dtype) -> Outcome:
    """Every sample of an operator in a dtype: value, gradient, second order."""
    op = BY_KEY[name]
    outcome = Outcome()
    differentiable = op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")
    torch.manual_seed(0)
    for number, sample in enumerate(op.sample_inputs("cpu", dtype, requires_grad=differentiable)):
        outcome.samples += 1
        try:
            _check(op, dtype, sample, differentiable)
            outcome.agree += 1
        except DifferenceError as difference:
            outcome.differences.append(f"sample {number}: {difference}")
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            outcome.differences.append(f"sample {number}: {text}"[:250])
    return outcome


def _check(op: OpInfo, dtype: torch.dtype, sample: Any, differentiable: bool) -> None:
    row = key(op)
    values = Measure(row, dtype, 0, op.name in UNINITIALISED)
    call = (sample.input, sample.args, sample.kwargs)
    their_leaves: list[torch.Tensor] = []
    my_leaves: list[Any] = []
    theirs_in = torch_leaves(call, their_leaves)
    mine_in = ours(theirs_in, my_leaves)

    def results(operator: Callable[..., Any], arguments: Any) -> list[Any]:
        value, args, kwargs = arguments
        wrapped = wrapper(op, operator is not op.op)
        if wrapped is not None and differentiable:
            out = wrapped(operator, value, *args, **kwargs)
        else:
            out = operator(value, *args, **kwargs)
        if sample.output_process_fn_grad is not None:
            out = sample.output_process_fn_grad(out)
        return flat(out)

    # torch's quick kernels of attention have no second derivative; its plain one has.
    with sdpa_kernel(SDPBackend.MATH):
        theirs = results(op.op, theirs_in)
    mine = results(function(op), mine_in)
    if len(mine) != len(theirs):
        raise DifferenceError(f"{len(mine)} results, torch has {len(theirs)}")
    for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        values.same(f"result {i}", a, b)
        mine_requires = isinstance(a, tg.Tensor) and a.requires_grad
        if mine_requires != (isinstance(b, torch.Tensor) and b.requires_grad):
            raise DifferenceError(f"result {i}: requires_grad is {mine_requires}")
    if not differentiable or not their_leaves or values.spares("gradient"):
        return
    rng = np.random.default_rng(0)
    wanted = [i for i, b in enumerate(theirs) if isinstance(b, torch.Tensor) and b.requires_grad]
    if not wanted:
        return
    once, twice = (Measure(row, dtype, order) for order in (1, 2))
    grads = _gradients(once, mine, theirs, wanted, my_leaves, their_leaves, rng)
    if grads is None or not op.supports_gradgrad or twice.spares("second order"):
        return
    mine, theirs = grads
    wanted = [i for i, b in enumerate(theirs) if b is not None and b.requires_grad]
    if wanted:
        _gradients(twice, mine, theirs, wanted, my_leaves, their_leaves, rng)


def _gradients(
    measure: Measure,
    mine: list[Any],
    theirs: list[Any],
    wanted: list[int],
    my_leaves: list[Any],
    their_leaves: list[Any],
    rng: np.random.Generator,
) -> tuple[list[Any], list[Any]] | None:
    cotangents = []
    for i in wanted:
        array = rng.standard_normal(tuple(theirs[i].shape))
        if theirs[i].is_complex():
            array = array + 1j * rng.standard_normal(array.shape)
        cotangents.append(np.asarray(array, numpy_of(theirs[i]).dtype))
    their_grads = torch.autograd.grad(
        [theirs[i] for i in wanted], their_leaves, [torch.from_numpy(c) for c in cotangents],
        create_graph=True, allow_unused=True,
    )  # fmt: skip
    sources = [i for i in wanted if mine[i] is not None and mine[i].requires_grad]
    my_grads = (None,) * len(my_leaves)  # where torch's derivative of a constant is one of zeros
    if sources:
        my_grads = tg.autograd.grad(
            [mine[i] for i in sources], my_leaves,
            [tg.from_numpy(cotangents[wanted.index(i)]) for i in sources],
            create_graph=True, allow_unused=True,
        )  # fmt: skip
    what = ("value", "gradient", "second order")[measure.order]
    for i, (a, b) in enumerate(zip(my_grads, their_grads, strict=True)):
        measure.same(f"{what} {i}", a, b)
    return (list(my_grads), list(their_grads)) if sources else None


def errors(name: str) -> Iterator[str]:
    """What tapegrad does with each bad input of torch's table that it does not refuse so."""
    op = BY_KEY[name]
    if op.error_inputs_func is None:
        return
    # torch's call may change its arguments: it gets a copy of the table's.
    for number, (bad, again) in enumerate(
        zip(op.error_inputs("cpu"), op.error_inputs("cpu"), strict=True)
    ):
        sample = bad.sample_input
        call = (sample.input, sample.args, sample.kwargs)
        tensors = [x for x in flat(call) if isinstance(x, torch.Tensor)]
        if any(x.ndim > 64 or x.device.type != "cpu" for x in tensors):
            continue  # more dimensions than NumPy has, or no data
        if op.name.startswith("__") and not isinstance(sample.input, torch.Tensor):
            continue  # a number's own method
        try:
            value, args, kwargs = shared(call, {})
        except (AttributeError, TypeError):
            continue  # a dtype that NumPy has not
        with contextlib.suppress(Exception):
            op.op(again.sample_input.input, *again.sample_input.args, **again.sample_input.kwargs)
            continue  # torch itself takes what its table calls bad
        try:
            function(op)(value, *args, **kwargs)
        except bad.error_type:
            continue
        except Exception as error:
            # Python's own types and torch's differ where torch's is the wider one.
            yield f"error input {number}: {type(error).__name__}: {error}, not {bad.error_type}"
            continue
        yield f"error input {number}: accepted, torch says {bad.error_regex}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Where torch's table may warn, and seeds only the device that there is.

    It seeds before each sample, and for every other kind of device keeps a stack trace, which takes
    more time than the sample.
    """
    devices = (torch.cuda, torch.xpu, torch.mtia)
    with warnings.catch_warnings(), contextlib.ExitStack() as patches:
        warnings.simplefilter("ignore")
        for device in devices:
            patches.enter_context(mock.patch.object(device, "manual_seed_all", int))
        yield


def main(arguments: list[str]) -> None:
    verbose = "-v" in arguments
    chosen = [a for a in arguments if a != "-v"]
    lists = {"given": rows(chosen)} if chosen else {"core": rows(CORE), "further": rows(FURTHER)}
    with quiet():
        for title, names in lists.items():
            _report(title, names, verbose)


def _report(title: str, names: list[str], verbose: bool) -> None:
    total: dict[str, Counter[str]] = defaultdict(Counter)
    for name in names:
        outcomes = [(dtype, run(name, dtype)) for dtype in dtypes_of(BY_KEY[name])]
        refused = list(errors(name))
        whole = all(o.agree == o.samples for _, o in outcomes)
        count = total[family(name)]
        count.update(
            operators=1, whole=whole, samples=sum(o.samples for _, o in outcomes),
            agree=sum(o.agree for _, o in outcomes), errors=bool(refused),
        )  # fmt: skip
        if whole and not refused:
            continue
        shares = ", ".join(f"{str(d)[6:]} {o.agree}/{o.samples}" for d, o in outcomes)
        print(f"{name}: {shares}")
        for dtype, outcome in outcomes:
            for text in outcome.differences[: None if verbose else 1]:
                print(f"    {str(dtype)[6:]} {text}")
        for text in refused[: None if verbose else 1]:
            print(f"    {text}"[:300])
    print(f"\n{title:<16} operators  whole  samples   agree  with unrefused bad input")
    for where, c in sorted(total.items()):
        print(f"{where:<16} {c['operators']:9} {c['whole']:6} {c['samples']:8} {c['agree']:7} "
              f"{c['errors']:8}")  # fmt: skip
    c = sum(total.values(), Counter())
    print(f"{'all':<16} {c['operators']:9} {c['whole']:6} {c['samples']:8} {c['agree']:7} "
          f"{c['errors']:8}\n")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
