"""`caffe classify IMAGE...`: the five classes of each picture that a net finds most probable.

What is printed is that of Caffe's examples/cpp_classification. That takes the mean of the mean
file's pixels, and resizes to the net's input; here a picture is treated as the records were on
which the net was trained.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from typing import Any, NamedTuple

import numpy as np

from netgen import graph, schema
from netgen.commandline import print_error, say
from netgen.errors import CaffeError, line_of
from netgen.schema import caffe_pb
from netgen.schema.encoding import decode
from netgen.schema.files import read_bytes
from netgen.schema.preprocessing import NAME
from runner.commands.flags import Flags
from runner.data.pictures import Treatment, by
from runner.data.transform import read_mean
from runner.face import Net, load_weights
from runner.log import glog, json_number
from runner.process.device import gpu_ids

TOP = 5
BATCH = 16  # pictures at a time, where the net's input has one


class _Output(NamedTuple):
    """The blob that is read, the type of the layer that makes it, and how many classes it has."""

    blob: str
    type: str
    classes: int

    @property
    def values_are(self) -> str:
        return "probability" if self.type == "Softmax" else "score"


def classify(flags: Flags) -> int:
    """Print the top classes of every picture; returns 1 where one could not be read."""
    pictures = flags.words[1:]
    for value, wanted in (
        (flags.model, "-model DEPLOY: a net's deploy prototxt"),
        (flags.weights, "-weights W: the caffemodel of the trained net"),
        (pictures, "IMAGE...: the pictures to classify"),
    ):
        if not value:
            raise CaffeError(f"caffe classify needs {wanted}")
    if flags.precision == "auto":
        raise CaffeError("-precision auto times training steps: it is for caffe train")
    net = _net(flags)
    name, shape = _input_of(net, flags.model)
    treatment = _treatment(flags, shape[1:])
    output = _output_of(net)
    labels = _labels(flags.labels, output, treatment)
    _load(net, flags.weights)
    if output.values_are == "score" and not flags.json:
        glog.warning(
            f"'{output.blob}' comes from a layer of type {output.type}, not Softmax: what is "
            "printed are scores, not probabilities",
            "classification.cpp:160",
        )

    found, status = [], 0
    for path, values in _values(net, name, output, treatment, pictures, max(shape[0], 0)):
        if isinstance(values, str):
            status = 1
            print_error("caffe", f"{path}: {values}")
            found.append({"image": path, "error": values})
            continue
        top = np.argsort(-values, kind="stable")[:TOP].tolist()
        if flags.json:
            found.append(
                {
                    "image": path,
                    "predictions": [
                        {
                            "class": number,
                            "label": labels.get(number),
                            output.values_are: json_number(float(values[number])),
                        }
                        for number in top
                    ],
                }
            )
        else:
            say(f"---------- Prediction for {path} ----------")
            for number in top:
                say(f'{values[number]:.4f} - "{labels.get(number, number)}"')
    if flags.json:
        json.dump(found, sys.stdout, indent=1, allow_nan=False)
        print()
    return status


def _net(flags: Flags) -> Net:
    ids = gpu_ids(flags.gpu)
    return Net(
        flags.model,
        level=flags.level,
        stages=flags.stages(),
        device=f"cuda:{ids[0]}" if ids else "cpu",
        precision=flags.precision,
    )


def _input_of(net: Net, path: str) -> tuple[str, tuple[int, ...]]:
    """The name and shape (N, C, H, W) of the net's one input."""
    if not net.inputs:
        raise CaffeError(
            f"{path}: it has no Input layer; classify takes a deploy net, and -transform names "
            "the net that was trained"
        )
    if len(net.inputs) > 1:
        names = ", ".join(net.inputs)
        raise CaffeError(f"{path}: Network should have exactly one input. ({names})")
    [(name, shape)] = net.inputs.items()
    if len(shape) != 4:
        raise CaffeError(f"{path}: input '{name}' is {by(shape)}, pictures need NxCxHxW")
    return name, shape


def _output_of(net: Net) -> _Output:
    """The net's one output, or the one of several that a Softmax makes."""
    types = {top: layer.type for layer in net.layers for top in layer.top}
    several = net.outputs
    if len(several) > 1:
        several = [name for name in several if types[name] == "Softmax"] or several
    if len(several) != 1:
        raise CaffeError(
            f"net '{net.name}': Network should have exactly one output. ({', '.join(several)})"
        )
    shape = net.blob_shapes[several[0]]
    if len(shape) < 2 or any(size != 1 for size in shape[2:]):
        raise CaffeError(
            f"net '{net.name}': output '{several[0]}' is {by(shape)}, classes need NxK"
        )
    return _Output(several[0], types[several[0]], shape[1])


def _load(net: Net, weights: str) -> None:
    """Load the files of -weights; says which layers none of them has."""
    paths = [weights] if os.path.exists(weights) else weights.split(",")
    missing = [set(load_weights(net, path.strip()).missing) for path in paths]
    if lacking := set.intersection(*missing):
        names = ", ".join(layer.name for layer in net.layers if layer.name in lacking)
        glog.warning(
            f"{weights}: no weights of {names}, which have what their fillers drew", "net.cpp:768"
        )


def _treatment(flags: Flags, shape: Sequence[int]) -> Treatment:
    """How pictures are treated, by -preprocessing, -mean and -transform."""
    channels, height, width = shape
    beside, size, mean, mean_from, scale = "", None, None, "", 1.0
    if flags.mean and flags.transform:
        raise CaffeError("-mean and -transform both tell of the mean: give one of them")
    if flags.mean:
        mean, mean_from = _mean_file(flags.mean), f"-mean {flags.mean}"
        beside = flags.mean
    elif flags.transform:
        layer = _data_layer(flags.transform)
        param, scale = layer.transform_param, layer.transform_param.scale
        if param.crop_size and (height, width) != (param.crop_size, param.crop_size):
            raise CaffeError(
                f"{flags.transform} crops to {param.crop_size}x{param.crop_size}, the net's input "
                f"is {by(shape)}"
            )
        if param.mean_file:
            mean, mean_from = _mean_file(param.mean_file), f"mean_file {param.mean_file}"
        elif param.mean_value:
            mean_from = f"{flags.transform}: mean_value"
            mean = np.array(param.mean_value, np.float32)[:, None, None]
            mean = mean.repeat(channels, 0) if len(mean) == 1 else mean
        record = graph.record_shape(layer)
        size = None if not isinstance(record, tuple) else (record[1], record[2])
        beside = layer.data_param.source.rstrip("/") if layer.type == "Data" else ""
    found = flags.preprocessing
    if not found and beside:
        there = os.path.join(os.path.dirname(beside), NAME)
        found = there if os.path.exists(there) else ""
    preprocessing = schema.Preprocessing.load(found) if found else None
    return Treatment((channels, height, width), preprocessing, size, mean, scale, mean_from)


def _mean_file(path: str) -> np.ndarray:
    """(C, H, W) of a mean file; of 1xCxHxW missing axes on the right are 1, as a Blob's.

    A .npy file, as the ilsvrc_2012_mean.npy of Caffe's scripts, holds CxHxW, or a value a channel.
    """
    mean = _numpy_mean(path) if path.endswith(".npy") else read_mean(path)
    if mean.ndim == 1 and path.endswith(".npy"):
        mean = mean[:, None, None]
    shape = mean.shape if mean.ndim == 3 else (*mean.shape, 1, 1, 1, 1)[1:4]
    if prod(shape) != mean.size:
        raise CaffeError(f"{path}: it is {by(mean.shape)}, a mean image is 1xCxHxW")
    return mean.reshape(shape)


def _numpy_mean(path: str) -> np.ndarray:
    """The float32 array of a .npy file. Raises CaffeError."""
    try:
        with open(path, "rb") as file:  # which NumPy leaves open where it finds a damaged archive
            mean = np.load(file, allow_pickle=False)
        if not isinstance(mean, np.ndarray) or mean.dtype.kind not in "uif":
            raise ValueError("a mean is one array of numbers")
    except FileNotFoundError:
        raise CaffeError(f"File not found: {path}") from None
    except (*schema.DAMAGED_ARRAYS, MemoryError) as error:
        raise CaffeError(f"{path}: no mean file of NumPy: {error}") from None
    return mean.astype(np.float32)


def _data_layer(path: str) -> caffe_pb.LayerParameter:
    """The layer that read the pictures when the net was tested."""
    net = graph.in_phase(schema.read_net(path), caffe_pb.TEST)
    for layer in net.layer:
        if not layer.bottom and layer.type not in ("Input", "DummyData"):
            return layer
    raise CaffeError(f"{path}: no layer reads data in phase TEST; -transform needs a trained net")


def _labels(path: str, output: _Output, treatment: Treatment) -> dict[int, str]:
    """{class: its name}, of -labels, a name a line, or those that the preprocessing tells."""
    if path:
        lines = [line.rstrip("\r") for line in decode(read_bytes(path)).split("\n")]
        lines = lines[:-1] if not lines[-1] else lines
        if len(lines) != output.classes:
            raise CaffeError(
                "Number of labels is different from the output layer dimension. "
                f"({path} has {len(lines)} lines, '{output.blob}' {output.classes} values)"
            )
    else:
        lines = list(treatment.preprocessing.label_names) if treatment.preprocessing else []
    return dict(enumerate(lines))


def _values(
    net: Net,
    name: str,
    output: _Output,
    treatment: Treatment,
    paths: Sequence[str],
    declared: int,
) -> Iterator[tuple[str, np.ndarray | str]]:
    """(path, what the net says of it, (K,), or why it cannot be read) for every picture."""
    size = declared if declared > 1 else BATCH
    batches = [paths[start : start + size] for start in range(0, len(paths), size)]
    with ThreadPoolExecutor(thread_name_prefix="pictures") as pool:
        reads = [[pool.submit(treatment.read, path) for path in batch] for batch in batches[:1]]
        for number, batch in enumerate(batches):
            for following in batches[number + 1 : number + 2]:  # while the net computes
                reads.append([pool.submit(treatment.read, path) for path in following])
            yield from _answers(net, name, output, treatment, batch, reads.pop(0))


def _answers(
    net: Net,
    name: str,
    output: _Output,
    treatment: Treatment,
    paths: Sequence[str],
    reads: Sequence[Future[np.ndarray]],
) -> Iterator[tuple[str, np.ndarray | str]]:
    """What `_values` gives, for the pictures of one batch."""
    read: dict[str, np.ndarray] = {}
    answers: dict[str, Any] = {}
    for path, picture in zip(paths, reads, strict=True):
        try:
            read[path] = picture.result()
        except CaffeError as error:
            answers[path] = _why(error, path)
    if read:
        rows = net.forward([output.blob], **{name: treatment.apply(read.values())})[output.blob]
        answers |= dict(zip(read, rows.reshape(len(read), -1), strict=True))
    for path in paths:
        yield path, answers[path]


def _why(error: CaffeError, path: str) -> str:
    """Why an image cannot be read, in a line that does not name it again."""
    inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else error
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(line_of(error)).replace(f" {path!r}", "")
