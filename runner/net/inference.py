"""A net for use: a fixed path through a net of phase TEST on a CPU.

What does not change from call to call is done once: convolutions have their weights in the layout
that oneDNN computes with, a BatchNorm, Scale or Bias behind one is part of its weights, the
sum of two branches part of the convolution that comes last, and a ReLU works in place. Layers that
hand on what they get are left out. The other layers run as they always do.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Collection
from typing import Any

import torch

from netgen.schema import caffe_pb
from runner.layers.linear import Convolution
from runner.net import scripted
from runner.net.calls import Call
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
#: passes of the same shapes after which it pays to script them, of at most so many images: it takes
#: as long as some hundred passes, and with many images the calls themselves count for little
OFTEN, FEW = 20, 4
SHAPES = 4  # that are scripted, at most


_VERSION = operator.attrgetter("_version")


class Prepared:
    """The path through `net` to the blobs `wanted`, for the weights that it has now.

    batch: the size of the first axis that it is made for; others run as well.
    """

    def __init__(self, net: Net, wanted: Collection[str], batch: int) -> None:
        self._net = net
        calls, inputs, self._found = _calls(net, wanted)
        kept = set(self._found.values())
        self._calls = _joined(_used(calls, kept), kept)
        self._inputs = [(net.blobs[name], number) for name, number in inputs.items()]
        self._learned = [node for node in net.nodes if node.blobs]
        self._blobs = [blob for node in self._learned for blob in node.blobs]
        for call in self._calls:
            if _packable(call.node):
                bottom = call.node.bottoms[0]
                call.pack([batch, *net.blob_shapes[bottom][1:]])
            elif call.node.param.type == "InnerProduct" and call.node.shapes.axis == 1:
                call.pack_product()
        self._passes: Counter[tuple[torch.Size, ...]] = Counter()
        self._scripts: dict[tuple[torch.Size, ...], list[Any] | None] = {}
        self._versions = self._current()

    def holds(self) -> bool:
        """Are the weights those that it was made of? Writes through NumPy are not seen."""
        return self._versions == self._current()

    def _current(self):
        blobs = [blob for node in self._learned for blob in node.blobs]
        same = all(map(operator.is_, blobs, self._blobs))
        return same, self._net.parameters.data._version, *map(_VERSION, blobs)

    def __call__(self) -> dict[str, torch.Tensor]:
        """{name: values} of the wanted blobs, from what lies in the Input layers' blobs."""
        values = {number: blob.tensor() for blob, number in self._inputs}
        shapes = tuple(value.shape for value in values.values())
        steps = self._scripts.get(shapes)
        if steps is None:
            steps = self._calls
            self._passes[shapes] += 1
            if self._passes[shapes] == OFTEN:
                self._script(shapes, dict(values))
        for step in steps:
            tops = step.run([values[number] for number in step.bottoms])
            values.update(zip(step.tops, tops, strict=True))
        return {name: values[number] for name, number in self._found.items()}

    def _script(self, shapes, values):
        """Have passes of these shapes scripted from now on, where that pays and can be done."""
        few = all(shape[:1] <= (FEW,) for shape in shapes)
        if few and len(self._scripts) < SHAPES:
            kept = set(self._found.values())
            self._scripts[shapes] = scripted.scripted(self._calls, kept, values)


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
                if node.param.type == "Crop" and node.shapes.axis > 0:
                    calls[-1].crop()
        numbers.update(zip(node.tops, tops, strict=True))
    return calls, inputs, {name: numbers[name] for name in wanted}


def _used(calls, kept):
    """The calls that something in `kept`, numbers of values, depends on."""
    needed, used = set(kept), []
    for call in reversed(calls):
        if not needed.isdisjoint(call.tops):
            needed.update(call.bottoms)
            used.append(call)
    return used[::-1]


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
