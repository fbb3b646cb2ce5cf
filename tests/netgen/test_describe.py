"""`python -m netgen describe`: the table, the JSON, where record shapes come from, the errors."""

import io
import json
import subprocess
import sys
from pathlib import Path

import h5py
import lmdb
import numpy as np
import plyvel
import pytest
from PIL import Image

from netgen import graph
from netgen.cli import main
from netgen.schema import caffe_pb

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "prototxt" / "baseline.prototxt"

DATA = """
layer { name: "data" type: "Data" top: "data" top: "label"
        data_param { source: "lmdb" batch_size: 8 backend: LMDB } %s }
"""
SHARED = """
name: "shared"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 dim: 6 } } }
layer { name: "ip1" type: "InnerProduct" bottom: "x" top: "ip1" param { name: "w" }
        inner_product_param { num_output: 6 bias_term: false } }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" param { name: "w" }
        inner_product_param { num_output: 6 bias_term: false } }
layer { name: "slice" type: "Slice" bottom: "ip2" top: "a" top: "b" top: "c" }
layer { name: "loss" type: "Reduction" bottom: "a" top: "loss" exclude { stage: "deploy" } }
layer { name: "only2" type: "Power" bottom: "b" top: "b2" include { min_level: 2 } }
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Sources are relative: look for them in an empty folder."""
    monkeypatch.chdir(tmp_path)


def write(text):
    Path("net.prototxt").write_text(text)
    return "net.prototxt"


def run(capsys, *argv):
    status = main(["describe", *argv])
    out, err = capsys.readouterr()
    return status, out, err


def run_json(capsys, *argv):
    status, out, _ = run(capsys, *argv, "--json")
    assert status == 0
    return json.loads(out)


def test_baseline(capsys):
    status, out, err = run(capsys, str(BASELINE))
    assert status == 0
    assert err == "note: layer 'data': records assumed to be 3 x 32 x 32\n"
    lines = out.splitlines()
    assert lines[-1].startswith(
        "1,369,738 parameters, 270.8 M multiply-adds per image (phase TRAIN"
    )
    assert lines[-3].split()[-2:] == ["1,369,738", "270,798,336"]
    conv2 = next(line.split() for line in lines if line.startswith("conv2 "))
    assert conv2[1] == "Convolution"
    assert conv2[2].endswith("x96x32x32")
    assert conv2[3:] == ["83,040", "84,934,656"]


def test_phases_of_the_baseline(capsys):
    train = run_json(capsys, str(BASELINE))
    test = run_json(capsys, str(BASELINE), "--phase", "TEST")
    names = [{layer["name"] for layer in net["layers"]} for net in (train, test)]
    assert names[1] - names[0] == {"accuracy"}
    assert train["totals"]["multiply_adds_per_image"] == 270_798_336
    assert test["totals"]["multiply_adds"] == 270_798_336 * test["batch_size"]


def test_json_has_all_figures(capsys):
    result = run_json(capsys, write(SHARED))
    assert {k: result[k] for k in ("name", "phase", "level", "stages", "batch_size", "notes")} == {
        "name": "shared", "phase": "TRAIN", "level": 0, "stages": [], "batch_size": 4,
        "notes": []}  # fmt: skip
    assert result["layers"][2] == {
        "name": "ip2",
        "type": "InnerProduct",
        "bottoms": ["ip1"],
        "tops": ["ip2"],
        "top_shapes": [[4, 6]],
        "params": [{"shape": [6, 6], "count": 36, "owner": "ip1"}],
        "parameters": 0,
        "multiply_adds": 144,
        "multiply_adds_per_image": 36,
    }
    assert result["totals"] == {
        "layers": 5, "parameters": 36, "multiply_adds": 288,
        "multiply_adds_per_image": 72}  # fmt: skip


def test_shared_weights_and_equal_tops_in_the_table(capsys):
    _, out, _ = run(capsys, write(SHARED))
    rows = [line.split(maxsplit=2) for line in out.splitlines()]
    assert rows[3] == ["ip1", "InnerProduct", rows[3][2]]
    assert rows[3][2].split() == ["4x6", "36", "36"]
    assert rows[4][2].split() == ["4x6", "=", "ip1", "36"]
    assert rows[5][2].split() == ["3*(4x2)", "-", "-"]
    assert rows[6][2].split() == ["scalar", "-", "-"]


def test_names_reach_the_screen_escaped(capsys):
    odd = SHARED.replace('name: "ip1"', 'name: "ip\\033[31m\\n"').replace('"w"', '"\\033w"')
    status, out, err = run(capsys, write(odd))
    assert status == 0 and "\x1b" not in out + err
    assert out.splitlines()[3].startswith(r"ip\x1b[31m\n")
    assert len(out.splitlines()) == 11  # five layers


def test_level_and_stage(capsys):
    path = write(SHARED)
    result = run_json(capsys, path, "--level", "2", "--stage", "deploy", "--stage", "more")
    assert [layer["name"] for layer in result["layers"]] == ["in", "ip1", "ip2", "slice", "only2"]
    assert (result["level"], result["stages"]) == (2, ["deploy", "more"])
    path = write('state { stage: "deploy" }' + SHARED)
    assert [layer["name"] for layer in run_json(capsys, path)["layers"]][-1] == "slice"


def test_the_table_fits_in_100_columns(capsys):
    # a long name, the longest type, many different tops: each alone fits, together they do not
    tops = " ".join(f'top: "t{i}"' for i in range(9))
    points = " ".join(f"slice_point: {i * i}" for i in range(1, 9))
    text = f"""
        layer {{ name: "in" type: "Input" top: "x" top: "y"
                 input_param {{ shape {{ dim: 2 dim: 99 }} }} }}
        layer {{ name: "s" type: "Slice" bottom: "x" {tops} slice_param {{ {points} }} }}
        layer {{ name: "{"a" * 70}" type: "SigmoidCrossEntropyLoss" bottom: "x" bottom: "y" }}"""
    _, out, _ = run(capsys, write(text))
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[3].split() == ["s", "Slice", "2x1,", "2x3,", *lines[3].split()[4:]]
    assert lines[3].split()[-3] == "2x35"
    assert lines[4].startswith("aaaa")
    assert "..aaaa" in lines[4]


def write_lmdb(*shape, encoded=False):
    datum = caffe_pb.Datum(channels=shape[0], height=shape[1], width=shape[2], encoded=encoded)
    with lmdb.open("lmdb", map_size=2**20) as env, env.begin(write=True) as transaction:
        transaction.put(b"00000", datum.SerializeToString())


@pytest.mark.parametrize("transform, expected", [("", [8, 2, 9, 7]), ("5", [8, 2, 5, 5])])
def test_records_are_looked_up_in_their_lmdb(capsys, transform, expected):
    write_lmdb(2, 9, 7)
    before = sorted(path.name for path in Path("lmdb").iterdir())
    crop = f"transform_param {{ crop_size: {transform} }}" if transform else ""
    result = run_json(capsys, write(DATA % crop))
    assert result["layers"][0]["top_shapes"] == [expected, [8]]
    assert result["notes"] == []
    assert sorted(path.name for path in Path("lmdb").iterdir()) == before


def test_input_shape_wins_over_the_source(capsys):
    write_lmdb(2, 9, 7)
    result = run_json(capsys, write(DATA % ""), "--input-shape", "1,28,20")
    assert result["layers"][0]["top_shapes"] == [[8, 1, 28, 20], [8]]


def test_broken_sources_tell_nothing():
    layer = caffe_pb.LayerParameter(type="Data")
    layer.data_param.backend = caffe_pb.DataParameter.LMDB
    layer.data_param.source = "lmdb"
    write_lmdb(2, 9, 7, encoded=True)  # and its image is no image
    assert graph.record_shape(layer) is None
    (Path("lmdb") / "data.mdb").write_bytes(b"not an LMDB")
    assert graph.record_shape(layer) is None
    layer.data_param.backend = caffe_pb.DataParameter.LEVELDB
    assert graph.record_shape(layer) is None


def png(mode="RGB", **options):
    file = io.BytesIO()
    Image.new(mode, (7, 9)).save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "flags", "channels"),
    [
        ("RGB", {}, 3),
        ("L", {}, 1),
        ("RGBA", {}, 4),
        ("P", {}, 3),
        ("L", {"force_color": True}, 3),
        ("RGB", {"force_gray": True}, 1),
    ],
)
def test_records_are_looked_up_in_their_leveldb(mode, flags, channels):
    layer = caffe_pb.LayerParameter(type="Data")
    layer.data_param.source = "level"
    layer.transform_param.MergeFrom(caffe_pb.TransformationParameter(**flags))
    database = plyvel.DB("level", create_if_missing=True)
    datum = caffe_pb.Datum(encoded=True, data=png(mode))
    database.put(b"0", datum.SerializeToString())
    database.close()
    before = sorted(path.name for path in Path("level").iterdir())
    assert graph.record_shape(layer) == (channels, 9, 7)
    assert sorted(path.name for path in Path("level").iterdir()) == before


def test_the_first_image_of_a_list_is_looked_up():
    layer = caffe_pb.LayerParameter(type="ImageData")
    param = layer.image_data_param
    param.source, param.root_folder = "list.txt", "images/"
    assert graph.record_shape(layer) is None
    Path("images").mkdir()
    Path("images/a b.png").write_bytes(png("L"))
    Path("list.txt").write_text("a b.png 3\nnone.png 4\n")
    assert graph.record_shape(layer) == (3, 9, 7)
    param.is_color = False
    assert graph.record_shape(layer) == (1, 9, 7)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    Path("images/a b.png").write_bytes(png(exif=exif))
    assert graph.record_shape(layer) == (1, 7, 9)
    param.new_height, param.new_width = 5, 4
    assert graph.record_shape(layer) == (1, 5, 4)


def test_hdf5_shapes_are_looked_up(capsys):
    with h5py.File("a.h5", "w") as file:
        file["data"] = np.zeros((5, 3, 4), "f4")
        file["label"] = np.zeros((5, 2), "f4")
    Path("list.txt").write_text("a.h5\nb.h5\n")
    text = (
        'layer { name: "h" type: "HDF5Data" top: "data" top: "label" '
        'hdf5_data_param { source: "%s" batch_size: 7 } }'
    )
    result = run_json(capsys, write(text % "list.txt"))
    assert result["layers"][0]["top_shapes"] == [[7, 3, 4], [7, 2]]
    status, _, err = run(capsys, write(text % "missing.txt"))
    assert (status, err.count("\n")) == (1, 1)
    assert "layer 'h': the shapes of its tops are known only from its HDF5 files; give it" in err


def test_blob_shape_tells_what_must_run(capsys):
    text = (
        'layer { name: "p" type: "Python" top: "x" python_param { module: "m" layer: "L" } }'
        'layer { name: "in" type: "Input" top: "y" }'
        'layer { name: "e" type: "Eltwise" bottom: "x" bottom: "y" top: "e" }'
    )
    path = write(text)
    hint = "give it with --input-shape C,H,W or --blob-shape BLOB=N,C,H,W"
    assert run(capsys, path) == (
        1, "", "netgen: net.prototxt: layer 'p': the shape of Python layer m.L is known only when "
        f"it runs; {hint}\n")  # fmt: skip
    assert run(capsys, path, "--blob-shape", "x=2,3") == (
        1, "", f"netgen: net.prototxt: layer 'in': its input_param gives no shape; {hint}\n"
    )  # fmt: skip
    result = run_json(capsys, path, "--blob-shape", "x=2,3", "--blob-shape", "y=2,3")
    assert result["layers"][2]["top_shapes"] == [[2, 3]]


@pytest.mark.parametrize(
    "text, message",
    [
        ('layer { name: "l" type: "ReLU" bottom: "b" top: "l" }',
         "net.prototxt: Unknown bottom blob 'b' (layer 'l', bottom index 0)"),
        (DATA % "", "net.prototxt: layer 'data': without crop_size the shape of its records is "
         "known only from its source; give it with --input-shape C,H,W or --blob-shape "
         "BLOB=N,C,H,W"),
    ],
)  # fmt: skip
def test_refusals_are_one_line(capsys, text, message):
    assert run(capsys, write(text)) == (1, "", f"netgen: {message}\n")


def test_unreadable_files_are_one_line(capsys):
    for path in ("missing.prototxt", write("layer { nme: 'x' }")):
        status, out, err = run(capsys, path)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert path in err


@pytest.mark.parametrize(
    "option",
    [
        ["--input-shape", "3,x"],
        ["--input-shape", "0,3,3"],
        ["--blob-shape", "1,2"],
        ["--level", "9999999999"],
    ],
)
def test_bad_options(capsys, option):
    with pytest.raises(SystemExit):
        main(["describe", write(SHARED), *option])
    err = capsys.readouterr().err
    assert option[1] in err and err.count("\n") == 1


def test_the_command_imports_nothing_heavy():
    code = (
        "import sys; from netgen.commands.describe import main; "
        "status = main([sys.argv[1], '--input-shape', '3,32,32']); "
        "heavy = {'torch', 'lmdb', 'h5py', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(BASELINE)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "1,369,738 parameters" in done.stdout
