"""The node tests that the package onnx ships, each converted and run through our engine.

    python tests/shared/onnx_nodes.py [--target bvlc] [--all] [PART OF A NAME]...

prints how many pass, are refused and are wrong, and why each refused one is. Without --all those
of operators that no rule says are left out.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections import Counter
from functools import cache

import numpy as np

sys.path[:0] = [os.path.join(os.path.dirname(__file__), *[os.pardir] * 2)]

PASSED, REFUSED, WRONG = "passed", "refused", "wrong"


@cache
def cases():
    """{name: onnx's TestCase} of every node test."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name.removeprefix("test_"): case for case in collect_testcases(None)}


def verdict(case, target="bvlc"):
    """(PASSED | REFUSED | WRONG, why) of one test."""
    import runner
    from netgen.errors import CaffeError
    from netgen.from_onnx import TARGETS, ConversionError, convert, graph_of

    names = [value.name for value in case.model.graph.input]
    inputs, outputs = case.data_sets[0]
    if not all(isinstance(value, np.ndarray | np.generic) for value in (*inputs, *outputs)):
        return REFUSED, "its values are no tensors"
    given = dict(zip(names, map(np.asarray, inputs), strict=False))
    model = with_constants(case.model, given)
    shapes = {value.name: given[value.name].shape for value in model.graph.input}
    try:
        graph = graph_of(model, shapes)
        found = convert(graph, TARGETS[target])
    except ConversionError as error:
        return REFUSED, str(error)
    try:
        net = runner.Net(found.net, weights=found.weights)
        values = {found.inputs[name]: given[name].astype(np.float32) for name in shapes}
        tops = net.forward(blobs=list(found.outputs.values()), **values)
    except CaffeError as error:
        return WRONG, f"our engine refuses the net: {error}"
    for (name, blob), expected in zip(found.outputs.items(), outputs, strict=False):
        expected = np.asarray(expected)
        rtol = 2e-2 if expected.dtype.name == "bfloat16" else case.rtol
        if tops[blob].shape != expected.shape:
            return WRONG, f"{name}: shape {tops[blob].shape} instead of {expected.shape}"
        if not np.allclose(
            tops[blob], expected.astype(np.float64), rtol, max(case.atol, 1e-6),
            equal_nan=True,
        ):  # fmt: skip
            return WRONG, f"{name}: {np.abs(tops[blob] - expected).max()} apart"
    return PASSED, ""


#: Operators whose inputs are all computed by the net; those of others are learned but the first.
COMPUTED = ("Add", "Concat", "Div", "Expand", "Max", "Mean", "Min", "Mul", "Sub", "Sum")


def with_constants(model, given):
    """The model with its weights as constants, as models have them: a node test does not say.

    Indices and shapes are constants in any case.
    """
    import onnx

    first, *more = model.graph.node
    learned = first.op_type not in COMPUTED and not more
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in list(copy.graph.input):
        if value.name == model.graph.input[0].name or value.name not in given:
            continue
        if learned or given[value.name].dtype == np.int64:
            copy.graph.initializer.append(
                onnx.numpy_helper.from_array(given[value.name], value.name)
            )
            copy.graph.input.remove(value)
    return copy


def operators(case):
    return {node.op_type for node in case.model.graph.node}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--target", default="bvlc")
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    from netgen.from_onnx.rules import RULES

    counts = Counter()
    for name, case in cases().items():
        if args.names and not any(part in name for part in args.names):
            continue
        if not args.all and not operators(case) <= set(RULES):
            continue
        try:
            found, why = verdict(case, args.target)
        except Exception as error:
            found, why = WRONG, f"{type(error).__name__}: {error}"
        counts[found] += 1
        if found != PASSED:
            print(f"{found:8} {name}: {why}")
    print(", ".join(f"{n} {word}" for word, n in counts.items()))
    return 1 if counts[WRONG] else 0


if __name__ == "__main__":
    sys.exit(main())
