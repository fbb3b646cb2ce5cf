"""Compare a net before and after a split: outputs, test accuracy, parameters, multiply-adds.

Both run in phase TEST on the same input: random, and the records of the net's LMDB where that
is there. Compared are the scores, which is what the losses and accuracies read, or in a net
without any its outputs. A difference is relative to the parent's largest score. A child whose
weights were transferred with `--init preserve` differs by float32 rounding alone.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

import runner
from netgen import graph, schema
from netgen.commandline import Parser, run
from netgen.describe import describe
from netgen.errors import CaffeError
from netgen.schema import caffe_pb

EXAMPLE = """example:
  python tools/verify_split.py prototxt/baseline.prototxt baseline.caffemodel \\
      child.prototxt child.caffemodel --iterations 100 --tolerance 1e-5
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(arguments)
    parent = Side(options.parent, options.parent_weights)
    child = Side(options.child, options.child_weights)
    for what in ("inputs", "scores"):
        ours, theirs = getattr(parent, what), getattr(child, what)
        if ours != theirs:
            raise CaffeError(
                f"{parent.path} and {child.path} have different {what}: {ours} and {theirs}"
            )
    generator = torch.Generator().manual_seed(options.seed)
    result = {"random": compare(parent, child, [parent.random_input(generator)])}
    missing = parent.missing_records()
    if not missing:
        result["real"] = compare(parent, child, parent.records(options.iterations))
    result |= {"parent": parent.cost(), "child": child.cost()}
    print(json.dumps(result, indent=1) if options.json else "\n".join(report(result, missing)))
    worst = max(result[kind]["difference"] for kind in ("random", "real") if kind in result)
    if options.tolerance is not None and not worst <= options.tolerance:
        raise CaffeError(
            f"the scores differ by {worst:.3g} of the largest, more than the "
            f"tolerance of {options.tolerance:g}"
        )
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = Parser.documented("verify_split", __doc__, EXAMPLE)
    for name in ("parent", "child"):
        parser.add_argument(name, metavar=f"{name.upper()}.prototxt")
        parser.add_argument(f"{name}_weights", metavar=f"{name.upper()}.caffemodel")
    parser.add_argument(
        "--iterations", type=int, default=10, metavar="N", help="test batches of real input (10)"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="T",
        help="exit with status 1 if the scores differ by more",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the random input (1)")
    parser.add_argument("--json", action="store_true", help="one object with all the numbers")
    options = parser.parse_args(arguments)
    if options.iterations < 1:
        parser.error(f"--iterations {options.iterations}: at least one is needed")
    return options


class Side:
    """One of the two nets in phase TEST, its data layers replaced by Inputs.

    inputs: the shape of each blob that is to be given. scores: the names of the blobs to
    compare, sorted. labels: those of the blobs that are labels. Raises CaffeError.
    """

    def __init__(self, path: str, weights: str):
        self.path = path
        self.param = schema.read_net(path)
        try:
            filtered = graph.in_phase(self.param, caffe_pb.TEST)
            infos = graph.infer(filtered, caffe_pb.TEST, graph.record_shape)
            self.sources = [info.layer for info in infos if _is_source(info.layer)]
            self.inputs = {
                top: shape
                for info in infos
                if _is_source(info.layer)
                for top, shape in zip(info.layer.top, info.shapes.tops, strict=True)
            }
            self.scores = _scores(filtered, self.inputs)
            self.net = runner.Net(_with_inputs(filtered, self.inputs))
        except graph.NetError as error:
            raise CaffeError(f"{path}: {error}") from None
        judges = [layer for layer in filtered.layer if _is_judge(layer)]
        self.labels = {blob for layer in judges for blob in layer.bottom[1:]}
        self.accuracies = [layer.top[0] for layer in judges if layer.type == "Accuracy"]
        self._load(weights)

    def _load(self, path: str) -> None:
        for blobs in self.net.params.values():
            for blob in blobs:
                blob.fill(np.nan)
        runner.load_weights(self.net, path)
        empty = [
            layer
            for layer, blobs in self.net.params.items()
            if any(np.isnan(blob).any() for blob in blobs)
        ]
        if empty:
            raise CaffeError(
                f"{path}: has no weights, or NaN, for {', '.join(empty)} of {self.path}"
            )

    def run(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The scores and accuracies by blob, for arrays or tensors by input."""
        return self.net.forward([*self.scores, *self.accuracies], **values)

    def random_input(self, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Normal values of variance 1 for every input but labels, which are all 0."""
        labels = self.labels | {
            top for layer in self.sources for top in layer.top[1:] if layer.type != "Input"
        }
        return {
            name: torch.zeros(shape) if name in labels else torch.randn(shape, generator=generator)
            for name, shape in self.inputs.items()
        }

    def missing_records(self) -> str | None:
        """Why there is no real input; None where there is."""
        other = [layer.type for layer in self.sources if layer.type != "Data"]
        if other or not self.sources:
            return f"its data comes from {', '.join(other) or 'nowhere'}"
        folders = [layer.data_param.source for layer in self.sources]
        gone = [f for f in folders if not os.path.isfile(os.path.join(f, "data.mdb"))]
        return f"{gone[0]} is not there" if gone else None

    def records(self, batches: int) -> Iterator[dict[str, np.ndarray]]:
        """The first batches of the Data layers, as inputs."""
        sources = runner.Net(caffe_pb.NetParameter(layer=self.sources))
        for _ in range(batches):
            yield sources.forward()

    def cost(self) -> dict[str, float]:
        """The net's parameters, and its multiply-adds for an image."""
        totals = describe(self.param, caffe_pb.TEST)["totals"]
        return {name: totals[name] for name in ("parameters", "multiply_adds_per_image")}


def _is_source(layer: caffe_pb.LayerParameter) -> bool:
    return not layer.bottom and layer.type != "Parameter"


def _is_judge(layer: caffe_pb.LayerParameter) -> bool:
    return layer.type == "Accuracy" or layer.type.endswith("Loss")


def _scores(net: caffe_pb.NetParameter, inputs: Collection[str]) -> list[str]:
    judged = {blob for layer in net.layer if _is_judge(layer) for blob in layer.bottom}
    edges = graph.connections(net)
    ends = {
        net.layer[i].top[j]
        for (i, j), readers in edges.consumers.items()
        if not readers and not _is_judge(net.layer[i])
    }
    scores = sorted((judged | ends) - inputs.keys())
    if not scores:
        raise graph.NetError("nothing is computed from its inputs")
    return scores


def _with_inputs(
    net: caffe_pb.NetParameter, inputs: Mapping[str, tuple[int, ...]]
) -> caffe_pb.NetParameter:
    changed = caffe_pb.NetParameter()
    changed.CopyFrom(net)
    for layer in changed.layer:
        if _is_source(layer):
            given = caffe_pb.LayerParameter(name=layer.name, type="Input", top=layer.top)
            for top in layer.top:
                given.input_param.shape.add(dim=inputs[top])
            layer.CopyFrom(given)
    return changed


def compare(parent: Side, child: Side, batches: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The largest difference of the scores over the batches, and both accuracies."""
    largest = worst = count = 0
    accuracies = {name: [0.0, 0.0] for name in parent.accuracies}
    for values in batches:
        blobs, theirs = parent.run(values), child.run(values)
        for name in parent.scores:
            largest = max(largest, float(np.abs(blobs[name]).max()))
            worst = max(worst, float(np.abs(blobs[name] - theirs[name]).max()))
        for name, sums in accuracies.items():
            sums[0] += blobs[name].item()
            sums[1] += theirs[name].item()
        count += 1
    return {
        "scores": parent.scores,
        "batches": count,
        "images": count * next(iter(parent.inputs.values()))[0],
        "largest": largest,
        "difference": worst / largest if largest else worst,
        "accuracies": {name: [s / count for s in sums] for name, sums in accuracies.items()},
    }


def report(result: Mapping[str, Any], missing: str | None) -> Iterator[str]:
    """The lines that are printed of a comparison; missing: why there is no real input."""
    yield f"{'':24}{'parent':>16}{'child':>16}"
    for name, title in (
        ("parameters", "parameters"),
        ("multiply_adds_per_image", "multiply-adds an image"),
    ):
        ours, theirs = result["parent"][name], result["child"][name]
        ratio = f"  x {theirs / ours:.3f}" if ours else ""
        yield f"{title:24}{ours:>16,.0f}{theirs:>16,.0f}{ratio}"
    if not missing:
        for name, (ours, theirs) in result["real"]["accuracies"].items():
            yield f"{name:24}{ours:>16.4f}{theirs:>16.4f}"
    yield f"difference of {', '.join(result['random']['scores'])}, relative to the largest value:"
    for kind in ("random", "real"):
        if kind in result:
            row = result[kind]
            yield f"  {kind + ' input':22}{row['difference']:>16.3g}  ({row['images']} images)"
    if missing:
        yield f"  no real input: {missing}"


def command() -> None:
    """Run the command as a program of its own."""
    run(main)


if __name__ == "__main__":
    command()
