"""The shape of records as their source on disk tells it."""

from collections.abc import Iterable
from pathlib import Path

from google.protobuf.message import DecodeError

from netgen.graph.registry import DataShape
from netgen.graph.shape import Shape
from netgen.schema import caffe_pb


def record_shape(layer: caffe_pb.LayerParameter) -> DataShape | None:
    """The shape of a data layer's records from its source, or None if it cannot be read.

    layer: LayerParameter. Data: (C, H, W) of an LMDB's first record; HDF5Data: one shape a top
    from the first file of its list. Needs the optional packages lmdb and h5py.
    """
    try:
        if layer.type == "Data" and layer.data_param.backend == caffe_pb.DataParameter.LMDB:
            return _lmdb_record(layer.data_param.source)
        if layer.type == "HDF5Data":
            return _hdf5_record(layer.hdf5_data_param.source, layer.top)
    except (ImportError, OSError, LookupError, ValueError, DecodeError):
        pass  # no package or no such source: the caller assumes, and says so
    return None


def _lmdb_record(source: str) -> Shape | None:
    import lmdb

    if not (Path(source) / "data.mdb").is_file():
        return None
    try:
        with (
            lmdb.open(source, readonly=True, lock=False, create=False) as env,
            env.begin() as transaction,
            transaction.cursor() as cursor,
        ):
            datum = caffe_pb.Datum.FromString(cursor.value() if cursor.first() else b"")
    except lmdb.Error:
        return None
    if datum.encoded or not datum.channels:
        return None
    return datum.channels, datum.height, datum.width


def _hdf5_record(source: str, tops: Iterable[str]) -> list[Shape]:
    import h5py

    first = Path(source).read_text().split()[0]
    with h5py.File(first, "r") as file:
        return [tuple(file[top].shape[1:]) for top in tops]
