"""What a test of a net comes to: the means of its outputs, or the precision of its detections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import torch

from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.log import glog, lines
from runner.net.net import Net

_EPSILON = np.float32(1e-6)
_EVALUATION = ("eval_type", "ap_version", "show_per_class_result")
Print = Callable[[str, Net, dict[str, torch.Tensor], str], None]


class Tally(Protocol):
    """Takes a test net's outputs batch by batch, and logs what they come to."""

    def add(self, outputs: dict[str, torch.Tensor]) -> None:
        """Take one batch's outputs, by name."""

    def tell(self, batches: int) -> None:
        """Log the results of so many batches."""


def warn_of_uneven(names: Iterable[str], source: str) -> None:
    """Log of outputs whose batches differ in size that they have no mean.

    Caffe writes beyond its memory then. source: the line of Caffe's that would print it.
    """
    for name in names:
        glog.warning(
            f"{name} has not the same number of values in each batch, and no mean; for detections "
            'a solver with eval_type "detection" gives a score',
            source,
        )


class Means:
    """The mean of every output over the batches (solver.cpp, TestClassification).

    An output that changes its size from batch to batch has none, and is left out.
    """

    def __init__(self, net: Net, print_outputs: Print) -> None:
        self._net, self._print = net, print_outputs
        self._sums: dict[str, torch.Tensor] = {}
        self._uneven: dict[str, None] = {}  # in order

    def add(self, outputs: dict[str, torch.Tensor]) -> None:
        for name, value in outputs.items():
            before = self._sums.get(name)
            if before is None:
                self._sums[name] = value.clone()
            elif before.shape == value.shape:
                self._sums[name] = before + value
            else:
                self._uneven[name] = None

    def tell(self, batches: int) -> None:
        warn_of_uneven(self._uneven, "solver.cpp:414")
        for name in self._uneven:
            del self._sums[name]
        means = {name: value / batches for name, value in self._sums.items()}
        self._print("Test", self._net, means, "solver.cpp:414")


class Detections:
    """The mean average precision of each output of DetectionEvaluate (solver.cpp, TestDetection).

    param: SolverParameter, whose ap_version and show_per_class_result are used. Raises CaffeError
    for an output that does not come from DetectionEvaluate.
    """

    def __init__(self, param: caffe_pb.SolverParameter) -> None:
        self._version, self._shows_classes = param.ap_version, param.show_per_class_result
        self._tables: dict[str, list[np.ndarray]] = defaultdict(list)

    def add(self, outputs: dict[str, torch.Tensor]) -> None:
        for name, value in outputs.items():
            if value.dim() != 4 or value.shape[3] != 5:
                raise CaffeError(
                    f"output '{name}' has shape {tuple(value.shape)}, which is none of a "
                    'DetectionEvaluate layer; eval_type "detection" wants no other'
                )
            self._tables[name].append(value.reshape(-1, 5).cpu().numpy())

    def tell(self, batches: int) -> None:
        for position, (name, tables) in enumerate(self._tables.items()):
            table = np.concatenate([np.empty((0, 5), np.float32), *tables])
            counts, found = table[table[:, 0] == -1], table[table[:, 0] != -1]
            found = found[(found[:, 3] != 0) | (found[:, 4] != 0)]
            if not len(found):
                continue  # Caffe says nothing of an output without a detection
            total = np.float32(0)
            labels = np.unique(counts[:, 1]).astype(int)
            for label in labels.tolist():
                own = found[found[:, 1] == label]
                if not len(own):
                    glog.warning(f"Missing true_pos for label: {label}", "solver.cpp:503")
                    continue
                count = int(counts[counts[:, 1] == label, 2].sum())
                precision = average_precision(own[:, 2], own[:, 3] != 0, count, self._version)
                total += np.float32(precision)
                if self._shows_classes:
                    glog.info(f"class{label}: {glog.number(precision)}", "solver.cpp:519")
            mean = float(total / np.float32(len(labels)))
            glog.info(lines.output("Test", position, name, mean), "solver.cpp:526")


def tally_of(param: caffe_pb.SolverParameter, net: Net, print_outputs: Print) -> Tally:
    """The Tally that a solver's eval_type asks for."""
    return Detections(param) if param.eval_type == "detection" else Means(net, print_outputs)


def check_evaluation(param: caffe_pb.SolverParameter) -> None:
    """Raise CaffeError unless eval_type and ap_version are known.

    Where nothing is tested they change nothing, and one warning says so.
    """
    if not param.test_iter:
        given = [name for name in _EVALUATION if param.HasField(name)]
        if given:
            glog.warning(
                f"skipped, since there is no test_iter, so that nothing is evaluated: "
                f"{', '.join(given)}",
                "solver.cpp:57",
            )
        return
    if param.eval_type not in ("classification", "detection"):
        raise CaffeError(
            f"Unknown evaluation type: {param.eval_type} (known: classification, detection)"
        )
    if param.eval_type == "detection" and param.ap_version not in _VERSIONS:
        raise CaffeError(f"Unknown ap_version: {param.ap_version} (known: {', '.join(_VERSIONS)})")


def average_precision(scores: np.ndarray, right: np.ndarray, count: int, version: str) -> float:
    """The average precision of detections of one class, in single precision as in Caffe.

    scores: (n,); right: (n,) bool, which are true positives; count: the boxes to be found; 0 for
    none of them. version: "11point", the mean of the best precisions at 11 recalls (VOC 2007);
    "MaxIntegral", the area under the falling envelope of precision over recall (VOC 2012,
    ILSVRC); "Integral", that under the curve itself. Source: bbox_util.cpp, ComputeAP.
    """
    if not len(scores) or not count:
        return 0.0
    hits = np.cumsum(right[np.argsort(-scores, kind="stable")])
    precision = hits.astype(np.float32) / np.arange(1, len(hits) + 1, dtype=np.float32)
    recall = hits.astype(np.float32) / np.float32(count)
    return float(_VERSIONS[version](precision, recall))


def _eleven_points(precision: np.ndarray, recall: np.ndarray) -> np.float32:
    total = np.float32(0)
    for tenth in range(10, -1, -1):
        best = precision[recall.astype(np.float64) >= tenth / 10].max(initial=0)
        total += np.float32(best) / np.float32(11)
    return total


def _max_integral(precision: np.ndarray, recall: np.ndarray) -> np.float32:
    best = np.maximum.accumulate(precision[::-1])[::-1]
    steps = recall[1:] - recall[:-1]
    total = np.float32(0)
    for i in np.flatnonzero(steps > _EPSILON)[::-1]:
        total += best[i] * steps[i]
    return total + recall[0] * best[0]


def _integral(precision: np.ndarray, recall: np.ndarray) -> np.float32:
    steps = np.diff(recall, prepend=np.float32(0))
    total = np.float32(0)
    for i in np.flatnonzero(steps > _EPSILON):
        total += precision[i] * steps[i]
    return total


_VERSIONS = {"11point": _eleven_points, "MaxIntegral": _max_integral, "Integral": _integral}
