"""Draw a TPM measurement: a row a layer, its kernels' histogram left, its entropy right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from netgen.errors import printable
from netgen.growth import LayerMeasurement, LayerPlan, Measurement

Picks = Mapping[str, LayerPlan]  # by layer

FAST, SLOW, REST, PICK = "tab:orange", "tab:blue", "0.8", "0.55"
ROW = 0.85  # of the space of a row that its highest bar fills


def figure_size(measured: Measurement) -> tuple[float, float]:
    """The width that the names need and the height that the layers need, in inches."""
    longest = max(len(_label(layer)) for layer in measured.layers)
    return 9.5 + 0.08 * longest, 1.9 + 0.42 * len(measured.layers)


def draw(
    figure: Figure,
    measured: Measurement,
    picks: Picks,
    mean: float,
    thresholds: Sequence[float] | None = None,
) -> None:
    """Fill `figure` with a measurement.

    picks: the layers to split, which are in colour. mean: of the corrected entropies, drawn as a
    line. thresholds: from where on each layer is chosen, a line in its row; None where picks were
    named, not chosen.
    """
    layers = measured.layers
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(5, 2))
    edges = np.linspace(0, 1, measured.bins + 1)
    for row, layer in enumerate(layers):
        plan = picks.get(layer.name)
        _histogram(left, row, layer, edges, plan)
        middle = row - ROW / 2
        right.barh(middle, layer.corrected_entropy, height=0.55 * ROW, color=PICK if plan else REST)
        right.text(
            1,
            middle,
            f"{layer.corrected_entropy:.2f}",
            transform=right.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize="small",
        )
    left.set(
        xlim=(0, 1),
        ylim=(len(layers) - 0.8, -1.05),
        xlabel="TPM of a kernel: 1 straight, 0 nowhere",
    )
    left.set_yticks(np.arange(len(layers)) - ROW / 2, map(_label, layers))
    for tick, layer in zip(left.get_yticklabels(), layers, strict=True):
        tick.set_fontweight("bold" if layer.name in picks else "normal")
    right.set(xlabel="entropy, corrected (nats)")
    highest = max(mean, *(thresholds or ()), *(layer.corrected_entropy for layer in layers))
    right.set_xlim(0, 1.3 * highest or 1)  # room for the numbers
    right.axvline(mean, color="black", linewidth=1, linestyle=":")
    for row, threshold in enumerate(thresholds or ()):
        right.plot([threshold] * 2, [row - 0.95, row], color="black", linewidth=1, linestyle="--")
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(_title(measured), fontsize="medium")
    figure.legend(
        handles=_legend(picks, mean, bool(thresholds)),
        loc="outside lower center",
        ncols=5,
        fontsize="small",
        frameon=False,
    )


def _histogram(
    axes: Axes, row: int, layer: LayerMeasurement, edges: np.ndarray, plan: LayerPlan | None
) -> None:
    """Draw bars on a line of their own; the highest bar of every layer is ROW high."""
    highest = max(layer.histogram)
    parts = [(range(layer.num_output), REST)]
    if plan:
        parts = [(plan.slow, SLOW), (plan.fast, FAST)]
    floor = np.full(len(edges) - 1, float(row))
    for channels, color in parts:
        counts = np.histogram([layer.tpm[c] for c in channels], edges)[0] * ROW / highest
        floor -= counts
        axes.bar(
            edges[:-1],
            counts,
            np.diff(edges),
            floor,
            align="edge",
            color=color,
            edgecolor="white",
            linewidth=0.5,
        )
    axes.axhline(row, color="0.4", linewidth=0.5)


def _label(layer: LayerMeasurement) -> str:
    dead = f", {sum(layer.dead)} dead" if any(layer.dead) else ""
    return f"{printable(layer.name)} ({layer.num_output}{dead})"


def _title(measured: Measurement) -> str:
    first, last = measured.window
    title = f"{printable(measured.net) or 'net'}: TPM from iteration {first:,} to {last:,}"
    if measured.rate_drops:
        title += ", with a drop of the learning rate inside"
    return title


def _legend(picks: Picks, mean: float, chosen: bool) -> list[Artist]:
    handles = []
    if picks:
        handles += [Patch(color=FAST, label="fast"), Patch(color=SLOW, label="slow")]
    handles += [
        Patch(color=REST, label="not split"),
        Line2D([], [], color="black", linestyle=":", label=f"mean {mean:.3g}"),
    ]
    if chosen:
        handles.append(Line2D([], [], color="black", linestyle="--", label="threshold"))
    return handles
