"""The shapes, parameters and multiply-adds of a net."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from netgen import graph
from netgen.errors import printable
from netgen.schema import caffe_pb

DEFINITIONS = (
    "Parameters: the values of all learnable blobs, biases and BatchNorm's three statistics "
    "included; shared blobs are counted with the layer that owns them. Multiply-adds: products "
    "with the weights of convolutions, deconvolutions, inner products, LSTM and RNN in one "
    "forward pass of one image; biases, pooling, normalisation and elementwise work count "
    "nothing. An image is one item of the first axis of the net's first blob."
)


def describe(
    net: caffe_pb.NetParameter,
    phase: int,
    level: int = 0,
    stages: Iterable[str] = (),
    input_shape: tuple[int, ...] | None = None,
    blob_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, Any]:
    """What the command prints, as a dict of plain values (its --json form).

    net: NetParameter in current format. phase: caffe_pb.TRAIN or TEST. level, stages: the rest of
    the NetState, beside the net's own `state`. input_shape: (C, H, W) of one record, or None to
    look into each layer's source. blob_shapes: {blob: shape} of blobs whose shapes the net leaves
    open.
    DEFINITIONS says what is counted. Raises NetError.
    """
    net = graph.in_phase(net, phase, level, stages)
    infos = graph.infer(net, phase, input_shape or graph.record_shape, blob_shapes)
    owners = graph.param_owners((info.layer, info.shapes.params) for info in infos)
    batch = next((s[0] for info in infos for s in info.shapes.tops if s), 1) or 1
    notes = [f"layer '{i.layer.name}': {i.shapes.note}" for i in infos if i.shapes.note]
    layers = []
    for i, info in enumerate(infos):
        params = [
            {
                "shape": list(shape),
                "count": prod(shape),
                "owner": None if owner == (i, j) else infos[owner[0]].layer.name,
            }
            for j, (shape, owner) in enumerate(zip(info.shapes.params, owners[i], strict=True))
        ]
        layers.append(
            {
                "name": info.layer.name,
                "type": info.layer.type,
                "bottoms": list(info.layer.bottom),
                "tops": list(info.layer.top),
                "top_shapes": [list(shape) for shape in info.shapes.tops],
                "params": params,
                "parameters": sum(p["count"] for p in params if p["owner"] is None),
                "multiply_adds": info.shapes.macs,
                "multiply_adds_per_image": _ratio(info.shapes.macs, batch),
            }
        )
    macs = sum(layer["multiply_adds"] for layer in layers)
    return {
        "name": net.name,
        "phase": caffe_pb.Phase.Name(phase),
        "level": net.state.level,
        "stages": list(net.state.stage),
        "batch_size": batch,
        "notes": notes,
        "layers": layers,
        "totals": {
            "layers": len(layers),
            "parameters": sum(layer["parameters"] for layer in layers),
            "multiply_adds": macs,
            "multiply_adds_per_image": _ratio(macs, batch),
        },
    }


def _ratio(total: int, batch: int) -> int | float:
    """total / batch, an int when it is whole."""
    return total // batch if total % batch == 0 else total / batch


def table(described: dict[str, Any], width: int = 100) -> list[str]:
    """The lines of the table, at most `width` characters wide unless numbers need more."""
    rows = [("layer", "type", "top shape", "parameters", "multiply-adds")]
    for layer in described["layers"]:
        owners = sorted({p["owner"] for p in layer["params"] if p["owner"]})
        count = layer["parameters"]
        rows.append(
            (
                printable(layer["name"]),
                layer["type"],
                _shapes(layer["top_shapes"]),
                f"{count:,}" if count or not owners else f"= {', '.join(owners)}",
                f"{layer['multiply_adds_per_image']:,.0f}",
            )
        )
    totals = described["totals"]
    rows.append(
        (
            f"{totals['layers']} layers",
            "",
            "",
            f"{totals['parameters']:,}",
            f"{totals['multiply_adds_per_image']:,.0f}",
        )
    )
    rows = [[cell if cell != "0" else "-" for cell in row] for row in rows]
    sizes = [max(len(row[i]) for row in rows) for i in range(5)]
    for i, least in ((0, 16), (2, 12), (3, 12), (1, 8)):  # the columns that may give room
        sizes[i] = max(min(sizes[i], least), sizes[i] - max(0, sum(sizes) + 8 - width))
    rule = "  ".join("-" * size for size in sizes)
    lines = [
        "  ".join(_cell(cell, sizes[i], right=i > 2) for i, cell in enumerate(row)).rstrip()
        for row in rows
    ]
    macs = totals["multiply_adds_per_image"] / 1e6
    summary = (
        f"{totals['parameters']:,} parameters, {macs:,.1f} M multiply-adds per image "
        f"(phase {described['phase']}, batch {described['batch_size']})"
    )
    return [lines[0], rule, *lines[1:-1], rule, lines[-1], "", summary]


def _cell(text: str, size: int, right: bool) -> str:
    if len(text) > size:
        keep = size - 2
        text = f"{text[: keep // 2]}..{text[len(text) - (keep - keep // 2) :]}"
    return text.rjust(size) if right else text.ljust(size)


def _shapes(shapes: Iterable[Iterable[int]]) -> str:
    """`128x3x32x32, 128`; equal ones in a row are `2*(128x48x16x16)`; () is `scalar`."""
    parts = []
    for shape in shapes:
        text = "x".join(map(str, shape)) or "scalar"
        if parts and parts[-1][1] == text:
            parts[-1][0] += 1
        else:
            parts.append([1, text])
    return ", ".join(text if n == 1 else f"{n}*({text})" for n, text in parts)
