"""The rules of the house that no linter knows: layout, file sizes, imports, documentation."""

import ast
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tapegrad

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "tapegrad").rglob("*.py"))

TOP_LEVEL = {
    *("tapegrad", "tests", "notebooks", "bench", "Makefile", "pyproject.toml"),
    *("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"),
}  # and dotfiles

MOST_LINES = 400
LONGER_FILES: dict[str, str] = {}  # "tapegrad/file.py": "why it must be longer"

MOST_COLUMNS = 100

# What `import tapegrad` leaves alone until a call needs it.
NOT_AT_IMPORT = {
    *("numba", "llvmlite", "scipy", "numpy.random", "numpy.fft"),
    *("matplotlib", "IPython", "torch"),
}


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]  # whoever owns the files
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [Path(name) for name in names.split("\0") if name]


def code_lines(source: str) -> int:
    """How many lines hold code: without blank lines, comments and docstrings."""
    prose: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(
        number not in prose and not line.strip().startswith("#") and bool(line.strip())
        for number, line in enumerate(source.splitlines(), start=1)
    )


def test_top_level_holds_only_what_belongs_there() -> None:
    names = {path.parts[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_files_are_short() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): code_lines(path.read_text(encoding="utf-8"))
        for path in SOURCES
    }
    too_long = {name: length for name, length in lengths.items() if length > MOST_LINES}
    assert too_long.keys() == LONGER_FILES.keys(), f"over {MOST_LINES} lines of code: {too_long}"


def test_lines_are_short() -> None:
    long = [
        f"{name}:{number}"
        for name in tracked()
        if name.suffix in (".py", ".pyi") and (ROOT / name).exists()
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1)
        if len(line.partition("  # noqa")[0]) > MOST_COLUMNS
    ]
    assert not long


def test_import_is_light() -> None:
    program = "import json, sys, tapegrad; print(json.dumps(list(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    heavy = NOT_AT_IMPORT.intersection(json.loads(output))
    assert not heavy


def test_everything_public_is_documented() -> None:
    def documented(value: object) -> bool:
        own = isinstance(value, type) or value.__doc__ != type(value).__doc__
        return own and bool(inspect.getdoc(value))

    public = {name: getattr(tapegrad, name) for name in tapegrad.__all__}
    assert not [n for n, value in public.items() if callable(value) and not documented(value)]


def test_version_has_one_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    source = (ROOT / project["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8")
    assert f'__version__ = "{tapegrad.__version__}"' in source


def test_changelog_tells_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?(Unreleased|{re.escape(tapegrad.__version__)})\b", changelog, re.M)
