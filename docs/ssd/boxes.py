"""Images with boxes, drawn: the LMDBs and the label map of docs/ssd.

    python docs/ssd/boxes.py [FOLDER]

Every image is 64 x 64 pixels of noise with one to three squares, discs and crosses in it; those of
one image do not overlap by much. train_lmdb has 512 of them, test_lmdb 128, as AnnotatedDatum:
a JPEG and, by class, the box of each object as shares of the image.
"""

import io
import sys
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image

from netgen.schema import caffe_pb

SIDE = 64
CLASSES = ("background", "square", "disc", "cross")
OVERLAP = 0.1  # of two objects, as a share of the smaller


def shape(label: int, size: int) -> np.ndarray:
    """(size, size) bool: where an object of that class is."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    if label == 1:
        return np.ones((size, size), bool)
    if label == 2:
        return x**2 + y**2 <= (size / 2) ** 2
    return np.minimum(abs(x), abs(y)) <= size / 6


def draw(random: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """An image (64, 64, 3) uint8 and its objects: label, and box as x, y, x, y in pixels."""
    image = random.integers(60, 120, (SIDE, SIDE, 3))
    objects: list[tuple[int, np.ndarray]] = []
    for _ in range(random.integers(1, 4)):
        label, size = int(random.integers(1, 4)), int(random.integers(14, 36))
        left, top = random.integers(0, SIDE - size + 1, 2)
        box = np.array([left, top, left + size, top + size])
        if any(overlap(box, other) > OVERLAP for _, other in objects):
            continue
        place = image[top : top + size, left : left + size]
        place[shape(label, size)] = random.integers(140, 256, 3)
        objects.append((label, box))
    return image.astype(np.uint8), objects


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """The share of the smaller of two boxes that lies in both."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    areas = [np.prod(box[2:] - box[:2]) for box in (one, other)]
    return float(np.prod(sides.clip(min=0)) / min(areas))


def record(image: np.ndarray, objects: list[tuple[int, np.ndarray]]) -> bytes:
    """The serialized AnnotatedDatum of an image."""
    jpeg = io.BytesIO()
    Image.fromarray(image).save(jpeg, "JPEG", quality=95)
    one = caffe_pb.AnnotatedDatum(type=caffe_pb.AnnotatedDatum.BBOX)
    one.datum.encoded, one.datum.data = True, jpeg.getvalue()
    for label in sorted({label for label, _ in objects}):
        group = one.annotation_group.add(group_label=label)
        for number, box in enumerate(box for found, box in objects if found == label):
            xmin, ymin, xmax, ymax = box / SIDE
            group.annotation.add(instance_id=number).bbox.MergeFrom(
                caffe_pb.NormalizedBBox(xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)
            )
    return one.SerializeToString()


def main(folder: Path) -> None:
    """Write train_lmdb, test_lmdb and labelmap.prototxt to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train_lmdb", 512, 0), ("test_lmdb", 128, 1)):
        random = np.random.default_rng(seed)
        with (
            lmdb.open(str(folder / name), map_size=1 << 26) as env,
            env.begin(write=True) as transaction,
        ):
            for number in range(count):
                transaction.put(b"%08d" % number, record(*draw(random)))
    labels = "".join(
        f'item {{ name: "{name}" label: {label} display_name: "{name}" }}\n'
        for label, name in enumerate(CLASSES)
    )
    (folder / "labelmap.prototxt").write_text(labels)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data/boxes"))
