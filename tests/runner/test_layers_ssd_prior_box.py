import math

import numpy as np
import pytest

from netgen.graph import NetError


def prior_box(one_layer, param, feature_map=(1, 2, 2, 3), image=(1, 3, 20, 60)):
    text = f'type: "PriorBox" prior_box_param {{ {param} }}'
    (top,) = one_layer(text, np.zeros(feature_map), np.zeros(image)).forward()
    return top[0].reshape(2, feature_map[2], feature_map[3], -1, 4)


def expected(sizes, step, image, offset=0.5, places=(2, 3)):
    """Boxes (h, w, priors, 4) of (width, height) in pixels; step, image: (x, y)."""
    found = np.zeros((*places, len(sizes), 4))
    for y, x, i in np.ndindex(*places, len(sizes)):
        center = (x + offset) * step[0], (y + offset) * step[1]
        for axis in range(2):
            half = sizes[i][axis] / 2
            found[y, x, i, axis] = (center[axis] - half) / image[axis]
            found[y, x, i, 2 + axis] = (center[axis] + half) / image[axis]
    return found


def test_sizes_and_variances(one_layer):
    boxes, variances = prior_box(
        one_layer,
        "min_size: 8 max_size: 18 aspect_ratio: 2 aspect_ratio: 4 "
        "variance: 0.1 variance: 0.2 variance: 0.3 variance: 0.4",
    )
    root = math.sqrt(2)
    sizes = [(8, 8), (12, 12), (8 * root, 8 / root), (8 / root, 8 * root), (16, 4), (4, 16)]
    np.testing.assert_allclose(boxes, expected(sizes, (20, 10), (60, 20)), atol=1e-6)
    np.testing.assert_array_equal(
        variances, np.broadcast_to(np.float32([0.1, 0.2, 0.3, 0.4]), boxes.shape)
    )


def test_several_sizes_and_whole_pixels(one_layer):
    boxes, variances = prior_box(
        one_layer, "min_size: 8.9 min_size: 12 max_size: 18.9 max_size: 27 aspect_ratio: 1"
    )
    sizes = [(8, 8), (12, 12), (12, 12), (18, 18)]
    np.testing.assert_allclose(boxes, expected(sizes, (20, 10), (60, 20)), atol=1e-6)
    assert (variances == np.float32(0.1)).all()


def test_without_flip_with_steps_offset_and_clip(one_layer):
    param = "min_size: 16 aspect_ratio: 4 flip: false step_w: 7 step_h: 5 offset: 0.25 clip: true"
    boxes, _ = prior_box(one_layer, param + " variance: 0.3")
    wanted = expected([(16, 16), (32, 8)], (7, 5), (60, 20), offset=0.25)
    assert wanted.min() < 0
    np.testing.assert_allclose(boxes, wanted.clip(0, 1), atol=1e-6)


@pytest.mark.parametrize("param", ["img_size: 40", "img_w: 40 img_h: 40"])
def test_a_size_that_is_not_the_images(one_layer, param):
    boxes, _ = prior_box(one_layer, f"min_size: 4 step: 10 {param}")
    np.testing.assert_allclose(boxes, expected([(4, 4)], (10, 10), (40, 40)), atol=1e-6)


@pytest.mark.parametrize(
    "param, words",
    [
        ("", "must provide min_size."),
        ("min_size: 0", "min_size must be positive."),
        ("min_size: 5 max_size: 5", "max_size must be greater than min_size."),
        ("min_size: 5 min_size: 6 max_size: 9", "one max_size for each min_size"),
        ("min_size: 5 variance: 0.1 variance: 0.2", "Must and only provide 4 variance."),
        ("min_size: 5 variance: 0", "variance must be positive."),
        ("min_size: 5 img_size: 3 img_h: 4", "Either img_size or img_h/img_w should be specified"),
        ("min_size: 5 img_h: 4", "img_w should be larger than 0."),
        ("min_size: 5 step: 0", "step should be larger than 0."),
        ("min_size: 5 aspect_ratio: 0", "aspect_ratio must be positive, not 0."),
    ],
)
def test_refused(one_layer, param, words):
    with pytest.raises(NetError, match=words):
        prior_box(one_layer, param)
