"""The files a case reads: databases, HDF5 files, images and BlobProtos, from a fixed seed."""

import h5py
import lmdb
import numpy as np
from PIL import Image

from harness.boxes import BOXES, truth
from netgen import schema
from netgen.schema import caffe_pb


def shape_of(text):
    """(2, 3) of "2x3"; () of "scalar"."""
    return () if text == "scalar" else tuple(map(int, text.split("x")))


def draw(kind, shape, random):
    """An array of one of the kinds a case file names.

    floats: normal, on a grid of 1/128. bytes: uint8. wide: uint16. unit: uniform in [0, 1),
    unit:N in [0, N).
    positive: in [0.5, 1.5). ints:N: 0..N-1. ints:A..B: A..B. map:N: 0..N-1, one in five a 9.
    values:A,B,...: just these. distinct: all far apart, so that no maximum is tied. whole:A..B:
    as ints, but of a blob that takes a gradient, so that many are tied. eye: the unit matrix and
    some noise. Boxes: as harness/boxes.py has them.
    """
    name, _, detail = kind.partition(":")
    if name == "wide":
        return random.randint(0, 1 << 16, shape).astype(np.uint16)
    if name == "floats":
        array = np.round(random.standard_normal(shape) * 128) / 128
    elif name in BOXES:
        array = BOXES[name](shape, detail, random)
    elif name == "bytes":
        return random.randint(0, 256, shape).astype(np.uint8)
    elif name == "unit":
        array = random.random_sample(shape) * float(detail or 1)
    elif name == "positive":
        array = random.random_sample(shape) + 0.5
    elif name in ("ints", "whole"):
        low, _, high = detail.rpartition("..")
        array = random.randint(int(low or 0), int(high) + (1 if low else 0), shape)
    elif name == "map":
        array = random.randint(0, int(detail), shape)
        array = np.where(random.random_sample(shape) < 0.2, 9, array)
    elif name == "distinct":
        count = int(np.prod(shape, dtype=int))
        array = (random.permutation(count) - count / 2 + 0.25).reshape(shape) * (4.0 / count)
    elif name == "eye":
        array = np.eye(shape[-1]).reshape(shape) + 0.3 * random.random_sample(shape)
    elif name == "values":
        array = np.array(detail.split(","), float).reshape(shape)
    else:
        raise ValueError(f"no kind of array is called {kind!r}")
    return array.astype(np.float32)


def _datums(images, labels):
    """Yield (key, serialized Datum): `data` where images (N, C, H, W) are uint8."""
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        channels, height, width = image.shape
        datum = caffe_pb.Datum(channels=channels, height=height, width=width, label=int(label))
        if image.dtype == np.uint8:
            datum.data = image.tobytes()
        else:
            datum.float_data.extend(image.ravel().tolist())
        yield b"%08d" % i, datum.SerializeToString()


def write_lmdb(path, images, labels):
    """An LMDB of Datums."""
    _put_all(path, _datums(images, labels))


def write_annotated(path, images, classes, counts, random):
    """An LMDB of AnnotatedDatums: counts, "0,2,1", says how many boxes each has, in turn.

    Their labels are 1 to classes - 1; those of one label are one group.
    """
    counts = counts.split(",")
    records = []
    for i, (key, value) in enumerate(_datums(images, np.zeros(len(images)))):
        record = caffe_pb.AnnotatedDatum(type=caffe_pb.AnnotatedDatum.BBOX)
        record.datum.ParseFromString(value)
        count = int(counts[i % len(counts)])
        rows = np.empty((0, 8))
        if count:
            rows = truth((count, 8), f"{classes}/{','.join('0' * count)}", random)
        for label in sorted(set(rows[:, 1])):
            group = record.annotation_group.add(group_label=int(label))
            for instance, row in enumerate(rows[rows[:, 1] == label]):
                note = group.annotation.add(instance_id=instance)
                note.bbox.xmin, note.bbox.ymin, note.bbox.xmax, note.bbox.ymax = row[3:7]
                note.bbox.difficult = bool(row[7])
        records.append((key, record.SerializeToString()))
    _put_all(path, records)


def _put_all(path, records):
    env = lmdb.open(str(path), map_size=1 << 24, sync=False)
    with env.begin(write=True) as transaction:
        for key, value in records:
            transaction.put(key, value)
    env.close()


def write_leveldb(path, images, labels):
    """A LevelDB of Datums."""
    import plyvel

    with plyvel.DB(str(path), create_if_missing=True) as database:
        for key, value in _datums(images, labels):
            database.put(key, value)


def write_hdf5(path, datasets):
    """An HDF5 file. datasets: [(name, array)]."""
    with h5py.File(path, "w") as file:
        for name, array in datasets:
            file[name] = array


def write_image(path, pixels):
    """An image file of uint8 `pixels` (height, width) or (height, width, 3); 16 bits if uint16."""
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_blob(path, array, form=""):
    """A BlobProto file; form: "" for today's, "legacy" for four dimensions, "double"."""
    blob = caffe_pb.BlobProto()
    if form == "double":
        blob.double_data.extend(array.astype(float).ravel().tolist())
    else:
        blob.data.extend(array.ravel().tolist())
    if form == "legacy":
        blob.num, blob.channels, blob.height, blob.width = array.shape
    else:
        blob.shape.dim.extend(array.shape)
    schema.write_binary(blob, path)
