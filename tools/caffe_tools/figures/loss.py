"""Draw trainings into one matplotlib figure: losses above, test accuracies below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from netgen.errors import printable
from runner.log import LogError, Run, Series

Trainings = Mapping[str, Run]

LOG_SCALE_FROM = 20  # losses that span more than this factor get a logarithmic axis
FEW_POINTS = 30  # curves of fewer points show them as dots
MOST_ABOVE = 5  # legends of more entries than this would leave the curves too little room
LEGEND_CHARACTERS = 120  # what fits beside each other above a panel, with 8 for each line drawn
TRAIN = {"linewidth": 0.9}
TEST = {"linewidth": 1.6, "linestyle": "--"}
TEST_DASHES = ["--", ":", "-."]  # of one log's test nets
DASHES = ["-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5))]  # of one log's accuracies
STAR = {"marker": "*", "markersize": 12, "markeredgecolor": "white"}
UNITS = [(3 * 3600, 3600, "hours"), (3 * 60, 60, "minutes"), (0, 1, "seconds")]


def draw(
    figure: Figure,
    trainings: Trainings,
    average: int = 1,
    x: str = "iters",
    chain: bool = False,
) -> None:
    """Fill `figure` anew with trainings, by label.

    average: how many displayed values a point of the train loss is the mean of.
    x: `iters` or `seconds`. chain: each training begins where the one before it ended. Raises
    LogError if there are no seconds.
    """
    figure.clear()
    with_accuracy = any(training.accuracies() for training in trainings.values())
    panels = figure.subplots(1 + with_accuracy, 1, sharex=True, squeeze=False)[:, 0]
    axis = _XAxis(x, trainings, chain)
    colors = dict(zip(trainings, _colors(len(trainings)), strict=True))
    states = _losses(panels[0], trainings, colors, axis, average)
    bests = _accuracies(panels[1], trainings, colors, axis) if with_accuracy else {}
    tests = {series.label: None for run in trainings.values() for series in run.test_losses()}
    shown = [printable(label.replace("test loss", "test")) for label in tests]
    _legends(figure, panels, colors, states, bests, shown, average)
    axis.label(panels)
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)


def running_mean(values: np.ndarray, count: int) -> np.ndarray:
    """Mean of the last `count` finite values up to each point (fewer at the start).

    values: (N,) floats; a nan or infinite value gives nan there and is left out elsewhere.
    """
    if count <= 1:
        return values
    finite = np.isfinite(values)
    sums = np.cumsum(np.concatenate([np.zeros(count), np.where(finite, values, 0.0)]))
    counts = np.cumsum(np.concatenate([np.zeros(count), finite]))
    with np.errstate(invalid="ignore"):
        means = (sums[count:] - sums[:-count]) / (counts[count:] - counts[:-count])
    return np.where(finite, means, np.nan)


def thin(at: np.ndarray, values: np.ndarray, most: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    """The curve with at most about `most` points: lowest and highest of each stretch.

    at, values: (N,) floats. Spikes stay, as do gaps (nan) as long as a stretch.
    """
    stretch = -(-2 * len(values) // most)
    if stretch <= 2:
        return at, values
    whole = len(values) // stretch * stretch
    folded = values[:whole].reshape(-1, stretch)
    starts = np.arange(0, whole, stretch)
    lowest = starts + np.where(np.isnan(folded), np.inf, folded).argmin(axis=1)
    highest = starts + np.where(np.isnan(folded), -np.inf, folded).argmax(axis=1)
    kept = np.unique([*lowest, *highest, *range(whole, len(values))])
    return at[kept], values[kept]


class _XAxis:
    """Where the points of a series lie, and what the axis says."""

    def __init__(self, x: str, trainings: Trainings, chain: bool = False):
        self.seconds = x == "seconds"
        untimed = [label for label, training in trainings.items() if isnan(training.seconds)]
        if self.seconds and untimed:
            raise LogError(f"{untimed[0]}: a log without time stamps; leave out --x seconds")
        lengths = [
            training.seconds if self.seconds else training.last_iteration
            for training in trainings.values()
        ]
        ends = np.cumsum(lengths) if chain else np.array(lengths)
        starts = ends - lengths if chain else np.zeros(len(ends))
        #: where each training begins
        self.starts = dict(zip(trainings, starts.tolist(), strict=True))
        longest = ends.max()
        self.unit = next((unit for unit in UNITS if longest >= unit[0]), UNITS[-1])
        self._divisor = self.unit[1] if self.seconds else 1

    def points(self, label: str, series: Series) -> tuple[np.ndarray, np.ndarray]:
        at = np.array(series.seconds if self.seconds else series.iterations, dtype=float)
        at = (at + self.starts[label]) / self._divisor
        return at, np.array(series.values, dtype=float)

    def label(self, panels: Sequence[Axes]) -> None:
        for start in filter(None, self.starts.values()):  # where one follows another
            for axes in panels:
                axes.axvline(start / self._divisor, color="0.7", linewidth=0.8, zorder=0)
        axes = panels[-1]
        if self.seconds:
            axes.set_xlabel(f"training time in {self.unit[2]}")
        else:
            axes.set_xlabel("iteration")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            left, right = axes.get_xlim()
            if right - left < 1:  # all at one iteration: no fractions of it beside it
                axes.set_xlim(left - 1, right + 1)


def _losses(
    axes: Axes, trainings: Trainings, colors: Mapping[str, Any], axis: _XAxis, average: int
) -> dict[str, str]:
    """Draw them; returns by label what is to be known of a training, or ""."""
    curves: list[np.ndarray] = []
    states: dict[str, str] = {}
    for label, training in trainings.items():
        color, states[label] = colors[label], ""
        if series := training.train_loss():
            at, values = axis.points(label, series)
            mean = running_mean(values, average)
            if average > 1:
                axes.plot(*thin(at, values), color=color, linewidth=0.6, alpha=0.25)
            axes.plot(*thin(at, mean), color=color, alpha=0.75, **TRAIN, **_dots(at))
            curves.append(mean)
            if len(values) and not np.isfinite(values[-1]):
                states[label] += f", {values[-1]:g} from {_diverged_at(series):,} on"
        for number, series in enumerate(training.test_losses()):
            at, values = axis.points(label, series)
            style = {**TEST, "linestyle": TEST_DASHES[number % len(TEST_DASHES)]}
            axes.plot(*thin(at, values), color=color, **style, **_dots(at))
            curves.append(values)
        if training.ended != "done":
            states[label] += f", {training.ended or 'now'} at iteration {training.last_iteration:,}"
    span = _span(curves)
    if span > LOG_SCALE_FROM:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 1e3 else (1,)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("loss")
    return states


def _accuracies(
    axes: Axes, trainings: Trainings, colors: Mapping[str, Any], axis: _XAxis
) -> dict[str, list[tuple[dict, str]]]:
    """Draw them; returns for each label the style of every curve, and its best in words."""
    bests = {label: [] for label in trainings}
    for label, training in trainings.items():
        for number, series in enumerate(training.accuracies()):
            style = {"color": colors[label], "linestyle": DASHES[number % len(DASHES)]}
            at, values = axis.points(label, series)
            axes.plot(*thin(at, values), linewidth=1.4, **style, **_dots(at))
            best = series.best()
            if best is not None:
                axes.plot(at[best], values[best], **style, **STAR)
                text = f"best {printable(series.label)} {values[best]:.6g} at {series.iterations[best]:,}"
                if axis.starts[label]:
                    text += " of its own"
                bests[label].append((style, text))
    axes.set_ylabel("test accuracy")
    return bests


def _legends(
    figure: Figure,
    panels: Sequence[Axes],
    colors: Mapping[str, Any],
    states: Mapping[str, str],
    bests: Mapping[str, list[tuple[dict, str]]],
    tests: Sequence[str],
    average: int,
) -> None:
    """Add a legend above each panel, or a joint one beside them if that would be too much."""
    train = "train" if average == 1 else f"train, mean of {average}"
    phases = [Line2D([], [], color="0.3", label=train, **TRAIN)]
    for number, label in enumerate(tests or ["test"]):
        style = {**TEST, "linestyle": TEST_DASHES[number % len(TEST_DASHES)]}
        phases.append(Line2D([], [], color="0.3", label=label, **style))
    above = max(len(colors) + 2, sum(map(len, bests.values()))) <= MOST_ABOVE
    nets, curves = [], []
    for label, color in colors.items():
        name = label + states[label]
        nets.append(Line2D([], [], color=color, label=name))
        for style, text in bests.get(label, []):
            text = f"{label if above else name}: {text}"
            curves.append(Line2D([], [], label=text, **style, **STAR))
        if not bests.get(label):
            curves.append(nets[-1])
    options: dict[str, Any] = {"fontsize": "small" if above else "x-small", "handlelength": 3.5}
    if not above:
        figure.legend(handles=[*curves, *phases], loc="outside right upper", **options)
        return
    _legend(panels[0], [*nets, *phases], options)
    if len(panels) > 1:
        _legend(panels[1], curves, options)


def _legend(axes: Axes, handles: Sequence[Line2D], options: Mapping[str, Any]) -> None:
    """A legend above the panel, where it covers no curve, in as many columns as fit."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, LEGEND_CHARACTERS // (longest + 8))
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "frameon": False}
    axes.legend(handles=handles, ncols=columns, **place, **options)


def _colors(count: int) -> Sequence:
    if count <= 10:
        return colormaps["tab10"].colors[:count]
    return [colormaps["turbo"](value) for value in np.linspace(0.05, 0.95, count)]


def _dots(at: np.ndarray) -> dict[str, Any]:
    return {"marker": "o", "markersize": 3} if len(at) < FEW_POINTS else {}


def _diverged_at(series: Series) -> int:
    """The iteration from which on there is not one finite value."""
    finite = np.isfinite(np.array(series.values, dtype=float))
    first = len(finite) - np.argmax(finite[::-1]) if finite.any() else 0
    return series.iterations[first]


def _span(curves: Sequence[np.ndarray]) -> float:
    """The highest value over the lowest but for outliers; 1 if not all are positive."""
    values = np.concatenate([*curves, [np.nan]])
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    if len(positive) < 0.99 * len(values) or not len(positive):
        return 1
    low, high = np.percentile(positive, [1, 100])
    return high / low
