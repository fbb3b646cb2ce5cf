"""Layers that bring data in (the *_data_layer.cpp, input_layer.cpp, data_transformer.cpp)."""

from collections.abc import Iterable
from typing import TypeVar

from netgen.graph.errors import UnknownShapeError, require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape
from netgen.graph.source import seg_crop
from netgen.schema import caffe_pb

T = TypeVar("T")


@rule("Input", bottoms=0, tops=(1, None))
def input_(setup: Setup) -> LayerShapes:
    """One shape for all tops, one each, or none; then the blobs are empty until reshaped."""
    shapes = [tuple(shape.dim) for shape in setup.layer.input_param.shape]
    tops = setup.num_tops
    require(
        len(shapes) in (0, 1, tops),
        "Must specify 'shape' once, once per top blob, or not at all: "
        f"{tops} tops vs. {len(shapes)} shapes.",
    )
    if not shapes:
        return LayerShapes([()] * tops, note="no shape given: known when the net runs")
    return LayerShapes(shapes * tops if len(shapes) == 1 else shapes)


@rule("DummyData", bottoms=0, tops=(1, None))
def dummy_data(setup: Setup) -> LayerShapes:
    param, tops = setup.layer.dummy_data_param, setup.num_tops
    fillers = len(param.data_filler)
    require(
        fillers in (0, 1, tops),
        f"Number of data fillers must be 0, 1 or equal to the number of tops: {tops}; "
        f"you specified {fillers} data fillers.",
    )
    legacy = ("num", "channels", "height", "width")
    if not any(getattr(param, name) for name in legacy):
        shapes = _once_or_per_top("shape", param.shape, tops)
        return LayerShapes([tuple(shape.dim) for shape in shapes])
    require(not param.shape, "Both shape and legacy fields were specified")
    dims = [_once_or_per_top(name, getattr(param, name), tops) for name in legacy]
    return LayerShapes(list(zip(*dims, strict=True)))


def _once_or_per_top(name: str, values: Iterable[T], tops: int) -> list[T]:
    values = list(values)
    require(
        len(values) in (1, tops),
        f"Must specify '{name}' once, or once per top blob ({tops}); specified {len(values)}.",
    )
    return values * tops if len(values) == 1 else values


@rule("MemoryData", bottoms=0, tops=2)
def memory_data(setup: Setup) -> LayerShapes:
    param = setup.layer.memory_data_param
    shape = (param.batch_size, param.channels, param.height, param.width)
    require(
        all(shape),
        "batch_size, channels, height, and width must be specified and positive "
        "in memory_data_param",
    )
    return LayerShapes([shape, shape[:1]])


@rule("Data", bottoms=0, tops=(1, 2))
def data(setup: Setup) -> LayerShapes:
    param = setup.layer.data_param
    require(
        not param.shuffle or param.backend == caffe_pb.DataParameter.LMDB,
        "LevelDB doesn't support shuffle",
    )
    return _records(setup, setup.layer.data_param.batch_size, channels=3, size=None)


@rule("AnnotatedData", bottoms=0, tops=(1, 2))
def annotated_data(setup: Setup) -> LayerShapes:
    """Images and, row by row, their boxes (1, 1, boxes, 8); the number of these is the data's.

    With yolo_data_type, of MobileNet-YOLO, each image has rows of its own, (N, 1, 300, 5).
    """
    transform, size = setup.layer.transform_param, None
    for resize in transform.resize_param[:1]:  # of several, other batches have other sizes
        if resize.resize_mode != caffe_pb.ResizeParameter.FIT_SMALL_SIZE and resize.height:
            size = (resize.height, resize.width)
    if transform.crop_h and transform.crop_w and not transform.crop_size:
        size = (transform.crop_h, transform.crop_w)
    shapes = _records(setup, setup.layer.data_param.batch_size, channels=3, size=size)
    yolo = setup.layer.annotated_data_param.yolo_data_type == 1
    labels = (shapes.tops[0][0], 1, 300, 5) if yolo else (1, 1, 1, 8)
    shapes.tops[1:] = [labels][: setup.num_tops - 1]
    return shapes


@rule("ImageData", bottoms=0, tops=2)
def image_data(setup: Setup) -> LayerShapes:
    param = setup.layer.image_data_param
    size = (param.new_height, param.new_width)
    require(
        bool(size[0]) == bool(size[1]),
        "Current implementation requires new_height and new_width to be set at the same time. "
        f"({size[0]} and {size[1]})",
    )
    require(
        not (param.new_dim and all(size)),
        "Both new_dim and (new_height + new_width) cannot be non-zero at the same time",
    )
    channels = 3 if param.is_color else 1
    return _records(setup, param.batch_size, channels, size if all(size) else None)


@rule("DenseImageData", bottoms=0, tops=2)
def dense_image_data(setup: Setup) -> LayerShapes:
    """Images, and of the same size images of labels (SegNet's dense_image_data_layer.cpp)."""
    param, transform = setup.layer.dense_image_data_param, setup.layer.transform_param
    for kind in ("new", "crop"):
        height, width = getattr(param, f"{kind}_height"), getattr(param, f"{kind}_width")
        require(
            bool(height) == bool(width),
            f"Current implementation requires {kind}_height and {kind}_width to be set at the "
            f"same time. ({height} and {width})",
        )
    require(
        not transform.mirror and not transform.crop_size,
        "transform_param would mirror or crop the images without their labels: give "
        "dense_image_data_param mirror, crop_height and crop_width instead",
    )
    height, width = param.crop_height or param.new_height, param.crop_width or param.new_width
    channels = 3 if param.is_color else 1
    shapes = _records(setup, param.batch_size, channels, (height, width) if height else None)
    shapes.tops[1] = (shapes.tops[0][0], 1, *shapes.tops[0][2:])
    return shapes


@rule("ImageLabelmapData", bottoms=0, tops=2)
def image_labelmap_data(setup: Setup) -> LayerShapes:
    """Images, and of the same size images of edges (HED's image_labelmap_data_layer.cpp)."""
    transform = setup.layer.transform_param
    require(not setup.layer.image_data_param.new_dim, "new_dim is a field of ImageData alone")
    require(
        not (transform.HasField("mean_file") and transform.crop_size),
        "mean_file together with crop_size is not supported here: give mean_value",
    )
    shapes = image_data(setup)
    shapes.tops[1] = (shapes.tops[0][0], 1, *shapes.tops[0][2:])
    return shapes


@rule("ImageSegData", bottoms=0, tops=(2, 3))
def image_seg_data(setup: Setup) -> LayerShapes:
    """Images, their labels pixel by pixel, and their heights and widths (N, 1, 1, 2)."""
    param, transform = setup.layer.image_data_param, setup.layer.transform_param
    require(not param.new_dim, "new_dim is a field of ImageData alone")
    require(not transform.HasField("mean_file"), "ImageSegDataLayer does not support mean file")
    one, height, width = (
        transform.HasField(name) for name in ("crop_size", "crop_height", "crop_width")
    )
    require(
        (not one and height and width) or not (height or width),
        "Must either specify crop_size or both crop_height and crop_width.",
    )
    crop = seg_crop(transform)
    require(
        all(crop) or not transform.scale_factors,
        "scale_factors give images of other sizes: crop_size or crop_height and crop_width are "
        "needed as well",
    )
    size = crop if all(crop) else (param.new_height, param.new_width)
    require(
        bool(param.new_height) == bool(param.new_width),
        "Current implementation requires new_height and new_width to be set at the same time. "
        f"({param.new_height} and {param.new_width})",
    )
    plain = Setup(caffe_pb.LayerParameter(), [], setup.num_tops, setup.phase, setup.data_shape)
    plain.layer.transform_param.mean_value.extend(transform.mean_value)
    shapes = _records(
        plain, param.batch_size, 3 if param.is_color else 1, size if all(size) else None
    )
    batch, _, rows, columns = shapes.tops[0]
    shapes.tops[1:] = [(batch, 1, rows, columns), (batch, 1, 1, 2)][: setup.num_tops - 1]
    return shapes


@rule("WindowData", bottoms=0, tops=2)
def window_data(setup: Setup) -> LayerShapes:
    require(setup.layer.transform_param.crop_size > 0, "crop_size must be positive")
    return _records(setup, setup.layer.window_data_param.batch_size, channels=3, size=None)


@rule("HDF5Data", bottoms=0, tops=(1, None))
def hdf5_data(setup: Setup) -> LayerShapes:
    """data_shape is one shape a top, or that of the first; the others then have one value each."""
    require(not setup.layer.HasField("transform_param"), "HDF5Data does not transform data.")
    batch = _positive(setup.layer.hdf5_data_param.batch_size)
    shapes = setup.data_shape
    if shapes is None:
        raise UnknownShapeError("the shapes of its tops are known only from its HDF5 files")
    if not any(isinstance(d, (tuple, list)) for d in shapes):
        shapes = [shapes, *[()] * (setup.num_tops - 1)]
    require_equal(setup.num_tops, len(shapes), "data_shape must have one shape a top")
    return LayerShapes([(batch, *shape) for shape in shapes])


@rule("Python", bottoms=(None, None), tops=(None, None))
def python(setup: Setup) -> LayerShapes:
    """data_shape: what the layer itself says when it runs, (shapes of tops, of its blobs)."""
    param = setup.layer.python_param
    if setup.data_shape is None:
        raise UnknownShapeError(
            f"the shape of Python layer {param.module}.{param.layer} is known only when it runs"
        )
    tops, params = setup.data_shape
    return LayerShapes(list(tops), list(params))


def _records(
    setup: Setup, batch_size: int, channels: int, size: tuple[int, int] | None
) -> LayerShapes:
    """Tops (N, C, H, W) and labels (N) of a layer that transforms records.

    channels, size (height, width or None): those of a record where data_shape does not tell them.
    """
    transform, note = setup.layer.transform_param, ""
    require(
        not (transform.HasField("mean_file") and transform.mean_value),
        "Cannot specify mean_file and mean_value at the same time",
    )
    batch, crop = _positive(batch_size), transform.crop_size
    ssd = setup.layer.type in ("Data", "ImageData")
    if ssd and transform.resize_param:
        size = _resize_size(transform.resize_param[0], size)
    if ssd and transform.crop_h and transform.crop_w and not crop and size is None:
        size = (transform.crop_h, transform.crop_w)
    if setup.data_shape is not None:
        require_equal(3, len(setup.data_shape), "data_shape must be (channels, height, width)")
        channels, *sizes = map(int, setup.data_shape)
        if ssd and transform.resize_param:
            sizes = list(_resize_size(transform.resize_param[0], (sizes[0], sizes[1])) or sizes)
    else:
        if size is None and not crop:
            raise UnknownShapeError(
                "without crop_size the shape of its records is known only from its source"
            )
        if transform.force_gray:
            channels = 1
        elif len(transform.mean_value) > 1:
            channels = len(transform.mean_value)
        sizes = list(size or (crop, crop))
        note = "records assumed to be"
    require(
        len(transform.mean_value) in (0, 1, channels),
        f"Specify either 1 mean_value or as many as channels: {channels} "
        f"({len(transform.mean_value)} mean_value)",
    )
    if crop:
        require(
            min(sizes) >= crop,
            f"crop_size {crop} is larger than the record's {sizes[0]} x {sizes[1]}",
        )
        sizes = [crop, crop]
    elif ssd and transform.crop_h and transform.crop_w:
        require(
            sizes[0] >= transform.crop_h and sizes[1] >= transform.crop_w,
            f"crop_h and crop_w, {transform.crop_h} x {transform.crop_w}, are larger than the "
            f"record's {sizes[0]} x {sizes[1]}",
        )
        sizes = [transform.crop_h, transform.crop_w]
    if note:
        note += f" {channels} x {sizes[0]} x {sizes[1]}"
    tops: list[Shape] = [(batch, channels, *sizes), (batch,)]
    return LayerShapes(tops[: setup.num_tops], note=note)


def _resize_size(
    param: caffe_pb.ResizeParameter, size: tuple[int, int] | None
) -> tuple[int, int] | None:
    """Height and width of an image of `size` after resize_param (SSD's InferNewSize)."""
    if param.resize_mode != caffe_pb.ResizeParameter.FIT_SMALL_SIZE:
        return param.height, param.width
    if size is None or not param.height:
        return None
    aspect = size[1] / size[0]
    if aspect < param.width / param.height:
        return int(param.width / aspect), param.width
    return param.height, int(aspect * param.height)


def _positive(batch_size: int) -> int:
    require(batch_size > 0, "Positive batch size required")
    return batch_size
