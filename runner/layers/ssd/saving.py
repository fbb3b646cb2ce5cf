"""Detections as the files that VOC, COCO and ILSVRC score (detection_output_layer.cpp)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import torch

from netgen import graph, schema
from netgen.schema import caffe_pb
from runner.layers.ssd.files import in_pixels, read_label_map, read_sizes
from runner.log import glog

_FORMATS = ("VOC", "COCO", "ILSVRC")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class Saving:
    """Takes the detections of test images one after the other, and writes them when all are there.

    layer: the name of the layer; param: SaveOutputParameter. The images are those of
    name_size_file in their order, num_test_image of them. VOC: a file for each class, of lines
    `image score xmin ymin xmax ymax`; ILSVRC: one file, of lines `image label score xmin ymin xmax
    ymax`; COCO: one JSON file. Raises NetError for files that cannot be used.
    """

    def __init__(self, layer: str, param: caffe_pb.SaveOutputParameter, background: int) -> None:
        self._layer, self._param = layer, param
        if param.output_format not in _FORMATS:
            raise graph.NetError(
                f"layer '{layer}': output_format '{param.output_format}' is none of "
                f"{', '.join(_FORMATS)}"
            )
        items = read_label_map(layer, param.label_map_file).item
        self._names = {item.label: item.name for item in items if item.label != background}
        self._images = read_sizes(layer, param.name_size_file)
        self._count = param.num_test_image or len(self._images)
        if not 0 < self._count <= len(self._images):
            raise graph.NetError(
                f"layer '{layer}': num_test_image_ <= names_.size() ({self._count} vs. "
                f"{len(self._images)}) of {param.name_size_file}"
            )
        self._folder = Path(param.output_directory)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise graph.NetError(
                f"layer '{layer}': Failed to create directory: {self._folder}: {error.strerror}"
            ) from None
        self._image = 0
        self._found: list[tuple[str, int, float, list[float]]] = []

    @classmethod
    def wanted(
        cls, layer: str, param: caffe_pb.SaveOutputParameter, background: int
    ) -> Saving | None:
        """A Saving if the SaveOutputParameter has all that it takes, else None."""
        if not param.output_directory:
            return None
        for field in ("label_map_file", "name_size_file"):
            if not getattr(param, field):
                glog.warning(
                    f"Provide {field} if output results to files.", "detection_output_layer.cpp:59"
                )
                return None
        return cls(layer, param, background)

    def add(self, rows: np.ndarray) -> None:
        """Take the next image's detections, rows (n, 7) as in the layer's top."""
        name, size = self._images[self._image]
        resize = self._param.resize_param if self._param.HasField("resize_param") else None
        boxes = in_pixels(torch.from_numpy(rows[:, 3:]), *size, resize).double().numpy()
        # Corner, width and height, to a hundredth of a pixel.
        boxes[:, 2:] -= boxes[:, :2]
        boxes = np.floor(boxes * 100 + 0.5) / 100
        for row, box in zip(rows, boxes.tolist(), strict=True):
            if int(row[1]) not in self._names:
                raise graph.NetError(
                    f"layer '{self._layer}': Cannot find label: {int(row[1])} in the label map."
                )
            self._found.append((name, int(row[1]), float(row[2]), box))
        self._image += 1
        if self._image == self._count:
            self._write()
            self._image, self._found = 0, []

    def _write(self) -> None:
        prefix = self._param.output_name_prefix
        if self._param.output_format == "COCO":
            self._put(f"{prefix}.json", json.dumps(self._coco(), indent=4) + "\n")
        elif self._param.output_format == "ILSVRC":
            lines = [f"{name} {label} {rest}" for name, label, rest in self._lines()]
            self._put(f"{prefix}.txt", "".join(lines))
        else:
            files = dict.fromkeys(self._names.values(), "")
            for name, label, rest in self._lines():
                files[self._names[label]] += f"{name} {rest}"
            for label_name, text in files.items():
                self._put(f"{prefix}{label_name}.txt", text)

    def _lines(self) -> list[tuple[str, int, str]]:
        """Image, label, and the rest of the line, of each detection; corners are whole pixels."""
        found = []
        for name, label, score, box in self._found:
            x, y, width, height = map(int, box)
            rest = f"{glog.number(score)} {x} {y} {x + width} {y + height}\n"
            found.append((name, label, rest))
        return found

    def _coco(self) -> list[dict[str, object]]:
        return [
            {
                "image_id": _unquoted(name),
                "category_id": _unquoted(self._names[label]),
                "bbox": box,
                "score": float(glog.number(score)),
            }
            for name, label, score, box in self._found
        ]

    def _put(self, name: str, text: str) -> None:
        schema.write_bytes(text.encode(), self._folder / name)


def _unquoted(text: str) -> str | int | float:
    """A text that is a number as that number, as COCO wants its ids."""
    return json.loads(text) if _NUMBER.fullmatch(text) and text.strip("-0") else text
