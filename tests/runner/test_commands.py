"""`caffe test`, `time` and `device_query`: what they print."""

import re

import h5py
import numpy as np
import pytest
import torch

from netgen.schema import caffe_pb

NUMBER = r"-?\d+(\.\d+)?(e[-+]\d\d)?"


@pytest.fixture
def weights(caffe, write_solver):
    """The name of a caffemodel of the tiny net."""
    assert caffe("train", "-solver", write_solver(max_iter=5)).status == 0
    return "s_iter_5.caffemodel"


def after(result, start):
    """The messages behind the one that is `start`."""
    return result.messages[result.messages.index(start) + 1 :]


def values(messages, pattern):
    return [float(m.rpartition(" = ")[2]) for m in messages if re.match(pattern, m)]


# --- test ---


def test_test_prints_every_batch_and_the_means(caffe, weights):
    result = caffe("test", "-model", "net.prototxt", "-weights", weights, "-iterations", "4")
    assert result.status == 0
    assert result.messages[0] == "Use CPU."
    assert f"Loaded 2 layers from {weights}: conv, ip" in result.messages
    lines = after(result, "Running for 4 iterations.")
    lines = [m for m in lines if "prefetching" not in m]
    batches = [rf"Batch {i}, {name} = {NUMBER}" for i in range(4) for name in ("accuracy", "loss")]
    ends = [
        f"Loss: {NUMBER}",
        f"accuracy = {NUMBER}",
        rf"loss = ({NUMBER}) \(\* 1 = ({NUMBER}) loss\)",
    ]
    for line, pattern in zip(lines, batches + ends, strict=True):
        assert re.fullmatch(pattern, line), line
    for name in ("accuracy", "loss"):
        mean = sum(values(lines, rf"Batch \d, {name} = ")) / 4
        (shown,) = [m for m in lines if m.startswith(f"{name} = ")]
        assert float(shown.split()[2]) == pytest.approx(mean, rel=2e-5)
    assert lines[-1].split()[2] == lines[-3].removeprefix("Loss: ")
    where = {message: at for _, at, message in result.lines}
    assert where[lines[0]] == "caffe.cpp:304" and where[lines[-3]] == "caffe.cpp:309"
    assert where[lines[-1]] == where[lines[-2]] == "caffe.cpp:321"


def test_test_takes_fifty_batches_by_default(caffe, weights):
    result = caffe("test", "--model=net.prototxt", f"--weights={weights}")
    assert len(result.starting("Batch ")) == 2 * 50
    assert len(result.starting("Restarting data prefetching")) == 50 * 3 // 10


def test_outputs_of_several_values_and_weights(caffe, work, weights):
    """Every element has its line; a weight is shown where there is one."""
    net = work / "net.prototxt"
    text = net.read_text().replace(
        'top: "loss" }', 'top: "loss" loss_weight: 0.5 }\n'
        'layer { name: "sum" type: "Reduction" bottom: "ip" top: "scores" '
        "reduction_param { axis: 1 } }",
    )  # fmt: skip
    net.write_text(text)
    result = caffe("test", "-model", "net.prototxt", "-weights", weights, "-iterations", "2")
    lines = [m for m in after(result, "Running for 2 iterations.") if "prefetching" not in m]
    scores = values(lines, "Batch .*scores")
    assert len(scores) == 2 * 3 and len(set(scores)) > 3
    means = [float(m.split(" = ")[1]) for m in lines if m.startswith("scores = ")]
    expected = [(a + b) / 2 for a, b in zip(scores[:3], scores[3:], strict=True)]
    assert means == pytest.approx(expected, rel=1e-4, abs=1e-6)
    (loss,) = [m for m in lines if m.startswith("loss = ")]
    mean, weighted = re.fullmatch(r"loss = (\S+) \(\* 0.5 = (\S+) loss\)", loss).groups()
    assert float(weighted) == pytest.approx(float(mean) / 2, rel=1e-5)
    (total,) = [m for m in lines if m.startswith("Loss: ")]
    assert total == f"Loss: {weighted}"


def test_level_and_stage_choose_layers(caffe, work, weights):
    net = work / "net.prototxt"
    rule = '  include {{ phase: TEST {} }}\n}}\nlayer {{ name: "loss"'
    text = net.read_text()
    head = '  include { phase: TEST }\n}\nlayer { name: "loss"'
    assert head in text
    words = ["test", "-model", "net.prototxt", "-weights", weights, "-iterations", "1"]
    for extra, chosen, left_out in [
        ("min_level: 2", ["-level", "2"], ["-level", "1"]),
        ('stage: "a" stage: "b"', ["-stage", "b,a"], ["-stage", "a"]),
        ('not_stage: "a"', [], ["-stage=a"]),
    ]:
        net.write_text(text.replace(head, rule.format(extra)))
        assert caffe(*words, *chosen).starting("accuracy = ")
        assert not caffe(*words, *left_out).starting("accuracy = ")


# --- time ---


def test_time(caffe):
    result = caffe("time", "-model", "net.prototxt", "-iterations", "3")
    assert result.status == 0
    (first,) = [i for i, m in enumerate(result.messages) if m == "Performing Forward"]
    layers = ["data", "conv", "relu", "drop", "ip", "loss"]
    patterns = [
        "Performing Forward",
        f"Initial loss: {NUMBER}",
        "Performing Backward",
        r"\*\*\* Benchmark begins \*\*\*",
        r"Testing for 3 iterations\.",
        *[rf"Iteration: {i} forward-backward time: {NUMBER} ms\." for i in (1, 2, 3)],
        "Average time per layer: ",
        *[
            rf"{name:>10}\t{way}: {NUMBER} ms\."
            for name in layers
            for way in ("forward", "backward")
        ],
        rf"Average Forward pass: {NUMBER} ms\.",
        rf"Average Backward pass: {NUMBER} ms\.",
        rf"Average Forward-Backward: {NUMBER} ms\.",
        rf"Total Time: {NUMBER} ms\.",
        r"\*\*\* Benchmark ends \*\*\*",
    ]
    lines = [m for m in result.messages[first:] if "prefetching" not in m]
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line
    shown = {m.split(": ")[0]: float(m.split(": ")[1].split()[0]) for m in lines[-5:-1]}
    forward, backward = shown["Average Forward pass"], shown["Average Backward pass"]
    assert shown["Average Forward-Backward"] > (forward + backward) * 0.999 > 0
    assert shown["Total Time"] == pytest.approx(3 * shown["Average Forward-Backward"], rel=1e-4)
    per_layer = {m.strip(): float(m.split(": ")[1].split()[0]) for m in lines if "\t" in m}
    assert sum(per_layer.values()) == pytest.approx(forward + backward, rel=1e-3)
    assert all(v > 0 for m, v in per_layer.items() if m.startswith(("conv", "ip", "loss")))


@pytest.mark.parametrize("phase, accuracy", [("TRAIN", False), ("", False), ("TEST", True)])
def test_the_phase_of_time(caffe, phase, accuracy):
    result = caffe("time", "-model", "net.prototxt", "-iterations=1", f"-phase={phase}")
    assert bool(result.starting("  accuracy\tforward")) == accuracy


def test_time_ignores_weights(caffe):
    words = ["-model", "net.prototxt", "-weights", "no.caffemodel", "-iterations", "1"]
    assert caffe("time", *words).status == 0


# --- device_query ---


def test_device_query_without_gpu(caffe):
    result = caffe("device_query")
    assert (result.status, result.messages) == (0, ["Querying GPUs "])


@pytest.mark.skipif(torch.cuda.is_available(), reason="tells what happens without a GPU")
def test_device_query_where_there_is_none(caffe):
    result = caffe("device_query", "-gpu", "all")
    assert result.status == 1
    assert result.messages[0] == "Querying GPUs all"
    assert result.messages[1].startswith("Cannot use GPU in CPU-only Caffe: check mode. (-gpu all:")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_device_query_of_a_gpu(caffe):
    result = caffe("device_query", "-gpu", "0")
    assert result.status == 0
    assert result.messages[1] == "Device id:                     0"
    assert f"Name:                          {torch.cuda.get_device_name(0)}" in result.messages


def test_outputs_of_uneven_batches_have_no_mean(caffe, work):
    with h5py.File(work / "rows.h5", "w") as file:
        file["x"], file["chosen"] = np.arange(6.0)[:, None], np.float32([[1, 1, 1, 1, 0, 0]]).T
    (work / "list.txt").write_text("rows.h5\n")
    (work / "net.prototxt").write_text(
        'layer { name: "rows" type: "HDF5Data" top: "x" top: "chosen" '
        'hdf5_data_param { source: "list.txt" batch_size: 3 } } '
        'layer { name: "f" type: "Filter" bottom: "x" bottom: "chosen" top: "y" }'
    )
    (work / "empty.caffemodel").write_bytes(caffe_pb.NetParameter(name="n").SerializeToString())
    result = caffe(
        "test", "-model", "net.prototxt", "-weights", "empty.caffemodel", "-iterations", "2"
    )
    assert result.status == 0
    assert result.starting("Batch") == [f"Batch {int(i > 2)}, y = {i}" for i in range(4)]
    assert len(result.starting("y has not the same number of values in each batch")) == 1
    assert not result.starting("y = ")
