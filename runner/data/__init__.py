"""The Data layer's source: LMDB records, Caffe's cursor, transform_param."""

from runner.data.errors import DataError
from runner.data.feed import DataFeed

__all__ = ["DataError", "DataFeed"]
