"""What a measurement yields: the samples of a row, and the ratios read from them."""

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """One library's median over another's, and the range of that ratio over the rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"x{short(self.median)} ({short(self.low)}-{short(self.high)})"


@dataclass(frozen=True)
class Figure:
    """One row of a table: every library's samples, one a round, in the row's unit.

    `subject` is the library under test and `baseline` the one that it is compared with; `goal` is
    the largest ratio of the two that is good enough. Figures with a `column` share a line of the
    table, by their row, which shows nothing but ratios.
    """

    workload: str
    row: str
    unit: str
    samples: dict[str, list[float]]
    subject: str
    baseline: str
    goal: float | None = None
    column: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.workload, f"{self.row}, {self.column}" if self.column else self.row

    def median(self, name: str) -> float | None:
        return median(self.samples[name]) if self.samples.get(name) else None

    def ratio(self, name: str) -> Ratio | None:
        """`name`'s time over the baseline's; None where one of the two wasn't measured."""
        ours, theirs = self.samples.get(name), self.samples.get(self.baseline)
        if not ours or not theirs or min(theirs) <= 0:
            return None
        rounds = [one / other for one, other in zip(ours, theirs, strict=True)]
        return Ratio(median(ours) / median(theirs), min(rounds), max(rounds))

    def verdict(self) -> str:
        """Whether the goal is "met" or "missed"; empty where there is no goal or no ratio."""
        ratio = self.ratio(self.subject)
        if self.goal is None or ratio is None:
            return ""
        return "met" if ratio.median <= self.goal else "missed"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Figure":
        return cls(**stored)


def short(value: float) -> str:
    """Three significant digits; all digits before the point."""
    return f"{value:,.0f}" if value == 0 or abs(value) >= 99.95 else f"{value:#.3g}"
