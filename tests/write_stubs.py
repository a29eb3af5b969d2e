"""Write the type stubs from the registry: ``python -m tests.write_stubs``, or ``make stubs``.

Functions and methods follow from declarations, which a type checker can't see. So two stubs are
written and committed: tapegrad/__init__.pyi and tapegrad/tensor.pyi. A test fails if they are out
of date.
"""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import tapegrad
from tapegrad import operators
from tapegrad.primitive import primitives

tensor = sys.modules["tapegrad.tensor"]  # not the function of that name

HERE = Path(tapegrad.__file__).parent
HEAD = '"""{what} Written by ``make stubs`` from the registry: don\'t edit."""\n'
IMPORTS = """
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

_bool: TypeAlias = bool
_int: TypeAlias = int
_float: TypeAlias = float
_complex: TypeAlias = complex
_str: TypeAlias = str
"""
#: Types that an annotation may be made of; what has another one is Any.
KNOWN = {"Any", "None", "Tensor", "Size", "bool", "int", "float", "complex", "str", "tuple", "np",
         "ndarray", "dtypes", "dtype", "device", "Iterator", "Sequence", "Callable"}  # fmt: skip
SHADOWED = re.compile(r"(?<![\w.])(bool|int|float|complex|str)(?!\w)")
ELEMENTWISE = {
    n for p in primitives if p.elementwise and not p.hidden for n in (p.name, *p.aliases)
}
SPECIAL = {"__add__", "__sub__", "__mul__", "__truediv__", "__pow__", "__floordiv__", "__mod__",
           "__matmul__", "__and__", "__or__", "__xor__", "__neg__", "__abs__", "__invert__",
           "__pos__", "__lt__", "__le__", "__gt__", "__ge__"}  # fmt: skip


def annotation(value: Any, default: str = "Any") -> str:
    """An annotation as it may stand in a stub, whose classes have methods called float and int."""
    if value is inspect.Parameter.empty:
        return default
    text = value if isinstance(value, str) else getattr(value, "__name__", str(value))
    if value is None:
        text = "None"
    if not set(re.findall(r"[A-Za-z_]\w*", text)) <= KNOWN:
        return default
    return SHADOWED.sub(r"_\1", text)


def default(value: Any) -> str:
    """A default value, where it is a plain one."""
    return repr(value) if value is None or type(value) in (bool, int, float, str) else "..."


def signature(function: Any, result: str) -> str:
    """``(self, dim: Any = None) -> Tensor`` of a function."""
    parts = []
    keywords = False
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.KEYWORD_ONLY and not keywords:
            parts.append("*")
            keywords = True
        name = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "") + p.name
        if p.kind is p.VAR_POSITIONAL:
            keywords = True
        text = name if p.name == "self" else f"{name}: {annotation(p.annotation)}"
        if p.default is not p.empty:
            text += f" = {default(p.default)}"
        parts.append(text)
    found = annotation(inspect.signature(function).return_annotation, result)
    return f"({', '.join(parts)}) -> {result if found == 'Any' else found}"


def definition(name: str, function: Any, method: bool) -> str:
    """The line of one function or method."""
    plain = name.rstrip("_")
    inplace = method and name.endswith("_") and not name.startswith("__")
    made_here = plain in ELEMENTWISE or name in SPECIAL or inplace
    text = signature(function, "Tensor" if made_here else "Any")
    if method:
        text = re.sub(r"^\((\w+)(: [^,)]*)?", "(self", text)
    if name in ("__eq__", "__ne__"):
        return f"def {name}(self, other: Any) -> Any: ..."
    return f"def {name}{text}: ..."


def tensor_stub() -> str:
    """tapegrad/tensor.pyi."""
    lines = [HEAD.format(what="Tensor, with all its methods."), IMPORTS]
    lines += ["from tapegrad import dtypes", "from tapegrad.primitive import Primitive"]
    lines += ["from tapegrad.size import Size", "from tapegrad.spec import Spec", ""]
    lines.append("class Tensor:")
    for name, kind in tensor.Tensor.__annotations__.items():
        lines.append(f"    {name}: {annotation(kind)}")
    skipped = {"__module__", "__slots__", "__annotations__", "__doc__", "__weakref__", "__hash__"}
    for name, value in sorted(vars(tensor.Tensor).items()):
        if name in skipped or name in tensor.Tensor.__annotations__:
            continue
        if isinstance(value, property):
            lines += ["    @property", f"    def {name}(self) -> {_result(value.fget)}: ..."]
            if value.fset is not None:
                lines += [f"    @{name}.setter", f"    def {name}(self, value: Any) -> None: ..."]
            if value.fdel is not None:
                lines += [f"    @{name}.deleter", f"    def {name}(self) -> None: ..."]
        elif isinstance(value, FunctionType):
            lines.append("    " + definition(name, value, method=True))
        elif callable(value):
            lines.append(f"    def {name}(self, *args: Any, **kwargs: Any) -> Any: ...")
        elif isinstance(value, int):
            lines.append(f"    {name}: _int")
    lines += ["    def __hash__(self) -> _int: ...", ""]
    lines += ["class View:", *(f"    {n}: Any" for n in tensor.View.__slots__)]
    lines.append(f"    {definition('__init__', tensor.View.__init__, True)}\n")
    for name, value in vars(tensor).items():
        own = isinstance(value, FunctionType) and value.__module__ == tensor.__name__
        if own and not name.startswith("_"):
            lines.append(definition(name, value, method=False))
    return "\n".join(lines) + "\n"


def _result(function: Any) -> str:
    return annotation(inspect.signature(function).return_annotation)


def package_stub() -> str:
    """tapegrad/__init__.pyi."""
    from tapegrad import dtypes

    lines = [HEAD.format(what="What `import tapegrad` gives."), IMPORTS]
    functions, others = [], []
    for name in sorted(set(tapegrad.__all__)):
        value = getattr(tapegrad, name, None)
        if isinstance(value, ModuleType) and value.__spec__ is not None:
            others.append(f"from tapegrad import {name} as {name}")
        elif isinstance(value, ModuleType):
            others.append(f"{name}: Any")
        elif isinstance(value, dtypes.dtype):
            others.append(f"{name}: dtypes.dtype")
        elif isinstance(value, FunctionType):
            functions.append(definition(name, value, method=False))
        elif isinstance(value, type) and value.__module__.startswith("tapegrad."):
            others.append(f"from {value.__module__} import {value.__name__} as {name}")
        elif name == "tape":
            others.append("tape: Tape")
        elif isinstance(value, float):
            others.append(f"{name}: _float")
        else:
            others.append(f"{name}: Any")
    lines += ["from tapegrad import dtypes", "from tapegrad.tape import Tape"]
    lines += sorted(others, key=lambda line: (not line.startswith("from"), line))
    lines += ["__version__: _str", "__all__: list[_str]", *functions]
    return "\n".join(lines) + "\n"


def formatted(text: str) -> str:
    """The text as ruff formats it."""
    ruff = [sys.executable, "-m", "ruff"] if shutil.which("ruff") is None else ["ruff"]
    for arguments in (["check", "--fix", "--exit-zero", "--quiet"], ["format"]):
        command = [*ruff, *arguments, "--stdin-filename", "tapegrad/x.pyi", "-"]
        text = subprocess.run(
            command, input=text, capture_output=True, text=True, check=True, cwd=HERE.parent
        ).stdout
    return text


STUBS = {"__init__.pyi": package_stub, "tensor.pyi": tensor_stub}


def main() -> None:
    """Write the stubs."""
    assert operators.functions
    for name, make in STUBS.items():
        (HERE / name).write_text(formatted(make()), encoding="utf-8")
        print(f"wrote tapegrad/{name}")


if __name__ == "__main__":
    main()
