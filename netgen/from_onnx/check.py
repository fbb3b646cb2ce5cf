"""Is the net the model? Both run on random inputs: onnxruntime here, the net by `caffe forward`.

netgen talks to the other rooms through files: the net, its weights and the inputs are files that
the `caffe` command reads, in a process of its own, and so are the arrays that it writes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from netgen.extras import needed
from netgen.from_onnx.conversion import Conversion
from netgen.from_onnx.errors import ConversionError
from netgen.from_onnx.graph import Shape
from netgen.from_onnx.model import require_onnx
from netgen.schema import write_binary, write_text

TOLERANCE = 1e-4

Arrays = dict[str, np.ndarray]
#: Runs a net: (conversion, {input blob: array}, blobs) to {blob: array}.
Run = Callable[[Conversion, Arrays, Sequence[str]], Arrays]


@dataclass(frozen=True)
class Difference:
    """How far a blob is from the value that it stands for.

    value: ONNX's name; blob: Caffe's. relative: the largest difference, divided by the largest
    absolute value; NaN where one of the two is no number at all.
    """

    value: str
    blob: str
    relative: float

    def within(self, tolerance: float) -> bool:
        """Whether the difference is at most `tolerance`; NaN is not."""
        return self.relative <= tolerance


def has_onnxruntime() -> bool:
    """Whether a check can be made."""
    return find_spec("onnxruntime") is not None


def check(
    model: Any,
    conversion: Conversion,
    blobs: bool = False,
    seed: int = 0,
    run: Run | None = None,
) -> list[Difference]:
    """The differences of all outputs; with `blobs` of all blobs, in the order of the net.

    model: the onnx.ModelProto, or the path of its file. Inputs are drawn from a normal
    distribution, indices from those that the net has entries for. run: what runs the Caffe net,
    by default the `caffe` command. Raises ConversionError where one of the two cannot be run.
    """
    pairs = dict(conversion.outputs)
    if blobs:
        more = {value: blob for value, blob in pairs.items() if value not in conversion.blobs}
        pairs = {**conversion.blobs, **more}
    inputs = _random_inputs(conversion, seed)
    expected = by_onnxruntime(model, inputs, list(pairs))
    given = {conversion.inputs[name]: array for name, array in inputs.items()}
    found = (run or by_caffe)(conversion, given, list(dict.fromkeys(pairs.values())))
    return [
        Difference(value, blob, _relative(found[blob], expected[value]))
        for value, blob in pairs.items()
        if value in expected
    ]


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape or not found.size:
        return 0.0 if found.shape == expected.shape else float("nan")
    apart = np.abs(found - expected.astype(np.float64)).max()
    return float(apart / max(np.abs(expected).max(), 1e-30))


def _random_inputs(conversion: Conversion, seed: int) -> Arrays:
    """{ONNX input: float32 array}."""
    random = np.random.default_rng(seed)
    entries = {
        layer.bottom[0]: layer.embed_param.input_dim
        for layer in conversion.net.layer
        if layer.type == "Embed"
    }
    shapes: dict[str, Shape] = {
        layer.top[0]: tuple(layer.input_param.shape[0].dim)
        for layer in conversion.net.layer
        if layer.type == "Input"
    }
    return {
        name: random.integers(0, entries[blob], shapes[blob]).astype(np.float32)
        if blob in entries
        else random.standard_normal(shapes[blob]).astype(np.float32)
        for name, blob in conversion.inputs.items()
    }


def by_onnxruntime(model: Any, inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> Arrays:
    """{value: array} of the model's outputs and those of the names that it has.

    model: the onnx.ModelProto, or the path of its file. Raises ConversionError.
    """
    onnx = require_onnx()
    why = "--check needs the package onnxruntime"
    onnxruntime = needed("onnxruntime", "export", why, ConversionError)
    if not isinstance(model, onnx.ModelProto):
        model = onnx.load(os.fspath(model))
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    outputs = {value.name for value in model.graph.output}
    made = {name for node in model.graph.node for name in node.output}
    more = [name for name in names if name in made - outputs]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in more)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    cpu = ["CPUExecutionProvider"]
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.onnx")
            onnx.save(whole, path, save_as_external_data=whole.ByteSize() > 2**30)
            session = onnxruntime.InferenceSession(path, options, providers=cpu)
        kinds = {value.name: value.type for value in session.get_inputs()}
        given = {name: _typed(array, kinds[name]) for name, array in inputs.items()}
        wanted = [value.name for value in session.get_outputs()]
        return dict(zip(wanted, session.run(wanted, given), strict=True))
    except Exception as error:  # onnxruntime has a class of exceptions for each of its codes
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConversionError(
            f"onnxruntime cannot run the model: {line} (--no-check leaves it out)"
        ) from None


def _typed(array: np.ndarray, kind: str) -> np.ndarray:
    """An input as onnxruntime wants it; kind: "tensor(int64)", say."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return array.astype({"float": "float32", "double": "float64"}.get(name, name))


def by_caffe(conversion: Conversion, inputs: Arrays, blobs: Sequence[str]) -> Arrays:
    """{blob: array}, by the `caffe` command in a process of its own. Raises ConversionError."""
    with tempfile.TemporaryDirectory() as folder:
        net, weights, given, made = (
            os.path.join(folder, name)
            for name in ("net.prototxt", "net.caffemodel", "inputs.npz", "outputs.npz")
        )
        write_text(conversion.net, net)
        write_binary(conversion.weights, weights)
        np.savez(given, **inputs)
        words = [sys.executable, "-m", "runner", "forward", "-model", net, "-weights", weights]
        words += ["-inputs", given, "-outputs", made, "-blobs", ",".join(blobs)]
        ran = subprocess.run(words, capture_output=True, text=True, check=False)
        if ran.returncode:
            last = (ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"])[-1]
            raise ConversionError(f"caffe forward fails on the net: {last}")
        with np.load(made) as file:
            return {name: file[name] for name in file.files}
