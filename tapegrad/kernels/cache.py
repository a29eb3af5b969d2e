"""The kernel cache: compiled code on disk, so that a second process compiles nothing.

One file for each kernel, named by a digest of all that its code depends on: the rule's bytecode,
the kernel's source, the versions of Numba and Python, the processor. An edited rule has another
name and can't meet a stale kernel. A file is written beside its place and moved there, so two
processes can fill one cache; it begins with a digest of its content, so a damaged one is a miss. A
directory that can't be written, or that another user could write to, is not used.

The directory is $TAPEGRAD_CACHE_DIR, or tapegrad/ in the user's cache directory.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import pickle
import stat
import sys
import tempfile
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import serialize
from numba.core.compiler import CompileResult

__all__ = ["KernelCache", "cache_directory", "fingerprint", "source_cache"]

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


def fingerprint(function: Any) -> bytes:
    """A digest of what a function does: its bytecode, names and constants, not its line numbers.

    The values of the numbers that it finds outside count, too, since they are compiled in; and so
    does what the functions do that it calls, and intrinsics, which write instructions.
    """
    digest = hashlib.sha256()
    seen: set[Any] = set()

    def add_code(code: CodeType) -> None:
        digest.update(code.co_code)
        digest.update(repr((code.co_names, code.co_varnames, code.co_argcount)).encode())
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                add_code(constant)
            else:
                digest.update(repr(constant).encode())

    def add_value(name: str, value: Any) -> None:
        value = getattr(value, "py_func", value)  # a function of Numba's
        value = getattr(value, "_defn", value)  # an intrinsic
        if isinstance(value, FunctionType):
            add_function(value)
        elif isinstance(value, (bool, int, float, complex, str, tuple, np.generic)):
            digest.update(repr((name, value)).encode())
        elif isinstance(value, np.ndarray):
            digest.update(repr((name, value.shape, value.dtype.str)).encode() + value.tobytes())

    def add_function(function: FunctionType) -> None:
        if function in seen:
            return
        seen.add(function)
        add_code(function.__code__)
        outside = dict(inspect.getclosurevars(function).nonlocals)
        for name in names_in(function.__code__) & function.__globals__.keys():
            outside.setdefault(name, function.__globals__[name])
        for name, value in sorted(outside.items()):
            add_value(name, value)

    add_function(function)
    return digest.digest()


def names_in(code: CodeType) -> set[str]:
    """The names that are looked up by some code, and by the functions in it."""
    inner = [names_in(c) for c in code.co_consts if isinstance(c, CodeType)]
    return {*code.co_names}.union(*inner)


def source_cache(name: str, function: Any) -> KernelCache:
    """The cache of a function that is written over addresses, with the modules that it may use."""
    used = ("native", "layout", "leaves", "parts", "pool", "spreading", "steps")
    names = (function.__module__, *(f"tapegrad.kernels.{n}" for n in used))
    source = "".join(inspect.getsource(importlib.import_module(n)) for n in names)
    return KernelCache(name, hashlib.sha256(source.encode()).digest(), fingerprint(function))


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
            with path.open("rb") as file:
                # The directory may have been open to others once.
                if sys.platform != "win32" and os.fstat(file.fileno()).st_uid != os.getuid():
                    return None
                content = file.read()
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
