"""A tiny SSD trained on generated images with boxes, from an LMDB of AnnotatedDatum."""

import io

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image

from netgen import graph, schema
from netgen.schema import caffe_pb
from runner.data import DataLayerError

DATA = """
layer {{
  name: "data" type: "AnnotatedData" top: "data" top: "label" include {{ phase: {phase} }}
  transform_param {{ mirror: {mirror} mean_value: 100 scale: 0.02
    resize_param {{ height: 16 width: 16 {interp} }} emit_constraint {{ emit_type: CENTER }} }}
  data_param {{ source: "boxes_lmdb" batch_size: 4 backend: LMDB }}
  annotated_data_param {{ {samplers} }}
}}
"""
INTERP = "interp_mode: LINEAR interp_mode: AREA interp_mode: CUBIC"
SAMPLERS = """
  batch_sampler { max_sample: 1 max_trials: 1 }
  batch_sampler { sampler { min_scale: 0.7 max_scale: 1 } max_sample: 1 max_trials: 10
    sample_constraint { min_jaccard_overlap: 0.3 } }
"""
NET = (
    DATA.format(phase="TRAIN", mirror="true", interp=INTERP, samplers=SAMPLERS)
    + DATA.format(phase="TEST", mirror="false", interp="", samplers="")
    + """
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {
  num_output: 8 kernel_size: 5 pad: 2 stride: 4 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "loc" type: "Convolution" bottom: "c" top: "loc" convolution_param {
  num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "locp" type: "Permute" bottom: "loc" top: "locp"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "locf" type: "Flatten" bottom: "locp" top: "locf" }
layer { name: "conf" type: "Convolution" bottom: "c" top: "conf" convolution_param {
  num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "confp" type: "Permute" bottom: "conf" top: "confp"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "conff" type: "Flatten" bottom: "confp" top: "conff" }
layer { name: "prior" type: "PriorBox" bottom: "c" bottom: "data" top: "prior"
  prior_box_param { min_size: 6 max_size: 9 variance: 0.1 } }
layer { name: "loss" type: "MultiBoxLoss" bottom: "locf" bottom: "conff" bottom: "prior"
  bottom: "label" top: "loss" include { phase: TRAIN }
  propagate_down: true propagate_down: true propagate_down: false propagate_down: false
  multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE overlap_threshold: 0.4 } }
layer { name: "out" type: "DetectionOutput" bottom: "locf" bottom: "conff" bottom: "prior"
  top: "out" include { phase: TEST }
  detection_output_param { num_classes: 3 code_type: CENTER_SIZE keep_top_k: 10
    nms_param { nms_threshold: 0.45 top_k: 20 } } }
layer { name: "eval" type: "DetectionEvaluate" bottom: "out" bottom: "label"
  top: "detection_eval" include { phase: TEST } detection_evaluate_param { num_classes: 3 } }
"""
)


def write_boxes(path, count=11, boxed=True):
    random = np.random.default_rng(0)
    env = lmdb.open(str(path), map_size=1 << 22)
    with env.begin(write=True) as txn:
        for i in range(count):
            pixels = random.integers(80, 120, (20, 20, 3)).astype(np.uint8)
            label, (x, y) = i % 2 + 1, random.integers(0, 11, 2)
            pixels[y : y + 9, x : x + 9] = (240, 0, 0) if label == 1 else (0, 240, 0)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            stored = caffe_pb.AnnotatedDatum()
            stored.datum.encoded, stored.datum.data = True, buffer.getvalue()
            stored.datum.label = label
            if boxed:
                stored.type = caffe_pb.AnnotatedDatum.BBOX
                group = stored.annotation_group.add(group_label=label)
                box = group.annotation.add().bbox
                box.xmin, box.ymin, box.xmax, box.ymax = x / 20, y / 20, (x + 9) / 20, (y + 9) / 20
            txn.put(b"%05d" % i, stored.SerializeToString())
    env.close()


@pytest.fixture
def boxes(work):
    """The current directory, with boxes_lmdb and the net."""
    write_boxes(work / "boxes_lmdb")
    (work / "net.prototxt").write_text(NET)
    return work


def losses(result):
    assert result.status == 0, result.err
    return [
        float(message.split("loss = ")[1])
        for message in result.starting("Iteration")
        if "loss = " in message
    ]


def test_training(caffe, write_solver, boxes):
    solver = write_solver(
        eval_type='"detection"', test_iter="3", test_interval="12", max_iter="12", base_lr="0.02"
    )
    result = caffe("train", "-solver", solver)
    found = losses(result)
    assert np.mean(found[-4:]) < 0.8 * np.mean(found[:2])
    (first, last) = result.starting("    Test net output #0: detection_eval = ")
    assert 0 <= float(first.split("= ")[1]) < float(last.split("= ")[1]) <= 1


def test_a_resumed_run_goes_on_the_same(caffe, write_solver, boxes):
    solver = write_solver(eval_type='"detection"', test_iter="3", snapshot="3", max_iter="6")
    whole = caffe("train", "-solver", solver).trained()
    again = caffe("train", "-solver", solver, "-snapshot", "s_iter_3.solverstate").trained()
    assert again == whole[-len(again) :]
    assert len(again) > 6


def test_the_tops(build, boxes):
    net = build(NET, "TEST")
    layer = net.nodes[0].layer
    data, label = layer.forward([], [])
    assert data.shape == (4, 3, 16, 16) and label.shape == (1, 1, 4, 8)
    assert label[0, 0, :, 0].tolist() == [0, 1, 2, 3]  # the images
    assert label[0, 0, :, 1].tolist() == [1, 2, 1, 2]
    size = label[0, 0, :, 5:7] - label[0, 0, :, 3:5]
    torch.testing.assert_close(size, torch.full((4, 2), 0.45))


def test_labels_of_records_without_a_type(build, work):
    write_boxes(work / "boxes_lmdb", boxed=False)
    text = NET[: NET.index("layer { name")]
    net = build(text, "TEST")
    data, label = net.nodes[0].layer.forward([], [])
    assert label.tolist() == [[[[1]]], [[[2]]], [[[1]]], [[[2]]]]
    assert net.blob_shapes["label"] == (4, 1, 1, 1)


def test_images_of_several_sizes_need_one(build, work):
    write_boxes(work / "boxes_lmdb")
    text = NET[: NET.index("layer { name")].replace("resize_param", "expand_param")
    text = text.replace("height: 16 width: 16", "max_expand_ratio: 3").replace(INTERP, "")
    layer = build(text, "TRAIN").nodes[0].layer
    with pytest.raises(DataLayerError, match="record '0000.': it becomes an image of shape"):
        layer.forward([], [])


def test_the_net_is_described_without_its_data(work):
    param = schema.parse_text(NET[: NET.index("layer { name")], caffe_pb.NetParameter)
    shapes = graph.layer_shapes(param.layer[0], [], caffe_pb.TRAIN)
    assert shapes.tops == [(4, 3, 16, 16), (1, 1, 1, 8)]
