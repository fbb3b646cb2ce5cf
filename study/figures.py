"""The figures of a study's report. Axes show what is of interest, and never chance to 100 %."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from caffe_tools.figures import finals as final_accuracies
from caffe_tools.figures import loss
from caffe_tools.figures.view import Picture
from study.arms import BASELINE, RESTART, SPLIT
from study.effects import Effect
from study.results import Group, Result
from study.trainings import label

COLORS = {BASELINE: "tab:gray", SPLIT: "tab:orange", RESTART: "tab:blue"}
OTHERS = ("tab:green", "tab:red", "tab:purple", "tab:brown", "tab:pink", "tab:olive", "tab:cyan")
REST = "0.35"  # of all other arms, where the rows of a figure tell them apart
MARKERS = "osD^v<>pPX*"


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
    """Write the figure of the final accuracies, a row for each group; returns its file name.

    Those of trainings that collapsed are left out: they would leave the others no room.
    """
    colors = {group.label: COLORS.get(group.arm, REST) for group in groups}
    shown = {
        group.label: [r.final for r in group.results if not r.collapsed]
        for group in groups
        if len(group.collapsed()) < len(group.results)
    }
    draw = partial(final_accuracies.draw, colors=colors)
    return _write(folder, "final.png", draw, shown, final_accuracies.figure_size(len(shown)))


def intervals(folder: str, effects: Sequence[Effect], claim: float) -> str:
    """Write the figure of effects with their intervals, a row each; returns its file name.

    The axis is on the seeds: of two, which have wide intervals, these run out of the figure.
    """

    def draw(figure: Figure, shown: Sequence[Effect]) -> None:
        axes = figure.subplots()
        for row, effect in enumerate(shown):
            color = COLORS.get(effect.other.arm, REST) if row else COLORS[SPLIT]
            axes.plot(effect.values, [row] * len(effect.values), "o", color=color, alpha=0.35)
            found = effect.final
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [row, row], color=color, linewidth=2)
            axes.plot(found.mean, row, "D", color=color, markersize=7)
        axes.axvline(0, color="0.5", linewidth=0.8)
        axes.axvline(claim, color="0.5", linewidth=0.8, linestyle="--", label="the claim")
        axes.set_yticks(range(len(shown)), [effect.label for effect in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        points = [0.0, claim, *(value for effect in shown for value in effect.values)]
        ends = [end for e in shown for end in (e.final.low, e.final.high) if end is not None]
        room = max(points) - min(points)
        left = max(min(points) - room, min([*points, *ends]))
        right = min(max(points) + room, max([*points, *ends]))
        axes.set_xlim(left - 0.05 * room, right + 0.05 * room)
        axes.set_xlabel("points of final accuracy: a dot a seed, a diamond their mean, a line 95 %")
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
        _plain(axes)

    return _write(folder, "intervals.png", draw, effects, (9, 1.6 + 0.33 * len(effects)))


def costs(folder: str, groups: Sequence[Group]) -> str:
    """Write the figure of accuracy against what it cost; returns its file name.

    A training has cost what it and the trainings that it goes on from have.
    """

    def draw(figure: Figure, shown: Sequence[Group]) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        longest = max(r.in_all("seconds") for group in shown for r in group.results)
        unit, seconds = ("hours", 3600) if longest > 3 * 3600 else ("minutes", 60)
        for number, group in enumerate(shown):
            color = COLORS.get(group.arm, OTHERS[number % len(OTHERS)])
            style: dict[str, Any] = {"color": color, "alpha": 0.7, "linestyle": "none"}
            style |= {"marker": MARKERS[number % len(MARKERS)]}
            found = [r for r in group.results if not r.collapsed]
            final = [r.final for r in found]
            flops = [r.in_all("flops") for r in found]
            left.plot(flops, final, label=group.label, **style)
            right.plot([r.in_all("seconds") / seconds for r in found], final, **style)
        left.set_xlabel("FLOPs of all training, parents' included")
        left.xaxis.set_major_formatter(EngFormatter(sep=""))
        right.set_xlabel(f"{unit} of wall time, parents' included")
        left.set_ylabel("final test accuracy")
        left.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        figure.legend(loc="outside right upper", fontsize="small", frameon=False)
        _plain(left)
        _plain(right)

    shown = [group for group in groups if len(group.collapsed()) < len(group.results)]
    return _write(folder, "costs.png", draw, shown, (12, 4.5))


def chains(folder: str, results: Sequence[Result]) -> str:
    """Write the figure of the parents' accuracy and what became of it; returns its file name.

    Parent and child are one line, the child's iterations behind the parent's, and the restart of
    the parent beside it.
    """

    def draw(figure: Figure, shown: Sequence[Result]) -> None:
        axes, named, seen = figure.subplots(), set(), []
        for result in shown:
            begin = result.training.begin  # a training that goes on counts on as well
            before = 0 if begin else sum(r.log.last_iteration for r in result.history[:-1])
            series = result.log.accuracies()[0]
            points = [
                (before + at, value)
                for at, value in zip(series.iterations, series.values, strict=True)
                if value is not None and value == value
            ]
            arm, number = result.training.arm, result.training.round
            name = None if (number, arm) in named else label(number, arm.name)
            named.add((number, arm))
            axes.plot(*zip(*points, strict=True), color=COLORS[arm], linewidth=1, label=name)
            begins = 0 if result.training.start else len(points) // 3
            seen += [value for _, value in points[begins:]]
            if before or begin:
                axes.axvline(before or begin, color="0.8", linewidth=0.8, zorder=0)
        room = 0.05 * (max(seen) - min(seen)) or 0.01
        axes.set_ylim(min(seen) - room, max(seen) + room)
        axes.set_xlabel("iteration, a child's behind its parent's: a line a seed")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_ylabel("test accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        figure.legend(loc="outside right upper", fontsize="small", frameon=False)
        _plain(axes)

    shown = [r for r in results if r.training.arm in COLORS and not r.collapsed]
    return _write(folder, "chains.png", draw, shown, (11, 5))


def _write(
    folder: str,
    name: str,
    draw: Callable[[Figure, Any], None],
    shown: Any,
    size: tuple[float, float],
) -> str:
    Picture(os.path.join(folder, name), draw, size).show(shown)
    return name


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
