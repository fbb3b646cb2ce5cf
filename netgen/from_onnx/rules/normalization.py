"""Normalisations, Softmax among them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from netgen.from_onnx.graph import Node
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import axis_field, reshaped
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer
from netgen.schema import caffe_pb

_EPS = 1e-5


def _eps(eps: float) -> dict[str, float]:
    return {} if np.float32(eps) == np.float32(_EPS) else {"eps": eps}


def affine(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """The factor and the shift that a BatchNormalization is once it has learned."""
    gamma, beta, mean, var = (np.float64(node.weights(i, "statistics")) for i in range(1, 5))
    factor = gamma / np.sqrt(var + node.get("epsilon", _EPS))
    return factor, beta - mean * factor


class BatchNormalization(Rule):
    """BatchNorm and Scale where the model is to be trained on, else the Scale that both are.

    A convolution before it takes it in (see passes.py).
    """

    operators = ("BatchNormalization",)

    def requires(self, node: Node, target: Target) -> None:
        require(not node.get("training_mode"), "it normalises by its batch while it is tested")
        require(node.get("spatial", 1), "it normalises every place by itself")
        require(not any(node.used(i) for i in range(1, len(node.outputs))), "its mean is read")
        require(len(node.shape()) >= 2, "it has no channels")
        affine(node)

    def apply(self, node: Node, net: Writer) -> Blob:
        bottom = net.input(node)
        if not node.get("keep"):
            factor, shift = affine(node)
            return net.layer(
                "Scale", [bottom], weights=[factor, shift], in_place=True, bias_term=True
            )
        gamma, beta, mean, var = (node.weights(i, "statistics") for i in range(1, 5))
        top = net.layer(
            "BatchNorm", [bottom], weights=[mean, var, np.ones(1)], in_place=True,
            **_eps(node.get("epsilon", _EPS)),
        )  # fmt: skip
        return net.layer(
            "Scale", [top], "_scale", weights=[gamma, beta], in_place=True, bias_term=True
        )


def standardised(net: Writer, blob: Blob, groups: int, eps: float) -> Blob:
    """Each of `groups` consecutive parts of a blob, less its mean, divided by its deviation.

    It is a BatchNorm of one image with the statistics of that image, whose channels the groups
    are. MVN would divide by sqrt(variance) + eps where ONNX has sqrt(variance + eps). The Reshape
    is there even where it changes nothing: with another batch the net must not be one of fewer,
    larger groups.
    """
    whole = blob.shape
    one = [1, -1, prod(whole) // groups]
    top = net.layer("Reshape", [blob], "_groups", shape={"dim": one})
    top = net.layer(
        "BatchNorm",
        [top],
        "_statistics",
        weights=[np.zeros(groups), np.zeros(groups), np.zeros(1)],
        use_global_stats=False,
        **_eps(eps),
    )
    return reshaped(net, top, whole, "_all")


def _affine(net: Writer, blob: Blob, node: Node, weights: list[np.ndarray], axis: int) -> Blob:
    """scale x + shift over axes from `axis` on, unless both are a constant 1 and 0."""
    scale, *shift = weights
    learned = node.learned(1) or (node.has(2) and node.learned(2))
    if not learned and np.all(scale == 1) and not np.any(shift):
        return blob
    number = {} if scale.ndim == 1 else {"num_axes": scale.ndim}
    bias = {"bias_term": True} if shift else {}
    return net.layer(
        "Scale", [blob], "_scale", weights=weights, in_place=True, **axis_field(axis), **number,
        **bias,
    )  # fmt: skip


class InstanceNormalization(Rule):
    operators = ("InstanceNormalization",)

    def requires(self, node: Node, target: Target) -> None:
        node.weights(1, "scale"), node.weights(2, "bias")
        require(len(node.shape()) >= 3, "it has no spatial axes")

    def apply(self, node: Node, net: Writer) -> Blob:
        groups = prod(node.shape()[:2])
        top = standardised(net, net.input(node), groups, node.get("epsilon", _EPS))
        return _affine(net, top, node, [node.weights(i, "scale") for i in (1, 2)], 1)


class GroupNormalization(Rule):
    """Before opset 21 scale and bias are one a group, later one a channel."""

    operators = ("GroupNormalization",)

    def requires(self, node: Node, target: Target) -> None:
        node.weights(1, "scale"), node.weights(2, "bias")

    def apply(self, node: Node, net: Writer) -> Blob:
        images, channels = node.shape()[:2]
        groups = images * int(node.get("num_groups"))
        top = standardised(net, net.input(node), groups, node.get("epsilon", _EPS))
        weights = [node.weights(i, "scale") for i in (1, 2)]
        weights = [np.repeat(array, channels // len(array)) for array in weights]
        return _affine(net, top, node, weights, 1)


class LayerNormalization(Rule):
    """Over all axes from `axis` on."""

    operators = ("LayerNormalization",)

    def requires(self, node: Node, target: Target) -> None:
        require(not node.used(1) and not node.used(2), "its mean or deviation is read")
        for i in (i for i in (1, 2) if node.has(i)):
            node.weights(i, "scale")

    def apply(self, node: Node, net: Writer) -> Blob:
        axis, shape = node.axis(-1), node.shape()
        top = standardised(net, net.input(node), prod(shape[:axis]), node.get("epsilon", _EPS))
        weights = [
            np.broadcast_to(node.weights(i, "scale"), shape[axis:]) for i in (1, 2) if node.has(i)
        ]
        return _affine(net, top, node, weights, axis)


class MeanVarianceNormalization(Rule):
    """MVN: over the image of each channel, or over the whole image."""

    operators = ("MeanVarianceNormalization",)

    def requires(self, node: Node, target: Target) -> None:
        axes = tuple(node.get("axes", (0, 2, 3)))
        require(len(node.shape()) == 4, "MVN has four axes")
        require(axes in ((2, 3), (1, 2, 3)), f"MVN does not normalise over the axes {axes}")

    def apply(self, node: Node, net: Writer) -> Blob:
        across: dict[str, Any] = {"across_channels": True} if len(node.get("axes")) == 3 else {}
        return net.layer("MVN", [net.input(node)], **across)


class LRN(Rule):
    operators = ("LRN",)

    def requires(self, node: Node, target: Target) -> None:
        require(node.get("size") % 2, f"Caffe's LRN has an odd size ({node.get('size')})")
        require(len(node.shape()) == 4, "Caffe's LRN has four axes")

    def apply(self, node: Node, net: Writer) -> Blob:
        fields = {
            "local_size": (node.get("size"), 5),
            "alpha": (node.get("alpha", 1e-4), 1.0),
            "beta": (node.get("beta", 0.75), 0.75),
            "k": (node.get("bias", 1.0), 1.0),
        }
        own = {name: value for name, (value, default) in fields.items() if value != default}
        if node.get("within"):
            own["norm_region"] = caffe_pb.LRNParameter.WITHIN_CHANNEL
        return net.layer("LRN", [net.input(node)], **own)


class Softmax(Rule):
    """Before opset 13 it is over all axes from `axis` on, later over that axis alone."""

    operators = ("Softmax", "LogSoftmax")

    def apply(self, node: Node, net: Writer) -> Blob:
        bottom, shape = net.input(node), node.shape()
        old = node.graph.opset < 13
        axis = node.axis(1 if old else -1)
        if old and prod(shape[axis + 1 :]) > 1:
            flat = (*shape[:axis], prod(shape[axis:]))
            bottom = reshaped(net, bottom, flat, "_flat")
        logs = node.op == "LogSoftmax"
        suffix = "_softmax" if logs else ""
        top = net.layer("Softmax", [bottom], suffix, **axis_field(axis))
        if logs:
            top = net.layer("Log", [top])
        return reshaped(net, top, shape, "_axes")
