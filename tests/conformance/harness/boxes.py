"""Boxes that a probe draws: priors, ground truth, predictions and regions.

Boxes (xmin, ymin, xmax, ymax) are in units of the image unless a region's: then in pixels. Ground
truth and detections lie around the same few spots, so that some overlap much and some little.
"""

import numpy as np

#: centre and size of the boxes that ground truth and detections lie around
SPOTS = np.array([(0.3, 0.3, 0.4, 0.4), (0.7, 0.35, 0.3, 0.5), (0.4, 0.75, 0.6, 0.3)])
VARIANCES = (0.1, 0.1, 0.2, 0.2)


def _corners(center, size):
    return np.concatenate([center - size / 2, center + size / 2], -1)


def _around(spots, random):
    """A box around each of the spots (numbers of SPOTS)."""
    moved = SPOTS[spots] + 0.06 * random.standard_normal((len(spots), 4))
    return _corners(moved[:, :2], moved[:, 2:].clip(0.1)).clip(0, 1)


def priors(shape, detail, random):
    """(1, 2, boxes x 4): boxes, some of which cross the image's edge, and their variances.

    detail: "": anywhere; twice: every box there twice, so that their overlaps are tied; far: in
    the corner at (1, 1), away from all of SPOTS.
    """
    count = shape[2] // 4
    drawn = -(-count // 2) if detail == "twice" else count
    center, size = random.uniform(0.05, 0.95, (drawn, 2)), random.uniform(0.15, 0.6, (drawn, 2))
    if detail == "far":
        center, size = center * 0.05 + 0.945, size * 0.05
    boxes = np.tile(_corners(center, size), (2, 1))[:count]
    return np.stack([boxes, np.tile(VARIANCES, (count, 1))]).reshape(shape)


def _listed(detail):
    """(classes, images) of "classes/image,image,...", one image a row; -1 for an empty row."""
    classes, _, images = detail.partition("/")
    return int(classes), np.array(images.split(","), int)


def truth(shape, detail, random):
    """(1, 1, rows, 8): image, label, instance, box, difficult; detail: as _listed.

    Labels are 1 to classes - 1; one row in four is difficult.
    """
    classes, images = _listed(detail)
    count = len(images)
    rows = np.concatenate(
        [
            np.stack([images, random.randint(1, classes, count), np.zeros(count)], 1),
            _around(np.arange(count) % len(SPOTS), random),
            random.randint(0, 4, (count, 1)) == 0,
        ],
        1,
    )
    rows[images < 0] = -1
    return rows.reshape(shape)


def detections(shape, detail, random):
    """(1, 1, rows, 7): image, label, confidence, box; detail: as _listed."""
    classes, images = _listed(detail)
    count = len(images)
    rows = np.concatenate(
        [
            np.stack([images, random.randint(1, classes, count), random.random_sample(count)], 1),
            _around(random.randint(0, len(SPOTS), count), random),
        ],
        1,
    )
    rows[images < 0, 1:] = -1
    return rows.reshape(shape)


#: the kinds of array that only boxes have
BOXES = {"priors": priors, "truth": truth, "detections": detections}
