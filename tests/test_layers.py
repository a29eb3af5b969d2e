"""Imports point down: a module imports its own layer and the ones below it, nothing above."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

# From the bottom up. A name stands for the module or folder of tapegrad/ and all that is in it,
# unless a longer one ("nn.functional") is listed too.
LAYERS = (
    (
        *("readonly", "limits", "devices"),
        *("axes", "dtypes", "size", "layouts", "modes", "storage", "random", "generator"),
        *("variates", "cuda", "fused", "sums", "threads", "buffers", "collector"),
    ),
    ("printing", "primitive", "declaration", "outs", "products", "spec"),
    ("broadcast", "tape", "stats", "wengert"),
    ("kernels", "replay", "contributions", "loading"),
    (
        *("tensor", "batched", "fromdata", "operands", "recording", "shortpaths"),
        *("autograd.calling", "autograd.graph", "autograd.hooks", "autograd.saved"),
    ),
    ("rules",),
    ("autograd", "inplace"),
    ("assignment", "conversion", "extending", "operators", "tracing", "tapes"),
    (
        *("creation", "factory", "alike", "ranges", "legacy", "sampling", "filling", "methods"),
        *("reshaping", "settings"),
    ),
    ("nn",),
    ("fft", "func", "batching", "optim", "patterns", "serialization", "signal", "sparse", "utils"),
    ("testing",),
    ("__init__", "demo"),
)
LAYER_OF = {name: height for height, names in enumerate(LAYERS) for name in names}

# Rules are declarations: this is all they may import.
RULES_IMPORT = (
    *("__future__", "collections", "collections.abc", "typing"),  # for annotations and results
    *("functools", "inspect", "itertools", "math", "warnings", "numpy", "scipy"),
    *("importlib", "pkgutil"),  # for all families on demand at once
    *(
        "tapegrad.axes",
        "tapegrad.broadcast",
        "tapegrad.declaration",
        "tapegrad.dtypes",
        "tapegrad.fused",
        "tapegrad.outs",
        "tapegrad.primitive",
        "tapegrad.products",
        "tapegrad.random",
        "tapegrad.rules",
        "tapegrad.size",
        "tapegrad.sums",
    ),
)

PACKAGE = Path(__file__).parent.parent / "tapegrad"
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """tapegrad/nn/functional.py is "nn.functional", tapegrad/nn/__init__.py is "nn"."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imported(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Line and full name of all that is imported, anywhere in a file of this package."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                parts = package.split(".")[: 1 - level or None] if level else []
                base = ".".join(parts + ([module] if module else []))
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def layer(module: str) -> tuple[str, int] | None:
    """The entry of LAYERS that a module (without "tapegrad.") falls under, and its height."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in LAYER_OF:
            return name, LAYER_OF[name]
    return None


def target(name: str) -> str | None:
    """The module that an import of ``name`` needs, or None if it isn't of this package."""
    top, _, rest = name.partition(".")
    if top != "tapegrad":
        return None
    first = rest.partition(".")[0]
    is_module = (PACKAGE / first).is_dir() or (PACKAGE / f"{first}.py").exists()
    return rest if rest and is_module else "__init__"  # what isn't a module, `__init__` hands on


def package_of(path: Path) -> str:
    return ".".join(("tapegrad", *path.relative_to(PACKAGE).parent.parts))


def offences(path: Path) -> Iterator[str]:
    own = layer(module_of(path))
    if own is None:
        yield f"{path}: give this module a layer in {Path(__file__).name}"
        return
    for line, name in imported(path.read_text(encoding="utf-8"), package_of(path)):
        where = f"{path}:{line}: {own[0]} imports {name}"
        if own[0] == "rules" and not any(f"{name}.".startswith(f"{n}.") for n in RULES_IMPORT):
            yield f"{where}, but rules may import only {', '.join(RULES_IMPORT)}"
        module = target(name)
        if module is None:
            continue
        other = layer(module)
        if other is None:
            yield f"{where}, which has no layer in {Path(__file__).name}"
        elif other[1] > own[1]:
            yield f"{where}, which is in a higher layer ({other[0]})"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_down(path: Path) -> None:
    found = list(offences(path))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_nothing_below_tensor_names_the_class(path: Path) -> None:
    own = layer(module_of(path))
    if own is None or own[1] >= LAYER_OF["tensor"]:
        return
    fields = ("id", "attr", "name")  # of a variable, an attribute, a class or an import
    found = [
        f"{path}:{getattr(node, 'lineno', 1)}: names Tensor"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if any(getattr(node, field, None) == "Tensor" for field in fields)
    ]
    assert not found, "\n".join(found)


def test_every_way_to_import_is_seen() -> None:
    source = """
import numpy, tapegrad.tape as t
from . import autograd
from ..nn import functional
if TYPE_CHECKING:
    from tapegrad import Tensor
def later():
    from .sub.deep import name
    importlib.import_module("tapegrad.optim")
"""
    assert {name for _, name in imported(source, "tapegrad.a")} == {
        "numpy",
        "tapegrad.tape",
        "tapegrad.a.autograd",
        "tapegrad.nn.functional",
        "tapegrad.Tensor",
        "tapegrad.a.sub.deep.name",
        "tapegrad.optim",
    }
