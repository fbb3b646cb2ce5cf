import h5py
import numpy as np
import pytest

from runner.solver.tallies import average_precision

SCORES = np.float32([0.9, 0.8, 0.7, 0.6, 0.5])
RIGHT = np.array([True, False, True, True, False])
# recall 1/4 1/4 2/4 3/4 3/4, precision 1 1/2 2/3 3/4 3/5
VALUES = {
    "Integral": (1 + 2 / 3 + 3 / 4) / 4,
    "MaxIntegral": (1 + 3 / 4 + 3 / 4) / 4,
    "11point": (3 * 1 + 5 * 3 / 4) / 11,  # recalls 0 0.1 0.2, then 0.3 to 0.7
}


@pytest.mark.parametrize("version", VALUES)
def test_average_precision(version):
    for order in ([0, 1, 2, 3, 4], [3, 0, 4, 2, 1]):
        found = average_precision(SCORES[order], RIGHT[order], 4, version)
        assert found == pytest.approx(VALUES[version], rel=1e-6)


@pytest.mark.parametrize("version", VALUES)
def test_average_precision_at_its_ends(version):
    all_right = np.ones(5, bool)
    assert average_precision(SCORES, all_right, 5, version) == pytest.approx(1, rel=1e-6)
    assert average_precision(SCORES, ~all_right, 5, version) == 0
    assert average_precision(SCORES[:0], all_right[:0], 5, version) == 0
    assert average_precision(SCORES, RIGHT, 0, version) == 0


# --- in a solver ---

NET = """
layer { name: "x" type: "DummyData" top: "x" top: "y" include { phase: TRAIN }
  dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" include { phase: TRAIN }
  inner_product_param { num_output: 1 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "y" top: "loss"
  include { phase: TRAIN } }
layer { name: "found" type: "HDF5Data" top: "found" top: "truth" include { phase: TEST }
  hdf5_data_param { source: "list.txt" batch_size: 1 } }
layer { name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "truth"
  top: "detection_eval" include { phase: TEST }
  detection_evaluate_param { num_classes: 4 } }
"""
BOX = [0.1, 0.1, 0.5, 0.5]
ELSEWHERE = [0.6, 0.6, 0.9, 0.9]


@pytest.fixture
def detections(work):
    """A test net of two batches: class 1 as above, class 2 all right, class 3 is not there."""
    found = [
        [[0, 1, 0.9, *BOX], [0, 1, 0.8, *ELSEWHERE], [0, 1, 0.7, *BOX], [0, 2, 0.6, *BOX]],
        [[0, 1, 0.9, *ELSEWHERE], [0, 2, 0.8, *BOX], [0, 2, 0.7, *BOX], [0, 2, 0.6, *BOX]],
    ]
    truth = [[[0, 1, 0, *BOX, 0], [0, 2, 0, *BOX, 0]]] * 2
    with h5py.File(work / "found.h5", "w") as file:
        file["found"] = np.array(found, np.float32)[:, None]
        file["truth"] = np.array(truth, np.float32)[:, None]
    (work / "list.txt").write_text("found.h5\n")
    (work / "net.prototxt").write_text(NET)
    return work


@pytest.mark.parametrize(
    "version, first, second",
    [
        # class 1: one right, of two, then three wrong
        # class 2: right, wrong, right (of the first batch, which comes first), wrong
        ("Integral", 1 / 2, (1 + 2 / 3) / 2),
        ("MaxIntegral", 1 / 2, (1 + 2 / 3) / 2),
        ("11point", 6 / 11, (6 + 5 * 2 / 3) / 11),
    ],
)
def test_mean_average_precision(caffe, write_solver, detections, version, first, second):
    solver = write_solver(
        eval_type='"detection"', ap_version=f'"{version}"', show_per_class_result="true",
        test_iter="2", max_iter="1", test_interval="1",
    )  # fmt: skip
    result = caffe("train", "-solver", solver)
    assert result.status == 0
    shown = [
        message
        for message in result.messages
        if message.startswith(("class", "    Test net", "Missing"))
    ]
    assert shown[:4] == [
        f"class1: {first:.6g}",
        f"class2: {second:.6g}",
        "Missing true_pos for label: 3",
        f"    Test net output #0: detection_eval = {(first + second) / 3:.6g}",
    ]


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"eval_type": '"guess"'}, "Unknown evaluation type: guess"),
        ({"eval_type": '"detection"', "ap_version": '"12point"'}, "Unknown ap_version: 12point"),
    ],
)
def test_refused(caffe, write_solver, fields, words):
    result = caffe("train", "-solver", write_solver(**fields))
    assert result.status == 1
    assert words in result.messages[-1]


def test_what_evaluates_nothing_is_one_warning(caffe, write_solver):
    fields = {"test_iter": None, "test_interval": None, "max_iter": 1}
    path = write_solver(eval_type='"detection"', ap_version='"11point"', **fields)
    result = caffe("train", "-solver", path)
    assert result.status == 0
    assert [line[2] for line in result.lines if "skipped" in line[2]] == [
        "skipped, since there is no test_iter, so that nothing is evaluated: eval_type, ap_version"
    ]


def test_other_outputs_are_no_detections(caffe, write_solver):
    result = caffe("train", "-solver", write_solver(eval_type='"detection"'))
    assert result.status == 1
    assert "none of a DetectionEvaluate layer" in result.messages[-1]


def test_an_output_of_changing_size_has_no_mean(caffe, write_solver, detections):
    with h5py.File(detections / "found.h5", "r+") as file:
        file["found"][1, 0, 3, :2] = -1  # three detections in the second batch
    result = caffe("train", "-solver", write_solver(test_iter="2", max_iter="1", test_interval="1"))
    assert result.status == 0
    told = "detection_eval has not the same number of values in each batch, and no mean"
    assert [m for m in result.messages if m.startswith(told)]
    assert not [m for m in result.messages if m.startswith("    Test net output")]
