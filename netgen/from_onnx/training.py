"""What a converted net is trained on with: Data layers, a loss and an accuracy, and a solver."""

from __future__ import annotations

import glob
import math
import os
from dataclasses import dataclass, field, replace
from math import prod

from netgen import graph as caffe_graph
from netgen.builder import layers as L
from netgen.builder import params as P
from netgen.errors import CaffeError
from netgen.from_onnx.conversion import Conversion
from netgen.from_onnx.errors import ConversionError
from netgen.schema import caffe_pb
from netgen.schema.lmdb import LMDBFolder


@dataclass(frozen=True)
class Training:
    """What can be chosen about the training that goes on with a net.

    folder: has one LMDB whose name ends in train_lmdb, and one in test_lmdb or val_lmdb.
    mean_value, scale: what is done to the records' values, first the one and then the other.
    """

    folder: str
    batch_size: int = 64
    epochs: float = 1
    base_lr: float = 0.001
    mean_value: list[float] = field(default_factory=list)
    scale: float = 1
    mirror: bool = False

    def source(self, *endings: str) -> str:
        """The LMDB of the folder whose name has one of the endings. Raises ConversionError."""
        found = [
            path
            for ending in endings
            for path in glob.glob(os.path.join(self.folder, f"*{ending}"))
        ]
        if len(found) != 1:
            names = " or ".join(f"*{ending}" for ending in endings)
            raise ConversionError(
                f"{self.folder}: {len(found) or 'no'} folders {names}, and one is wanted "
                "(python -m data_prep makes LMDBs)"
            )
        return found[0]


def records(source: str) -> int:
    """How many records an LMDB has. Raises ConversionError."""
    try:
        return LMDBFolder(source).length
    except OSError as error:
        raise ConversionError(f"{source}: cannot be read: {error.strerror}") from None


#: What layers that are learned anew start with, and how much faster than the others they learn:
#: as Caffe's models/finetune_flickr_style has them.
_ANEW = {"type": "gaussian", "std": 0.01}
_RATES = (
    caffe_pb.ParamSpec(lr_mult=10, decay_mult=1),
    caffe_pb.ParamSpec(lr_mult=20, decay_mult=0),
)


def with_classes(found: Conversion, classes: int) -> Conversion:
    """The conversion with `classes` scores: its last layer with weights is to be learned anew.

    The InnerProduct or Convolution has another name, so that `-weights` passes over it, a filler,
    and learns faster than the others. The caffemodel stays as it is. Raises ConversionError where
    no such layer alone makes the scores.
    """
    net = caffe_pb.NetParameter()
    net.CopyFrom(found.net)
    layer = _last_with_weights(net, found)
    param = layer.inner_product_param
    if layer.type == "Convolution":
        param = layer.convolution_param
    param.num_output = classes
    param.weight_filler.CopyFrom(caffe_pb.FillerParameter(**_ANEW))
    del layer.param[:]
    layer.param.extend(_RATES[: 1 + param.bias_term])
    names = {other.name for other in net.layer}
    layer.name = f"{layer.name}_{classes}"
    while layer.name in names:
        layer.name += "_"
    scores = _output(found)
    try:
        infos = caffe_graph.infer(net, caffe_pb.TEST)
    except CaffeError as error:
        raise ConversionError(f"--classes {classes}: {error}") from None
    shapes = {
        name: shape
        for info in infos
        for name, shape in zip(info.layer.top, info.shapes.tops, strict=True)
    }
    old = found.shapes[scores]
    if shapes[scores] != (old[0], classes, *old[2:]):
        raise ConversionError(
            f"--classes {classes}: '{scores}' would be {' x '.join(map(str, shapes[scores]))}"
        )
    return replace(found, net=net, shapes={**found.shapes, scores: shapes[scores]})


def _last_with_weights(net: caffe_pb.NetParameter, found: Conversion) -> caffe_pb.LayerParameter:
    """The layer whose outputs the scores are. Raises ConversionError."""
    learned = {layer.name for layer in found.weights.layer if layer.blobs}
    blob = _output(found)
    for layer in reversed(net.layer):
        if blob not in layer.top:
            continue
        learns = not layer.param or layer.param[0].lr_mult
        if layer.name in learned and layer.type in ("InnerProduct", "Convolution") and learns:
            return layer
        if layer.name in learned or len(layer.bottom) != 1:
            raise ConversionError(
                f"--classes: layer '{layer.name}' ({layer.type}), of which the scores are made, "
                "is no InnerProduct or Convolution that learns"
            )
        blob = layer.bottom[0]
    raise ConversionError("--classes: no layer of the net has weights")


def train_net(found: Conversion, training: Training) -> caffe_pb.NetParameter:
    """The net for both phases: Data layers in place of the input, a loss on the scores.

    A Softmax at the end, and the Log of a LogSoftmax, are left out: SoftmaxWithLoss has them.
    Raises ConversionError unless the net has one image as input and one list of scores as output.
    """
    net = caffe_pb.NetParameter()
    net.CopyFrom(found.net)
    scores = _scores(net, found)
    shape = tuple(net.layer[0].input_param.shape[0].dim)
    data = net.layer[0].top[0]
    del net.layer[0]
    label = "label" if not any("label" in layer.top for layer in net.layer) else "data_label"
    for phase, endings in ((caffe_pb.TEST, ("test_lmdb", "val_lmdb")),
                           (caffe_pb.TRAIN, ("train_lmdb",))):  # fmt: skip
        layer = _data(training, phase, shape, training.source(*endings))
        layer.name, layer.top[:] = data, [data, label]
        net.layer.insert(0, layer)
    for kind, name, params in (
        ("Accuracy", "accuracy", {"include": {"phase": caffe_pb.TEST}}),
        ("SoftmaxWithLoss", "loss", {}),
    ):
        layer = getattr(L, kind)(**params).to_proto().layer[0]
        layer.name, layer.bottom[:], layer.top[:] = name, [scores, label], [name]
        net.layer.append(layer)
    return net


def _output(found: Conversion) -> str:
    """The net's output. Raises ConversionError where there are several."""
    if len(found.outputs) != 1:
        raise ConversionError(
            f"--train is for nets of one output, and this has {', '.join(found.outputs.values())}"
        )
    return next(iter(found.outputs.values()))


def _scores(net: caffe_pb.NetParameter, found: Conversion) -> str:
    """The blob of the scores, once what makes probabilities of them is out of the net."""
    if [layer.type for layer in net.layer].count("Input") != 1:
        raise ConversionError("--train is for nets of one input")
    scores = _output(found)
    out = found.shapes[scores]
    if len(out) < 2 or prod(out[2:]) != 1:
        words = " x ".join(map(str, out))
        raise ConversionError(f"--train is for scores of classes, and '{scores}' is {words}")
    kinds = ["Softmax", "Log"]
    if [layer.type for layer in net.layer[-2:]] != kinds:
        kinds = kinds[:1]
    for kind in reversed(kinds):
        last = net.layer[-1]
        if last.type == kind and list(last.top) == [scores]:
            scores = last.bottom[0]
            net.layer.remove(last)
    return scores


def _data(
    training: Training, phase: int, shape: tuple[int, ...], source: str
) -> caffe_pb.LayerParameter:
    train = phase == caffe_pb.TRAIN
    transform: dict[str, object] = {}
    if training.mirror and train:
        transform["mirror"] = True
    if shape[2] == shape[3]:
        transform["crop_size"] = shape[2]
    if training.mean_value:
        transform["mean_value"] = training.mean_value
    if training.scale != 1:
        transform["scale"] = training.scale
    data, _ = L.Data(
        ntop=2, include={"phase": phase}, source=source, backend=P.Data.LMDB,
        batch_size=min(training.batch_size, records(source)),
        **({"transform_param": transform} if transform else {}),
    )  # fmt: skip
    return data.to_proto().layer[0]


def solver(training: Training, net: str, prefix: str) -> caffe_pb.SolverParameter:
    """A solver that goes on gently: a small rate that falls to 0, a test after every epoch.

    net, prefix: paths of the train net and of the snapshots.
    """
    train, test = (
        records(training.source("train_lmdb")),
        records(training.source("test_lmdb", "val_lmdb")),
    )
    epoch = math.ceil(train / min(training.batch_size, train))
    max_iter = math.ceil(training.epochs * epoch)
    return caffe_pb.SolverParameter(
        net=net,
        test_iter=[math.ceil(test / min(training.batch_size, test))],
        test_interval=epoch,
        base_lr=training.base_lr,
        lr_policy="poly",
        power=1,
        max_iter=max_iter,
        momentum=0.9,
        weight_decay=0.0001,
        display=max(1, max_iter // 100),
        snapshot=epoch,
        snapshot_prefix=prefix,
        type="SGD",
    )
