"""What data layers read: databases, lists of images, windows; Caffe's cursor, transform_param."""

from runner.data.errors import DataError
from runner.data.feed import DataFeed, Feed, ImageFeed, WindowFeed
from runner.data.rows import RowFeed

__all__ = ["DataError", "DataFeed", "Feed", "ImageFeed", "RowFeed", "WindowFeed"]
