"""Draw a net: a box a layer, coloured by its role, with what makes a split apart from the rest.

FILE.dot is Graphviz's text; .svg, .png and .pdf are drawn by Graphviz: the program `dot`, or
the package pygraphviz, whose wheels for Linux and macOS have it built in. Layers in place (ReLU,
Dropout) stand in the box of the layer whose top they change. A legend tells what the colours of
the drawing are.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
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
# What the legend calls a role, where that is not its name.
LEGEND = {
    "convolution": "convolution, inner product",
    kinds.GLUE: "glue: 1x1 layers, Concat, Eltwise",
    "other": "other layers",
}
RANKDIRS = ("TB", "BT", "LR", "RL")
NO_GRAPHVIZ = "Graphviz is not installed: `pip install pygraphviz`, or the program `dot`"


class NoGraphviz(CaffeError):
    """Neither the program `dot` nor the package pygraphviz is there."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(arguments)
    net = schema.read_net(options.net)
    try:
        phase = None if options.phase == "ALL" else caffe_pb.Phase.Value(options.phase)
        text = to_dot(net, phase, options.input_shape, options.rankdir)
    except graph.NetError as error:
        hint = "; give it with --input-shape C,H,W"
        unknown = isinstance(error, graph.UnknownShapeError)
        raise CaffeError(f"{options.net}: {error}{hint if unknown else ''}") from None
    kind = options.output.rpartition(".")[2].lower()
    content = text.encode() if kind in ("dot", "gv") else render(text, kind)
    schema.write_bytes(content, options.output)
    return 0


@dataclass
class Box:
    """A layer as it is drawn.

    in_place: the types of the layers that change its top in place. phases: those it is in.
    """

    number: int
    layer: caffe_pb.LayerParameter
    shapes: graph.LayerShapes
    in_place: list[str] = field(default_factory=list)
    phases: list[int] = field(default_factory=list)

    @property
    def role(self) -> str:
        """A key of COLORS."""
        return role_of(self.layer)


def to_dot(
    net: caffe_pb.NetParameter,
    phase: int | None = caffe_pb.TEST,
    input_shape: tuple[int, ...] | None = None,
    rankdir: str = "TB",
) -> str:
    """The DOT text of a NetParameter (current format) in a phase. Raises NetError.

    phase: None for both, where a layer that is in one alone says so. input_shape: (C, H, W) of
    one record, or None to look at the source. rankdir: which way arrows go, one of RANKDIRS.
    """
    phases = (caffe_pb.TRAIN, caffe_pb.TEST) if phase is None else (phase,)
    boxes: dict[bytes, Box] = {}
    edges: dict[tuple[int, int, str], Box] = {}
    for each in phases:
        _add_phase(net, each, input_shape, boxes, edges)
    lines = [
        f"digraph {_quoted(printable(net.name) or 'net')} {{",
        '  node [shape=box, style="filled,rounded", fontname="Helvetica", fontsize=11,'
        ' penwidth=0.6, margin="0.12,0.05"];',
        "  edge [arrowsize=0.6, penwidth=0.8];",
        f"  ranksep=0.25; nodesep=0.2; rankdir={rankdir};",
    ]
    for box in boxes.values():
        label = [printable(box.layer.name), *_details(box.layer, box.in_place, box.shapes)]
        if len(box.phases) < len(phases):
            label.append(f"{caffe_pb.Phase.Name(box.phases[0])} only")
        lines.append(
            f"  n{box.number} [label={_quoted(chr(10).join(label))}, "
            f"fillcolor={_quoted(COLORS[box.role])}, "
            f"tooltip={_quoted(f'{box.layer.type}: {box.role}')}];"
        )
    for (a, b, blob), maker in edges.items():
        aside = "" if blob == maker.layer.top[0] else ' [color="#aaaaaa", style=dashed]'
        lines.append(f"  n{a} -> n{b}{aside};")
    lines += _legend({box.role for box in boxes.values()})
    return "\n".join([*lines, "}", ""])


def _add_phase(
    net: caffe_pb.NetParameter,
    phase: int,
    input_shape: tuple[int, ...] | None,
    boxes: dict[bytes, Box],
    edges: dict[tuple[int, int, str], Box],
) -> None:
    """Add what the net is in a phase to the boxes, by what their layers say, and to the edges.

    edges: (from, to, blob) -> the Box that makes the blob.
    """
    makers: dict[str, Box] = {}
    for info in graph.infer(graph.in_phase(net, phase), phase, input_shape or graph.record_shape):
        layer = info.layer
        if graph.wholly_in_place(layer):
            box = makers[layer.top[0]]
            if layer.type not in box.in_place or box.phases == [phase]:
                box.in_place.append(layer.type)
            continue
        key = layer.SerializeToString(deterministic=True)
        box = boxes.setdefault(key, Box(len(boxes), layer, info.shapes))
        box.phases.append(phase)
        for blob in dict.fromkeys(layer.bottom):
            edges[makers[blob].number, box.number, blob] = makers[blob]
        makers |= dict.fromkeys(layer.top, box)


def _legend(roles: Collection[str]) -> list[str]:
    """Lines of what each colour means that is in the drawing."""
    shown = [role for role in COLORS if role in roles]
    return [
        "  subgraph cluster_legend {",
        '    label="colours"; fontname="Helvetica"; fontsize=10; color="#aaaaaa";',
        *(
            f"    legend{place} [label={_quoted(LEGEND.get(role, role))}, fillcolor={_quoted(COLORS[role])}, "
            "fontsize=10];"
            for place, role in enumerate(shown)
        ),
        *(
            f"    legend{place} -> legend{place + 1} [style=invis];"
            for place in range(len(shown) - 1)
        ),
        "  }",
    ]


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
    parser.add_argument(
        "image", nargs="?", metavar="FILE", help="as -o, in the place that pycaffe's has it"
    )
    parser.add_argument(
        "--phase",
        choices=("TRAIN", "TEST", "ALL"),
        default="TEST",
        help="of the net (TEST); with ALL a layer that is in one alone says so",
    )
    parser.add_argument(
        "--rankdir",
        choices=RANKDIRS,
        default="TB",
        help="which way arrows go: TB from top to bottom, LR from left to right, ... (TB)",
    )
    parser.add_argument(
        "--input-shape",
        type=shape_of,
        metavar="C,H,W",
        help="of one record, where the data are not there and no crop_size tells",
    )
    parser.add_argument(
        "-o", dest="output", metavar="FILE", help="the drawing: .dot, .svg, .png, .pdf, ..."
    )
    options = parser.parse_args(arguments)
    if (options.output is None) == (options.image is None):
        parser.error("name one file for the drawing, with -o")
    options.output = options.output or options.image
    return options


def command() -> None:
    """Run the command as a program of its own."""
    run(main)


if __name__ == "__main__":
    command()
