"""Draw final accuracies side by side: a row for each group, a dot a training, a bar their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter


def figure_size(rows: int) -> tuple[float, float]:
    """The figure's width and height in inches."""
    return 9, 1.2 + 0.33 * rows


def draw(
    figure: Figure, groups: Mapping[str, Sequence[float]], colors: Mapping[str, str] | None = None
) -> None:
    """Fill `figure` with groups of accuracies in 0..1, by label, from top to bottom.

    colors: those of groups that are to stand out, by label.
    """
    axes = figure.subplots()
    for row, (label, values) in enumerate(groups.items()):
        color = (colors or {}).get(label, "tab:blue")
        dots = {"alpha": 0.5, "markersize": 6, "markeredgewidth": 0}
        axes.plot(values, [row] * len(values), "o", color=color, **dots)
        middle = sum(values) / len(values)
        axes.plot([middle, middle], [row - 0.3, row + 0.3], color=color, linewidth=2)
    axes.set_yticks(range(len(groups)), groups)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_xlabel("final test accuracy: a dot a training, a bar their mean")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
