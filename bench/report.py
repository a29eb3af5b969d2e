"""The figures as GitHub's tables and as JSON, and what became slower than stored ones."""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from bench.figures import Figure, short

SLOWER = 1.05
"""A ratio that grew by less is no news."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in GitHub's markdown, its columns padded so that it reads as plain text too."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    padded = ([cell.ljust(w) for cell, w in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def tables(figures: list[Figure]) -> str:
    """One table for each run of figures with the same workload, subject and baseline."""
    groups = groupby(figures, key=lambda figure: (figure.workload, figure.subject, figure.baseline))
    return "\n\n".join(table_of(list(group)) for _, group in groups)


def table_of(figures: list[Figure]) -> str:
    return ratios_table(figures) if figures[0].column else figures_table(figures)


def ratios_table(figures: list[Figure]) -> str:
    """A line for each row, with the subject's ratio to the baseline in each of its columns."""
    subject, baseline = figures[0].subject, figures[0].baseline
    columns = list(dict.fromkeys(figure.column for figure in figures))
    lines: dict[str, dict[str, str]] = {}
    for figure in figures:
        lines.setdefault(figure.row, {})[figure.column] = str(figure.ratio(subject) or "-")
    header = [f"{figures[0].workload}, {subject} / {baseline}", *columns]
    return table(
        header, ([row, *(by.get(column, "-") for column in columns)] for row, by in lines.items())
    )


def figures_table(figures: list[Figure]) -> str:
    """Medians of all libraries, ratios to the baseline of all others."""
    workload, subject, baseline = figures[0].workload, figures[0].subject, figures[0].baseline
    libraries = list(dict.fromkeys([subject, *(name for f in figures for name in f.samples)]))
    libraries = [name for name in libraries if name != baseline]
    with_goals = any(figure.goal is not None for figure in figures)
    header = [workload, "unit", *libraries, baseline]
    header += [f"{name} / {baseline}" for name in libraries]
    header += ["goal", ""] if with_goals else []
    return table(header, (cells(figure, libraries, with_goals) for figure in figures))


def cells(figure: Figure, libraries: list[str], with_goals: bool) -> list[str]:
    medians = [figure.median(name) for name in (*libraries, figure.baseline)]
    row = [figure.row, figure.unit, *("-" if m is None else short(m) for m in medians)]
    row += [str(figure.ratio(name) or "-") for name in libraries]
    if with_goals:
        row += ["" if figure.goal is None else f"<= x{figure.goal:g}", figure.verdict()]
    return row


def comparison(before: list[Figure], now: list[Figure], subject: str) -> str:
    """The subject's rows whose ratio to the baseline grew, and how many did not.

    A row is slower if its ratio is more than 5 % above the stored one and above all of its rounds.
    """
    stored = {figure.key: figure for figure in before}
    slower = []
    compared = 0
    for figure in (f for f in now if f.subject == subject):
        old = stored[figure.key].ratio(stored[figure.key].subject) if figure.key in stored else None
        new = figure.ratio(figure.subject)
        if old is None or new is None:
            continue
        compared += 1
        change = new.median / old.median if old.median else 1.0
        if change > SLOWER and new.median > old.high:
            slower.append([*figure.key, figure.baseline, str(old), str(new), f"x{short(change)}"])
    summary = f"{len(slower)} of {compared} rows are slower than stored."
    if not slower:
        return summary
    header = ("workload", "row", "baseline", "stored ratio", "ratio now", "change")
    return f"{table(header, slower)}\n\n{summary}"


def save(path: Path, conditions: dict[str, str], figures: list[Figure]) -> None:
    """Write every sample, so that medians and ranges can be read from the file again."""
    stored = {"conditions": conditions, "figures": [figure.to_json() for figure in figures]}
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> list[Figure]:
    """The figures of a file that `save` wrote."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    return [Figure.from_json(figure) for figure in stored["figures"]]
