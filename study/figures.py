"""The figures of a study's report: curves of the trainings, and final accuracies side by side."""

import os

from matplotlib.ticker import PercentFormatter

from caffe_tools.figures.loss import draw
from caffe_tools.figures.view import Picture


def label(training):
    """How a training is called in figures and tables."""
    return training.arm if training.round == 0 else f"round {training.round} {training.arm}"


def curves(folder, results):
    """Write a figure of losses and accuracies a seed; returns {seed: file name}."""
    files = {}
    for seed in sorted({result.training.seed for result in results}):
        runs = {label(r.training): r.log for r in results if r.training.seed == seed}
        files[seed] = f"curves_seed{seed}.png"
        size = (10, 7.5) if len(runs) < 4 else (14, 7.5)
        Picture(os.path.join(folder, files[seed]), draw, size).show(runs)
    return files


def finals(folder, groups):
    """Write the figure of all final accuracies, a row a group; returns its file name."""
    name = "final.png"
    view = Picture(os.path.join(folder, name), _draw_finals, (9, 1.2 + 0.33 * len(groups)))
    view.show(groups)
    return name


def _draw_finals(figure, groups):
    axes = figure.subplots()
    for row, group in enumerate(groups):
        values = group.values("final")
        color = {"tpm": "tab:orange", "baseline": "tab:gray"}.get(group.arm, "tab:blue")
        axes.plot(
            values,
            [row] * len(values),
            "o",
            color=color,
            alpha=0.5,
            markersize=6,
            markeredgewidth=0,
        )
        middle = sum(values) / len(values)
        axes.plot([middle, middle], [row - 0.3, row + 0.3], color=color, linewidth=2)
    names = [
        group.arm if group.round == 0 else f"round {group.round} {group.arm}" for group in groups
    ]
    axes.set_yticks(range(len(groups)), names)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_xlabel("final test accuracy: a dot a training, a bar their mean")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
