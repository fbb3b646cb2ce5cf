"""An ONNX file as a Graph: whole shapes, and everything computed that does not need the inputs.

The package onnx reads the file, puts functions in place of their calls and infers shapes; its
reference evaluator computes what depends on constants and shapes alone.
"""

from __future__ import annotations

import ast
import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from netgen.errors import CaffeError
from netgen.extras import needed
from netgen.from_onnx.errors import ConversionError
from netgen.from_onnx.graph import Graph, Node, Shape
from netgen.from_onnx.names import is_made_up

#: Constants of more values than this are kept from onnx while it infers shapes: none of them
#: says what shape anything has, and they may be gigabytes.
_SMALL = 1024
_MOST = 1 << 28  # values: what is said to be larger, a gigabyte, is not computed
_ONNX = ("", "ai.onnx")
#: What makes new values at every run, and is therefore not computed before.
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
           "Multinomial")  # fmt: skip

#: Operators whose output has the shape of the first input, which onnx's inference does not tell.
_AS_INPUT = ("GroupNormalization", "MeanVarianceNormalization")


def require_onnx() -> Any:
    """The package onnx. Raises ConversionError, naming the extra, where it is not installed."""
    return needed("onnx", "export", "reading ONNX needs the package onnx", ConversionError)


def read_model(
    path: str | os.PathLike[str], shapes: Mapping[str, Shape] | None = None, batch: int = 1
) -> Graph:
    """The Graph of an ONNX file, or of one with its weights in other files.

    shapes: {input: its shape}, for inputs whose shape the file leaves open. batch: the size of
    the first axis where it is open. Raises ConversionError.
    """
    onnx = require_onnx()
    path = os.fspath(path)
    try:
        model = onnx.load(path)
    except FileNotFoundError as error:
        raise ConversionError(f"File not found: {error.filename or path}") from None
    except OSError as error:
        raise ConversionError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # protobuf's, and onnx's own for external data
        raise ConversionError(f"{path}: not an ONNX model: {_first_line(error)}") from None
    try:
        _check_texts(model)
        with only_valid(model):
            return graph_of(model, shapes, batch)
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}") from None


@contextlib.contextmanager
def only_valid(model: Any) -> Iterator[None]:
    """A block in which a model that is none by ONNX's own rules is a ConversionError.

    model: the onnx.ModelProto, or the path of its file. What is damaged may make anything go
    wrong, a number for a text, say. What goes wrong with a valid model is raised as it is.
    """
    try:
        yield
    except CaffeError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        onnx = require_onnx()
        try:
            onnx.checker.check_model(model)
        except Exception as invalid:  # of the checker, or of protobuf
            raise ConversionError(f"not a valid ONNX model: {_first_line(invalid)}") from None
        raise error


def _check_texts(message: Any) -> None:
    """Raises ConversionError for a name that is not UTF-8, which protobuf gives as bytes."""
    if message.DESCRIPTOR.name == "TensorProto":  # its values are many, and no texts
        _check_text(message.name)
        return
    for field, value in message.ListFields():
        parts = value if hasattr(value, "append") or hasattr(value, "add") else [value]
        for part in parts:
            if field.message_type is not None:
                _check_texts(part)
            elif field.type == field.TYPE_STRING:
                _check_text(part)


def _check_text(text: str | bytes) -> None:
    if isinstance(text, bytes):
        shown = text.decode("utf-8", "surrogateescape")
        raise ConversionError(f"not an ONNX model: '{shown}' is not UTF-8")


def graph_of(model: Any, shapes: Mapping[str, Shape] | None = None, batch: int = 1) -> Graph:
    """The Graph of an onnx.ModelProto; see read_model."""
    onnx = require_onnx()
    if not model.graph.node and not model.graph.output:
        raise ConversionError("not an ONNX model: it has no graph")
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    opset = next((o.version for o in model.opset_import if o.domain in _ONNX), 1)
    graph = Graph(model.graph.name, opset)
    graph.constants = {t.name: _array(t) for t in model.graph.initializer}
    graph.parameters = {name for name in graph.constants if not is_made_up(name)}
    given = [value for value in model.graph.input if value.name not in graph.constants]
    for name in shapes or {}:
        if name not in {value.name for value in given}:
            known = ", ".join(value.name for value in given)
            raise ConversionError(f"the model has no input '{name}' (its inputs: {known})")
    graph.inputs = {value.name: _input_shape(value, dict(shapes or {}), batch) for value in given}
    graph.outputs = {value.name: value.name for value in model.graph.output}
    kinds = {value.name: value.type.tensor_type.elem_type for value in given}
    nodes = _compute(graph, list(model.graph.node), kinds, model)
    taken = {node.name for node in nodes}
    for i, proto in enumerate(nodes):
        graph.nodes.append(
            Node(
                proto.op_type if proto.domain in _ONNX else f"{proto.domain}.{proto.op_type}",
                proto.name or _new(f"{proto.op_type}_{i}", taken),
                list(proto.input),
                list(proto.output),
                {a.name: _python(onnx.helper.get_attribute_value(a)) for a in proto.attribute},
                graph,
                _scope(proto),
            )
        )
    graph.drop_unused()
    return graph


def _array(tensor: Any) -> np.ndarray:
    """The values of a constant. Raises ConversionError, naming it, where they are damaged."""
    try:
        return require_onnx().numpy_helper.to_array(tensor)
    except (LookupError, TypeError, ValueError) as error:
        why = _first_line(error)
        raise ConversionError(f"constant {tensor.name!r} cannot be read: {why}") from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _new(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _python(value: Any) -> Any:
    """An attribute as Python has it: text as str, lists as lists."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | tuple) and value and isinstance(value[0], bytes):
        return [item.decode(errors="replace") for item in value]
    return list(value) if isinstance(value, tuple) else value


def _input_shape(value: Any, shapes: dict[str, Shape], batch: int) -> Shape:
    """The shape of a graph input, with `batch` where the first axis is open."""
    if value.name in shapes:
        return tuple(shapes[value.name])
    if not value.type.HasField("tensor_type"):
        raise ConversionError(f"input '{value.name}' is not a tensor")
    if not value.type.tensor_type.HasField("shape"):
        raise ConversionError(
            f"input '{value.name}' has no shape: give one with --input-shape {value.name}=N,C,H,W"
        )
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    if dims and dims[0] < 1:
        dims[0] = batch
    if min(dims, default=1) < 1:
        open_axes = ", ".join(str(d) if d > 0 else "?" for d in dims)
        raise ConversionError(
            f"input '{value.name}' has the shape ({open_axes}): give all of it with "
            f"--input-shape {value.name}=N,C,H,W"
        )
    return tuple(dims)


def _compute(graph: Graph, nodes: list[Any], kinds: dict[str, int], model: Any) -> list[Any]:
    """The nodes that are left once all that depends on constants and shapes alone is computed.

    graph.constants and graph.shapes are filled. Shapes and constants help each other on, so
    that both are found in turns until nothing is found any more.
    """
    while True:
        _infer(graph, nodes, kinds, model)
        nodes = _without_ifs(graph, nodes)
        left = []
        for node in nodes:
            values = _computed(graph, node)
            if values is None:
                left.append(node)
            else:
                graph.constants.update(zip(node.output, values, strict=False))
        if len(left) == len(nodes):
            return left
        nodes = left


def _without_ifs(graph: Graph, nodes: list[Any]) -> list[Any]:
    """The nodes with those of a branch in place of every If whose condition is constant."""
    onnx = require_onnx()
    found = []
    for node in nodes:
        condition = graph.constants.get(node.input[0]) if node.op_type == "If" else None
        if condition is None or node.domain not in _ONNX:
            found.append(node)
            continue
        wanted = "then_branch" if condition.all() else "else_branch"
        branch = next(a.g for a in node.attribute if a.name == wanted)
        graph.constants.update({t.name: _array(t) for t in branch.initializer})
        found += branch.node
        found += [
            onnx.helper.make_node("Identity", [value.name], [name])
            for value, name in zip(branch.output, node.output, strict=True)
        ]
    return found


def _computed(graph: Graph, node: Any) -> list[np.ndarray] | None:
    """The outputs of a node that needs no input of the net, or None."""
    onnx = require_onnx()
    if node.op_type == "Shape" and node.domain in _ONNX and node.input[0] in graph.shapes:
        start, end = (
            next((a.i for a in node.attribute if a.name == name), None) for name in ("start", "end")
        )
        return [np.array(graph.shapes[node.input[0]][start:end], np.int64)]
    if node.op_type == "CastLike" and node.input[0] in graph.constants:
        kind = graph.kinds.get(node.input[1])
        if kind is not None:
            return [graph.constants[node.input[0]].astype(np.dtype(kind))]
    if node.op_type in _RANDOM:
        return None
    if any(name and name not in graph.constants for name in node.input):
        return None
    if node.domain not in _ONNX or any(a.HasField("g") or a.graphs for a in node.attribute):
        return None
    if any(math.prod(graph.shapes.get(name, ())) > _MOST for name in node.output):
        return None
    from onnx.reference import ReferenceEvaluator

    names = [name for name in dict.fromkeys(node.input) if name]
    inputs = [onnx.ValueInfoProto(name=name) for name in names]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    alone = onnx.helper.make_model(
        onnx.helper.make_graph([node], "node", inputs, outputs),
        opset_imports=[onnx.helper.make_opsetid("", graph.opset)],
    )
    try:
        with np.errstate(all="ignore"):
            found = ReferenceEvaluator(alone).run(None, {n: graph.constants[n] for n in names})
    except Exception:  # whatever the evaluator cannot do is left to the rules, which name it
        return None
    if not all(isinstance(value, np.ndarray | np.generic) for value in found):
        return None
    values = iter(found)
    return [np.asarray(next(values)) if name else np.empty(0) for name in node.output]


def _infer(graph: Graph, nodes: list[Any], kinds: dict[str, int], model: Any) -> None:
    """Fill graph.shapes and graph.kinds with all that onnx can tell."""
    onnx = require_onnx()
    helper = onnx.helper
    inputs = [
        helper.make_tensor_value_info(name, kinds[name], shape)
        for name, shape in graph.inputs.items()
    ]
    small = []
    read = {name for node in nodes for name in node.input}
    for name in read & graph.constants.keys():
        value = graph.constants[name]
        if value.size <= _SMALL:
            small.append(onnx.numpy_helper.from_array(value, name))
        else:
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            inputs.append(helper.make_tensor_value_info(name, kind, value.shape))
    outputs = [
        onnx.ValueInfoProto(name=name)
        for name in graph.outputs
        if name not in graph.constants and name not in graph.inputs
    ]
    told = [
        helper.make_node("Identity", node.input[:1], node.output[:1])
        if node.op_type in _AS_INPUT and node.domain in _ONNX
        else node
        for node in nodes
    ]
    inner = helper.make_graph(told, graph.name or "net", inputs, outputs, small)
    whole = helper.make_model(inner, opset_imports=model.opset_import)
    whole.ir_version = model.ir_version or whole.ir_version
    try:
        found = onnx.shape_inference.infer_shapes(whole, data_prop=True).graph
    except Exception as error:
        raise ConversionError(f"onnx cannot tell its shapes: {_first_line(error)}") from None
    graph.shapes = dict(graph.inputs)
    for value in (*found.input, *found.value_info, *found.output):
        kind = value.type.tensor_type
        if not value.type.HasField("tensor_type"):
            continue
        if kind.elem_type in onnx.TensorProto.DataType.values():
            graph.kinds[value.name] = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        if kind.HasField("shape"):
            dims = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
            if min(dims, default=0) >= 0:
                graph.shapes[value.name] = tuple(dims)


def _scope(node: Any) -> str:
    """The module that a node was exported from, or "": "layer1.0.relu".

    torch's exporters say it in the name, "/layer1/layer1.0/relu/Relu", or in the metadata.
    """
    if node.name.startswith("/"):
        path = node.name.split("/")[1:-1]
        whole = zip(path, [*path[1:], ""], strict=False)
        return ".".join(part for part, inner in whole if not inner.startswith(f"{part}."))
    for item in getattr(node, "metadata_props", ()):
        if item.key == "pkg.torch.onnx.name_scopes":
            try:
                scopes = ast.literal_eval(item.value)
            except (ValueError, SyntaxError):
                return ""
            modules = [scope for scope in scopes[:-1] if isinstance(scope, str)]
            return modules[-1] if modules else ""
    return ""
