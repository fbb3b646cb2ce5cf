"""A net as an ONNX file: traced by torch.export, written by torch.onnx, judged by onnxruntime."""

from __future__ import annotations

import ast
import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from netgen import graph, schema
from netgen.errors import CaffeError
from netgen.extras import needed
from runner.exporting.module import NetModule, refuse_untraceable
from runner.net.net import Net

#: The version of ONNX's operators that is written: what torch.onnx writes first, and so what the
#: most programs read.
OPSET = 18
#: The most by which onnxruntime's outputs may differ from the engine's, relative to the largest.
TOLERANCE = 1e-4
#: What the axis is called that may be of any size.
BATCH = "batch"
#: The most bytes of a protobuf message. ONNX has larger weights in files beside it.
_LARGEST = 2**31 - 1


def write_onnx(
    net: Net, path: str | os.PathLike[str], batch: int | None = None
) -> dict[str, float]:
    """Write `net`, of phase TEST and on a CPU, as ONNX; its inputs and outputs are the blobs.

    batch: the size of the inputs' first axis; None for any size, where they have that of the
    first input. The file is written only if onnxruntime computes from it what the engine computes
    on random input. Returns {output: the largest difference of one of its values, relative to its
    largest value}. Raises CaffeError: for layers that have no place in ONNX, for a difference
    above TOLERANCE, and where a package of the extra is missing.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        needed(package, "export")
    refuse_untraceable(net)
    module = NetModule(net).eval()
    _refuse(net, module)
    shapes = {name: tuple(net.blob_shapes[name]) for name in module.inputs}
    size = next(iter(shapes.values()))[0]
    varying = [name for name, shape in shapes.items() if shape[:1] == (size,)]
    # torch takes an axis of 1 for one that is always 1.
    sizes = [batch] if batch else [max(size, 2), 1]
    examples = [_example(net, shapes, varying, count) for count in sizes]
    with _quiet():
        content = _translated(net, module, examples[0], [] if batch else varying)
    try:
        differences = _differences(net, content, examples)
    except graph.NetError as error:  # of a batch of another size
        raise CaffeError(f"{error}{_hint([] if batch else varying)}") from None
    worst = max(differences, key=lambda name: differences[name])
    if differences[worst] > TOLERANCE:
        raise CaffeError(
            f"{os.fspath(path)}: not written: output '{worst}' differs from the engine's by "
            f"{differences[worst]:.1e} in onnxruntime, more than {TOLERANCE:g} of its largest value"
        )
    schema.write_bytes(content, path)
    return differences


def _refuse(net: Net, module: NetModule) -> None:
    """Raise CaffeError for a net that no ONNX file can hold, whatever its layers."""
    if not module.inputs:
        raise CaffeError(f"net '{net.name}' has no Input layer: export its deploy net")
    for name in module.inputs:
        if name in module.outputs:
            raise CaffeError(
                f"net '{net.name}': blob '{name}' is an input and an output: no layer reads it, or "
                "one writes it in place, whose top then needs a name of its own"
            )
    if not module.outputs:
        raise CaffeError(f"net '{net.name}' has no output: a Silence layer reads all that it makes")
    size = net.parameters.data.nbytes
    if size > _LARGEST:
        raise CaffeError(f"net '{net.name}': {size:,} bytes of weights; an ONNX file holds 2 GB")


def _example(
    net: Net, shapes: Mapping[str, Sequence[int]], varying: Sequence[str], count: int
) -> dict[str, np.ndarray]:
    """Random values of all inputs, those that vary `count` long: normal, or numbers of rows."""
    draw, rows = np.random.default_rng(count), _looked_up(net, shapes, varying, count)
    example = {}
    for name, shape in shapes.items():
        sizes = (count, *shape[1:]) if name in varying else tuple(shape)
        values = (
            draw.integers(0, rows[name], sizes) if name in rows else draw.standard_normal(sizes)
        )
        example[name] = values.astype(np.float32)
    return example


def _looked_up(
    net: Net, shapes: Mapping[str, Sequence[int]], varying: Sequence[str], count: int
) -> dict[str, int]:
    """How many rows there are, for each input by whose values a layer looks up rows."""
    rows, origin = {}, {name: name for name in shapes}
    for node in net.nodes:
        kind, last = node.param.type, node.bottoms[-1] if node.bottoms else ""
        if last not in origin:
            continue
        if kind == "Split":
            origin.update(dict.fromkeys(node.tops, origin[last]))
        elif kind == "Embed":
            rows[origin[last]] = node.param.embed_param.input_dim
        elif kind == "BatchReindex":
            records = net.blob_shapes[node.bottoms[0]][0]
            rows[origin[last]] = min(count, records) if varying else records
    return rows


def _translated(
    net: Net, module: NetModule, example: Mapping[str, np.ndarray], varying: Sequence[str]
) -> bytes:
    """The file's bytes. varying: the inputs that may be of any batch. Raises CaffeError."""
    values = tuple(torch.from_numpy(value) for value in example.values())
    axis = torch.export.Dim(BATCH, min=1)
    dynamic = tuple({0: axis} if name in varying else None for name in example)
    try:
        with torch.no_grad():
            traced = torch.export.export(
                module, values, dynamic_shapes={"values": dynamic}, strict=False
            )
            program = torch.onnx.export(
                traced,
                values,
                input_names=[f"input {i}" for i in range(len(module.inputs))],
                output_names=[f"output {i}" for i in range(len(module.outputs))],
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
            _keep_small_numbers(program.model)
            program.optimize()
        return _named(program.model_proto, module, net.name)
    except CaffeError as error:
        raise CaffeError(f"{error}{_hint(varying)}") from None
    except Exception as error:  # torch's own of many kinds
        line = _first_line(error)
        if line.startswith("Constraints violated"):
            line = f"its layers want one size of the first axis of {', '.join(varying)}"
        raise CaffeError(
            f"net '{net.name}': torch.onnx cannot write it: {line}{_hint(varying)}"
        ) from error


def _keep_small_numbers(model: Any) -> None:
    """Keep what is almost 0 or 1 from being taken for it, and left out, by onnxscript's optimizer.

    So the 1e-10 would go that keep a division by a norm of zero from giving nan. The optimizer
    looks at numbers without axes alone.
    """
    for node in model.graph:
        number = node.op_type == "Constant" and node.attributes.get("value")
        value = np.asarray(number.value.numpy()) if number else np.empty(0)
        if value.ndim or value in (0, 1) or min(abs(value), abs(value - 1)) > 1e-3:
            continue
        if all(user.outputs[0].shape for user in node.outputs[0].consumers()):
            one_axis = type(number.value)(value.reshape(1))
            node.attributes["value"] = type(number)(number.name, number.type, one_axis)


def _hint(varying: Sequence[str]) -> str:
    """What to add to an error of a net that was traced for any batch."""
    return "; -batch N fixes its size" if varying else ""


def _first_line(error: BaseException) -> str:
    """What is at the bottom of an error, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _named(model: Any, module: NetModule, name: str) -> bytes:
    """The file's bytes, with names that people know: of the net, the blobs and the free axis."""
    whole = model.graph
    names = {**module.names}
    for values, blobs in ((whole.input, module.inputs), (whole.output, module.outputs)):
        names.update(zip((value.name for value in values), blobs, strict=True))
    taken = set(names.values())

    def known(value: str) -> str:
        return names.get(value) or (f"{value}_inside" if value in taken else value)

    whole.name = name or "net"
    _name_nodes(whole.node, module)
    for node in whole.node:
        node.input[:] = map(known, node.input)
        node.output[:] = map(known, node.output)
    values = [*whole.input, *whole.output, *whole.value_info]
    for value in (*whole.initializer, *values):
        value.name = known(value.name)
    for part in (whole, *whole.initializer, *whole.node, *values):
        del part.metadata_props[:]  # where in the source it was traced
    free = whole.input[0].type.tensor_type.shape.dim[0].dim_param
    for dim in (dim for value in values for dim in value.type.tensor_type.shape.dim):
        if free and dim.dim_param:
            dim.dim_param = dim.dim_param.replace(free, BATCH)
    needed("onnx.checker", "export").check_model(model)
    return model.SerializeToString()


def _name_nodes(nodes: Sequence[Any], module: NetModule) -> None:
    """Name nodes after the layers that they are of, "/conv1/Conv", where torch says which."""
    taken: set[str] = set()
    for node in nodes:
        scopes = [p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"]
        layer = module.layer_of(ast.literal_eval(scopes[0])) if scopes else None
        name = f"/{layer}/{node.op_type}" if layer else node.name
        node.name, number = name, 1
        while node.name in taken:
            node.name, number = f"{name}_{number}", number + 1
        taken.add(node.name)


def _differences(
    net: Net, content: bytes, examples: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, float]:
    """{output: the largest difference relative to the engine's largest value}. Raises CaffeError."""
    runtime = needed("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    largest: dict[str, float] = {}
    for example in examples:
        for name, value in example.items():
            net.blobs[name].put(torch.from_numpy(value))
        with torch.no_grad():
            _, outputs = net.forward()
        try:
            session = runtime.InferenceSession(content, options, ["CPUExecutionProvider"])
            found = session.run(list(outputs), dict(example))
        except Exception as error:  # onnxruntime's own of many kinds
            raise CaffeError(
                f"net '{net.name}': onnxruntime cannot run it: {_first_line(error)}"
            ) from error
        for (name, wanted), value in zip(outputs.items(), found, strict=True):
            if not torch.isfinite(wanted).all():
                raise CaffeError(
                    f"net '{net.name}': output '{name}' is no number on random input, which no "
                    "runtime can be compared with: are these the weights of a training?"
                )
            largest[name] = max(_relative(value, wanted.numpy()), largest.get(name, 0.0))
    return largest


def _relative(found: np.ndarray, wanted: np.ndarray) -> float:
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    scale = float(np.abs(wanted).max(initial=0)) or 1.0
    return float(np.abs(found - wanted).max(initial=0)) / scale


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warnings and log lines, which are of its own inside."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [log.level for log in logs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for log in logs:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)
