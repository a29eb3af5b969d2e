"""The ratios as a picture: a row for each figure with a goal, a mark for each library.

python -m bench.plot before.json picture.svg     # of stored figures
"""

import sys
from pathlib import Path

from bench.figures import Figure, short
from bench.report import load

COLOURS = {"jax": "#8a63d2", "autograd": "#b3882f", "mygrad": "#3f8f5f"}
OURS, LINE = "#1f6feb", "#c9c9c9"


def draw(figures: list[Figure], path: Path) -> None:
    """Ratios to torch on a logarithmic axis; a vertical tick is the goal."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [f for f in figures if f.goal is not None and f.baseline == "torch"]
    rows = [f for f in rows if f.ratio(f.subject)]
    peers = [name for name in COLOURS if any(f.ratio(name) for f in rows)]
    plain = {"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "tapegrad"}
    with pyplot.rc_context(plain):
        picture, axes = pyplot.subplots(figsize=(7.5, 0.9 + 0.22 * len(rows)), layout="tight")
        beside = axes.get_yaxis_transform()
        for height, figure in enumerate(rows):
            ours = figure.ratio(figure.subject)
            assert ours is not None
            for name in peers:
                if theirs := figure.ratio(name):
                    axes.plot(theirs.median, height, "o", ms=4, color=COLOURS[name])
            axes.barh(height, ours.median - 1, left=1, height=0.55, color=OURS)
            axes.plot(figure.goal, height, "|", ms=11, mew=1.5, color="black")
            axes.text(1.01, height, short(ours.median), transform=beside, va="center")
        axes.axvline(1, color="black", lw=1)
        axes.set(xscale="log", xlabel="time or memory / torch's (less is better)")
        axes.set_yticks(range(len(rows)), [f"{f.workload}, {f.row}" for f in rows])
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.grid(axis="x", color=LINE, lw=0.5)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        handles = [pyplot.Line2D([], [], color=OURS, lw=5, label="tapegrad")]
        handles.append(pyplot.Line2D([], [], color="black", marker="|", ls="", ms=9, label="goal"))
        handles += [
            pyplot.Line2D([], [], color=COLOURS[name], marker="o", ls="", ms=4, label=name)
            for name in peers
        ]
        axes.legend(handles=handles, ncols=len(handles), loc="lower left", bbox_to_anchor=(0, 1))
        picture.savefig(path, metadata={"Date": None})
        pyplot.close(picture)


if __name__ == "__main__":
    draw(load(Path(sys.argv[1])), Path(sys.argv[2]))
