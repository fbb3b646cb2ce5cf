"""Nets as DOT: every layer and edge once, coloured by role; pictures by whatever Graphviz is."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from caffe_tools.draw_net import NO_GRAPHVIZ, NoGraphviz, main, render, role_of, to_dot
from netgen import schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb

ROOT = Path(__file__).resolve().parents[2]
NODE = re.compile(r'^  (n\d+) \[label="([^"]*)", fillcolor="([^"]*)", tooltip="([^"]*)"\];$', re.M)
EDGE = re.compile(r"^  (n\d+) -> (n\d+)( \[.*\])?;$", re.M)


def drawn(net, phase=caffe_pb.TEST, input_shape=None):
    """{name: (other lines of the label, role)}, {(name, name)} of a net's DOT."""
    text = to_dot(net, phase, input_shape)
    nodes = {node: (label.split("\\n"), tip) for node, label, _, tip in NODE.findall(text)}
    names = {node: label[0] for node, (label, _) in nodes.items()}
    edges = {(names[a], names[b]) for a, b, _ in EDGE.findall(text)}
    assert len(names) == len(set(names.values()))
    return {label[0]: (label[1:], tip) for label, tip in nodes.values()}, edges


def test_a_split_is_drawn_with_its_roles():
    nodes, edges = drawn(schema.read_net(ROOT / "prototxt/msplit1.prototxt"))
    assert nodes["conv1_split2_residual_pre"] == (
        ["48 3x3 + ReLU", "48x32x32"],
        "Convolution: beside the slow part",
    )
    assert nodes["conv3"] == (
        ["96 3x3 /2 + ReLU + Dropout", "96x16x16"],
        "Convolution: convolution",
    )
    assert nodes["pool"][0] == ["Pooling", "10x1x1"]
    assert nodes["loss"][0] == ["SoftmaxWithLoss", "scalar"]
    roles = {
        name.removeprefix("conv8_"): tip.partition(": ")[2]
        for name, (_, tip) in nodes.items()
        if name.startswith("conv8_")
    }
    assert roles == {
        "split1": "fast part",
        "split2": "slow part",
        "split2_residual_pre": "beside the slow part",
        "split2_residual_post": "glue of a split",
        "split2_sum": "glue of a split",
        "concat": "glue of a split",
        "reorder": "glue of a split",
    }
    assert {b for a, b in edges if a == "conv7"} == {
        "conv8_split1",
        "conv8_split2",
        "conv8_split2_residual_pre",
    }
    assert {("data", "loss"), ("pool", "accuracy"), ("conv8_split2_sum", "conv8_concat")} <= edges
    assert not any("relu" in name or "drop" in name for name in nodes)


def test_all_bundled_nets_and_phases_can_be_drawn():
    for path in (ROOT / "prototxt").glob("*.prototxt"):
        net = schema.read_net(path)
        for phase in (caffe_pb.TRAIN, caffe_pb.TEST):
            image = (1, 28, 28) if "lenet" in path.name else (3, 32, 32)
            nodes, edges = drawn(net, phase, image)
            assert len(edges) >= len(nodes) - 1
            assert ("accuracy" in nodes) == (phase == caffe_pb.TEST and "deploy" not in path.name)


def test_any_text_in_names_is_quoted():
    net = schema.parse_text(
        r"""name: "a \"b\" \\ c" layer { name: "in\"put\\" type: "Input"
        top: "x" input_param { shape { dim: 2 dim: 6 } } }
        layer { name: "s" type: "Slice" bottom: "x" top: "y" top: "z" }""",
        caffe_pb.NetParameter,
    )
    text = to_dot(net)
    assert text.startswith('digraph "a \\"b\\" \\\\ c" {\n')
    assert 'label="in\\"put\\\\\\nInput\\n6"' in text


def test_names_are_drawn_as_they_are():
    """Nothing in a name is Graphviz's own: HTML's entities, \\N, $, control characters."""
    net = schema.parse_text(
        r"""layer { name: "a&lt;b\033[31m" type: "Input" top: "x"
        input_param { shape { dim: 2 dim: 6 } } }
        layer { name: "c\\N$\\frac{" type: "ReLU" bottom: "x" top: "y" }""",
        caffe_pb.NetParameter,
    )
    text = to_dot(net)
    assert r'label="a&amp;lt;b\\x1b[31m\nInput\n6"' in text
    assert r'label="c\\N$\\frac{\nReLU\n6"' in text


def test_roles_are_of_convolutions_alone():
    layer = caffe_pb.LayerParameter(name="a_split1", type="ReLU")
    assert role_of(layer) == "other"
    layer.type = "Convolution"
    assert role_of(layer) == "fast part"
    layer.name = "a_split1_split2_skip"
    assert role_of(layer) == "beside the slow part"


def test_pictures_by_the_program_the_package_or_not_at_all(tmp_path, monkeypatch):
    text = 'digraph "g" { a -> b }'
    program, calls = tmp_path / "dot", tmp_path / "calls"
    program.write_text(f'#!/bin/sh\necho "$@" > {calls}\ncat\n')
    program.chmod(0o755)
    shell = shutil.which("sh").rpartition("/")[0]
    monkeypatch.setenv("PATH", f"{tmp_path}:{shell}")
    assert render(text, "svg") == text.encode()
    assert calls.read_text() == "-Tsvg\n"
    program.write_text("#!/bin/sh\ncat > /dev/null\necho 'Error: no such format' >&2\nexit 1\n")
    with pytest.raises(Exception, match="^dot: Error: no such format$"):
        render(text, "docx")

    class AGraph:
        def __init__(self, string):
            self.string = string

        def draw(self, format, prog):
            return f"{prog} {format} {self.string}".encode()

    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pygraphviz", type("module", (), {"AGraph": AGraph}))
    assert render(text, "png") == f"dot png {text}".encode()
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(NoGraphviz, match="^Graphviz is not installed: "):
        render(text)


def test_command(tmp_path, tool, monkeypatch):
    net = "prototxt/baseline.prototxt"
    assert main([str(ROOT / net), "-o", str(tmp_path / "b.dot")]) == 0
    assert (tmp_path / "b.dot").read_text() == to_dot(schema.read_net(ROOT / net))
    (tmp_path / "bad.prototxt").write_text('layer { name: "r" type: "ReLU" bottom: "x" top: "x" }')
    status, out, err = tool("draw_net", tmp_path / "bad.prototxt", "-o", tmp_path / "c.dot")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"draw_net: {tmp_path}/bad.prototxt: Unknown bottom blob 'x'")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(NoGraphviz) as error:
        main([str(ROOT / net), "-o", str(tmp_path / "b.svg")])
    assert str(error.value) == NO_GRAPHVIZ
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".svg"] == []


LEGEND = re.compile(r'^    legend\d+ \[label="([^"]*)", fillcolor="([^"]*)", fontsize=10\];$', re.M)


@pytest.mark.parametrize("name, shown", [
    ("msplit1", ["fast part", "slow part", "beside the slow part",
                 "glue: 1x1 layers, Concat, Eltwise", "other layers"]),
    ("baseline", ["other layers"]),
])  # fmt: skip
def test_the_legend_tells_the_colours_of_the_drawing(name, shown):
    text = to_dot(schema.read_net(ROOT / f"prototxt/{name}.prototxt"), input_shape=(3, 32, 32))
    colours = {colour: tip.partition(": ")[2] for _, _, colour, tip in NODE.findall(text)}
    legend = LEGEND.findall(text)
    assert {colour for _, colour in legend} == set(colours)
    assert [label for label, _ in legend if label != "convolution, inner product"] == shown


def test_all_phases_in_one_drawing():
    """What is the same in both is drawn once, in place layers of one phase included."""
    text = """
    layer { name: "data" type: "Input" top: "x" include { phase: TRAIN }
      input_param { shape { dim: 2 dim: 6 } } }
    layer { name: "test data" type: "Input" top: "x" include { phase: TEST }
      input_param { shape { dim: 3 dim: 6 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
      inner_product_param { num_output: 4 } }
    layer { name: "r" type: "ReLU" bottom: "y" top: "y" }
    layer { name: "d" type: "Dropout" bottom: "y" top: "y" include { phase: TRAIN } }
    layer { name: "p" type: "Softmax" bottom: "y" top: "p" include { phase: TEST } }
    layer { name: "q" type: "Power" bottom: "y" top: "q" }
    """
    nodes, edges = drawn(schema.parse_text(text, caffe_pb.NetParameter), None)
    assert {name: lines for name, (lines, _) in nodes.items()} == {
        "data": ["Input", "6", "TRAIN only"],
        "test data": ["Input", "6", "TEST only"],
        "ip": ["InnerProduct + ReLU + Dropout", "4"],
        "p": ["Softmax", "4", "TEST only"],
        "q": ["Power", "4"],
    }
    assert edges == {("data", "ip"), ("test data", "ip"), ("ip", "p"), ("ip", "q")}


def test_pycaffes_words(tmp_path):
    """FILE as the second word, --rankdir and --phase."""
    net, out = str(ROOT / "prototxt/baseline.prototxt"), tmp_path / "b.dot"
    words = [net, str(out), "--input-shape", "3,32,32"]
    assert main([*words, "--rankdir", "LR", "--phase", "ALL"]) == 0
    assert out.read_text() == to_dot(schema.read_net(net), None, (3, 32, 32), "LR")
    assert " rankdir=LR;" in out.read_text()
    for bad in ([net], [*words, "-o", str(out)], [*words, "--rankdir", "up"]):
        with pytest.raises(SystemExit):
            main(bad)


def test_a_record_whose_shape_nobody_knows(tmp_path):
    text = (ROOT / "prototxt/cifar10_full.prototxt").read_text()
    (tmp_path / "net.prototxt").write_text(text)
    words = [str(tmp_path / "net.prototxt"), "-o", str(tmp_path / "net.dot")]
    with pytest.raises(CaffeError) as caught:
        main(words)
    assert str(caught.value) == (
        f"{words[0]}: layer 'data': without crop_size the shape of its records is known only from "
        "its source; give it with --input-shape C,H,W"
    )
    assert main([*words, "--input-shape", "3,32,32"]) == 0
