"""Write the weights with which a wider net computes what its narrow parent does.

Net2WiderNet (Chen, Goodfellow, Shlens 2016, arXiv:1511.05641): the channels that a layer has more
are copies of drawn ones, and whoever reads a channel that now stands there k times gets its
weights in k shares. The shares are drawn and not equal, so that the copies learn different things
although no noise is added: the function is the parent's to float32 rounding.

Both nets have the same layers in the same order, wider ones in the second. Layers that mix
channels are Convolution (of one group) and InnerProduct; elementwise layers, Pooling, BatchNorm
and Scale treat each channel on its own; an Eltwise needs channels that are copied in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netgen import graph, schema
from netgen.commandline import Parser, run, say
from netgen.errors import CaffeError
from netgen.growth.transfer import arrays
from netgen.schema import caffe_pb

EXAMPLE = """example:
  python -m study.net2wider parent.prototxt parent.caffemodel wider.prototxt -o start.caffemodel
"""
MIXERS = ("Convolution", "InnerProduct")
PER_CHANNEL = ("BatchNorm", "Scale", "PReLU", "Bias")
SINGLE = {"LRN", "Softmax", "Concat", "Slice", "Reshape", "Flatten", "MVN", "ArgMax", "Reduction"}
LEAST_SHARE = 0.25  # before a channel's shares are scaled to 1; the largest is 1


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = Parser.documented("net2wider", __doc__, EXAMPLE)
    add = parser.add_argument
    add("parent", metavar="PARENT.prototxt")
    add("weights", metavar="PARENT.caffemodel")
    add("wider", metavar="WIDER.prototxt")
    add("--seed", type=int, default=0, metavar="N", help="of which channels are copied (0)")
    add("-o", dest="output", required=True, metavar="FILE.caffemodel")
    options = parser.parse_args(arguments)
    nets = [
        graph.in_phase(schema.read_net(path), caffe_pb.TRAIN)
        for path in (options.parent, options.wider)
    ]
    try:
        found = widened(*nets, schema.read_caffemodel(options.weights), options.seed)
    except CaffeError as error:
        raise CaffeError(f"{options.wider}: {error}") from None
    schema.write_binary(found, options.output)
    say(f"Wrote {options.output}: {options.parent} made wider")
    return 0


class _Channels:
    """What the channels of a blob of the wider net are.

    source: (wide,) the channel of the parent's blob that each one is. share: (wide,) with which
    share a reader takes it; of one source they sum to 1.
    """

    def __init__(self, source: np.ndarray, share: np.ndarray):
        self.source, self.share = source, share

    @classmethod
    def same(cls, count: int) -> _Channels:
        return cls(np.arange(count), np.ones(count))

    @classmethod
    def drawn(cls, narrow: int, wide: int, random: np.random.Generator) -> _Channels:
        """All channels, and copies of drawn ones."""
        source = np.concatenate([np.arange(narrow), random.integers(0, narrow, wide - narrow)])
        share = random.uniform(LEAST_SHARE, 1, wide)
        return cls(source, share / np.bincount(source, share, narrow)[source])

    def equals(self, other: _Channels) -> bool:
        return np.array_equal(self.source, other.source) and np.array_equal(self.share, other.share)


def widened(
    parent: caffe_pb.NetParameter,
    wider: caffe_pb.NetParameter,
    weights: caffe_pb.NetParameter,
    seed: int = 0,
) -> caffe_pb.NetParameter:
    """The weights of `wider` with which it computes what `parent` does with `weights`.

    Both nets are filtered to a phase. Raises CaffeError where the nets differ in more than their
    widths, or have a layer for which copied channels are not the same.
    """
    pairs = list(zip(parent.layer, wider.layer, strict=False))
    if [x.name for x in parent.layer] != [x.name for x in wider.layer]:
        raise CaffeError("its layers are not the parent's, so it is not the parent made wider")
    blobs, random = arrays(weights), np.random.default_rng(seed)
    known: dict[str, _Channels] = {}
    result = caffe_pb.NetParameter(name=wider.name)
    for old, new in pairs:
        given = [known[bottom] for bottom in new.bottom if bottom in known]
        try:
            channels, made = _layer(old, new, given, blobs.get(new.name, []), random)
        except CaffeError as error:
            raise CaffeError(f"layer '{new.name}' {error}") from None
        if channels is not None:
            known |= dict.fromkeys(new.top, channels)
        if made:
            layer = result.layer.add(name=new.name, type=new.type)
            for array in made:
                schema.array_to_blob(array.astype(np.float32), layer.blobs.add())
    return result


def _layer(
    old: caffe_pb.LayerParameter,
    new: caffe_pb.LayerParameter,
    given: Sequence[_Channels],
    blobs: Sequence[np.ndarray],
    random: np.random.Generator,
) -> tuple[_Channels | None, Sequence[np.ndarray]]:
    """What the channels of its tops are, and its weights."""
    if new.type in MIXERS:
        return _mixer(old, new, given[0] if given else None, blobs, random)
    if not given:
        return None, blobs
    first = given[0]
    if any(not first.equals(other) for other in given[1:]):
        raise CaffeError("reads blobs whose channels would be copied in different ways")
    plain = len(first.source) == first.source.max(initial=-1) + 1
    if new.type in SINGLE and not plain:
        raise CaffeError(f"is of type {new.type}, which does not treat each channel on its own")
    if new.type in PER_CHANNEL:
        return first, [b[first.source] if b.size > 1 else b for b in map(np.ravel, blobs)]
    return first, blobs


def _mixer(
    old: caffe_pb.LayerParameter,
    new: caffe_pb.LayerParameter,
    given: _Channels | None,
    blobs: Sequence[np.ndarray],
    random: np.random.Generator,
) -> tuple[_Channels, Sequence[np.ndarray]]:
    narrow, wide = (
        (x.convolution_param if x.type == "Convolution" else x.inner_product_param).num_output
        for x in (old, new)
    )
    if not blobs or len(blobs[0]) != narrow:
        raise CaffeError("has no weights in the parent's file, or those of another net")
    if wide < narrow:
        raise CaffeError(f"is not wider than the parent's ({wide} outputs, {narrow})")
    if new.convolution_param.group > 1 or new.inner_product_param.transpose:
        raise CaffeError("has groups or transposed weights, which are not widened")
    weight = blobs[0]
    if given is not None:
        # An InnerProduct sees each channel as many numbers that lie side by side.
        size = weight.shape[1] // (int(given.source.max()) + 1) if new.type == "InnerProduct" else 1
        columns = (given.source[:, None] * size + np.arange(size)).ravel()
        share = np.repeat(given.share, size).reshape(1, -1, *[1] * (weight.ndim - 2))
        weight = weight[:, columns] * share
    made = _Channels.drawn(narrow, wide, random) if wide > narrow else _Channels.same(narrow)
    return made, [weight[made.source], *(np.ravel(b)[made.source] for b in blobs[1:])]


if __name__ == "__main__":
    run(main)
