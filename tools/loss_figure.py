"""Draw trainings into one matplotlib figure: losses above, test accuracies below."""

import numpy as np
from matplotlib import colormaps
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

LOG_SCALE_FROM = 20  # losses that span more than this factor get a logarithmic axis
FEW_POINTS = 30  # curves of fewer points show them as dots
BESIDE_FROM = 5  # a legend of more entries goes beside its panel
DASHES = ["-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5))]  # of one log's accuracies
STAR = {"marker": "*", "markersize": 12, "markeredgecolor": "white"}
UNITS = [(3 * 3600, 3600, "hours"), (3 * 60, 60, "minutes"), (0, 1, "seconds")]


def draw(figure, trainings, average=1, x="iters"):
    """Fill `figure` anew with trainings, {label: Run}.

    average: how many displayed values a point of the train loss is the mean of;
    x: `iters` or `seconds`.
    """
    figure.clear()
    with_accuracy = any(training.accuracies() for training in trainings.values())
    panels = figure.subplots(1 + with_accuracy, 1, sharex=True, squeeze=False)[:, 0]
    axis = _XAxis(x, trainings)
    colors = dict(zip(trainings, _colors(len(trainings)), strict=True))
    _losses(panels[0], trainings, colors, axis, average)
    if with_accuracy:
        _accuracies(panels[1], trainings, colors, axis)
    axis.label(panels[-1])
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)


def running_mean(values, count):
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


class _XAxis:
    """Where the points of a series lie, and what the axis says."""

    def __init__(self, x, trainings):
        self.seconds = x == "seconds"
        longest = max(training.seconds for training in trainings.values())
        self.unit = next((unit for unit in UNITS if longest >= unit[0]), UNITS[-1])

    def points(self, series):
        at = series.seconds if self.seconds else series.iterations
        at = np.array(at, dtype=float) / (self.unit[1] if self.seconds else 1)
        return at, np.array(series.values, dtype=float)

    def label(self, axes):
        if self.seconds:
            axes.set_xlabel(f"training time in {self.unit[2]}")
        else:
            axes.set_xlabel("iteration")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            if axes.dataLim.width == 0:  # one point: no fractions of an iteration beside it
                axes.set_xlim(axes.dataLim.x0 - 1, axes.dataLim.x0 + 1, auto=None)


def _losses(axes, trainings, colors, axis, average):
    curves, handles = [], []
    for label, training in trainings.items():
        color, note = colors[label], ""
        if series := training.train_loss():
            at, values = axis.points(series)
            mean = running_mean(values, average)
            if average > 1:
                axes.plot(at, values, color=color, linewidth=0.6, alpha=0.25)
            axes.plot(at, mean, color=color, linewidth=0.9, alpha=0.75, **_dots(at))
            curves.append(mean)
            if len(values) and not np.isfinite(values[-1]):
                note = f", {values[-1]:g} from {_diverged_at(series):,} on"
        for series in training.test_losses():
            at, values = axis.points(series)
            axes.plot(at, values, color=color, linewidth=1.6, linestyle="--", **_dots(at))
            curves.append(values)
        if not training.ended:
            note += f", at iteration {training.last_iteration:,}"
        handles.append(Line2D([], [], color=color, label=label + note))
    train = "train" if average == 1 else f"train, mean of {average}"
    handles += [
        Line2D([], [], color="0.3", linewidth=0.9, label=train),
        Line2D([], [], color="0.3", linewidth=1.6, linestyle="--", label="test"),
    ]
    if _spans_decades(curves):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("loss")
    _legend(axes, handles, "upper")


def _accuracies(axes, trainings, colors, axis):
    handles = []
    for label, training in trainings.items():
        for number, series in enumerate(training.accuracies()):
            style = {"color": colors[label], "linestyle": DASHES[number % len(DASHES)]}
            at, values = axis.points(series)
            axes.plot(at, values, linewidth=1.4, **style, **_dots(at))
            best = series.best()
            if best is not None:
                axes.plot(at[best], values[best], **style, **STAR)
                text = f"{label}: best {series.label} {values[best]:.4g}"
                text += f" at {series.iterations[best]:,}"
                handles.append(Line2D([], [], label=text, **style, **STAR))
    axes.set_ylabel("test accuracy")
    _legend(axes, handles, "lower")


def _legend(axes, handles, side):
    if len(handles) > BESIDE_FROM:
        corner = 1.0 if side == "upper" else 0.0
        place = {"loc": f"{side} left", "bbox_to_anchor": (1.01, corner), "borderaxespad": 0}
    else:
        place = {"loc": f"{side} right"}
    size = "small" if len(handles) < 12 else "x-small"
    axes.legend(handles=handles, fontsize=size, handlelength=3.5, **place)


def _colors(count):
    if count <= 10:
        return colormaps["tab10"].colors[:count]
    return [colormaps["turbo"](value) for value in np.linspace(0.05, 0.95, count)]


def _dots(at):
    return {"marker": "o", "markersize": 3} if len(at) < FEW_POINTS else {}


def _diverged_at(series):
    """The iteration from which on there is not one finite value."""
    finite = np.isfinite(np.array(series.values, dtype=float))
    first = len(finite) - np.argmax(finite[::-1]) if finite.any() else 0
    return series.iterations[first]


def _spans_decades(curves):
    values = np.concatenate([*curves, [np.nan]])
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    if len(positive) < 0.99 * len(values) or not len(positive):
        return False
    low, high = np.percentile(positive, [1, 100])
    return high / low > LOG_SCALE_FROM
