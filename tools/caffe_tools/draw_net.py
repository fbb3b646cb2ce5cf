"""Draw a net: a box a layer, coloured by its role, with what makes a split apart from the rest.

FILE.dot is Graphviz's text; .svg, .png and .pdf are drawn by Graphviz: the program `dot`, or
the package pygraphviz, whose wheels for Linux and macOS have it built in. Layers in place (ReLU,
Dropout) stand in the box of the layer whose top they change.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator, Sequence
from shutil import which

from netgen import graph, schema
from netgen.commandline import Parser, run, shape_of
from netgen.errors import CaffeError, printable
from netgen.growth import kinds
from netgen.schema import caffe_pb

COLORS = {
    kinds.FAST: "#ffcf9e",
    kinds.SLOW: "#a9cdf0",
    kinds.BESIDE: "#c3e6b5",
    kinds.GLUE: "#e4d7f2",
    "convolution": "#fff3b0",
    "other": "#eeeeee",
}
# The roles of layers that are not convolutions of a split.
TYPES = {
    "Concat": kinds.GLUE,
    "Eltwise": kinds.GLUE,
    "Convolution": "convolution",
    "InnerProduct": "convolution",
}
NO_GRAPHVIZ = "Graphviz is not installed: `pip install pygraphviz`, or the program `dot`"


class NoGraphviz(CaffeError):
    """Neither the program `dot` nor the package pygraphviz is there."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(arguments)
    net = schema.read_net(options.net)
    try:
        text = to_dot(net, caffe_pb.Phase.Value(options.phase), options.input_shape)
    except graph.NetError as error:
        raise CaffeError(f"{options.net}: {error}") from None
    kind = options.output.rpartition(".")[2].lower()
    content = text.encode() if kind in ("dot", "gv") else render(text, kind)
    schema.write_bytes(content, options.output)
    return 0


def to_dot(
    net: caffe_pb.NetParameter,
    phase: int = caffe_pb.TEST,
    input_shape: tuple[int, ...] | None = None,
) -> str:
    """The DOT text of a NetParameter (current format) in a phase. Raises NetError.

    input_shape: (C, H, W) of one record, or None to look at the source.
    """
    infos = graph.infer(graph.in_phase(net, phase), phase, input_shape or graph.record_shape)
    boxes, makers, edges = [], {}, []
    for info in infos:
        layer = info.layer
        if graph.wholly_in_place(layer):
            boxes[makers[layer.top[0]]][1].append(layer.type)
            continue
        place = len(boxes)
        boxes.append((layer, [], info.shapes))
        edges += [(makers[blob], place, blob) for blob in dict.fromkeys(layer.bottom)]
        makers |= dict.fromkeys(layer.top, place)
    lines = [
        f"digraph {_quoted(printable(net.name) or 'net')} {{",
        '  node [shape=box, style="filled,rounded", fontname="Helvetica", fontsize=11,'
        ' penwidth=0.6, margin="0.12,0.05"];',
        "  edge [arrowsize=0.6, penwidth=0.8];",
        "  ranksep=0.25; nodesep=0.2;",
    ]
    for place, (layer, in_place, shapes) in enumerate(boxes):
        role = role_of(layer)
        label = "\n".join([printable(layer.name), *_details(layer, in_place, shapes)])
        lines.append(
            f"  n{place} [label={_quoted(label)}, fillcolor={_quoted(COLORS[role])}, "
            f"tooltip={_quoted(f'{layer.type}: {role}')}];"
        )
    for a, b, blob in edges:
        aside = "" if blob == boxes[a][0].top[0] else ' [color="#aaaaaa", style=dashed]'
        lines.append(f"  n{a} -> n{b}{aside};")
    return "\n".join([*lines, "}", ""])


def role_of(layer: caffe_pb.LayerParameter) -> str:
    """The role of a layer, a key of COLORS, by what its name says of a split, else by its type."""
    split = kinds.role_of(layer.name) if layer.type == "Convolution" else None
    return split.place if split else TYPES.get(layer.type, "other")


def render(text: str, kind: str = "svg") -> bytes:
    """The picture of a DOT text, in a format that Graphviz knows. Raises NoGraphviz, CaffeError."""
    if which("dot"):
        done = subprocess.run(["dot", f"-T{kind}"], input=text.encode(), capture_output=True)
        if done.returncode:
            problem = done.stderr.decode(errors="replace").strip().splitlines() or ["failed"]
            raise CaffeError(f"dot: {problem[0]}")
        return done.stdout
    try:
        from pygraphviz import AGraph
    except ImportError:
        raise NoGraphviz(NO_GRAPHVIZ) from None
    try:
        return AGraph(string=text).draw(format=kind, prog="dot")
    except (OSError, ValueError) as error:
        raise CaffeError(f"Graphviz: {str(error).strip().splitlines()[0]}") from None


def _details(
    layer: caffe_pb.LayerParameter, in_place: Sequence[str], shapes: graph.LayerShapes
) -> Iterator[str]:
    parts = []
    if layer.type == "Convolution":
        window = "x".join(map(str, shapes.geometry.kernel)) or "1"
        stride = max(shapes.geometry.stride, default=1)
        parts.append(f"{layer.convolution_param.num_output} {window}")
        parts[-1] += f" /{stride}" if stride > 1 else ""
    elif layer.name.lower() != layer.type.lower():
        parts.append(layer.type)
    yield " + ".join([*parts, *in_place]) or layer.type
    if shapes.tops:
        yield "x".join(map(str, shapes.tops[0][1:])) or "scalar"


def _quoted(text: str) -> str:
    """A string of DOT that is drawn as it is: Graphviz also reads HTML's &lt; and the like."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text.replace("&", "&amp;")}"'


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = Parser.documented("draw_net", __doc__)
    parser.add_argument("net", metavar="NET.prototxt")
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), default="TEST")
    parser.add_argument(
        "--input-shape",
        type=shape_of,
        metavar="C,H,W",
        help="of one record, where the data are not there and no crop_size tells",
    )
    parser.add_argument(
        "-o", dest="output", required=True, metavar="FILE", help=".dot, .svg, .png, .pdf, ..."
    )
    return parser.parse_args(arguments)


def command() -> None:
    """Run the command as a program of its own."""
    run(main)


if __name__ == "__main__":
    command()
