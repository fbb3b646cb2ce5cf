"""Nets of Caffe's forks: what is skipped, what is refused, what a caffemodel is not read as."""

import pytest

from netgen import graph, schema
from netgen.schema import caffe_pb, fork_names, forks
from netgen.schema.wire import varint

INPUT = 'layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }\n'


def net_of(text):
    return schema.parse_text(INPUT + text, caffe_pb.NetParameter, "net")


def refusal(text):
    with pytest.raises(schema.SchemaError) as caught:
        net_of(text)
    return str(caught.value)


def test_every_field_of_the_tables_exists():
    for name in forks.IGNORED | {f"LayerParameter.{field}" for field in forks._TYPES_OF_FIELD}:
        message, _, field = name.partition(".")
        assert field in getattr(caffe_pb, message).DESCRIPTOR.fields_by_name, name


def test_what_changes_no_result_is_skipped_with_one_line(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(
        INPUT
        + "default_forward_type: FLOAT16\n"
        + 2
        * 'layer { type: "Convolution" convolution_param { engine: MKL2017 '
        "cudnn_convolution_algo_seeker: FINDEX } relu_param { engine: CUDNN } }\n"
        + 'layer { type: "Data" forward_type: FLOAT data_param { threads: 3 cache: true } }'
    )
    notes = []
    net = schema.read_net(path, notes)
    assert notes == [
        "skipped, since it changes no result here: "
        "ConvolutionParameter.cudnn_convolution_algo_seeker (2), "
        "ConvolutionParameter.engine: MKL2017 (2), DataParameter.cache (1), "
        "DataParameter.threads (1), LayerParameter.forward_type (1), "
        "NetParameter.default_forward_type (1)"
    ]
    assert "MKL2017" in schema.to_text(net)  # and is kept


def test_one_typo_is_told_in_protobufs_words():
    words = 'net:2:24: Message type "caffe.LayerParameter" has no field named "relu_parm"'
    assert refusal('layer { type: "ReLU"   relu_parm { } }') == words


def test_a_field_of_a_fork_is_told_with_the_fork():
    words = refusal('layer { type: "Convolution" convolution_param { hole: 2 } }')
    assert words == (
        'net:2:49: Message type "caffe.ConvolutionParameter" has no field named "hole"; '
        "all that is needed and not here: fields ConvolutionParameter.hole (1, of DeepLab); "
        "ways out: a layer of your own (-layers FILE.py, docs/own_layers.md), or the fork itself "
        "(-engine pycaffe with CAFFE_ROOT)"
    )


def test_a_solvers_field_has_one_way_out():
    with pytest.raises(schema.SchemaError) as caught:
        schema.parse_text("warmup_iter: 3", caffe_pb.SolverParameter, "solver")
    assert "warmup_iter (1, of intel" in str(caught.value)
    assert str(caught.value).endswith(
        "; ways out: the fork itself (-engine pycaffe with CAFFE_ROOT)"
    )


def test_all_that_a_net_lacks_is_named_at_once():
    words = refusal(
        'layer { type: "Quux" quux_param { a: 1 } }\n'
        'layer { type: "VideoData" video_data_param { b { c: 2 } } }\n'
        'layer { type: "Quux" quux_param { a: 2 } }'
    )
    assert words.startswith('net:2:22: Message type "caffe.LayerParameter" has no field named')
    assert (
        "layer types Quux (2), VideoData (1, of SSD) and fields LayerParameter.quux_param (2), "
        "LayerParameter.video_data_param (1, of SSD, video-caffe); ways out: "
    ) in words


def test_types_alone_are_named_at_once():
    layer = 'layer { name: "q" type: "%s" top: "%s" }\n'
    with pytest.raises(graph.NetError) as caught:
        graph.infer(net_of(layer % ("VideoData", "v") + layer % ("Quux", "q")), caffe_pb.TEST)
    assert str(caught.value).startswith(
        "layer 'q': VideoData is a layer type of another Caffe (SSD); all that is needed and not "
        "here: layer types Quux (1), VideoData (1, of SSD); ways out: "
    )
    with pytest.raises(graph.NetError, match=r"^layer 'q': Unknown layer type: Quux; all that"):
        graph.infer(net_of(layer % ("Quux", "q") + layer % ("VideoData", "v")), caffe_pb.TEST)


def test_a_forks_caffemodel_is_not_read_as_something_else(tmp_path):
    path = tmp_path / "fork.caffemodel"
    net = caffe_pb.NetParameter()
    # roi_pooling_param = 147 of Faster R-CNN, smooth_l1_loss_param = 148, ctc_loss_param = 200
    for name, number, body in (
        ("ROIPooling", 147, b"\x08\x06\x10\x06\x1d\x00\x00\x80\x3d"),
        ("SmoothL1Loss", 148, b"\x0d\x00\x00\x40\x40"),
        ("CtcLoss", 200, b"\x08\x25\x18\x4b"),
    ):
        layer = net.layer.add(name=name, type=name)
        layer.blobs.add(data=[1, 2])
        layer.MergeFromString(varint(number << 3 | 2) + bytes([len(body)]) + body)
    net.layer.add(name="clip", type="Clip").clip_param.CopyFrom(
        caffe_pb.ClipParameter(min=0, max=6)
    )
    data = net.layer.add(name="data", type="Data")
    data.transform_param.crop_size = 3
    data.transform_param.crop_h = 4
    assert net.layer[1].clip_param.min == 3
    path.write_bytes(net.SerializePartialToString())
    again = schema.read_caffemodel(path)
    assert [[f.name for f, _ in layer.ListFields()] for layer in again.layer] == [
        ["name", "type", "blobs"],
        ["name", "type", "blobs"],
        ["name", "type", "blobs"],
        ["name", "type", "clip_param"],
        ["name", "type", "transform_param"],
    ]
    assert again.layer[4].transform_param == caffe_pb.TransformationParameter(crop_size=3)


def test_a_value_of_a_fork_is_told_with_the_fork():
    with pytest.raises(schema.SchemaError) as caught:
        schema.parse_text('layers { name: "a" type: MAT_WRITE }', caffe_pb.NetParameter, "net")
    words = str(caught.value)
    assert words.startswith('net:1:26: type: Enum type "caffe.V1LayerParameter.LayerType" has no')
    assert "values V1LayerParameter.type=MAT_WRITE (1, of DeepLab); ways out: " in words


def test_a_wrong_value_that_no_fork_has_is_told_in_protobufs_words():
    words = refusal('layer { type: "Pooling" pooling_param { pool: MEAN } }')
    assert words.endswith('Enum type "caffe.PoolingParameter.PoolMethod" has no value named MEAN')


def test_what_layers_in_a_list_lack_is_named_as_well():
    words = refusal(
        'layer: [ { type: "Quux" quux_param { a: 1 } }, { type: "VideoData" quux_param: [ {}, {} ] } ]'
    )
    assert (
        "layer types Quux (1), VideoData (1, of SSD) and fields LayerParameter.quux_param (3)"
    ) in words


def test_a_solver_in_place_of_a_net_is_told_as_one():
    text = 'net: "n.prototxt" base_lr: 0.01 larc: true'
    with pytest.raises(schema.SchemaError) as caught:
        schema.parse_text(text, caffe_pb.NetParameter, "s")
    words = """s: this is a solver's prototxt, where a net's is wanted; its net is "n.prototxt\""""
    assert str(caught.value) == words
    with pytest.raises(schema.SchemaError) as caught:
        schema.parse_text(INPUT, caffe_pb.SolverParameter, "n")
    assert str(caught.value) == "n: this is a net's prototxt, where a solver's is wanted"


def test_no_name_of_a_fork_is_one_that_is_known():
    for name in fork_names.FORK_OF:
        message, _, field = name.partition("=")[0].partition(".")
        if not field:
            assert name not in graph.layer_types(), name
            continue
        known = getattr(caffe_pb, message).DESCRIPTOR.fields_by_name
        value = name.partition("=")[2]
        if value:
            assert value not in known[field].enum_type.values_by_name, name
        else:
            assert field not in known, name
