"""The bundled net that has as many parameters as another net."""

from pathlib import Path

import pytest

from netgen import schema
from netgen.errors import CaffeError
from study.wider_net import closest, main, parameters

ROOT = Path(__file__).resolve().parents[2]


def test_as_near_to_msplit1_as_widths_allow(tmp_path, capsys):
    path = tmp_path / "wider.prototxt"
    like = ROOT / "prototxt/msplit1.prototxt"
    assert main([str(like), "-o", str(path), "--", "baseline", "--batch-size", "32"]) == 0
    wider, wanted = schema.read_net(path), parameters(schema.read_net(like))
    assert abs(parameters(wider) / wanted - 1) < 0.005
    assert wider.layer[0].data_param.batch_size == 32
    outputs = [x.convolution_param.num_output for x in wider.layer if x.type == "Convolution"]
    assert outputs == [101, 101, 101, 201, 201, 201, 201, 201, 10]
    assert "width 1.04688, 1,503,610 parameters for 1,500,826" in capsys.readouterr().out


@pytest.mark.parametrize("width", ["0.05", "0.25", "1", "2.5"])
def test_its_own_width_is_found_again(width):
    from netgen.commands.render import render
    from netgen.schema import caffe_pb

    text = render(["allcnn-a", "--width", width])
    wanted = parameters(schema.parse_text(text, caffe_pb.NetParameter))
    found = schema.parse_text(closest(wanted, ["allcnn-a"])[1], caffe_pb.NetParameter)
    assert parameters(found) == wanted


def test_errors_are_one_line(tmp_path, tool):
    net = ROOT / "prototxt/baseline.prototxt"
    status, _, err = tool("study.wider_net", net, "-o", tmp_path / "w")
    assert (status, err) == (
        1,
        "wider_net: which net is to be widened comes after `--` (--help tells more)\n",
    )
    status, _, err = tool("study.wider_net", net, "-o", tmp_path / "w", "--", "resnet")
    assert (status, err.count("\n")) == (1, 1)
    assert "Unknown net" in err
    assert not (tmp_path / "w").exists()
    with pytest.raises(CaffeError):
        closest(5, ["resnet"])
