"""The kernel cache: compiled code on disk, so that a second process compiles nothing.

One file for each kernel, named by a digest of all that its code depends on: the rule's bytecode,
the kernel's source, the versions of tapegrad, Numba and Python, the processor. An edited rule has
another name and can't meet a stale kernel. A file is written beside its place and moved there, so
two processes can fill one cache; it begins with a digest of its content, so a damaged one is a
miss. A directory that can't be written, or that another user could write to, is not used.

The directory is $TAPEGRAD_CACHE_DIR, or tapegrad/ in the user's cache directory.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
import sys
import tempfile
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import serialize
from numba.core.compiler import CompileResult

from tapegrad.primitive import select

__all__ = ["KernelCache", "cache_directory", "fingerprint", "meaning"]

#: Changes with the way that kernels are compiled, which their sources don't show.
KERNEL_FORMAT = b"2: no fused multiply-add"

#: Counts for tests and curious people.
statistics = {"hits": 0, "misses": 0}


def cache_directory() -> Path:
    """Where kernels are kept."""
    chosen = os.environ.get("TAPEGRAD_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tapegrad"


def _closed_directory() -> Path | None:
    """The directory, made if need be and closed to others; None if it can't be trusted or used."""
    try:
        path = cache_directory()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sys.platform != "win32":
            status = path.stat()
            if status.st_uid != os.getuid():
                return None
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                path.chmod(0o700)
        return path
    except (OSError, RuntimeError):
        return None


def fingerprint(code: CodeType) -> bytes:
    """A digest of what a function does: its bytecode, names and constants, not its line numbers."""
    digest = hashlib.sha256()
    digest.update(code.co_code)
    digest.update(repr((code.co_names, code.co_varnames, code.co_argcount)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            digest.update(fingerprint(constant))
        else:
            digest.update(repr(constant).encode())
    return digest.digest()


def meaning(function: Any, known: frozenset[int] = frozenset()) -> bytes:
    """A digest of what a function does, with the values of the names that it takes from outside.

    Modules count by their names, functions by their own meaning. What can't be told from another
    value of its kind gives a digest that no other process has.
    """
    function = getattr(function, "py_func", function)
    digest = hashlib.sha256(fingerprint(function.__code__))
    cells = function.__closure__ or ()
    outer = dict(zip(function.__code__.co_freevars, cells, strict=True))
    values = {name: function.__globals__[name] for name in sorted(_global_names(function))}
    values |= {name: cell.cell_contents for name, cell in outer.items()}
    told = False
    known |= {id(function)}
    for name, value in values.items():
        inner = getattr(value, "py_func", value)
        if isinstance(value, ModuleType) or inner is select or id(inner) in known:
            continue
        told = True
        digest.update(name.encode())
        if isinstance(inner, FunctionType):
            digest.update(meaning(inner, known))
        elif isinstance(value, np.ndarray):
            digest.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
        elif isinstance(value, (int, float, complex, str, bytes, np.generic, np.ufunc)):
            digest.update(repr(value).encode())
        else:
            digest.update(_UNIQUE + str(id(value)).encode())
    return digest.digest() if told else fingerprint(function.__code__)


_UNIQUE = os.urandom(16)


def _global_names(function: FunctionType) -> set[str]:
    """The names in a function's code, and in what it defines, that its module has."""
    names: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [c for c in code.co_consts if isinstance(c, CodeType)]
    return names & function.__globals__.keys()


class KernelCache:
    """The cache of one kernel, as Numba's compiler asks for it."""

    def __init__(self, name: str, *parts: bytes) -> None:
        digest = hashlib.sha256()
        for part in (
            sys.version.encode(),
            numba.__version__.encode(),
            llvmlite.__version__.encode(),
            sys.platform.encode(),
            KERNEL_FORMAT,
            *parts,
        ):
            digest.update(len(part).to_bytes(4, "little"))
            digest.update(part)
        self._name = f"{name}-{digest.hexdigest()[:32]}"

    def _path(self, directory: Path, context: Any) -> Path:
        target = repr(context.codegen().magic_tuple()).encode()
        return directory / f"{self._name}-{hashlib.sha256(target).hexdigest()[:8]}.kernel"

    def load_overload(self, signature: Any, context: Any) -> CompileResult | None:
        """The compiled kernel, or None."""
        made = self._load(context)
        statistics["hits" if made is not None else "misses"] += 1
        return made

    def _load(self, context: Any) -> CompileResult | None:
        directory = _closed_directory()
        if directory is None:
            return None
        path = self._path(directory, context)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return None
        # Numba fills its target context lazily, and rebuilding needs it.
        context.refresh()
        try:
            return CompileResult._rebuild(context, *pickle.loads(content[32:]))
        except Exception:  # whatever a kernel of another build does when it is unpacked: a miss
            return None

    def save_overload(self, signature: Any, result: CompileResult) -> None:
        """Keep a compiled kernel; where that can't be done it is compiled again next time."""
        directory = _closed_directory()
        if directory is None:
            return
        content = serialize.dumps(result._reduce())
        path = self._path(directory, result.target_context)
        temporary = None
        try:
            handle, temporary = tempfile.mkstemp(dir=directory)
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            Path(temporary).replace(path)
        except OSError:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
