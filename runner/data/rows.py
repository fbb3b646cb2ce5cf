"""HDF5Data's files as a source of rows (BVLC hdf5_data_layer.cpp, util/hdf5.cpp)."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import torch

from netgen.errors import CaffeError
from netgen.schema import caffe_pb, require_h5py
from runner.data.errors import DataLayerError
from runner.data.order import shuffled
from runner.data.transform import upload

#: HDF5's classes of types
_CLASSES = (
    *("INTEGER", "FLOAT", "TIME", "STRING", "BITFIELD", "OPAQUE", "COMPOUND", "REFERENCE"),
    *("ENUM", "VLEN", "ARRAY"),
)


class RowFeed:
    """The batches of an HDF5Data layer: each top has the rows of the dataset of its name.

    layer: LayerParameter of type HDF5Data; generator_seed: int, of the shuffled orders; device:
    where batches are wanted; log(message, where): takes Caffe's lines. rank, count: deals rows
    as Caffe does to `count` workers, to this one every count-th from number `rank` on.
    row_shapes: the shape of one row of each top.

    Batches run on from file to file and over the end of the last into the first; one file at a
    time is in memory, as float32. With shuffle each epoch has an order of files, and each file
    an order of rows, drawn from the seed. All files are looked at when the feed is made: unlike
    in Caffe, one that is missing, or whose rows have another shape, is refused before training.

    Raises DataLayerError, one line in Caffe's words that names the layer and its source.
    """

    def __init__(
        self,
        layer: caffe_pb.LayerParameter,
        generator_seed: int,
        device: torch.device | str,
        log: Callable[[str, str], None],
        rank: int = 0,
        count: int = 1,
    ):
        param = layer.hdf5_data_param
        self._name = f"layer '{layer.name}', source '{param.source}'"
        self._tops = list(layer.top)
        self._batch_size, self._shuffle = param.batch_size, param.shuffle
        self._seed, self._device = generator_seed % 2**64, torch.device(device)
        self._rank, self._stride = rank, count
        self._row = 0  # rows given out so far, to all workers
        self._open = self._arrays = None  # number of the file that is in memory, its datasets
        self._orders = {}
        try:
            log(f"Loading list of HDF5 filenames from: {param.source}", "hdf5_data_layer.cpp:81")
            self._files = _names(param.source)
            log(f"Number of HDF5 files: {len(self._files)}", "hdf5_data_layer.cpp:95")
            if not self._files:
                raise DataLayerError(f"Must have at least 1 HDF5 filename listed in {param.source}")
            self._survey()
        except CaffeError as error:
            raise DataLayerError(f"{error} ({self._name})") from None
        self._length = int(self._sizes.sum())

    def _survey(self):
        """Look at every file: the number of its rows, and that they fit those before."""
        sizes, self.row_shapes = [], None
        for name in self._files:
            shapes = _shapes(name, self._tops)
            sizes.append(shapes[0][0])
            rows = [shape[1:] for shape in shapes]
            for top, shape, row in zip(self._tops, shapes, self.row_shapes or rows, strict=True):
                if shape[1:] != row:
                    raise DataLayerError(
                        f"dataset {top} of {name} has rows of shape {_times(shape[1:])}, "
                        f"that of {self._files[0]} {_times(row)}"
                    )
            self.row_shapes = self.row_shapes or rows
        self._sizes = np.array(sizes)

    def fetch(self) -> list[torch.Tensor]:
        """The next batch, on the device: a float32 tensor (batch_size, *row) for each top."""
        first = self._row + self._rank
        end = self._row + self._batch_size * self._stride
        numbers = np.arange(first, first + self._batch_size * self._stride, self._stride)
        batch = [np.empty((self._batch_size, *row), np.float32) for row in self.row_shapes]
        try:
            for place, file, rows in self._runs(numbers):
                for values, rows_of in zip(batch, self._load(file), strict=True):
                    np.take(
                        rows_of, rows, axis=0, out=values[place : place + len(rows)], mode="clip"
                    )
        except CaffeError as error:
            raise DataLayerError(f"{error} ({self._name})") from None
        self._row = end
        return [upload(values, self._device) for values in batch]

    def _runs(self, numbers):
        """Yield (place in the batch, file, its rows) of neighbours in one file."""
        epochs, places = np.divmod(numbers, self._length)
        at = 0
        while at < len(numbers):
            epoch = int(epochs[at])
            files = self._order(len(self._files), epoch)
            ends = np.cumsum(self._sizes[files])
            turn = int(np.searchsorted(ends, places[at], side="right"))
            file = int(files[turn])
            begin = ends[turn] - self._sizes[file]
            stop = at + int(((epochs[at:] == epoch) & (places[at:] < ends[turn])).sum())
            rows = places[at:stop] - begin
            if self._shuffle:
                rows = self._order(int(self._sizes[file]), epoch, file + 1)[rows]
            yield at, file, rows
            at = stop

    def _order(self, count, *numbers):
        if not self._shuffle:
            return np.arange(count)
        key = (self._seed, *numbers)
        if key not in self._orders:
            if len(self._orders) > 3:  # the files and one file's rows, of this epoch and the last
                self._orders.clear()
            self._orders[key] = shuffled(count, *key)
        return self._orders[key]

    def _load(self, file):
        if file != self._open:
            self._open = self._arrays = None  # not two files in memory
            self._arrays = _read(self._files[file], self._tops, self.row_shapes)
            if len(self._arrays[0]) != self._sizes[file]:
                raise DataLayerError(
                    f"{self._files[file]} has {len(self._arrays[0])} rows now, and had "
                    f"{self._sizes[file]} at first"
                )
            self._open = file
        return self._arrays

    def state(self) -> dict[str, int]:
        """Where the feed is; `load_state` on a feed of the same files continues bit for bit."""
        return {"row": self._row, "seed": self._seed, "rows": self._length}

    def load_state(self, state: dict[str, int]) -> None:
        """Take back a `state()`; raises DataLayerError if the files have other rows since."""
        if state["rows"] != self._length:
            raise DataLayerError(
                f"cannot go on where the run was: the files had {state['rows']} rows then and "
                f"have {self._length} now ({self._name})"
            )
        self._row, self._seed = state["row"], state["seed"]


def _names(source):
    try:
        with open(source, "rb") as file:
            return [os.fsdecode(name) for name in file.read().split()]
    except OSError as error:
        raise DataLayerError(f"Failed to open source file: {source}: {error.strerror}") from None


def _datasets(file, name, tops):
    """The datasets of an open file that the tops are named after, checked as Caffe does."""
    found = []
    for top in tops:
        if top not in file:
            raise DataLayerError(f"Failed to find HDF5 dataset {top} in {name}")
        dataset = file[top]
        if not hasattr(dataset, "dtype"):
            raise DataLayerError(f"Failed to get dataset ndims for {top}: it is a group in {name}")
        kind = _class(dataset)
        if kind not in ("H5T_FLOAT", "H5T_INTEGER"):
            raise DataLayerError(f"Unsupported datatype class: {kind} (dataset {top} of {name})")
        if not dataset.shape:
            raise DataLayerError(f"ndims >= min_dim (0 vs. 1): dataset {top} of {name} has no rows")
        found.append(dataset)
    for top, dataset in zip(tops, found, strict=True):
        if len(dataset) != len(found[0]):
            raise DataLayerError(
                f"hdf_blobs_[i]->shape(0) == num ({len(dataset)} vs. {len(found[0])}): {top} and "
                f"{tops[0]} of {name} have not the same number of rows"
            )
    if not len(found[0]):
        raise DataLayerError(f"{name} holds no rows")
    return found


def _class(dataset):
    """HDF5's name of a dataset's class of type."""
    import h5py

    number = dataset.id.get_type().get_class()
    return next(
        (f"H5T_{name}" for name in _CLASSES if getattr(h5py.h5t, name) == number), "unknown"
    )


def _opened(name, job):
    """What `job` makes of the opened file; whatever goes wrong is one line."""
    try:
        with require_h5py(name).File(name, "r") as file:
            return job(file)
    except CaffeError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise DataLayerError(f"Failed opening HDF5 file: {name}: {why}") from None


def _shapes(name, tops):
    return _opened(name, lambda file: [d.shape for d in _datasets(file, name, tops)])


def _read(name, tops, row_shapes):
    def read(file):
        arrays = [np.asarray(d[()], np.float32) for d in _datasets(file, name, tops)]
        for top, array, row in zip(tops, arrays, row_shapes, strict=True):
            if array.shape[1:] != row:
                raise DataLayerError(
                    f"dataset {top} of {name} has another shape than it had at first"
                )
        return arrays

    return _opened(name, read)


def _times(shape):
    return "x".join(map(str, shape)) or "()"
