"""torch's names are there, and their arguments have torch's names and order.

What isn't there on purpose is listed here: a name that is added has to be taken out.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional

import tapegrad as tg

#: Parts of names of what tapegrad has none of: sparse and quantized Tensors, other devices,
#: symbolic shapes, torch's own compilers, automatic casting, named dimensions.
FOREIGN = re.compile(
    r"sparse|coalesce|quantiz|qparams|q_|qscheme|int_repr|fake|csr|csc|bsr|coo|c*col_indices|"
    r"c*row_indices|^(indices|values)(_copy)?$|cuda|cudnn|mkldnn|miopen|fbgemm|nnpack|xpu|ipu|hpu|"
    r"mtia|vulkan|^sym_|script|parse_|unify_type|merge_type|(im|ex)port_ir|autocast|named|"
    r"batch_norm_|^(ds|hs|hsp|s|sp)mm$|addmm$|pin_memory|share_memory|record_stream|thread_safe|"
    r"multiprocessing|distributed|cxx11|device_module|file_path"
)

LEFT_OUT = {
    "torch": """
        as_strided_ binomial classproperty compile cond conj_physical_ convolution detach_copy eig
        embedding_bag embedding_renorm_ fork frobenius_norm from_file get_deterministic_debug_mode
        gru gru_cell hash_tensor init_num_threads is_deterministic_algorithms_warn_only_enabled
        is_storage is_warn_always_enabled lobpcg lstm lstm_cell lstsq matrix_rank
        native_batch_norm native_channel_shuffle native_dropout native_group_norm native_layer_norm
        native_norm norm_except_dim nuclear_norm pca_lowrank resize_as_ rnn_relu
        rnn_relu_cell rnn_tanh rnn_tanh_cell segment_reduce set_anomaly_enabled
        set_default_tensor_type set_deterministic_debug_mode set_warn_always slice_inverse solve
        svd_lowrank symeig to_dlpack wait while_loop
    """,
    "Tensor": """
        as_strided_ as_subclass bfloat16 chalf eig grad_dtype hash_tensor index lstsq module_load
        name reinforce resize resize_as slice_inverse solve storage storage_type symeig
        to_padded_tensor untyped_storage volatile
    """,
    "nn.functional": """
        adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices
        adaptive_max_pool3d_with_indices assert_int_or_pair boolean_dispatch fractional_max_pool2d
        fractional_max_pool2d_with_indices fractional_max_pool3d fractional_max_pool3d_with_indices
        grouped_mm handle_torch_function has_torch_function has_torch_function_unary
        has_torch_function_variadic native_channel_shuffle scaled_grouped_mm scaled_mm
    """,
    "linalg": "", "special": "", "fft": "", "signal.windows": "",
    "masked": "as_masked_tensor is_masked_tensor masked_tensor",
}  # fmt: skip


def space(library: Any, name: str) -> Any:
    for part in name.split(".") if name != "torch" else ():
        library = getattr(library, part)
    return library


def public(name: str) -> set[str]:
    """The functions of one of torch's modules, or the attributes of Tensor, that are no type's."""
    where = space(torch, name)
    found = {n for n in dir(where) if not n.startswith("_") and not FOREIGN.search(n)}
    if name == "Tensor":
        return found
    values = {n: getattr(where, n, None) for n in found}
    return {
        n for n, v in values.items()
        if callable(v) and not isinstance(v, ModuleType | type) and "typing" not in repr(v)
    }  # fmt: skip


@pytest.mark.parametrize("name", LEFT_OUT)
def test_names(name: str) -> None:
    mine = space(tg, name)
    missing = {n for n in public(name) if not hasattr(mine, n)}
    left_out = set(LEFT_OUT[name].split())
    assert sorted(missing - left_out) == []
    assert sorted(left_out - missing) == [], "to be taken out of LEFT_OUT"


def test_methods_in_place() -> None:
    """A method ``name_`` for each that torch has, of a method that tapegrad has."""
    both = [n for n in dir(tg.Tensor) if not n.startswith("_") and hasattr(torch.Tensor, n + "_")]
    assert len(both) > 100
    missing = [n for n in both if not hasattr(tg.Tensor, n + "_")]
    assert missing == ["as_strided"]


# -- arguments -------------------------------------------------------------------------------------

#: Taken by few functions here: results are written into what they belong to, all is on the CPU,
#: dimensions have no names, and there is one layout.
IGNORED = {"out", "device", "layout", "pin_memory", "names", "memory_format", "requires_grad"}

#: Where the arguments differ on purpose, and why.
OTHERWISE = {
    # Overloads that one function serves, which its signature doesn't show.
    "torch.isin": "one of the two a number", "torch.max": "of two", "torch.min": "of two",
    "Tensor.max": "of two", "Tensor.min": "of two", "torch.scatter": "value=",
    "Tensor.scatter": "value=", "Tensor.scatter_": "value=", "torch.dsplit": "indices=",
    "torch.hsplit": "indices=", "torch.vsplit": "indices=", "Tensor.dsplit": "indices=",
    "Tensor.hsplit": "indices=", "Tensor.vsplit": "indices=", "torch.tensor_split": "indices=",
    "Tensor.tensor_split": "indices=", "torch.std": "unbiased as second",
    "torch.std_mean": "unbiased as second", "torch.var": "unbiased as second",
    "torch.var_mean": "unbiased as second", "Tensor.std": "unbiased as second",
    "Tensor.var": "unbiased as second", "torch.arange": "end alone", "Tensor.random_": "to alone",
    "torch.randint_like": "high alone", "torch.repeat_interleave": "repeats alone",
    "torch.result_type": "of numbers",
    "torch.split_copy": "a list too", "torch.unsafe_split": "a list too",
    "Tensor.split": "a list too", "Tensor.unsafe_split": "a list too",
    # torch's own stubs are wrong.
    "torch.tensor": "keywords only", "Tensor.new_tensor": "keywords only",
    "Tensor.requires_grad_": "torch takes requires_grad", "Tensor.map_": "positions only",
    "torch.set_num_threads": "positions only", "torch.set_num_interop_threads": "positions only",
    "nn.functional.one_hot": "torch takes input", "nn.functional.gelu": "approximate by keyword",
    "linalg.vander": "N by keyword", "linalg.matrix_exp": "torch takes input",
    "linalg.matrix_power": "torch takes input",
    # Not here.
    "torch.addmm": "out_dtype", "torch.baddbmm": "out_dtype", "torch.bmm": "out_dtype",
    "torch.mm": "out_dtype", "torch.rrelu": "a generator", "torch.rsub": "alpha by position",
    "torch.subtract": "alpha by position", "Tensor.subtract": "alpha by position",
    "Tensor.subtract_": "alpha by position", "Tensor.set_": "the memory's part",
}  # fmt: skip

Arguments = tuple[list[str], list[str]]  # by position, by keyword only


@cache
def stubs(file: str, of: str = "") -> dict[str, list[Arguments]]:
    """The overloads of the functions in one of torch's stubs, or of a class there."""
    body = ast.parse((Path(torch.__file__).parent / file).read_text()).body
    if of:
        body = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == of).body
    found: dict[str, list[Arguments]] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(listed(node.args))
    return found


def listed(arguments: ast.arguments) -> Arguments:
    positions = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    return positions, [a.arg for a in arguments.kwonlyargs if a.arg not in IGNORED]


def documented(function: Any, name: str) -> list[Arguments]:
    """The signature in the first line of a builtin function's docstring."""
    found = re.search(rf"{name}\((.*?)\)\s*->", function.__doc__ or "", re.DOTALL)
    if found is None:
        return []
    try:
        definition = ast.parse(f"def f({found[1]}): pass").body[0]
    except SyntaxError:
        return []
    assert isinstance(definition, ast.FunctionDef)
    return [listed(definition.args)]


def written(function: Any) -> list[Arguments]:
    """The signature of a function in Python."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return []
    by_keyword = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    positions = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return [(positions, [n for n in by_keyword if n not in IGNORED])]


def shared() -> Iterator[tuple[str, list[Arguments], Callable[..., Any]]]:
    """The functions and methods of both libraries, with torch's overloads."""
    functions = stubs("_C/_VariableFunctions.pyi")
    for name, overloads in functions.items():
        if not name.startswith("_") and callable(mine := getattr(tg, name, None)):
            # The order before torch 1.5, which had alpha and beta first.
            yield f"torch.{name}", [o for o in overloads if "self" not in o[0]], mine
    for name, overloads in stubs("_C/__init__.pyi", "TensorBase").items():
        if not name.startswith("_") and callable(mine := getattr(tg.Tensor, name, None)):
            yield f"Tensor.{name}", [o for o in overloads if o[0][:1] == ["self"]], mine
    for where in ("nn.functional", "linalg", "special", "fft", "signal.windows", "masked"):
        for name in sorted(public(where)):
            theirs, mine = getattr(space(torch, where), name), getattr(space(tg, where), name, None)
            if mine is not None:
                try:
                    yield f"{where}.{name}", written(theirs), mine
                except ValueError:
                    yield f"{where}.{name}", documented(theirs, name), mine


def difference(overload: Arguments, mine: Callable[..., Any], method: bool) -> str:
    positions, by_keyword = overload
    parameters = list(inspect.signature(mine).parameters.values())
    kinds = {p.kind for p in parameters}
    own = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if method:
        positions, own = positions[1:], own[1:]
    while positions and positions[-1] in IGNORED:
        positions = positions[:-1]
    missing = set(by_keyword) - {p.name for p in parameters}
    if inspect.Parameter.VAR_POSITIONAL not in kinds and own[: len(positions)] != positions:
        return f"{positions} in torch, {own} here"
    if missing and inspect.Parameter.VAR_KEYWORD not in kinds:
        return f"no {sorted(missing)}"
    return ""


def test_arguments() -> None:
    differences: dict[str, str] = {}
    count = 0
    for name, overloads, mine in shared():
        count += 1
        found = [difference(o, mine, name.startswith("Tensor.")) for o in overloads]
        if any(found):
            differences[name] = "; ".join(filter(None, found))
    assert count > 1000
    assert {n: d for n, d in differences.items() if n not in OTHERWISE} == {}
    assert sorted(OTHERWISE.keys() - differences.keys()) == [], "to be taken out of OTHERWISE"
