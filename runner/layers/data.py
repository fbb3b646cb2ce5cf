"""Layers that bring data in, those that read batches, Input and DummyData, and HDF5Output."""

from __future__ import annotations

import contextlib
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from netgen import graph
from netgen.graph.registry import DataShape
from netgen.schema import GrowingHDF5, SchemaError, caffe_pb
from runner.data import (
    AnnotatedFeed,
    ChangedFeed,
    DataFeed,
    DenseImageFeed,
    EdgeFeed,
    ImageFeed,
    RowFeed,
    SegFeed,
    WindowFeed,
)
from runner.layers.base import Context, Layer, Tensors
from runner.log import glog


class Reading(Layer):
    """Base of the layers that draw batches from a feed: `fetch` and `finish`, and its state."""

    reads = True
    untraceable = "it reads records: export the deploy net"

    def feed_with(self, kind: Callable[..., Any], *arguments: Any) -> Any:
        """A feed of the layer's own: `kind` made for its place, its workers and its seed.

        arguments: what comes between the layer and the seed.
        """
        # The stream depends on the run's seed and the layer, not on what else the net holds.
        seed = (self.context.seed * 0x9E3779B1 + zlib.crc32(self.name.encode())) % 2**63
        tell = weakref.WeakMethod(self.tell)  # a feed that held its layer would outlive the net

        def log(message: str, where: str) -> None:
            (tell() or glog.info)(message, where)

        # Only one worker tests, and it does so on all records.
        alone = self.phase == caffe_pb.TEST
        return kind(
            self.param, *arguments, seed ^ self.phase, self.context.device, log,
            *((0, 1) if alone else (self.context.rank, self.context.count)),
        )  # fmt: skip

    def tell(self, message: str, where: str) -> None:
        """A line of the feed's for the log."""
        glog.info(message, where)

    def known(
        self, bottoms: Sequence[graph.Shape], data_shape: DataShape | None = None
    ) -> graph.LayerShapes:
        """The shape rule's answer when records have that shape."""
        return graph.layer_shapes(self.param, bottoms, self.phase, data_shape=data_shape)

    def check(self, bottoms: Sequence[graph.Shape]) -> None:
        """Refuse what the layer's own parameters show to be wrong, before a file is opened."""
        with contextlib.suppress(graph.UnknownShapeError):
            self.known(bottoms)

    def fetch(self) -> list[torch.Tensor]:
        """Go on to the next batch; a list of tensors on the device."""
        return self.feed.fetch()

    def finish(self, fetched: list[torch.Tensor]) -> list[torch.Tensor]:
        """The tops of what `fetch` gave: work for the device alone."""
        return list(self.feed.finish(fetched))[: len(self.param.top)]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        return self.finish(self.fetch())

    def state(self) -> dict[str, Any] | None:
        return self.feed.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.feed.load_state(state)


class Data(Reading, type="Data"):
    """Batches of a database: data, and with a second top the labels."""

    def __init__(self, param: caffe_pb.LayerParameter, context: Context) -> None:
        super().__init__(param, context)
        self._until_setup = []
        self.feed = self.feed_with(
            ChangedFeed if ChangedFeed.wanted(param) else DataFeed, self.phase
        )

    def tell(self, message: str, where: str) -> None:
        # As in Caffe, a source is opened with its layer; the rest is logged when that is set up.
        if self._until_setup is None or where.startswith("db_"):
            glog.info(message, where)
        else:
            self._until_setup.append((message, where))

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        told, self._until_setup = self._until_setup or [], None
        for message, where in told:
            glog.info(message, where)
        shapes = self.known(bottoms, self.feed.data_shape[1:])
        shapes.tops[0] = self.feed.data_shape  # which the rule does not resize again
        return shapes


class ImageData(Reading, type="ImageData"):
    """Batches of the images of a list of files, and their labels."""

    feed_type = ImageFeed

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        self.check(bottoms)
        kind = self.feed_type
        if kind is ImageFeed and ChangedFeed.wanted(self.param):
            kind = ChangedFeed
        self.feed = self.feed_with(kind, self.phase)
        shapes = self.known(bottoms, self.feed.data_shape[1:])
        shapes.tops[0] = self.feed.data_shape  # which the rule does not resize again
        return shapes


class AnnotatedData(ImageData, type="AnnotatedData"):
    """Batches of a database of AnnotatedDatum: images, changed at random, and their boxes."""

    feed_type = AnnotatedFeed

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes = super().setup(bottoms)
        shapes.tops[1:] = [self.feed.label_shape][: len(shapes.tops) - 1]
        return shapes


class DenseImageData(ImageData, type="DenseImageData"):
    """Batches of images and of images of labels, one a pixel, from a list of pairs of files."""

    feed_type = DenseImageFeed


class ImageLabelmapData(ImageData, type="ImageLabelmapData"):
    """Batches of images and of images of edges, 0 or 1 a pixel, from a list of pairs of files."""

    feed_type = EdgeFeed


class ImageSegData(ImageData, type="ImageSegData"):
    """Batches of images, their labels, one a pixel, and their heights and widths."""

    feed_type = SegFeed


class WindowData(ImageData, type="WindowData"):
    """Batches of windows into images, warped to one size, and their classes."""

    feed_type = WindowFeed


class HDF5Data(Reading, type="HDF5Data"):
    """Rows of the datasets of HDF5 files: a top has those of the dataset of its name."""

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        self.check(bottoms)
        self.feed = self.feed_with(RowFeed)
        return self.known(bottoms, self.feed.row_shapes)

    def finish(self, fetched: Tensors) -> Tensors:
        return list(fetched)


class MemoryData(Reading, type="MemoryData"):
    """Batches of two arrays that the caller owns: data and labels (memory_data_layer.cpp)."""

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        self.arrays, self._at = None, 0
        return super().setup(bottoms)

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Draw batches from these arrays from now on, from their start, round and round.

        data: (n, channels, height, width); labels: (n,) or (n, 1, 1, 1); both float32 and C
        contiguous, n a multiple of batch_size. They are not copied: what is written into them
        later is in the batches. transform_param is not applied, as in Caffe. Raises NetError in
        Caffe's words.
        """
        param = self.param.memory_data_param
        record = (param.channels, param.height, param.width)
        _check_array("data array", data, record)
        if labels.ndim == 1:
            labels = labels[:, None, None, None]
        _check_array("labels array", labels, (1, 1, 1))
        if len(data) != len(labels):
            raise graph.NetError("data and labels must have the same first dimension")
        if not len(data) or len(data) % param.batch_size:
            raise graph.NetError(
                "first dimensions of input arrays must be a multiple of batch size"
            )
        if self.param.HasField("transform_param"):
            glog.warning(
                "MemoryData does not transform array data on Reset()", "memory_data_layer.cpp:90"
            )
        self.arrays, self._at = (_tensor(data), _tensor(labels)), 0

    def fetch(self) -> Tensors:
        if self.arrays is None:
            raise graph.NetError(
                f"layer '{self.name}': MemoryDataLayer needs to be initialized by calling Reset: "
                "give it set_input_arrays(data, labels)"
            )
        size, count = self.param.memory_data_param.batch_size, len(self.arrays[0])
        self._at, first = (self._at + size) % count, self._at % count
        return [values[first : first + size].to(self.context.device) for values in self.arrays]

    def finish(self, fetched: Tensors) -> Tensors:
        return list(fetched)

    def state(self) -> dict[str, Any] | None:
        return {"row": self._at}

    def load_state(self, state: dict[str, Any]) -> None:
        self._at = state["row"]


def _tensor(values: np.ndarray) -> torch.Tensor:
    """A tensor over the array's memory, unless nobody may write there: torch cannot promise that."""
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def _check_array(name, values, record):
    """Refuse what pycaffe's set_input_arrays refuses, in its words."""
    if not (isinstance(values, np.ndarray) and values.flags.c_contiguous):
        raise graph.NetError(f"{name} must be C contiguous")
    if values.ndim != 4:
        raise graph.NetError(f"{name} must be 4-d")
    if values.dtype != np.float32:
        raise graph.NetError(f"{name} must be float32")
    for axis, words in enumerate(("number of channels", "height", "width")):
        if values.shape[1 + axis] != record[axis]:
            raise graph.NetError(f"{name} has wrong {words}")


class Source(Layer):
    """A layer whose tops are the net's blobs: what somebody writes there stays."""

    def attach(self, bottoms: Sequence[Any], tops: Sequence[Any]) -> None:
        self.blobs = tops

    def reshape_blobs(self) -> None:
        """The tops keep the shapes they have been given."""

    def backward_blobs(self, needs: Sequence[bool]) -> None:
        """There is nothing below."""


class Input(Source, type="Input"):
    """Blobs filled from outside; zero until then."""

    @property
    def values(self) -> Tensors:
        """The tops' memory, as tensors to be written to."""
        return [blob.memory() for blob in self.blobs]

    @values.setter
    def values(self, values: Tensors) -> None:
        for blob, value in zip(self.blobs, values, strict=True):
            blob.put(value)

    def forward_blobs(self) -> None:
        """The values stay as they are."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        return [blob.tensor().clone() for blob in self.blobs]


class DummyData(Source, type="DummyData"):
    """Filled blobs; constant ones are filled once, random ones anew each forward."""

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes = super().setup(bottoms)
        given = list(self.param.dummy_data_param.data_filler)
        if not given:
            given = [caffe_pb.FillerParameter(type="constant")]
        self.how = given * len(shapes.tops) if len(given) == 1 else given
        if any(filler.type != "constant" for filler in self.how):
            self.untraceable = "it draws at random"
        for blob, shape, filler in zip(self.blobs, shapes.tops, self.how, strict=True):
            blob.set_shape(tuple(shape))
            value = self._filled(shape, filler)
            if filler.type == "constant":
                blob.put(value)
        return shapes

    def _filled(self, shape, filler):
        value = torch.empty(shape, device=self.context.device)
        self.fill(value, filler, self.context.random)
        return value

    def forward_blobs(self) -> None:
        """Fill the random tops."""
        for blob, filler in zip(self.blobs, self.how, strict=True):
            if filler.type != "constant":
                blob.put(self._filled(blob.shape, filler))

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        self.forward_blobs()
        return [blob.tensor() for blob in self.blobs]


class HDF5Output(Layer, type="HDF5Output"):
    """Writes its two bottoms to an HDF5 file, as datasets `data` and `label` of four axes.

    The file is made anew at set-up. Caffe can write one batch and then dies, because the
    datasets are there; here every further batch adds its rows behind the others, and a run that
    is killed leaves a file of whole batches.
    """

    replayable = False
    untraceable = "it writes a file"

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes = super().setup(bottoms)
        self._file_name = self.param.hdf5_output_param.file_name
        with self._writing():
            self._file = GrowingHDF5(self._file_name)
        return shapes

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        glog.info(f"Saving HDF5 file {self._file_name}", "hdf5_output_layer.cpp:33")
        rows = {
            name: bottom.detach().reshape((*bottom.shape, 1, 1, 1, 1)[:4]).to("cpu", copy=True)
            for name, bottom in zip(("data", "label"), bottoms, strict=True)
        }
        with self._writing():
            self._file.change(partial(self._add, rows))
        glog.info(f"Successfully saved {len(bottoms[0])} rows", "hdf5_output_layer.cpp:38")
        return []

    def _add(self, rows: dict[str, torch.Tensor], file: Any) -> None:
        for name, tensor in rows.items():
            values = tensor.numpy()
            if name not in file:
                file.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]))
            elif file[name].shape[1:] != values.shape[1:]:
                raise graph.NetError(
                    f"layer '{self.name}': dataset {name} of {self._file_name} has rows of "
                    f"shape {file[name].shape[1:]}; a batch came with {values.shape[1:]}"
                )
            else:
                file[name].resize(len(file[name]) + len(values), axis=0)
                file[name][-len(values) :] = values

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, SchemaError) as error:
            raise graph.NetError(
                f"layer '{self.name}': Failed to open HDF5 file {self._file_name}: "
                f"{' '.join(str(error).split())}"
            ) from None
