"""Write the type stubs from the registry: ``python -m tests.write_stubs``, or ``make stubs``.

Functions and methods follow from declarations, which a type checker can't see. So stubs are written
and committed: tapegrad/__init__.pyi, tapegrad/tensor.pyi, and one for each module that is made when
tapegrad is imported, such as tapegrad/nn/functional.pyi. A test fails if they are out of date.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import tapegrad
from tapegrad import dtypes, layouts, operators
from tapegrad.generator import Generator
from tapegrad.primitive import primitives
from tapegrad.tape import Tape as ProcessTape

operators.load_rest()
tensor = sys.modules["tapegrad.tensor"]  # not the function of that name

HERE = Path(tapegrad.__file__).parent
HEAD = '''"""{what}

Written by ``make stubs`` (``python -m tests.write_stubs``) from the registry: don't edit.
"""
'''
#: Tensor has methods called float and int, and tapegrad has dtypes of those names.
IMPORTS = """
from builtins import bool as _bool, complex as _complex, float as _float, int as _int, str as _str
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np

from tapegrad import devices, dtypes, layouts
from tapegrad.autograd.hooks import RemovableHandle
from tapegrad.generator import Generator
from tapegrad.primitive import Primitive
from tapegrad.size import Size
from tapegrad.spec import Spec
from tapegrad.tape import Tape as ProcessTape
"""
ALIASES = """
_Number: TypeAlias = _bool | _int | _float | _complex | np.number | np.bool
_Operand: TypeAlias = Tensor | np.ndarray | _Number
"""
#: What annotations may be made of, and how it is written in the stubs; all else is Any.
KNOWN = {
    **{name: name for name in (
        "Any", "None", "Tensor", "View", "Size", "Spec", "Primitive", "Generator", "object", "dict",
        "list", "tuple", "np.ndarray", "dtypes.dtype", "devices.device", "RemovableHandle",
        "Iterator", "Sequence", "Callable",
    )},
    **{name: f"_{name}" for name in ("bool", "int", "float", "complex", "str")},
    "_Any": "Any", "dtype": "dtypes.dtype", "device": "devices.device", "layout": "layouts.layout",
}  # fmt: skip
#: The slots of `View` that aren't its constructor's arguments.
VIEW = {
    "array": "np.ndarray", "root": "Tensor", "root_place": "_int | None", "inference": "_bool",
    "several": "_bool",
}  # fmt: skip
NAME = re.compile(r"[A-Za-z_][\w.]*")
OPERANDS = {"input", "other", "exponent"}
ELEMENTWISE = {
    n for p in primitives if p.elementwise and not p.hidden for n in (p.name, *p.aliases)
}
#: The functions behind Python's operators, under all their names.
_BEHIND = [*operators.DUNDERS.values(), *operators.COMPARISONS.values()]
_FUNCTIONS = [inspect.unwrap(operators.functions[n]) for n in _BEHIND if n in operators.functions]
ARITHMETIC = {name for name, f in operators.functions.items() if inspect.unwrap(f) in _FUNCTIONS}
SPECIAL = {
    f"__{kind}{name}__" for name in operators.DUNDERS for kind in ("", "r", "i")
} | {f"__{name}__" for name in (*operators.COMPARISONS, *operators.UNARY_DUNDERS)}  # fmt: skip


def annotation(value: Any, default: str = "Any") -> str:
    """An annotation as it may stand in a stub."""
    if value is inspect.Parameter.empty:
        return default
    text = value if isinstance(value, str) else getattr(value, "__name__", str(value))
    if not set(NAME.findall(text)) <= set(KNOWN):
        return default
    return NAME.sub(lambda match: KNOWN[match[0]], text)


def default(value: Any) -> str:
    """A default value, where it is a plain one."""
    if value is None or value == () or type(value) in (bool, int, str):
        return repr(value)
    return repr(value) if type(value) is float and math.isfinite(value) else "..."


def signature(
    function: Any, result: str, operand: str = "Any", method: bool = False, out: bool = False
) -> str:
    """``(self, dim: Any = None) -> Tensor`` of a function.

    Args:
        function: what has the signature.
        result: the type of its result, where the annotation says no more than Any.
        operand: likewise the type of its operands.
        method: whether its first parameter is ``self``.
        out: whether it takes ``out``, declared or not, see `tapegrad.outs`.
    """
    found = inspect.signature(function)
    parameters = [p for p in found.parameters.values() if out or p.name != "out"]
    if out and OUT.name not in found.parameters:
        parameters.append(OUT)
    parts = []
    if method:
        parts.append("self")
        parameters = parameters[parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL :]
    kinds = [p.kind for p in parameters]
    for i, p in enumerate(parameters):
        if p.kind is p.KEYWORD_ONLY and not {p.KEYWORD_ONLY, p.VAR_POSITIONAL} & {*kinds[:i]}:
            parts.append("*")
        kind = annotation(p.annotation)
        if kind == "Any" and p.name in OPERANDS:
            kind = operand
        text = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "") + f"{p.name}: {kind}"
        parts.append(text if p.default is p.empty else f"{text} = {default(p.default)}")
        if p.kind is p.POSITIONAL_ONLY and kinds[i + 1 : i + 2] != [p.POSITIONAL_ONLY]:
            parts.append("/")
    returned = annotation(found.return_annotation, result)
    if function.__code__.co_filename == contextlib.__file__:
        returned = re.sub(r"^Iterator\b", "AbstractContextManager", returned)
    return f"({', '.join(parts)}) -> {result if returned == 'Any' else returned}"


#: Modules of functions that take ``out``.
WITH_OUT = ("", "fft", "linalg", "special")
OUT = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Any")


def takes_out(path: str, name: str, function: Any) -> bool:
    """Whether a function of a module does."""
    if "out" in inspect.signature(function).parameters:
        return not name.endswith("_")
    found = operators.modules.get(path, {}).get(name)
    made = found is not None and hasattr(found, "__wrapped__") and not name.endswith("_")
    return made and path in WITH_OUT and _result(found) == "Any"


def definition(name: str, function: Any, method: bool, path: str = "") -> str:
    """The line of one function or method."""
    if name in ("__eq__", "__ne__"):
        return f"def {name}(self, other: Any) -> Tensor: ...  # type: ignore[override]"
    inplace = method and name.endswith("_") and not name.startswith("__")
    plain = name[:-1] if inplace else name
    special = method and name in SPECIAL
    arithmetic = plain in ELEMENTWISE | ARITHMETIC or special
    matrices = "matmul" in name
    result = "Tensor" if arithmetic or inplace else "Any"
    operand = "_Operand" if arithmetic and not matrices else "Any"
    out = not method and takes_out(path, name, function)
    return f"def {name}{signature(function, result, operand, method, out)}: ..."


class _AnyClass:
    """Has what Python gives to every class, which differs between its versions."""

    __slots__ = ("__weakref__",)
    annotated: int


def tensor_stub() -> str:
    """tapegrad/tensor.pyi."""
    lines = [HEAD.format(what="Tensor, with all its methods."), IMPORTS, ALIASES]
    lines += [f"__all__ = {tensor.__all__!r}", "class Tensor:"]
    for name, kind in tensor.Tensor.__annotations__.items():
        lines.append(f"    {name}: {annotation(kind)}")
    skipped = {*vars(_AnyClass), "__hash__"}
    for name, value in sorted(vars(tensor.Tensor).items()):
        if name in skipped or name in tensor.Tensor.__annotations__:
            continue
        if isinstance(value, property):
            lines += ["    @property", f"    def {name}(self) -> {_result(value.fget)}: ..."]
            if value.fset is not None:
                setter = signature(value.fset, "None", method=True)
                lines += [f"    @{name}.setter", f"    def {name}{setter}: ..."]
            if value.fdel is not None:
                lines += [f"    @{name}.deleter", f"    def {name}(self) -> None: ..."]
        elif isinstance(value, FunctionType):
            lines.append("    " + definition(name, value, method=True))
        elif callable(value):
            lines.append(f"    def {name}(self, *args: Any, **kwargs: Any) -> Any: ...")
        elif isinstance(value, int):
            lines.append(f"    {name}: _int")
    lines += ["    def __hash__(self) -> _int: ...", ""]
    lines.append("class View:")
    given = inspect.signature(tensor.View.__init__).parameters
    for name in tensor.View.__slots__:
        kind = annotation(given[name].annotation) if name in given else VIEW.get(name, "Any")
        lines.append(f"    {name}: {kind}")
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
    functions, others = [], []
    for name in sorted({*tapegrad.__all__, *tapegrad._ON_DEMAND}):
        value = getattr(tapegrad, name, None)
        if isinstance(value, ModuleType):
            others.append(f"from tapegrad import {name} as {name}")
        elif isinstance(value, dtypes.dtype):
            others.append(f"{name}: dtypes.dtype")
        elif isinstance(value, FunctionType | MethodType):
            functions.append(definition(name, value, method=False))
        elif isinstance(value, type) and value.__module__.startswith("tapegrad."):
            others.append(f"from {value.__module__} import {value.__name__} as {name}")
        elif isinstance(value, ProcessTape | Generator):
            kind = "ProcessTape" if isinstance(value, ProcessTape) else "Generator"
            others.append(f"{name}: {kind}")
        elif isinstance(value, layouts.layout):
            others.append(f"{name}: layouts.layout")
        elif isinstance(value, layouts.memory_format):
            others.append(f"{name}: layouts.memory_format")
        elif isinstance(value, float):
            others.append(f"{name}: _float")
        elif value is None:
            others.append(f"{name}: None")
        else:
            others.append(f"{name}: Any")
    imports = sorted(line for line in others if line.startswith("from"))
    own = IMPORTS
    for line in imports:
        own = own.replace(line.partition(" as ")[0] + "\n", "")  # it stands there to be handed on
    lines = [HEAD.format(what="What `import tapegrad` gives."), own, *imports, ALIASES]
    lines += sorted(set(others) - set(imports))
    lines += ["__version__: _str", "__all__: list[_str]", *functions]
    return "\n".join(lines) + "\n"


def module_stub(path: str) -> str:
    """The stub of tapegrad.<path>, a module that no file holds."""
    imports = [IMPORTS, "from tapegrad.tensor import Tensor"]
    functions = []
    for name, value in sorted(vars(sys.modules[f"tapegrad.{path}"]).items()):
        if isinstance(value, ModuleType):
            imports.append(f"from tapegrad.{path} import {name} as {name}")
        elif isinstance(value, FunctionType) and not name.startswith("_"):
            functions.append(definition(name, value, method=False, path=path))
    aliases = [ALIASES] if any("_Operand" in line for line in functions) else []
    head = HEAD.format(what=f"torch.{path}, as far as tapegrad has it.")
    return "\n".join([head, *imports, *aliases, *functions]) + "\n"


def made_modules() -> dict[str, str]:
    """The stubs' names of the modules that no file holds, and the modules' paths."""
    paths = [path for path in operators.modules if path]
    paths += [path.rpartition(".")[0] for path in paths if "." in path]
    names = {}
    for path in sorted(set(paths)):
        name = path.replace(".", "/")
        package = any(other.startswith(f"{path}.") for other in paths)
        if not any((HERE / f"{name}{end}.py").exists() for end in ("", "/__init__")):
            names[f"{name}/__init__.pyi" if package else f"{name}.pyi"] = path
    return names


def formatted(text: str) -> str:
    """The text as ruff formats it."""
    ruff = [sys.executable, "-m", "ruff"] if find_spec("ruff") else ["ruff"]
    for arguments in (["check", "--fix", "--exit-zero", "--quiet"], ["format"]):
        command = [*ruff, *arguments, "--stdin-filename", "tapegrad/x.pyi", "-"]
        text = subprocess.run(
            command, input=text, capture_output=True, text=True, check=True, cwd=HERE.parent
        ).stdout
    return text


STUBS = {
    "__init__.pyi": package_stub,
    "tensor.pyi": tensor_stub,
    **{name: functools.partial(module_stub, path) for name, path in made_modules().items()},
}


def main() -> None:
    """Write the stubs."""
    assert operators.functions
    for name, make in STUBS.items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(formatted(make()), encoding="utf-8")
        print(f"wrote tapegrad/{name}")


if __name__ == "__main__":
    main()
