"""The files that SSD's layers read beside images: sizes of test images, names of labels."""

from __future__ import annotations

import os

from netgen import graph, schema
from netgen.schema import caffe_pb


def read_sizes(layer: str, path: str) -> list[tuple[str, tuple[int, int]]]:
    """The (name, (height, width)) of each image of a name_size_file: `name height width` a line.

    layer: the name of the layer that asks. Raises NetError, which names both; a line that is none
    ends the list, as in Caffe.
    """
    try:
        with open(path, "rb") as file:
            words = os.fsdecode(file.read()).split()
    except OSError as error:
        raise graph.NetError(
            f"layer '{layer}': Failed to open name size file: {path}: {error.strerror}"
        ) from None
    found = []
    for name, height, width in zip(words[::3], words[1::3], words[2::3], strict=False):
        if not (height.isdecimal() and width.isdecimal()):
            break
        found.append((name, (int(height), int(width))))
    return found


def read_label_map(layer: str, path: str) -> caffe_pb.LabelMap:
    """The LabelMap of a labelmap prototxt. Raises NetError, which names the layer and the file.

    Two items of one label or of one name are refused, as in Caffe.
    """
    try:
        label_map = schema.read_text(path, caffe_pb.LabelMap)
    except schema.SchemaError as error:
        raise graph.NetError(
            f"layer '{layer}': Failed to read label map file: {path}: {error}"
        ) from None
    for field in ("label", "name"):
        values = [getattr(item, field) for item in label_map.item]
        for value in values:
            if values.count(value) > 1:
                raise graph.NetError(
                    f"layer '{layer}': label map file {path} has the {field} {value} twice"
                )
    return label_map
