import numpy as np
import pytest
import torch

from netgen.graph import NetError


def tops(net):
    return [net.forward()[1][name].numpy() for name in net.outputs]


def test_input_is_zero_until_it_is_given_values(build):
    net = build("""layer { name: "in" type: "Input" top: "a" top: "b"
                   input_param { shape { dim: 2 dim: 3 } shape { dim: 4 } } }""")
    a, b = tops(net)
    np.testing.assert_array_equal(a, np.zeros((2, 3)))
    assert b.shape == (4,)
    net.nodes[0].layer.values[1].fill_(2)
    np.testing.assert_array_equal(tops(net)[1], [2, 2, 2, 2])


def test_one_shape_serves_every_top_of_an_input(build):
    net = build("""layer { name: "in" type: "Input" top: "a" top: "b"
                   input_param { shape { dim: 2 } } }""")
    assert [top.shape for top in tops(net)] == [(2,), (2,)]


def dummy(build, param, count=1):
    names = " ".join(f'top: "t{i}"' for i in range(count))
    return build(f'layer {{ name: "d" type: "DummyData" {names} dummy_data_param {{ {param} }} }}')


def test_dummy_data_is_zero_by_default(build):
    (top,) = tops(dummy(build, "shape { dim: 2 dim: 3 }"))
    np.testing.assert_array_equal(top, np.zeros((2, 3)))


def test_dummy_data_of_the_older_fields(build):
    first, second = tops(
        dummy(
            build, "num: 2 num: 5 channels: 3 height: 4 width: 1 data_filler { value: 7 }", count=2
        )
    )
    np.testing.assert_array_equal(first, np.full((2, 3, 4, 1), 7))
    np.testing.assert_array_equal(second, np.full((5, 3, 4, 1), 7))


def test_random_dummy_data_is_drawn_anew_and_constant_kept(build):
    net = dummy(
        build,
        "shape { dim: 50 } data_filler { value: 0.5 } "
        'data_filler { type: "uniform" min: 1 max: 2 }',
        count=2,
    )
    constant, drawn = tops(net)
    np.testing.assert_array_equal(constant, np.full(50, 0.5))
    assert 1 <= drawn.min() < drawn.max() < 2
    assert (tops(net)[1] != drawn).all() and (tops(net)[0] == 0.5).all()


def test_random_dummy_data_follows_torchs_own_generator(build):
    net = dummy(build, 'shape { dim: 9 } data_filler { type: "gaussian" }')
    drawn = []
    for _ in range(2):  # as a resumed run does
        torch.manual_seed(3)
        drawn.append(tops(net)[0])
    np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize(
    "param, words",
    [
        (
            "shape { dim: 2 } data_filler { } data_filler { } data_filler { }",
            "Number of data fillers must be 0, 1 or equal to the number of tops: 2",
        ),
        ('shape { dim: 2 } data_filler { type: "normal" }', "Unknown filler name: normal"),
        ('shape { dim: 2 } data_filler { type: "bilinear" }', "Blob must be 4 dim"),
        ("", "Must specify 'shape' once, or once per top blob"),
        ("shape { dim: 2 } num: 1", "Both shape and legacy fields were specified"),
        ("shape { dim: 0 }", "the blob it should fill has no elements"),
    ],
)
def test_dummy_data_that_cannot_be(build, param, words):
    with pytest.raises(NetError, match=f"layer 'd': .*{words}"):
        dummy(build, param, count=2)
