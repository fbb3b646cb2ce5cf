"""Which figures a study's report has: curves of the trainings, and all final accuracies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from caffe_tools.figures import finals as final_accuracies
from caffe_tools.figures import loss
from caffe_tools.figures.view import Picture
from study.arms import BASELINE, SPLIT
from study.results import Result
from study.statistics import Group

COLORS = {BASELINE: "tab:gray", SPLIT: "tab:orange"}


def curves(folder: str, results: Sequence[Result]) -> dict[int, str]:
    """Write a figure of losses and accuracies for each seed; returns their file names."""
    files = {}
    for seed in sorted({result.training.seed for result in results}):
        runs = {r.training.label: r.log for r in results if r.training.seed == seed}
        files[seed] = f"curves_seed{seed}.png"
        size = (10, 7.5) if len(runs) < 4 else (14, 7.5)
        Picture(os.path.join(folder, files[seed]), loss.draw, size).show(runs)
    return files


def finals(folder: str, groups: Sequence[Group]) -> str:
    """Write the figure of all final accuracies, a row for each group; returns its file name."""
    name = "final.png"
    colors = {group.label: COLORS[group.arm] for group in groups if group.arm in COLORS}
    draw = partial(final_accuracies.draw, colors=colors)
    view = Picture(os.path.join(folder, name), draw, final_accuracies.figure_size(len(groups)))
    view.show({group.label: group.values("final") for group in groups})
    return name
