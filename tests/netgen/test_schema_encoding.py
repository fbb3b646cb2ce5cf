"""Names and comments that are not UTF-8."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgen import schema
from netgen.errors import printable
from netgen.schema import caffe_pb, encoding

NET = b"""name: "\xc4\xe3\xba\xc3"  # caf\xe9, \xd6\xd0
layer {
  name: "d\xc4\xe3"
  type: "Input"
  top: "data"
  top: "\xc3\xa9"
  top: "\xe9"
  input_param {
    shape {
      dim: 1
    }
  }
}
"""


@given(st.binary())
def test_bytes_come_back(data):
    text = encoding.decode(data)
    assert encoding.encode(text) == data.removeprefix(b"\xef\xbb\xbf")


def test_utf8_is_what_it_always_was():
    assert encoding.decode("ü你\U0010ff7f".encode()) == "ü你\U0010ff7f"
    assert encoding.encode("ü你") == "ü你".encode()


def test_a_prototxt_is_written_back_unchanged(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(NET)
    net = schema.read_net(path)
    schema.write_text(net, path)
    assert path.read_bytes() == NET.replace("  # caf\xe9, \xd6\xd0".encode("latin-1"), b"")


@pytest.mark.parametrize(
    "escaped",
    [
        NET.replace(b"\xc4\xe3", rb"\304\343").replace(b"\xba\xc3", rb"\xba\xC3"),
        NET.replace(b'"d\xc4\xe3"', rb"""'d'  '\304' '\343'"""),
        NET.replace(b'"\xc3\xa9"', rb'"\303\251"').replace(b'"\xe9"', rb'"\351"'),
        rb'# a "quoted \304' + b"\n" + NET.replace(b'"\xe9"', rb'"\351"'),
    ],
)
def test_escapes_are_the_bytes_that_they_stand_for(escaped, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(NET)
    net = schema.read_net(path)
    path.write_bytes(escaped)
    assert schema.read_net(path) == net


def test_names_in_escapes_match_those_in_bytes(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(
        b'layer { name: "d\xc4" type: "Input" top: "d\xc4" input_param { shape { dim: 2 } } }'
        rb'layer { name: "r" type: "ReLU" bottom: "d\304" top: "d\xC4" }'
    )
    layers = schema.read_net(path).layer
    assert layers[1].bottom[0] == layers[1].top[0] == layers[0].top[0]
    schema.write_text(schema.read_net(path), path)
    assert path.read_bytes().count(b'"d\xc4"') == 4


def test_an_error_behind_escapes_keeps_its_place(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(rb'name: "\304"' + b"\n" + rb"  '\343'" + b"\nlayer { nam: 1 }\n")
    with pytest.raises(schema.SchemaError, match=rf"^{re.escape(str(path))}:3:9: .*nam"):
        schema.read_net(path)


def test_a_caffemodel_has_the_same_names_and_bytes(tmp_path):
    text, binary = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    text.write_bytes(NET)
    net = schema.read_net(text)
    schema.write_binary(net, binary)
    data = binary.read_bytes()
    assert b"\x0a\x04\xc4\xe3\xba\xc3" in data and b"\x0a\x03d\xc4\xe3" in data
    assert b"\x22\x01\xe9" in data and b"\x22\x02\xc3\xa9" in data
    again = schema.read_caffemodel(binary)
    assert again == net
    assert list(again.layer[0].top) == ["data", "é", "\U0010ffe9"]
    schema.write_binary(again, binary)
    assert binary.read_bytes() == data


def test_the_message_that_is_written_stays_as_it_is(tmp_path):
    net = caffe_pb.NetParameter(name=encoding.decode(b"\xff"))
    before = caffe_pb.NetParameter(name=encoding.decode(b"\xff"))
    schema.write_binary(net, tmp_path / "net")
    assert net == before


def test_a_person_is_shown_the_bytes():
    assert printable(encoding.decode(b"d\xc4\xe3 \xc3\xa9")) == r"d\304\343 é"


def test_what_a_terminal_would_obey_is_escaped():
    assert (
        printable("a\x1b[31m\n\r\t\x9b\x7f\udcff é") == r"a\x1b[31m\n\r" + "\t" + r"\x9b\x7f\377 é"
    )


def test_what_would_hide_or_turn_a_line_is_escaped():
    assert printable("a\u2028b\u202egnp.jpg\u2066 שלום") == r"a\u2028b\u202egnp.jpg\u2066 שלום"


@pytest.mark.parametrize("comment", [b"\xb2\xe2\xca\xd4", b"caf\xe9"])
def test_a_solver_with_a_comment_in_any_encoding(tmp_path, comment):
    path = tmp_path / "solver.prototxt"
    path.write_bytes(b'net: "n.prototxt"  # ' + comment + b"\nbase_lr: 0.01\n")
    assert schema.read_solver(path).net == "n.prototxt"
