"""The shape of records as their source on disk tells it."""

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from google.protobuf.message import DecodeError

from netgen.graph.registry import DataShape
from netgen.graph.shape import Shape
from netgen.schema import SchemaError, caffe_pb, open_hdf5

_ORIENTATION = 0x0112  # EXIF's tag


def record_shape(layer: caffe_pb.LayerParameter) -> DataShape | None:
    """The shape of a data layer's records from its source, or None if it cannot be read.

    layer: LayerParameter. Data: (C, H, W) of the first record of its database; ImageData,
    DenseImageData, ImageLabelmapData and ImageSegData: of the first image of the list; HDF5Data:
    one shape a top from the first file of its list. Needs the optional packages plyvel, pillow
    and h5py, each for what it reads.
    """
    try:
        if layer.type == "Data":
            lmdb = layer.data_param.backend == caffe_pb.DataParameter.LMDB
            record = (_lmdb_record if lmdb else _leveldb_record)(layer.data_param.source)
            return _datum_shape(record, layer.transform_param)
        if layer.type == "ImageData":
            return _listed_image(layer.image_data_param)
        if layer.type in ("ImageLabelmapData", "ImageSegData"):
            transform, param = layer.transform_param, caffe_pb.DenseImageDataParameter()
            for name in ("source", "new_height", "new_width", "is_color", "root_folder"):
                setattr(param, name, getattr(layer.image_data_param, name))
            if layer.type == "ImageSegData":
                param.crop_height, param.crop_width = seg_crop(transform)
            return _listed_pair(param)
        if layer.type == "DenseImageData":
            return _listed_pair(layer.dense_image_data_param)
        if layer.type == "HDF5Data":
            return _hdf5_record(layer.hdf5_data_param.source, layer.top)
    except (ImportError, OSError, LookupError, ValueError, DecodeError, SchemaError):
        pass  # no package or no such source: the caller assumes, and says so
    return None


def _lmdb_record(source: str) -> bytes:
    from netgen.schema.lmdb import LMDBFolder

    _, value = next(LMDBFolder(source).records(), (b"", b""))
    return bytes(value)


def _leveldb_record(source: str) -> bytes:
    from netgen.schema.leveldb import LevelDBFolder

    folder = LevelDBFolder(source)
    return next(folder.records(), (b"", b""))[1]


def _datum_shape(record: bytes, transform: caffe_pb.TransformationParameter) -> Shape | None:
    datum = caffe_pb.Datum.FromString(record)
    if datum.encoded:
        channels = 3 if transform.force_color else 1 if transform.force_gray else None
        return _image_shape(io.BytesIO(datum.data), channels)
    return (datum.channels, datum.height, datum.width) if datum.channels else None


def _listed_image(param: caffe_pb.ImageDataParameter) -> Shape:
    channels = 3 if param.is_color else 1
    if param.new_height and param.new_width:
        return channels, param.new_height, param.new_width
    with open(param.source, "rb") as file:
        line = file.readline().rstrip(b"\n")
    path = line.rpartition(b" ")[0] or line
    shape = _image_shape(param.root_folder + os.fsdecode(path), channels)
    if not param.new_dim:
        return shape
    return channels, *shorter_side(shape[1], shape[2], param.new_dim)


def shorter_side(height: int, width: int, wanted: int) -> tuple[int, int]:
    """The size of an image whose shorter side becomes `wanted` (caffe-pro's ReadImageToCVMat)."""
    # in C: round(float32), half away from zero
    longer = int(0.5 + wanted * max(height, width) / min(height, width))
    return (longer, wanted) if height >= width else (wanted, longer)


def seg_crop(transform: caffe_pb.TransformationParameter) -> tuple[int, int]:
    """Height and width of ImageSegData's crop, 0 where there is none."""
    if transform.HasField("crop_size"):
        return transform.crop_size, transform.crop_size
    return transform.crop_height, transform.crop_width


def _listed_pair(param: caffe_pb.DenseImageDataParameter) -> Shape:
    height, width = param.crop_height or param.new_height, param.crop_width or param.new_width
    channels = 3 if param.is_color else 1
    if height and width:
        return channels, height, width
    with open(param.source, "rb") as file:
        path = next(word for line in file for word in line.split()[:1])
    return _image_shape(param.root_folder + os.fsdecode(path), channels)


def _image_shape(file: str | IO[bytes], channels: int | None) -> Shape:
    """(C, H, W) of an image file as a data layer reads it; channels: None for the file's own."""
    from PIL import Image

    with Image.open(file) as image:
        height, width = image.height, image.width
        if channels and image.getexif().get(_ORIENTATION, 1) > 4:  # the camera lay on its side
            height, width = width, height
        if not channels:
            alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            channels = 1 if image.mode in ("1", "L") else 4 if alpha else 3
        return channels, height, width


def _hdf5_record(source: str, tops: Iterable[str]) -> list[Shape]:
    first = Path(source).read_text().split()[0]
    with open_hdf5(first) as file:
        return [tuple(file[top].shape[1:]) for top in tops]
