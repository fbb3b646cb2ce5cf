"""What data layers read: databases, lists of images, windows; Caffe's cursor, transform_param."""

from runner.data.errors import DataLayerError
from runner.data.feed import (
    AnnotatedFeed,
    ChangedFeed,
    DataFeed,
    DenseImageFeed,
    EdgeFeed,
    Feed,
    ImageFeed,
    SegFeed,
    WindowFeed,
)
from runner.data.rows import RowFeed

__all__ = [
    "AnnotatedFeed",
    "ChangedFeed",
    "DataLayerError",
    "DataFeed",
    "DenseImageFeed",
    "EdgeFeed",
    "Feed",
    "ImageFeed",
    "RowFeed",
    "SegFeed",
    "WindowFeed",
]
