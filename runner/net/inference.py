"""A net for use: a fixed path through a net of phase TEST on a CPU.

What does not change from call to call is done once: convolutions have their weights in the layout
that oneDNN computes with, a BatchNorm, Scale or Bias behind one is part of its weights, the
sum of two branches part of the convolution that comes last, and a ReLU works in place. Layers that hand on what
they get are left out. The other layers run as they always do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch

from netgen.schema import caffe_pb
from runner.layers.linear import Convolution, channels_last
from runner.net.net import Net
from runner.net.wiring import Node

#: layers whose tops depend on their bottoms and blobs alone, their shapes on those of the bottoms
STEADY = frozenset(
    {
        "AbsVal",
        "BNLL",
        "BatchNorm",
        "Bias",
        "Concat",
        "Convolution",
        "ConvolutionDepthwise",
        "Crop",
        "Deconvolution",
        "DepthwiseConvolution",
        "Dropout",
        "ELU",
        "Eltwise",
        "Exp",
        "Flatten",
        "InnerProduct",
        "Input",
        "LRN",
        "Log",
        "MVN",
        "Permute",
        "Pooling",
        "Power",
        "PReLU",
        "ReLU",
        "Reshape",
        "SPP",
        "Scale",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Swish",
        "TanH",
    }
)
#: layers that in phase TEST hand on what they get
HANDS_ON = ("Dropout", "Split")


class Call:
    """One layer, or several that are computed as one; bottoms and tops are numbers of values."""

    def __init__(self, node: Node, bottoms: list[int], tops: list[int]) -> None:
        self.node, self.bottoms, self.tops = node, bottoms, tops
        self.behind: list[Node] = []  # BatchNorm, Scale and Bias that are in its weights
        self.sums = self.rectified = False
        self.run: Callable[[list[torch.Tensor]], list[torch.Tensor]] = self._layer

    def _layer(self, bottoms: list[torch.Tensor]) -> list[torch.Tensor]:
        return self.node.layer.forward(bottoms, self.node.blobs)

    def pack(self, shape: list[int]) -> None:
        """Lay out a convolution's weights, those of what is behind it included.

        shape: of its bottom. Rounding apart, what `run` then gives is what the layers give.
        """
        weight, bias = _folded(self.node, self.behind)
        options = self.node.layer.options
        window = [list(options[name]) for name in ("padding", "stride", "dilation")]
        groups = options["groups"]
        reordered = torch._C._nn.mkldnn_reorder_conv2d_weight(
            weight.to_mkldnn(), *window, groups, shape
        )
        plain = torch.ops.mkldnn._convolution_pointwise.default
        binary = torch.ops.mkldnn._convolution_pointwise.binary
        # oneDNN's own ReLU makes 0 of a NaN, and a net that has overflowed would seem to be sound.
        end = torch.relu_ if self.rectified else lambda top: top

        def alone(bottoms):
            x = channels_last(bottoms[0])
            return [end(plain(x, reordered, bias, *window, groups, "none", [], ""))]

        def added(bottoms):
            x, other = map(channels_last, bottoms)
            top = binary(x, other, reordered, bias, *window, groups, "add", 1.0, None, [], None)
            return [end(top)]

        self.run = added if self.sums else alone


class Prepared:
    """The path through `net` to the blobs `wanted`, for the weights that it has now.

    batch: the size of the first axis that it is made for; others run as well.
    """

    def __init__(self, net: Net, wanted: Collection[str], batch: int) -> None:
        self._net = net
        self._calls, self._inputs, self._found = _calls(net, wanted)
        self._calls = _joined(self._calls, set(self._found.values()))
        self._blobs = [blob for node in net.nodes for blob in node.blobs]
        for call in self._calls:
            if _packable(call.node):
                bottom = call.node.bottoms[0]
                call.pack([batch, *net.blob_shapes[bottom][1:]])
        self._versions = self._current()

    def holds(self) -> bool:
        """Are the weights those that it was made of? Writes through NumPy are not seen."""
        return self._versions == self._current()

    def _current(self):
        blobs = [blob for node in self._net.nodes for blob in node.blobs]
        same = all(one is other for one, other in zip(blobs, self._blobs, strict=True))
        flat = self._net.parameters.data
        return same, flat._version, *(blob._version for blob in blobs)

    def __call__(self) -> dict[str, torch.Tensor]:
        """{name: values} of the wanted blobs, from what lies in the Input layers' blobs."""
        values: dict[int, torch.Tensor] = {
            number: self._net.blobs[name].tensor() for name, number in self._inputs.items()
        }
        for call in self._calls:
            tops = call.run([values[number] for number in call.bottoms])
            values.update(zip(call.tops, tops, strict=True))
        return {name: values[number] for name, number in self._found.items()}


def can_prepare(net: Net) -> bool:
    """Is a net one whose passes are the same each time, and does this PyTorch have oneDNN?"""
    return (
        net.phase == caffe_pb.TEST
        and net.context.device.type == "cpu"
        and net.context.precision == "fp32"
        and bool(net.nodes)
        and all(node.param.type in STEADY for node in net.nodes)
        and torch.backends.mkldnn.is_available()
        and hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    )


def _calls(net, wanted):
    """The layers as Calls, {input: number}, {wanted blob: number}; a number is written once."""
    numbers: dict[str, int] = {}
    inputs: dict[str, int] = {}
    calls, count = [], 0
    for node in net.nodes:
        bottoms = [numbers[name] for name in node.bottoms]
        if node.param.type in HANDS_ON:
            tops = bottoms * len(node.tops)
        else:
            tops = list(range(count, count + len(node.tops)))
            count += len(tops)
            if node.param.type == "Input":
                inputs.update(zip(node.tops, tops, strict=True))
            else:
                calls.append(Call(node, bottoms, tops))
        numbers.update(zip(node.tops, tops, strict=True))
    return calls, inputs, {name: numbers[name] for name in wanted}


def _joined(calls, kept):
    """The calls with what follows a convolution joined to it; `kept` numbers are not joined away.

    A joined call runs where the last of its layers did.
    """
    readers: dict[int, list[Call]] = {}
    for call in calls:
        for number in call.bottoms:
            readers.setdefault(number, []).append(call)
    gone, place = set(), {id(call): index for index, call in enumerate(calls)}
    for call in calls:
        if id(call) in gone or not _packable(call.node):
            continue
        while len(readers.get(call.tops[0], ())) == 1 and call.tops[0] not in kept:
            (after,) = readers[call.tops[0]]
            if not _join(call, after):
                break
            gone.add(id(after))
            for number in after.bottoms:
                if number != call.tops[0]:
                    readers[number] = [call if one is after else one for one in readers[number]]
            call.tops = after.tops
            place[id(call)] = place[id(after)]
    left = [call for call in calls if id(call) not in gone]
    return sorted(left, key=lambda call: place[id(call)])


def _join(call, after):
    """Let `call` do what `after` does to its top as well, if it can."""
    param = after.node.param
    if call.rectified:
        return False
    if param.type == "ReLU" and not (param.relu_param.negative_slope or param.relu_param.relu6):
        call.rectified = True
    elif call.sums:
        return False
    elif _scales_channels(after.node):
        call.behind.append(after.node)
    elif (
        param.type == "Eltwise"
        and param.eltwise_param.operation == caffe_pb.EltwiseParameter.SUM
        and len(after.bottoms) == 2
        and after.bottoms[0] != after.bottoms[1]
        and not after.node.layer.in_place  # which, as in Caffe, is another sum
        and set(after.node.layer.coefficients) == {1.0}
    ):
        call.sums = True
        call.bottoms += [number for number in after.bottoms if number != call.tops[0]]
    else:
        return False
    return True


def _packable(node: Node) -> bool:
    """Is it a convolution over images, with one bottom and equal margins?"""
    layer: Any = node.layer
    return (
        isinstance(layer, Convolution)
        and node.param.type != "Deconvolution"
        and layer.spatial == 2
        and layer.axis == 1
        and len(node.bottom_shapes[0]) == 4
        and len(node.bottoms) == 1
        and not layer.overhang
    )


def _scales_channels(node: Node) -> bool:
    """Is what a layer does to each channel of an image a product and a sum that are known?"""
    if node.param.type == "BatchNorm":
        return node.layer.global_stats
    learned = node.param.type in ("Scale", "Bias") and len(node.bottoms) == 1
    return learned and node.shapes.axis == 1 and len(node.shapes.params[0]) == 1


def _folded(node, behind):
    """(weight, bias) of a convolution with the layers behind it, computed in float64."""
    weight = node.blobs[0].double()
    bias = node.blobs[1].double() if len(node.blobs) > 1 else weight.new_zeros(len(weight))
    for after in behind:
        factor, term = _product_and_sum(after)
        weight, bias = weight * factor.view(-1, 1, 1, 1), bias * factor + term
    return weight.float(), bias.float()


def _product_and_sum(node):
    """(factor, term) of each channel, float64."""
    blobs = [blob.double() for blob in node.blobs]
    if node.param.type == "BatchNorm":
        mean, variance, weight = blobs
        share = torch.where(weight == 0, 0.0, 1 / weight)
        factor = (variance * share + node.param.batch_norm_param.eps).rsqrt()
        return factor, -mean * share * factor
    if node.param.type == "Bias":
        return torch.ones_like(blobs[0]), blobs[0]
    has_bias = node.param.scale_param.bias_term
    return blobs[0], blobs[1] if has_bias else torch.zeros_like(blobs[0])
