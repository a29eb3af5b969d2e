"""Functions and methods in machine code over `tapegrad.kernels.forward`.

A function in C has no closure, so each gets a trampoline: some instructions that call the one
compiled function with the address of the operator's fields.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from tapegrad.kernels import apply, forward, ternary
from tapegrad.kernels.calling import FLAGS, Definition, new_function
from tapegrad.kernels.innerloop import inner_loop
from tapegrad.kernels.native import ufunc_loop
from tapegrad.kernels.parts import sharing_loop
from tapegrad.primitive import Primitive
from tapegrad.threads import SHARED_ELEMENTS

__all__ = ["NativeOperators"]

#: The fields that hold the addresses of an operator's loops.
LOOPS = {2: (forward.LOOP_32, forward.LOOP_64), 3: (ternary.LOOP_32, ternary.LOOP_64)}
LOOPS[1] = LOOPS[2]
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


_new_method = ctypes.pythonapi.PyDescr_NewMethod
_new_method.restype = ctypes.py_object
_new_method.argtypes = [ctypes.py_object, ctypes.c_void_p]
_TRAMPOLINE = """\
define i64 @function_{i}(i64 %self, i64 %args, i64 %count, i64 %names) {{
  %target = inttoptr i64 {target} to i64 (i64, i64, i64, i64, i64)*
  %result = tail call i64 %target(i64 {fields}, i64 0, i64 %args, i64 %count, i64 %names)
  ret i64 %result
}}
define i64 @method_{i}(i64 %self, i64 %args, i64 %count, i64 %names) {{
  %target = inttoptr i64 {target} to i64 (i64, i64, i64, i64, i64)*
  %result = tail call i64 %target(i64 {fields}, i64 %self, i64 %args, i64 %count, i64 %names)
  ret i64 %result
}}
"""


class NativeOperators:
    """The process's operators in machine code, for Tensors of a type; ``shared`` as in `layout`.

    Whoever makes one keeps it as long as the process: the code refers to it by address.
    """

    def __init__(self, kind: type, shared: np.ndarray) -> None:
        self._forward = forward.compile_forward()
        self._ternary = ternary.compile_ternary()
        self._apply = apply.compile_apply()
        self._kept: list[Any] = []  # what the machine code knows by address
        self._type = kind
        self._shared = shared
        self._fields: list[np.ndarray] = []
        self._arities: list[int] = []
        self._names: list[str] = []

    def add(
        self, primitive: Primitive, short: Callable[..., Any], swapped: bool, numbers: bool
    ) -> int | None:
        """Note an operator, as a `shortpaths.ShortPath` describes it; None if it has no loops."""
        if primitive.arity == 3:
            return self._add_ternary(primitive, short)
        as_bool = not any(primitive.bound)
        scalar = primitive.scalar
        compiled = scalar is not None and not isinstance(scalar, np.ufunc)
        loops: list[int] = []
        for kind in "fd":
            kinds = kind * primitive.arity + "->" + ("?" if as_bool else kind)
            loop = ufunc_loop(scalar or primitive.forward, kinds)
            if loop is None and not compiled:
                return None
            loops += (
                sharing_loop(*loop, primitive.arity + 1, 2 * SHARED_ELEMENTS) if loop else (0, 0)
            )
        fields = np.zeros(forward.OPERATOR_FIELDS, np.int64)
        fields[forward.SHARED] = self._shared.ctypes.data
        fields[forward.FALLBACK] = id(short)
        fields[forward.ARITY] = primitive.arity
        fields[forward.CODE] = id(primitive.code)
        fields[forward.SWAPPED] = swapped
        fields[forward.NUMBERS] = numbers
        ruled = [rule is not None for rule in primitive.bound]
        fields[forward.RULED] = ruled[swapped]
        fields[forward.RULED_OTHER] = not swapped and ruled[-1]
        fields[forward.AS_BOOL] = as_bool
        fields[forward.LOOP_32 : forward.LOOP_32 + 4] = loops
        out = primitive.arity  # the number of the result among what a rule may save
        for i, saves in enumerate(primitive.saves):
            first = forward.SAVES_X_FOR_X + 3 * i
            fields[first] = 0 in saves
            fields[first + 1] = out == 2 and 1 in saves
            fields[first + 2] = out in saves
        if compiled:
            fields[forward.FALLBACK] = id(self._compiling(primitive, short, fields))
        return self._note(primitive, short, fields)

    def _note(self, primitive: Primitive, short: Callable[..., Any], fields: np.ndarray) -> int:
        self._kept += [short, primitive.code]
        self._fields.append(fields)
        self._arities.append(primitive.arity)
        return len(self._fields) - 1

    def _add_ternary(self, primitive: Primitive, short: Callable[..., Any]) -> int | None:
        if primitive.scalar is None:
            return None
        fields = np.zeros(ternary.OPERATOR_FIELDS, np.int64)
        fields[ternary.SHARED] = self._shared.ctypes.data
        fields[ternary.FALLBACK] = id(self._compiling(primitive, short, fields))
        fields[ternary.CODE] = id(primitive.code)
        fields[ternary.CONDITION] = primitive.condition
        for i, rule in enumerate(primitive.bound):
            fields[ternary.RULED] |= (rule is not None) << i
            fields[ternary.SAVES_FOR_X + i] = sum(1 << k for k in primitive.saves[i])
        return self._note(primitive, short, fields)

    def _compiling(
        self, primitive: Primitive, short: Callable[..., Any], fields: np.ndarray
    ) -> Callable[..., Any]:
        """The short path of an operator whose loops are compiled when they are needed: here.

        Machine code comes here as long as there is none for the dtype of its operands.
        """

        def first(*operands: Any, **named: Any) -> Any:
            for x in operands[primitive.condition :]:
                if type(x) is self._type:
                    dtype: np.dtype[Any] = getattr(x, "_spec").dtype  # noqa: B009
                    at = LOOPS[primitive.arity][DTYPES.index(dtype)] if dtype in DTYPES else 0
                    if at and not fields[at]:
                        loop = inner_loop(primitive, dtype)
                        self._kept.append(loop)
                        own = sharing_loop(loop.address, 0, primitive.arity + 1, SHARED_ELEMENTS)
                        fields[at + 1], fields[at] = own[1], own[0]  # the loop last
                    break
            return short(*operands, **named)

        self._kept.append(first)
        return first

    def link(self, apply_in_python: Callable[..., Any]) -> Callable[..., Any]:
        """Make the machine code of all operators that have been noted, and of ``apply``."""
        text = [
            _TRAMPOLINE.format(
                i=i,
                target=(self._ternary if arity == 3 else self._forward).address,
                fields=fields.ctypes.data,
            )
            for i, (fields, arity) in enumerate(zip(self._fields, self._arities, strict=True))
        ]
        fields = np.array([self._shared.ctypes.data, id(apply_in_python)], np.int64)
        self._kept += [fields, apply_in_python]
        text.append(
            _TRAMPOLINE.format(i="apply", target=self._apply.address, fields=fields.ctypes.data)
        )
        machine = llvm.Target.from_default_triple().create_target_machine(opt=2, jit=True)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly("\n".join(text)), machine)
        self._engine.finalize_object()
        definition = self._define("function_apply", "apply", "apply(primitive, inputs, params)", "")
        return new_function(definition, None)

    def method(self, operator: int, name: str, doc: str) -> Any:
        """The operator as a method, for the type's dictionary."""
        binary = "other, /" if self._arities[operator] == 2 else "/"
        definition = self._define(f"method_{operator}", name, f"{name}($self, {binary})", doc)
        return _new_method(self._type, definition)

    def function(self, operator: int, name: str, doc: str) -> Any:
        """The operator as a function."""
        others = ("", ", other", ", second, third")[self._arities[operator] - 1]
        definition = self._define(f"function_{operator}", name, f"{name}(input{others})", doc)
        return new_function(definition, None)

    def _define(self, symbol: str, name: str, signature: str, doc: str) -> int:
        address = self._engine.get_function_address(symbol)
        text = f"{signature}\n--\n\n{doc}".encode()
        definition = Definition(name.encode(), address, FLAGS, text)
        self._kept.append(definition)
        return ctypes.addressof(definition)
