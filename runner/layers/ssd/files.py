"""What SSD's layers read beside images: sizes of test images, which boxes are scaled to, and labels."""

from __future__ import annotations

import os

import torch

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


def in_pixels(
    found: torch.Tensor, height: int, width: int, resize: caffe_pb.ResizeParameter | None
) -> torch.Tensor:
    """Boxes (n, 4) of a net's input as boxes of an image, in pixels (OutputBBox).

    height, width: the image's; resize: how the image was made the input, None for warped.
    """
    size = torch.tensor([width, height, width, height], dtype=found.dtype)
    mode = caffe_pb.ResizeParameter.WARP if resize is None else resize.resize_mode
    if mode == caffe_pb.ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        found = _without_padding(found, height, width, resize)
    if mode == caffe_pb.ResizeParameter.FIT_SMALL_SIZE:
        by = [resize.width_scale, resize.height_scale] * 2
        if all(by):
            found = found * torch.tensor(by, dtype=found.dtype)
            return torch.minimum(found, size).clamp(min=0)
    return found.clamp(0, 1) * size


def _without_padding(
    found: torch.Tensor, height: int, width: int, resize: caffe_pb.ResizeParameter
) -> torch.Tensor:
    """Boxes of the padded picture as boxes of what was not padded on."""
    aspect, wanted = width / height, resize.width / resize.height
    low = torch.zeros(2, dtype=found.dtype)
    if aspect > wanted:
        low[1] = (resize.height - resize.width / aspect) / 2 / resize.height
    else:
        low[0] = (resize.width - resize.height * aspect) / 2 / resize.width
    inside = 1 - 2 * low
    return (found - torch.cat([low, low])) / torch.cat([inside, inside])
