"""prototxt in and out."""

import re

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from netgen import schema
from netgen.schema import caffe_pb

VALUES = {
    "TYPE_FLOAT": st.floats(width=32, allow_nan=False),
    "TYPE_DOUBLE": st.floats(allow_nan=False),
    "TYPE_INT32": st.integers(-(2**31), 2**31 - 1),
    "TYPE_UINT32": st.integers(0, 2**32 - 1),
    "TYPE_INT64": st.integers(-(2**63), 2**63 - 1),
    "TYPE_BOOL": st.booleans(),
    "TYPE_STRING": st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    "TYPE_BYTES": st.binary(max_size=12),
}


@st.composite
def messages(draw, message_class, depth=3):
    """Any message of a class, with a few of its fields set."""
    message = message_class()
    # own_fields has text of its own, which is printed as it is.
    fields = [f for f in message_class.DESCRIPTOR.fields if f.name != "own_fields"]
    for field in draw(st.lists(st.sampled_from(fields), max_size=4, unique_by=lambda f: f.number)):
        target = getattr(message, field.name)
        repeated = hasattr(target, "extend")
        if field.message_type is not None:
            if depth == 0:
                continue
            inner = getattr(caffe_pb, field.message_type.name)
            for _ in range(draw(st.integers(1, 2)) if repeated else 1):
                (target.add() if repeated else target).CopyFrom(draw(messages(inner, depth - 1)))
            continue
        if field.enum_type is not None:
            value = st.sampled_from([v.number for v in field.enum_type.values])
        else:
            name = next(n for n in VALUES if getattr(field, n) == field.type)
            value = VALUES[name]
        if repeated:
            target.extend(draw(st.lists(value, min_size=1, max_size=3)))
        else:
            setattr(message, field.name, draw(value))
    if message_class.DESCRIPTOR.name == "ClipParameter":
        message.min, message.max = 0, 1
    return message


def initialized(message):
    return not message.FindInitializationErrors()


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        messages(caffe_pb.NetParameter),
        messages(caffe_pb.SolverParameter),
        messages(caffe_pb.Datum),
        messages(caffe_pb.BlobProto),
    ).filter(initialized)
)
def test_text_and_binary_round_trip(message):
    text = schema.to_text(message)
    assert schema.parse_text(text, type(message)) == message
    assert text_format.Parse(text, type(message)()) == message
    assert type(message).FromString(message.SerializeToString()) == message


def test_text_is_what_caffe_prints():
    net = caffe_pb.NetParameter(
        name='a "b"\n',
        layer=[
            {
                "name": "ü",
                "type": "Convolution",
                "param": [{"lr_mult": 1, "decay_mult": 0.1}],
                "propagate_down": [True, False],
                "include": [{"phase": caffe_pb.TRAIN}],
                "convolution_param": {"kernel_size": [3, 3], "weight_filler": {"std": 1e-5}},
                "batch_norm_param": {},
            }
        ],
    )
    assert (
        schema.to_text(net)
        == r"""name: "a \"b\"\n"
layer {
  name: "ü"
  type: "Convolution"
  param {
    lr_mult: 1
    decay_mult: 0.1
  }
  include {
    phase: TRAIN
  }
  propagate_down: true
  propagate_down: false
  convolution_param {
    kernel_size: 3
    kernel_size: 3
    weight_filler {
      std: 1e-05
    }
  }
  batch_norm_param {
  }
}
"""
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.05, "0.05"),
        (1e-8, "1e-08"),
        (1 / 3, "0.33333334"),
        (16777216, "16777216"),
        (1e10, "1e+10"),
        (0.1 + 0.2, "0.3"),
        (-0.0, "-0"),
        (3.4028234663852886e38, "3.4028235e+38"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "nan"),
        (100000, "100000"),
    ],
)
def test_floats_are_as_short_as_can_be(value, text):
    assert schema.to_text(caffe_pb.SolverParameter(base_lr=value)) == f"base_lr: {text}\n"


def test_doubles_and_bytes():
    blob = caffe_pb.BlobProto(double_data=[0.1, 1 / 3])
    assert schema.to_text(blob) == "double_data: 0.1\ndouble_data: 0.33333333333333331\n"
    assert schema.to_text(caffe_pb.Datum(data=b'\x00\xffa"')) == 'data: "\\000\\377a\\""\n'


def test_only_float_spelling_differs_from_python_protobuf():
    solver = caffe_pb.SolverParameter(
        net="n.prototxt",
        test_iter=[1, 2],
        base_lr=0.05,
        momentum=1,
        delta=1e-8,
        train_state={"stage": ["a"]},
        solver_mode=0,
        net_param={"layer": [{"loss_weight": [2]}]},
    )
    theirs = re.sub(r"(: -?\d+)\.0$", r"\1", text_format.MessageToString(solver), flags=re.M)
    assert schema.to_text(solver) == theirs


@pytest.mark.parametrize(
    "text",
    [
        "base_lr: 1.",
        "base_lr: 1f",
        "base_lr: 1  # rate",
        "base_lr: 1;",
        "base_lr: 1,",
        "# first\nbase_lr: 1\n# last",
        "\r\nbase_lr: 1\r\n",
    ],
)
def test_spellings_of_one(text):
    assert schema.parse_text(text, caffe_pb.SolverParameter).base_lr == 1


def test_spellings_of_messages_lists_strings_and_booleans():
    solver = schema.parse_text(
        "train_state: { level: 1 } test_state < level: 2 > stepvalue: [1, 0x2, 03]\n"
        "net: 'a' \"b\" 'c' debug_info: t snapshot_diff: 1 test_compute_loss: True solver_mode: 0",
        caffe_pb.SolverParameter,
    )
    assert solver.train_state.level == 1 and solver.test_state[0].level == 2
    assert list(solver.stepvalue) == [1, 2, 3]
    assert solver.net == "abc"
    assert solver.debug_info and solver.snapshot_diff and solver.test_compute_loss
    assert solver.solver_mode == caffe_pb.SolverParameter.CPU


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "layer {\n  convolution_param {\n    kernal_size: 3\n  }\n}",
            '3:5: Message type "caffe.ConvolutionParameter" has no field named "kernal_size"',
        ),
        ("layer { name: 5 }", "1:15: name: Expected string but found: '5'"),
        (
            "layer { pooling_param { pool: MEAN } }",
            '1:31: pool: Enum type "caffe.PoolingParameter.PoolMethod" has no value named MEAN',
        ),
        (
            "layer {\n  convolution_param { num_output: -1 } }",
            "2:35: num_output: Value out of range: -1",
        ),
        ("force_backward: maybe", '1:17: force_backward: Expected "true" or "false"'),
        ('layer { name: "a"\n', '1:15: Expected "}"'),
        (
            'name: "a" name: "b"',
            '1:17: Message type "caffe.NetParameter" should not have multiple "name" fields',
        ),
        (
            "layer { clip_param { min: 1 } }",
            " caffe.NetParameter lacks the required layer[0].clip_param.max",
        ),
        ("}", "1:1: Expected identifier or number, got }"),
    ],
)
def test_syntax_errors_name_the_place(text, error):
    with pytest.raises(schema.SchemaError) as caught:
        schema.parse_text(text, caffe_pb.NetParameter, "dir/net.prototxt")
    assert str(caught.value) == f"dir/net.prototxt:{error}"


def test_endless_nesting_is_an_error():
    text = "net_param { layers { " * 5000
    with pytest.raises(schema.SchemaError, match=r"^<string>:"):
        schema.parse_text(text, caffe_pb.SolverParameter)


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("{}<>[]:;,\"'\\#\n -.0159exfnai_layerstop"), max_size=40))
def test_any_text_parses_or_gives_one_line(text):
    try:
        message = schema.parse_text("layer " + text, caffe_pb.NetParameter)
    except schema.SchemaError as error:
        assert "\n" not in str(error)
    else:
        assert schema.parse_text(schema.to_text(message), caffe_pb.NetParameter) == message
