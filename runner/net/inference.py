"""A net for use: a fixed path through a net of phase TEST on a CPU.

What does not change from call to call is done once: convolutions have their weights in the layout
that oneDNN computes with, a BatchNorm, Scale or Bias behind one is part of its weights, the
sum of two branches part of the convolution that comes last, and a ReLU works in place. Layers that hand on what
they get are left out. The other layers run as they always do.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch.nn import functional as F

from netgen.schema import caffe_pb
from runner.layers.linear import Convolution, channels_last
from runner.net import scripted
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


class Call:
    """One layer, or several that are computed as one; bottoms and tops are numbers of values."""

    def __init__(self, node: Node, bottoms: list[int], tops: list[int]) -> None:
        self.node, self.bottoms, self.tops = node, bottoms, tops
        self.behind: list[Node] = []  # BatchNorm, Scale and Bias that are in its weights
        self.sums = self.rectified = False
        self.run: Callable[[list[torch.Tensor]], list[torch.Tensor]] = self._layer
        #: its top from its bottoms in operators of PyTorch that `scripted` can join with others'
        self.plain: Callable[..., torch.Tensor] | None = None

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

        def in_plain(x, *others):
            top = F.conv2d(channels_last(x), weight, bias, **options)
            top = top + others[0] if others else top
            return torch.clamp_min(top, 0.0) if self.rectified else top

        self.run, self.plain = added if self.sums else alone, in_plain

    def pack_product(self) -> None:
        """Put an inner product's weights in the order of channels_last images."""
        weight = self.node.blobs[0].detach()
        if self.node.layer.param.inner_product_param.transpose:
            weight = weight.t()
        bias = self.node.blobs[1].clone() if len(self.node.blobs) > 1 else None
        channels, *sides = self.node.bottom_shapes[0][1:]
        images = len(sides) == 2 and sides != [1, 1]
        if images:
            weight = weight.reshape(-1, channels, *sides).permute(0, 2, 3, 1)
        weight = weight.flatten(1).clone(memory_format=torch.contiguous_format)

        def product(bottoms):
            x = bottoms[0].permute(0, 2, 3, 1) if images else bottoms[0]
            return [F.linear(x.flatten(1), weight, bias)]

        self.run = product

    def crop(self) -> None:
        """Crop to the size that the second bottom has at set-up, without it."""
        like = torch.empty(self.node.bottom_shapes[1], device="meta")
        self.bottoms = self.bottoms[:1]
        self.run = lambda bottoms: self.node.layer.forward([bottoms[0], like], [])


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
