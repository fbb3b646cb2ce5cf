"""docs/ssd as a reader runs it: the generator, then the real caffe command, until it detects."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from netgen import schema
from netgen.schema import caffe_pb

ROOT = Path(__file__).parents[2]


@pytest.fixture
def example(tmp_path):
    """A folder with docs/ssd, and its data made."""
    shutil.copytree(ROOT / "docs" / "ssd", tmp_path / "docs" / "ssd")
    (tmp_path / "snapshots").mkdir()
    subprocess.run([sys.executable, "docs/ssd/boxes.py"], cwd=tmp_path, check=True)
    return tmp_path


def test_the_records_are_annotated(example):
    with lmdb.open(str(example / "data/boxes/train_lmdb"), readonly=True, lock=False) as env:
        assert env.stat()["entries"] == 512
        with env.begin() as transaction:
            one = caffe_pb.AnnotatedDatum.FromString(transaction.get(b"%08d" % 7))
    assert one.type == caffe_pb.AnnotatedDatum.BBOX and one.datum.encoded
    for group in one.annotation_group:
        assert group.group_label in (1, 2, 3)
        for annotation in group.annotation:
            box = annotation.bbox
            assert 0 <= box.xmin < box.xmax <= 1 and 0 <= box.ymin < box.ymax <= 1


def test_it_detects_after_100_iterations(example):
    """0.88 where this was written (300 iterations reach 0.99)."""
    solver = schema.read_solver(example / "docs/ssd/solver.prototxt")
    solver.max_iter, solver.test_interval = 100, 100
    schema.write_text(solver, example / "short.prototxt")
    command = [Path(sys.executable).with_name("caffe"), "train", "-solver", "short.prototxt"]
    done = subprocess.run(command, cwd=example, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"Test net output #0: detection_eval = (\S+)", done.stderr)
    assert float(found[-1]) > 0.5
    assert (example / "snapshots/small_ssd_iter_100.caffemodel").is_file()
