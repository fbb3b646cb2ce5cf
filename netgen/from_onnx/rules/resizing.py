"""Resize and Upsample.

Resizing is a linear map of the rows and another of the columns. They are found by resizing the
rows of the identity, whatever the mode, and then said in the simplest layers that give them:

    every value repeated        Upsample where the target has it, else a fixed Deconvolution
    bilinear, corners aligned   Interp where the target has it
    everything else             two fixed products: a 1x1 Convolution whose channels are the rows,
                                and an InnerProduct over the columns

Caffe's own idiom, a Deconvolution with the bilinear filler, has zeros outside of the image where
ONNX repeats the border, so that it gives other numbers there.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from netgen.from_onnx.errors import Refusal
from netgen.from_onnx.graph import Node
from netgen.from_onnx.model import require_onnx
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import fixed_convolution
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer


def _map(node: Node, axis: int) -> np.ndarray:
    """The (output, input) matrix of what a Resize does to an axis. Raises Refusal."""
    size, want = node.shape()[axis], node.out()[axis]
    if size == want and _scale(node, axis) in (None, 1.0):
        return np.eye(size)
    given = {name: value for name, value in node.attributes.items() if name in _ATTRIBUTES}
    return _resized_identity(
        size, want, _scale(node, axis), tuple(sorted(given.items())), node.op, node.graph.opset
    )


_ATTRIBUTES = (
    "mode",
    "coordinate_transformation_mode",
    "nearest_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "antialias",
)


def _scale(node: Node, axis: int) -> float | None:
    """The scale of an axis, None where only the size of the output is given."""
    index = 1 if node.op == "Upsample" or node.graph.opset < 11 else 2
    scales = node.setting("scales", index)
    if not scales:
        return None
    axes = node.get("axes") or range(len(node.shape()))
    return dict(zip(axes, scales, strict=True)).get(axis, 1.0)


@cache
def _resized_identity(
    size: int, want: int, scale: float | None, attributes: tuple, op: str, opset: int
) -> np.ndarray:
    onnx = require_onnx()
    from onnx.reference import ReferenceEvaluator

    given = dict(attributes)
    if op == "Upsample" or opset < 11:
        given["coordinate_transformation_mode"] = "asymmetric"
        given.setdefault("nearest_mode", "floor")
    helper, tensor = onnx.helper, onnx.TensorProto
    value = helper.make_tensor_value_info
    names = ["x", "", "scales"] if scale is not None else ["x", "", "", "sizes"]
    node = helper.make_node("Resize", names, ["y"], **given)
    inputs = [value("x", tensor.FLOAT, [size, size])]
    feeds = {"x": np.eye(size, dtype=np.float32)}
    if scale is not None:
        inputs.append(value("scales", tensor.FLOAT, [2]))
        feeds["scales"] = np.array([1, scale], np.float32)
    else:
        inputs.append(value("sizes", tensor.INT64, [2]))
        feeds["sizes"] = np.array([size, want], np.int64)
    graph = helper.make_graph([node], "resize", inputs, [value("y", tensor.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", max(opset, 13))])
    try:
        found = ReferenceEvaluator(model).run(None, feeds)[0]
    except Exception as error:
        raise Refusal(f"onnx cannot tell how it resizes: {error}") from None
    if found.shape != (size, want):
        raise Refusal(f"it makes {found.shape[1]} places of {size} where ONNX has {want}")
    return found.T.astype(np.float64)


class Resize(Rule):
    operators = ("Resize", "Upsample")

    def requires(self, node: Node, target: Target) -> None:
        require(len(node.shape()) == 4, "it does not resize images")
        require(node.shape()[:2] == node.out()[:2], "it resizes other axes than those of images")
        transformation = node.get("coordinate_transformation_mode", "half_pixel")
        require(transformation != "tf_crop_and_resize", "it crops while it resizes")
        policy = node.get("keep_aspect_ratio_policy", "stretch")
        require(policy == "stretch", f"it keeps the aspect ratio ({policy})")
        _map(node, 2), _map(node, 3)

    def apply(self, node: Node, net: Writer) -> Blob:
        bottom, rows, columns = net.input(node), _map(node, 2), _map(node, 3)
        _, channels, height, width = bottom.shape
        out = node.out()
        times = [out[2] // height, out[3] // width]
        if all(
            np.array_equal(found, np.repeat(np.eye(size), n, axis=0))
            for found, size, n in ((rows, height, times[0]), (columns, width, times[1]))
        ):
            return _repeated(net, bottom, times)
        aligned = [_aligned(size, want) for size, want in ((height, out[2]), (width, out[3]))]
        same = all(
            np.allclose(a, b, atol=1e-6) for a, b in zip(aligned, (rows, columns), strict=True)
        )
        if same and net.target.knows("Interp"):
            return net.layer("Interp", [bottom], height=out[2], width=out[3])
        return _by_products(net, bottom, rows, columns)


def _repeated(net: Writer, bottom: Blob, times: list[int]) -> Blob:
    """Every value as a block of so many rows and columns."""
    channels = bottom.shape[1]
    if times == [1, 1]:
        return bottom
    if net.target.knows("Upsample") and times[0] == times[1]:
        return net.layer("Upsample", [bottom], scale=times[0])
    window = {"kernel_size": times[0], "stride": times[0]}
    if times[0] != times[1]:
        names = ("kernel_h", "kernel_w", "stride_h", "stride_w")
        window = dict(zip(names, times * 2, strict=True))
    weight = np.ones((channels, 1, *times))
    return fixed_convolution(
        net, bottom, weight, kind="Deconvolution", group=channels,
        weight_filler={"type": "constant", "value": 1}, **window,
    )  # fmt: skip


def _aligned(size: int, want: int) -> np.ndarray:
    """The (want, size) matrix of linear interpolation with the corners on each other."""
    places = np.linspace(0, size - 1, want) if want > 1 else np.zeros(1)
    below = np.minimum(places.astype(int), max(size - 2, 0))
    found = np.zeros((want, size))
    found[np.arange(want), below] = 1 - (places - below)
    if size > 1:
        found[np.arange(want), below + 1] = places - below
    return found


def _by_products(net: Writer, bottom: Blob, rows: np.ndarray, columns: np.ndarray) -> Blob:
    """rows x columns^T for every channel's image x."""
    _, channels, height, width = bottom.shape
    top = bottom
    if not np.array_equal(rows, np.eye(height)):
        flat = [-1, height, 1, width]
        top = net.layer("Reshape", [top], "_as_channels", shape={"dim": flat})
        weight = rows.reshape(*rows.shape, 1, 1)
        top = fixed_convolution(net, top, weight, "_rows", kernel_size=1)
        whole = [-1, channels, len(rows), width]
        top = net.layer("Reshape", [top], "_as_rows", shape={"dim": whole})
    return net.layer(
        "InnerProduct", [top], weights=[columns], frozen=True, num_output=len(columns),
        bias_term=False, axis=3,
    )  # fmt: skip
