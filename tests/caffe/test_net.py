"""Nets as pycaffe's scripts use them: the numbers are worked out by hand or with NumPy."""

import gc

import numpy as np
import pytest

import caffe
from netgen.errors import CaffeError

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
FC = """layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y"
          inner_product_param { num_output: 2 } }\n"""
POWER = 'layer { name: "%s" type: "Power" bottom: "%s" top: "%s" power_param { %s } }\n'
X = np.arange(6.0).reshape(2, 3)
W = np.array([[1.0, 2, 3], [-1, 0, 1]])


@pytest.mark.parametrize("arrays", ["memory"], indirect=True)
def test_data_are_views_of_one_memory_that_outlives_the_net(net):
    made = net(INPUT + POWER % ("twice", "x", "y", "scale: 2"))
    x, y = made.blobs["x"].data, made.blobs["y"].data
    assert x.dtype == np.float32 and x.flags.c_contiguous and x.flags.writeable
    assert x is not made.blobs["x"].data and np.shares_memory(x, made.blobs["x"].data)
    x[...] = X
    made.forward()
    np.testing.assert_array_equal(y, 2 * X)
    x += 1
    made.forward()
    np.testing.assert_array_equal(y, 2 * (X + 1))
    del made
    gc.collect()
    np.testing.assert_array_equal(y, 2 * (X + 1))
    with pytest.raises(AttributeError):
        net(INPUT).blobs["x"].data = X


@pytest.mark.parametrize("arrays", ["mirror"], indirect=True)
def test_a_copy_on_the_host_is_fetched_when_it_is_asked_for(net):
    made = net(INPUT + POWER % ("twice", "x", "y", "scale: 2"))
    x, y = made.blobs["x"].data, made.blobs["y"].data
    x[...] = X
    made._forward(0, 1)
    assert not y.any()
    np.testing.assert_array_equal(made.blobs["y"].data, 2 * X)
    np.testing.assert_array_equal(y, 2 * X)


def test_forward_gives_views_and_takes_exactly_the_inputs(net):
    made = net(INPUT + FC)
    made.params["fc"][0].data[...] = W
    out = made.forward(x=X)["y"]
    np.testing.assert_allclose(out, X @ W.T)
    made.forward(x=-X)
    np.testing.assert_allclose(out, -X @ W.T)
    assert sorted(made.forward(blobs=["x"])) == ["x", "y"]
    assert list(made.forward(end="in")) == ["x"]
    with pytest.raises(Exception, match="Input blob arguments do not match net inputs."):
        made.forward(y=X)
    with pytest.raises(Exception, match="Input is not batch sized"):
        made.forward(x=X[:1])
    with pytest.raises(ValueError, match="'none' is not in list"):
        made.forward(start="none")
    with pytest.raises(RuntimeError, match="end < layers_.size"):
        made._forward(0, 2)


def test_backward_reads_what_lies_in_memory_now(net):
    made = net("force_backward: true\n" + INPUT + FC + POWER % ("square", "y", "z", "power: 2"))
    made.params["fc"][0].data[...] = W
    made.forward(x=X)
    ones = np.ones((2, 2))
    made.backward(z=ones)
    np.testing.assert_allclose(made.blobs["y"].diff, 2 * X @ W.T)
    made.blobs["y"].data[...] = 5
    made.params["fc"][0].data[...] = -W
    made.backward(z=ones)
    np.testing.assert_allclose(made.blobs["x"].diff, np.full((2, 2), 10) @ -W)
    # parameter diffs add up, those of blobs do not
    np.testing.assert_allclose(
        made.params["fc"][0].diff, (2 * X @ W.T).T @ X + np.full((2, 2), 10).T @ X
    )
    made.clear_param_diffs()
    assert not made.params["fc"][0].diff.any() and made.blobs["x"].diff.any()


def test_batch_norm_writes_its_bottoms_diff_needed_or_not(net):
    text = (
        INPUT.replace("dim: 2", "dim: 3")
        + """
        layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" %s
                batch_norm_param { use_global_stats: false } }
        layer { name: "s" type: "Scale" bottom: "y" top: "z" loss_weight: 1 }"""
    )
    x = np.array([[1, 2, 4], [5, 0, 4], [3, 3, 1]])
    dz = np.array([[1, 3, 0], [2, 9, 1], [4, 1, 7]])
    for fixed in ("", "param { lr_mult: 0 } " * 3):
        made = net(text % fixed)
        made.forward(x=x)
        made.blobs["z"].diff[...] = dz
        made.backward()
        norm = (x - x.mean(0)) / x.std(0)
        inner = dz - dz.mean(0) - norm * (norm * dz).mean(0)
        expected = np.zeros((3, 3)) if fixed else inner / x.std(0)  # none of it goes backward
        np.testing.assert_allclose(made.blobs["x"].diff, expected, atol=1e-4)


def test_a_layer_goes_backward_without_having_gone_forward(net):
    made = net("force_backward: true\n" + INPUT + FC)
    made.params["fc"][0].data[...] = W
    made.blobs["x"].data[...] = X
    made.blobs["y"].diff[...] = [[1, 2], [3, 4]]
    assert list(made.backward(start="fc", end="fc")) == ["x"]
    np.testing.assert_allclose(made.blobs["x"].diff, [[1, 2], [3, 4]] @ W)
    np.testing.assert_allclose(made.params["fc"][0].diff, np.array([[1, 3], [2, 4]]) @ X)


def test_the_formula_of_an_activation_reads_its_top(net):
    made = net(
        'force_backward: true layer { name: "in" type: "Input" top: "x" '
        'input_param { shape { dim: 2 } } } layer { name: "s" type: "Sigmoid" bottom: "x" top: "y" }'
    )
    made.forward(x=np.array([0.0, 3.0]))
    made.blobs["y"].data[...] = [0.5, 0.25]
    made.backward(y=np.ones(2))
    np.testing.assert_allclose(made.blobs["x"].diff, [0.25, 0.1875])


def test_reshaping_keeps_a_prefix_and_grows_into_zeros(net):
    made = net(INPUT + FC)
    made.params["fc"][0].data[...] = W
    blob = made.blobs["x"]
    blob.data[...] = X
    view = blob.data
    blob.reshape(1, 3)
    np.testing.assert_array_equal(blob.data, X[:1])
    assert np.shares_memory(view, blob.data) and made.blobs["y"].shape == (2, 2)
    assert made.forward()["y"].shape == (1, 2)
    blob.reshape(np.int64(4), 3)
    np.testing.assert_array_equal(blob.data, np.zeros((4, 3)))
    np.testing.assert_array_equal(view, X)
    made.reshape()
    assert made.blobs["y"].shape == (4, 2)
    blob.reshape(4, 2)
    with pytest.raises(RuntimeError, match="Input size incompatible with inner product parameters"):
        made.forward()
    for arguments in ([2, 3],), (2.0, 3):
        with pytest.raises(TypeError, match="whole numbers"):
            blob.reshape(*arguments)
    with pytest.raises(RuntimeError, match="takes no kwargs"):
        blob.reshape(n=1)
    with pytest.raises(CaffeError, match=r"shape\[i\] >= 0"):
        blob.reshape(-1)


def test_a_convolution_follows_its_images_size(net):
    made = net("""layer { name: "in" type: "Input" top: "x"
                    input_param { shape { dim: 1 dim: 1 dim: 4 dim: 4 } } }
                  layer { name: "conv" type: "Convolution" bottom: "x" top: "y"
                    convolution_param { num_output: 1 kernel_size: 3
                      weight_filler { type: "constant" value: 1 } } }""")
    made.blobs["x"].reshape(2, 1, 5, 3)
    made.blobs["x"].data[...] = np.arange(30).reshape(2, 1, 5, 3)
    y = made.forward()["y"]
    assert y.shape == (2, 1, 3, 1) and y[1, 0, 2, 0] == np.arange(21, 30).sum()
    made.blobs["x"].reshape(1, 2, 5, 5)
    with pytest.raises(RuntimeError, match="incompatible with convolution kernel"):
        made.forward()


def test_the_loss_weight_lies_in_the_diff_and_is_read_there(net):
    made = net(
        INPUT
        + FC
        + """layer { name: "loss" type: "Reduction" bottom: "y" top: "loss"
                          loss_weight: 3 }""",
        caffe.TRAIN,
    )
    made.params["fc"][0].data[...] = W
    assert made.forward(x=X)["loss"] == (X @ W.T).sum()
    made.backward()
    np.testing.assert_allclose(made.blobs["y"].diff, np.full((2, 2), 3))
    assert not made.blobs["x"].diff.any()  # nothing below learns
    made.blobs["loss"].diff[...] = -1
    assert made._forward(0, 2) == -(X @ W.T).sum()
    made.backward()
    np.testing.assert_allclose(made.blobs["y"].diff, np.full((2, 2), -1))


def test_flatten_and_split_share_their_bottoms_data(net):
    made = net("""force_backward: true
      layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 2 } } }
      layer { name: "flat" type: "Flatten" bottom: "x" top: "f" }
      layer { name: "a" type: "Power" bottom: "f" top: "a" power_param { scale: 2 } }
      layer { name: "b" type: "Power" bottom: "f" top: "b" power_param { scale: 3 } }""")
    assert list(made.blobs) == ["x", "f", "f_flat_0_split_0", "f_flat_0_split_1", "a", "b"]
    assert made.layer_dict["f_flat_0_split"].type == "Split"
    made.forward(x=np.ones((1, 2, 2)))
    assert np.shares_memory(made.blobs["x"].data, made.blobs["f_flat_0_split_1"].data)
    made.blobs["f"].data[...] = 4
    np.testing.assert_array_equal(made.forward(start="a")["b"], np.full((1, 4), 12))
    made.backward(a=np.ones((1, 4)), b=np.ones((1, 4)))
    np.testing.assert_array_equal(made.blobs["x"].diff, np.full((1, 2, 2), 5))


def test_an_activation_in_place_writes_over_the_input(net):
    made = net(INPUT + 'layer { name: "relu" type: "ReLU" bottom: "x" top: "x" }')
    view = made.blobs["x"].data
    made.forward(x=X - 2)
    np.testing.assert_array_equal(view, np.maximum(X - 2, 0))


def test_dummy_data_keeps_what_is_written(net):
    made = net("""layer { name: "d" type: "DummyData" top: "c" top: "r"
                    dummy_data_param { shape { dim: 3 } data_filler { value: 7 }
                      data_filler { type: "uniform" min: 1 max: 2 } } }""")
    np.testing.assert_array_equal(made.blobs["c"].data, [7, 7, 7])
    assert not made.blobs["r"].data.any()  # until the first forward
    made.blobs["c"].data[1] = 5
    made.blobs["r"].data[...] = 0
    made.forward()
    np.testing.assert_array_equal(made.blobs["c"].data, [7, 5, 7])
    assert made.blobs["r"].data.all()


def test_weights_shared_and_copied(net, write):
    first, second = (net(INPUT + FC) for _ in range(2))
    first.params["fc"][0].data[...] = W
    first.save("w.caffemodel")
    first.save_hdf5("w.h5")
    for path in ("w.caffemodel", "w.h5"):
        other = caffe.Net("net.prototxt", caffe.TEST, weights=path)
        np.testing.assert_array_equal(other.params["fc"][0].data, W)
        assert caffe.Net("net.prototxt", path, caffe.TEST).params["fc"][0].data[1, 0] == -1
    second.share_with(first)
    first.params["fc"][0].data[0] = 9
    np.testing.assert_array_equal(second.params["fc"][0].data[0], [9, 9, 9])
    assert not np.shares_memory(first.params["fc"][0].diff, second.params["fc"][0].diff)


def test_shared_parameters_are_one_memory_under_two_names(net):
    shared = FC.replace("bottom", 'param { name: "w" } bottom')
    made = net(INPUT + shared + shared.replace('"fc"', '"again"').replace('"y"', '"z"'))
    one, other = made.params["fc"][0], made.params["again"][0]
    assert one is not other and np.shares_memory(one.data, other.data)
    assert np.shares_memory(one.diff, other.diff)
    assert not np.shares_memory(made.params["fc"][1].data, made.params["again"][1].data)


def test_callbacks_are_called_around_every_layer(net):
    made, log = net(INPUT + FC), []
    made.before_forward(lambda i: log.append(("before", i)))
    made.after_backward(lambda i: log.append(("back", i)))
    made.forward()
    made.backward()
    assert log == [("before", 0), ("before", 1), ("back", 1), ("back", 0)]

    def fail(i):
        raise KeyError("mine")

    made.after_forward(fail)
    with pytest.raises(KeyError, match="mine"):
        made.forward()


def test_forward_all_cuts_into_batches(net):
    made = net(INPUT + FC)
    made.params["fc"][0].data[...] = W
    rows = np.arange(15.0).reshape(5, 3)
    out = made.forward_all(x=rows, blobs=["x"])
    np.testing.assert_allclose(out["y"], rows @ W.T)
    np.testing.assert_array_equal(out["x"], rows)
    _, diffs = made.forward_backward_all(x=rows, y=np.ones((5, 2)))
    assert diffs["x"].shape == (5, 3)


@pytest.mark.parametrize(
    "arguments, kind, words",
    [
        (("none.prototxt", 1), RuntimeError, "Could not open file none.prototxt"),
        (("ok.prototxt", "none.caffemodel", 1), RuntimeError, "Could not open file none.caffe"),
        (("ok.prototxt", 1, 0, None, "none.h5"), RuntimeError, "Could not open file none.h5"),
        (("ok.prototxt", "TEST"), TypeError, "stages=None"),
        ((None, 1), TypeError, "network_file must be a str"),
        (("bad.prototxt", 1), CaffeError, "bad.prototxt"),
        (("type.prototxt", 1), RuntimeError, "Unknown layer type: Inputt"),
    ],
)
def test_what_a_net_cannot_be_made_of(write, arguments, kind, words):
    write("ok.prototxt", INPUT)
    write("bad.prototxt", "layer {")
    write("type.prototxt", INPUT.replace('"Input"', '"Inputt"'))
    with pytest.raises(kind, match=words):
        caffe.Net(*arguments)


def test_random_numbers_follow_the_seed(net):
    text = INPUT + FC.replace("num_output: 2", 'num_output: 2 weight_filler { type: "gaussian" }')
    made = []
    for seed in (3, 4, 3):
        caffe.set_random_seed(seed)
        made += [net(text).params["fc"][0].data.copy() for _ in range(2)]
    np.testing.assert_array_equal(made[:2], made[4:])
    assert (made[0] != made[1]).all() and (made[0] != made[2]).all()


def test_of_two_layers_of_one_name_the_first_is_looked_for(net, write):
    """As Net::CopyTrainedLayersFrom and ShareTrainedLayersWith find a layer by its name."""
    twins = INPUT + FC + FC.replace('"x"', '"y"').replace('top: "y"', 'top: "z"')
    one, two = (net(twins.replace("num_output: 2", "num_output: 3")) for _ in range(2))
    for i, layer in enumerate(one.layers[1:]):
        layer.blobs[0].data[...] = i + 1
    one.save("twins.caffemodel")
    two.copy_from("twins.caffemodel")
    assert [layer.blobs[0].data[0, 0] for layer in two.layers[1:]] == [2, 0]
    three = net(twins.replace("num_output: 2", "num_output: 3"))
    three.share_with(one)
    assert [layer.blobs[0].data[0, 0] for layer in three.layers[1:]] == [2, 0]
    mixed = INPUT + FC + 'layer { name: "fc" type: "ReLU" bottom: "y" top: "z" }\n'
    made = net(mixed)
    made.save("mixed.caffemodel")
    with pytest.raises(RuntimeError, match="Incompatible number of blobs for layer fc"):
        made.copy_from("mixed.caffemodel")
