"""People's own layers in nets that are read, described and written: no engine is needed."""

import subprocess
import sys
import textwrap

import pytest

from netgen import graph, own_layers, schema
from netgen.cli import main
from netgen.errors import CaffeError
from netgen.graph import registry
from netgen.schema import caffe_pb, own, parse_text, to_text

HEAD = (
    'layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "l" type: "Wide" bottom: "x" top: "y"\n'
)
DECLARED = '''
from netgen.graph import LayerShapes, rule
from netgen.schema import declare

declare("""
// of a fork
enum Way { UP = 0; DOWN = 1; }
message WideParameter {
  enum Mode { A = 1; B = 2; }
  optional uint32 times = 1 [default = 2];  /* how
  wide */
  repeated float values = 2 [packed = true];
  optional Mode mode = 3 [default = B];
  optional Way way = 4;
  optional FillerParameter filler = 5;
  message Inner { required string name = 1; }
  repeated Inner inner = 6;
  optional string word = 7 [default = "a \\\\"b\\\\""];
}
extend LayerParameter { optional WideParameter wide_param = 147; }
""")

@rule("Wide")
def shapes(setup):
    (n, c), = setup.bottoms
    return LayerShapes([(n, c * setup.own["wide_param"].times)])
'''
BY_NAME = """
from netgen.graph import LayerShapes, rule

@rule("Wide")
def shapes(setup):
    (n, c), = setup.bottoms
    times = setup.own["wide_param"].get("times", 2)
    if times < 1:
        raise ValueError(f"times is {times}")
    return LayerShapes([(n, c * times)])
"""


@pytest.fixture(autouse=True)
def _forgotten_afterwards():
    kept = [dict(registry._RULES), set(own.TYPES), dict(own._DECLARED)]
    yield
    for registered, before in zip((registry._RULES, own.TYPES, own._DECLARED), kept, strict=True):
        registered.clear()
        registered.update(before)


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "mine.py"
        path.write_text(textwrap.dedent(text))
        return path

    return write


def net_of(text):
    return parse_text(HEAD + text, caffe_pb.NetParameter, "net")


def tops(net):
    return graph.infer(net, caffe_pb.TEST)[-1].shapes.tops


@pytest.mark.parametrize("text", [DECLARED, BY_NAME])
def test_a_field_of_ones_own_is_kept_and_used(file, text):
    own_layers.load(str(file(text)))
    net = net_of("wide_param { times: 5 } }\n")
    assert tops(net) == [(2, 15)]
    assert to_text(net).endswith("  wide_param {\n    times: 5\n  }\n}\n")
    assert parse_text(to_text(net), caffe_pb.NetParameter) == net
    assert caffe_pb.NetParameter.FromString(net.SerializeToString()) == net
    assert tops(net_of("}")) == [(2, 6)]


def test_a_declared_field_is_a_message_with_its_defaults(file):
    own_layers.load(str(file(DECLARED)))
    layer = net_of('wide_param { values: [1, 2.5] way: DOWN inner { name: "i" } } }').layer[1]
    wide = schema.own_parameters(layer)["wide_param"]
    assert (wide.times, list(wide.values), wide.mode, wide.way) == (2, [1, 2.5], 2, 1)
    assert (wide.inner[0].name, wide.filler.type, wide.word) == ("i", "constant", 'a "b"')


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("tines: 5", '3:14: Message type "caffe.WideParameter" has no field named "tines"'),
        ("times: -1", "3:21: times: Value out of range: -1"),
        ("mode: C", '3:20: mode: Enum type "caffe.WideParameter.Mode" has no value named C'),
        ("inner {}", "caffe.LayerParameter lacks the required wide_param.inner[0].name"),
    ],
)
def test_mistakes_in_a_declared_field_are_refused_with_their_line(file, body, error):
    own_layers.load(str(file(DECLARED)))
    with pytest.raises(CaffeError) as caught:
        net_of(f"wide_param {{ {body} }} }}")
    assert error in str(caught.value) and str(caught.value).startswith("net:")


def test_what_nobody_declared_is_a_dictionary(file):
    own_layers.load(str(file(BY_NAME)))
    net = net_of(
        r"""wide_param: <
        times: 0x3, ratio: 0.5f; big: 1e3 yes: true no: false mode: FAST  # a comment }
        text: "a \"b\" # c" 'd' one: [7] none: [] list: [1, 2]
        again: 1 again: -2
        inner { deep { x: 1 } } inner { } >
        other_param { name: "\304\343" } }"""
    )
    layer = net.layer[1]
    assert schema.own_parameters(layer) == {
        "wide_param": {
            "times": 3,
            "ratio": 0.5,
            "big": 1000.0,
            "yes": True,
            "no": False,
            "mode": "FAST",
            "text": 'a "b" # cd',
            "one": [7],
            "none": [],
            "list": [1, 2],
            "again": [1, -2],
            "inner": [{"deep": {"x": 1}}, {}],
        },
        "other_param": {"name": "\U0010ffc4\U0010ffe3"},
    }
    assert parse_text(to_text(net), caffe_pb.NetParameter) == net


def test_only_ones_own_types_take_fields_that_nobody_knows(file):
    own_layers.load(str(file(BY_NAME)))
    for body, field, where in (
        ('wide_param { } type: "ReLU" }', "wide_param", "3:1"),
        ("wide: 1 }", "wide", "3:1"),
        ('wide_param { }\n }\n layer { type: "ReLU" o_param: 1 }', "o_param", "5:23"),
    ):
        with pytest.raises(schema.SchemaError, match=f'net:{where}: .* no field named "{field}"'):
            net_of(body)


def test_lines_of_other_errors_stay(file):
    own_layers.load(str(file(BY_NAME)))
    with pytest.raises(schema.SchemaError, match="^net:5:2: .*no field named"):
        net_of("wide_param {\n times: 1 }\n tpye: 1 }")


def test_a_rule_refuses_with_a_line(file):
    own_layers.load(str(file(BY_NAME)))
    with pytest.raises(graph.NetError, match="^layer 'l': times is 0$"):
        tops(net_of("wide_param { times: 0 } }"))


def test_a_net_inside_a_solver(file):
    own_layers.load(str(file(BY_NAME)))
    solver = parse_text(
        f"net_param {{ {HEAD} wide_param {{ times: 4 }} }} }}", caffe_pb.SolverParameter
    )
    assert tops(solver.net_param) == [(2, 12)]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1 +", "mine.py:1: SyntaxError: invalid syntax"),
        ("\nimport nowhere.at_all", "mine.py:2: ModuleNotFoundError: No module named 'nowhere'"),
        (
            "from netgen.schema import declare\ndeclare('message A { optional int3 a = 1; }')",
            "mine.py:2: the fragment",
        ),
        (
            "from netgen.schema import declare\ndeclare('message A { int32 a = 1; }')",
            "mine.py:2: the fragment:1: expected optional, required, repeated, message or enum, "
            'found "int32"',
        ),
        (
            "from netgen.schema import declare\ndeclare('message A { }')",
            "mine.py:2: the fragment gives LayerParameter no field",
        ),
    ],
)
def test_a_file_that_fails_is_told_in_a_line(file, text, error):
    path = file(text)
    with pytest.raises(CaffeError) as caught:
        own_layers.load(str(path))
    assert error in str(caught.value) and str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there():
    with pytest.raises(CaffeError, match="^File not found: nix.py"):
        own_layers.load("nix.py")


def test_the_option_and_the_variable(file, tmp_path, monkeypatch, capsys):
    path, net = file(BY_NAME), tmp_path / "net.prototxt"
    net.write_text(HEAD + "wide_param { times: 7 } }")
    assert main(["describe", str(net)]) == 1
    assert 'has no field named "wide_param"' in capsys.readouterr().err
    assert main(["describe", str(net), "--layers", str(path)]) == 0
    assert "2x21" in capsys.readouterr().out
    for registered in (registry._RULES, own.TYPES):
        registered.pop("Wide") if isinstance(registered, dict) else registered.discard("Wide")
    other = tmp_path / "other.py"
    other.write_text(BY_NAME)
    monkeypatch.setenv("CAFFE_LAYERS", str(other))
    assert main(["describe", str(net)]) == 0


def test_an_installed_package_is_asked_when_a_net_needs_it(tmp_path):
    package = tmp_path / "mine-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[caffe_split.layers]\nmine = mine\n")
    (tmp_path / "mine.py").write_text(BY_NAME)
    net = tmp_path / "net.prototxt"
    for body in ("wide_param { times: 7 } }", "}"):
        net.write_text(HEAD + body)
        code = (
            "import sys; from netgen.cli import main; status = main(sys.argv[1:]); "
            "assert 'torch' not in sys.modules; sys.exit(status)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "describe", str(net)],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": f"{tmp_path}:{':'.join(p for p in sys.path if p)}"},
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "Wide" in done.stdout
