"""What pycaffe's objects refuse, and the names its modules hold: as measured on BVLC Caffe 1.0."""

import copy
import pickle

import numpy as np
import pytest

import caffe
from caffe import _caffe, net_spec
from caffe.proto import caffe_pb2

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
FC = """layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y"
          inner_product_param { num_output: 2 } }\n"""
TRAIN = """layer { name: "in" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 2 } loss_weight: 1 }\n"""


@pytest.fixture
def solver(write):
    write("train.prototxt", TRAIN)
    return caffe.SGDSolver(
        write("solver.prototxt", 'train_net: "train.prototxt" base_lr: 0.1 lr_policy: "fixed"')
    )


def test_nothing_that_stands_for_memory_is_copied_or_pickled(net, solver):
    made = net(INPUT + FC)
    layer = made.layers[1]
    things = [made, made.blobs["x"], layer, made.layers, made.params["fc"], made._layer_names]
    for thing in [*things, solver, caffe.Timer()]:
        for call in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(RuntimeError, match="^Pickling of .*is not enabled"):
                call(thing)
    values = pickle.loads(pickle.dumps({name: b.data for name, b in made.blobs.items()}))
    assert values["x"].shape == (2, 3)


def test_what_a_net_and_a_solver_are_made_of_cannot_be_set(net, solver):
    made = net(INPUT + FC)
    names = ("blobs", "params", "layers", "layer_dict", "inputs", "outputs", "top_names")
    for name in (*names, "bottom_names", "blob_loss_weights"):
        with pytest.raises(AttributeError):
            setattr(made, name, [])
    for name in ("net", "test_nets", "param", "iter", "lr"):
        with pytest.raises(AttributeError):
            setattr(solver, name, None)
    for name in ("type", "blobs"):
        with pytest.raises(AttributeError):
            setattr(made.layers[1], name, None)
    made.mine = solver.mine = 3  # anything else can
    assert made.mine == solver.mine == 3 and made.inputs == ["x"]
    assert [b.data.shape for b in made.params["fc"]] == [(2, 3), (2,)]


def test_arguments_of_the_wrong_kind(net, write):
    made = net(INPUT + FC)
    for call in (
        lambda: made.share_with(3),
        lambda: made.params["fc"].append(3),
        lambda: made.params["fc"].extend([np.zeros(3)]),
        lambda: made.params["fc"].__setitem__(0, np.zeros((2, 3))),
        lambda: caffe.Net("net.prototxt", "w.caffemodel", caffe.TEST, weights="w.caffemodel"),
        lambda: caffe.log(3),
        lambda: caffe.init_log("a"),
    ):
        with pytest.raises(TypeError):
            call()
    assert len(made.params["fc"]) == 2
    for seed in (-1, 2**32):
        with pytest.raises(OverflowError):
            caffe.set_random_seed(seed)
    with pytest.raises(
        RuntimeError, match=r"phase is caffe.TRAIN \(0\) or caffe.TEST \(1\), not 2"
    ):
        caffe.Net("net.prototxt", 2)


def test_load_hdf5_takes_hdf5_alone(net, write):
    made = net(INPUT + FC)
    made.params["fc"][0].data[...] = 3
    made.save("w.caffemodel")
    made.save_hdf5("any_name")
    made.params["fc"][0].data[...] = 0
    for path in ("w.caffemodel", "none.h5"):
        with pytest.raises(RuntimeError, match=f"Could.* open .*{path}"):
            made.load_hdf5(path)
    assert not made.params["fc"][0].data.any()
    made.load_hdf5("any_name")
    assert (made.params["fc"][0].data == 3).all()


def test_a_setting_of_none_is_no_setting():
    transformer = caffe.io.Transformer({"x": (1, 1, 2, 2)})
    transformer.set_raw_scale("x", None)
    transformer.mean["x"] = transformer.channel_swap["x"] = transformer.transpose["x"] = None
    transformer.set_input_scale("x", 2)
    image = np.arange(4, dtype=np.float32).reshape(2, 2)
    np.testing.assert_array_equal(transformer.preprocess("x", image.copy()), 2 * image)
    np.testing.assert_array_equal(transformer.deprocess("x", 2 * image), image)


def test_the_vectors_of_the_compiled_module():
    for name in ("BlobVec", "BoolVec", "DtypeVec", "IntVec", "LayerVec", "NetVec", "RawBlobVec"):
        assert len(getattr(_caffe, name)()) == 0
    names = _caffe.StringVec()
    names.extend(["a", "b"])
    assert list(names[1:]) == ["b"]


def test_what_scripts_use_of_pycaffes_own_imports():
    image = np.linspace(0, 1, 12).reshape(3, 4)
    assert caffe.io.resize(image, (6, 8)).shape == (6, 8)
    assert caffe.io.zoom(image, 2).shape == (6, 8)
    assert callable(caffe.io.skimage.io.imread)
    with pytest.raises(AttributeError):
        _ = caffe.io.nothing


def test_the_schema_is_found_as_protoc_leaves_it():
    assert caffe_pb2.DESCRIPTOR.package == "caffe"
    assert caffe_pb2.DESCRIPTOR.message_types_by_name["NetParameter"].full_name == (
        "caffe.NetParameter"
    )
    assert caffe_pb2._LAYERPARAMETER.fields_by_name["convolution_param"].number == 106
    kinds = caffe_pb2._V1LAYERPARAMETER_LAYERTYPE.values_by_number
    assert kinds[4].name == "CONVOLUTION"
    names = net_spec.param_name_dict()
    assert names["InnerProduct"] == "inner_product" and names["LRN"] == "lrn"
    assert isinstance(caffe.layers, net_spec.Layers)
    assert isinstance(caffe.params, net_spec.Parameters)
