import math

import numpy as np
import pytest
import torch

from netgen import schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.layers.fillers import FILLERS, fan, fill


def filled(text, shape, seed=0):
    value = torch.full(shape, math.nan)
    param = schema.parse_text(text, caffe_pb.FillerParameter)
    fill(value, param, torch.Generator().manual_seed(seed))
    return value.numpy()


def close_to(values, mean, std):
    """Mean and deviation within five of their own standard errors."""
    n = values.size
    assert abs(values.mean() - mean) < 5 * std / math.sqrt(n)
    assert abs(values.std() - std) < 5 * std / math.sqrt(n)  # wide enough for any of these


def uniform_between(values, low, high):
    assert low <= values.min() and values.max() <= high
    reach = 10 * (high - low) / values.size  # of n values the extreme ones are about 1/n away
    assert values.min() < low + reach and values.max() > high - reach
    close_to(values, (low + high) / 2, (high - low) / math.sqrt(12))


def test_constant_is_the_default_and_zero_its_value():
    np.testing.assert_array_equal(filled("", (2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(filled("value: 2.5", (2, 3)), np.full((2, 3), 2.5))


def test_uniform():
    uniform_between(filled('type: "uniform"', (40, 50)), 0, 1)
    uniform_between(filled('type: "uniform" min: -3 max: 1', (40, 50)), -3, 1)
    np.testing.assert_array_equal(filled('type: "uniform" min: 2 max: 2', (3,)), [2, 2, 2])


def test_gaussian():
    close_to(filled('type: "gaussian"', (40, 50)), 0, 1)
    close_to(filled('type: "gaussian" mean: 3 std: 0.1', (40, 50)), 3, 0.1)


def test_sparse_gaussian_keeps_some_inputs_of_a_unit_on_average():
    values = filled('type: "gaussian" std: 2 sparse: 5', (20, 400))
    kept = (values != 0).mean()
    assert abs(kept - 5 / 20) < 5 * math.sqrt(0.25 * 0.75 / values.size)
    close_to(values[values != 0], 0, 2)
    assert not filled('type: "gaussian" sparse: 0', (20, 4)).any()
    assert (filled('type: "gaussian" sparse: 20', (20, 4)) != 0).all()


def test_positive_unitball_sums_to_one_a_row():
    values = filled('type: "positive_unitball"', (5, 4, 3))
    assert (values > 0).all()
    np.testing.assert_allclose(values.sum((1, 2)), np.ones(5), rtol=1e-5)


# shape: fan in = count / shape[0], fan out = count / shape[1]
FANS = [
    ((8, 40, 3, 3), "", 40 * 9),
    ((8, 40, 3, 3), "variance_norm: FAN_IN", 40 * 9),
    ((8, 40, 3, 3), "variance_norm: FAN_OUT", 8 * 9),
    ((8, 40, 3, 3), "variance_norm: AVERAGE", (40 + 8) * 9 / 2),
    ((30, 100), "", 100),
    ((30, 100), "variance_norm: FAN_OUT", 30),
    ((2000,), "", 1),
    ((2000,), "variance_norm: FAN_OUT", 2000),
    ((3, 2, 1, 200, 2), "variance_norm: FAN_OUT", 1200),
]


@pytest.mark.parametrize("shape, norm, n", FANS)
def test_xavier_and_msra(shape, norm, n):
    param = schema.parse_text(norm, caffe_pb.FillerParameter)
    assert fan(shape, param) == n
    uniform_between(filled(f'type: "xavier" {norm}', shape), -math.sqrt(3 / n), math.sqrt(3 / n))
    close_to(filled(f'type: "msra" {norm}', shape), 0, math.sqrt(2 / n))


@pytest.mark.parametrize(
    "size, line", [(4, [0.25, 0.75, 0.75, 0.25]), (3, [0.5, 1, 0.5]), (2, [0.5, 0.5]), (1, [1])]
)
def test_bilinear(size, line):
    values = filled('type: "bilinear"', (2, 3, size, size))
    for kernel in values.reshape(-1, size, size):
        np.testing.assert_allclose(kernel, np.outer(line, line))


def test_the_same_generator_gives_the_same_values():
    for kind in sorted(FILLERS):
        shape = (2, 2, 3, 3)
        np.testing.assert_array_equal(
            filled(f'type: "{kind}"', shape, seed=5), filled(f'type: "{kind}"', shape, seed=5)
        )
    assert (filled('type: "gaussian"', (9,), 1) != filled('type: "gaussian"', (9,), 2)).all()


@pytest.mark.parametrize("kind", ["constant", "gaussian", "msra", "uniform", "xavier"])
def test_a_scalar_can_be_filled(kind):
    assert math.isfinite(filled(f'type: "{kind}"', ()))


@pytest.mark.parametrize(
    "text, shape, words",
    [
        ('type: "normal"', (2,), "Unknown filler name: normal"),
        ('type: "xavier" sparse: 3', (2,), "Sparsity not supported by this Filler."),
        ("sparse: 3", (2,), "Sparsity not supported by this Filler."),
        ('type: "gaussian" sparse: 3', (2, 9), "sparse 3 is not between 0 and the 2 outputs"),
        ('type: "gaussian" sparse: -2', (2, 9), "sparse -2 is not between 0 and the 2 outputs"),
        ('type: "gaussian" std: 0', (2,), "std must be positive (0)"),
        ('type: "uniform" min: 1 max: 0.5', (2,), "min 1 is above max 0.5"),
        ('type: "bilinear"', (2, 3, 3), "Blob must be 4 dim."),
        ('type: "bilinear"', (1, 1, 3, 2), "Filter must be square"),
        ('type: "gaussian"', (0, 2), "the blob it should fill has no elements"),
        ('type: "positive_unitball"', (), "the blob it should fill has no elements"),
    ],
)
def test_what_caffe_refuses(text, shape, words):
    with pytest.raises(CaffeError) as error:
        filled(text, shape)
    assert words in str(error.value)


def test_a_layer_names_itself(build):
    with pytest.raises(CaffeError, match="^layer 'ip': Unknown filler name: normal$"):
        build("""
          layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
          layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {
                  num_output: 2 weight_filler { type: "normal" } } }""")
