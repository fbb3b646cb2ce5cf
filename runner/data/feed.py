"""What data layers draw their batches from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import torch

from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.data import memory
from runner.data.annotated import YOLO_ROWS, Annotation, Numbered, PlainImages
from runner.data.datum import Decoder
from runner.data.decoded import collect, load
from runner.data.dense import DenseImageList, EdgeList, SegList
from runner.data.errors import DataLayerError
from runner.data.images import ImageList
from runner.data.source import Shuffled, open_source
from runner.data.stream import Stream
from runner.data.transform import Transform, read_mean, upload
from runner.data.windows import Windows


class Feed:
    """The batches of a data layer, as Caffe's layer of the same prototxt gives them.

    layer: LayerParameter; phase: caffe_pb.TRAIN or TEST; generator_seed: int, of all that is
    random; device: where batches are wanted; log(message, where): takes Caffe's lines. rank,
    count: deals records as Caffe does to `count` workers, to this one every count-th from number
    `rank` on; batches with the same number then make up, together, a batch that is `count` times
    as large. data_shape: of the batches, which a subclass sets with `_serve`.

    Raises DataLayerError, one line naming layer and source, for what cannot be used.
    """

    def __init__(
        self,
        layer: caffe_pb.LayerParameter,
        phase: int,
        generator_seed: int,
        device: torch.device | str,
        log: Callable[[str, str], None],
        rank: int = 0,
        count: int = 1,
    ):
        self._name = f"layer '{layer.name}', source '{self._param(layer).source}'"
        self._log = log
        self._seed = generator_seed % 2**64
        self._image = 0  # images given out so far, to all workers
        self._rank, self._stride = rank, count
        self._has_labels = len(layer.top) != 1
        self._device = torch.empty(0, device=device).device  # "cuda" gets its number
        with self._named():
            self._open(layer, phase)

    @staticmethod
    def _param(layer):
        """The message of the layer's own parameters."""
        raise NotImplementedError

    def _open(self, layer, phase):
        """Open the source and `_serve` its records."""
        raise NotImplementedError

    def _serve(self, source, decode, transform, batch_size, ahead, resident=False):
        """Take batches of the source's records from now on, up to `ahead` of them read before.

        decode: as `collect` wants it; resident: keep all records decoded, if they fit.
        """
        self._transform, self._batch_size = transform, batch_size
        first = collect(source.records(), 1, decode).shapes
        self.data_shape = (batch_size, *transform.output_shape(first))
        limit = memory.budget(self._device) if resident else 0
        self._records = load(source, decode, self._device, limit) if resident else None
        if self._records is None:
            self._records = Stream(source, decode, self._device, ahead)
            self._source, self._uniform = source, False
        else:
            shapes = self._records.shapes
            self._source, self._uniform = self._records, bool((shapes == shapes[0]).all())

    def next(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The next batch: data (N, C, H, W), labels (N,) or None with one top; float32.

        Batches follow the records' order and run over the end of the source into its start. The
        shape is data_shape, unless records of other sizes come (Caffe reshapes for each batch).
        """
        return self.finish(self.fetch())

    def fetch(self) -> list[torch.Tensor]:
        """Go on to the next batch; returns what `finish` makes it of.

        With resident records of one shape that is a small table of where each image lies, and
        finish is work for the device alone, the same each time; else it is the batch itself.
        """
        first, end = self._image, self._image + self._batch_size * self._stride
        with self._named():
            batch = self._records.take(first + self._rank, self._batch_size, self._stride)
            draws = self._transform.draw(self._seed, first + self._rank, batch.shapes, self._stride)
            table = upload(self._transform.table(batch, draws), batch.values.device)
            fetched = [table] if self._uniform else list(self._gather(table, batch))
        self._image = end
        self._passed(first, end)
        return fetched

    def _log_opened(self, param):
        """Log that the database of a DataParameter is open."""
        lmdb = param.backend == caffe_pb.DataParameter.LMDB
        self._log(
            f"Opened {'lmdb' if lmdb else 'leveldb'} {param.source}",
            "db_lmdb.cpp:35" if lmdb else "db_leveldb.cpp:18",
        )

    def _log_size(self, where):
        """Log the shape of the data; where: Caffe's file:line."""
        self._log("output data size: " + ",".join(map(str, self.data_shape)), where)

    def _passed(self, first, end):
        """Images number `first` to `end` - 1 have been given out."""

    def finish(self, fetched: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The batch of what `fetch` gave, as `next` returns it."""
        data, labels = self._gather(*fetched, self._records) if self._uniform else fetched
        return data, labels if self._has_labels else None

    def _gather(self, table, records):
        return self._transform.gather(table, records)

    def state(self) -> dict[str, int | None]:
        """Where the feed is; `load_state` on a feed of the same source continues bit for bit.

        All workers are at the same place, and any number of them can go on from there.
        """
        return {"image": self._image, "seed": self._seed, "records": self._source.length}

    def load_state(self, state: dict[str, int | None]) -> None:
        """Take back a `state()`; raises DataLayerError if the source has other records since."""
        then, now = state["records"], self._source.length
        if None not in (then, now) and then != now:
            raise DataLayerError(
                f"cannot go on where the run was: the source had {then} records "
                f"then and has {now} now ({self._name})"
            )
        self._image, self._seed = state["image"], state["seed"]

    def close(self) -> None:
        """Stop the reading thread, if there is one; a later `next` starts it again."""
        self._records.close()

    @contextlib.contextmanager
    def _named(self):
        try:
            yield
        except CaffeError as error:
            raise DataLayerError(f"{error} ({self._name})") from None


class DataFeed(Feed):
    """The batches of a Data layer.

    The database is decoded once and kept on the device if it fits (`memory.budget`), streamed
    otherwise, with the same batches; with shuffle it is streamed, in another order every epoch,
    as in intel's fork (NVIDIA's obeys shuffle in what it caches alone). rand_skip is ignored, as
    Caffe 1.0 does; prefetch only bounds what streaming reads ahead.
    """

    @staticmethod
    def _param(layer):
        return layer.data_param

    def _open(self, layer, phase):
        param, flags = layer.data_param, layer.transform_param
        if not param.batch_size:
            raise DataLayerError("data_param needs a batch_size > 0")
        source = open_source(param.source, param.backend)
        self._log_opened(param)
        decode = Decoder(flags.force_color, flags.force_gray)
        transform = Transform(flags, phase, self._device, self._log)
        self._shuffled = None
        if param.shuffle:
            if param.backend != caffe_pb.DataParameter.LMDB:
                raise DataLayerError("LevelDB doesn't support shuffle")
            self._log("Shuffling data", "data_reader.cpp:198")
            source = self._shuffled = Shuffled(source, self._seed)
        resident = not param.shuffle
        self._serve(source, decode, transform, param.batch_size, param.prefetch, resident)
        if decode.unencoded and (flags.force_color or flags.force_gray):
            self._log(
                "force_color and force_gray only for encoded datum", "data_transformer.cpp:152"
            )
        self._log_size("data_layer.cpp:45")

    def load_state(self, state: dict[str, int | None]) -> None:
        super().load_state(state)
        if self._shuffled is not None:
            self.close()  # what was read ahead came from the other seed
            self._shuffled.seed = self._seed

    def _passed(self, first, end):
        length = self._source.length
        for _ in range(end // length - first // length if length else 0):
            self._log("Restarting data prefetching from start.", "data_layer.cpp:73")


class _DrawnFeed(Feed):
    """A feed of a source that draws what comes next from a seed of its own."""

    def _serve(self, source, *how):
        super()._serve(source, *how)
        self._drawn = source

    def load_state(self, state: dict[str, int | None]) -> None:
        super().load_state(state)
        self.close()  # what was read ahead came from the other seed
        self._drawn.seed = self._seed


class ImageFeed(_DrawnFeed):
    """The batches of an ImageData layer, decoded as they come by a thread that reads ahead.

    Workers deal the lines of the list among them as they deal a database's records (Caffe's all
    read every line, and advise to shuffle).
    """

    @staticmethod
    def _param(layer):
        return layer.image_data_param

    def _open(self, layer, phase):
        param = layer.image_data_param
        transform = Transform(layer.transform_param, phase, self._device, self._log, noun="img")
        images = ImageList(param, self._seed, self._log)
        self._serve(images, images, transform, param.batch_size, layer.data_param.prefetch)
        self._log_size("image_data_layer.cpp:90")


class DenseImageFeed(_DrawnFeed):
    """The batches of a DenseImageData layer: images, and of each pixel its label.

    data_shape: of the data; label_shape: of the labels. The mean and the scale of
    transform_param are the data's alone; a mean file has the size that is left after the crop.
    """

    @staticmethod
    def _param(layer):
        return layer.dense_image_data_param

    told_at = "dense_image_data_layer.cpp:109"

    def _pairs(self, layer, phase):
        param = layer.dense_image_data_param
        crop = (param.crop_height, param.crop_width)
        return DenseImageList(param, param.mirror, crop, self._seed, self._log)

    def _open(self, layer, phase):
        param, flags = self._param(layer), layer.transform_param
        pairs = self._pairs(layer, phase)
        plain = Transform(caffe_pb.TransformationParameter(), phase, self._device, self._log)
        self._serve(pairs, pairs, plain, param.batch_size, layer.data_param.prefetch)
        count, planes, *size = self.data_shape
        self.data_shape, self.label_shape = (count, planes - 1, *size), (count, 1, *size)
        self._scale, self._mean = flags.scale, None
        if flags.mean_value:
            self._mean = torch.tensor(list(flags.mean_value), device=self._device).view(-1, 1, 1)
        elif flags.mean_file:
            self._log(f"Loading mean file from: {flags.mean_file}", "data_transformer.cpp:16")
            mean = read_mean(flags.mean_file)
            shape = (*mean.shape, 1, 1, 1)[1:4]
            if shape != self.data_shape[1:]:
                raise DataLayerError(f"mean_file is of {shape}, the data {self.data_shape[1:]}")
            self._mean = torch.from_numpy(mean.reshape(shape)).to(self._device)
        self._log_size(self.told_at)

    def finish(self, fetched: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
        data, labels = fetched[0].split([fetched[0].shape[1] - 1, 1], dim=1)
        if self._mean is not None:
            data = data - self._mean
        if self._scale != 1:
            data = data * self._scale
        return data.contiguous(), labels.contiguous()


class EdgeFeed(DenseImageFeed):
    """The batches of an ImageLabelmapData layer: images, and of each pixel 0 or 1."""

    told_at = "image_labelmap_data_layer.cpp:113"

    @staticmethod
    def _param(layer):
        return layer.image_data_param

    def _pairs(self, layer, phase):
        flags = layer.transform_param
        crop = (flags.crop_size, flags.crop_size)
        return EdgeList(layer.image_data_param, flags.mirror, crop, self._seed, self._log)


class SegFeed(DenseImageFeed):
    """The batches of an ImageSegData layer: images, labels, and the images' heights and widths."""

    told_at = "image_seg_data_layer.cpp:134"

    @staticmethod
    def _param(layer):
        return layer.image_data_param

    def _pairs(self, layer, phase):
        return SegList(layer, phase, self._seed, self._log)

    def _gather(self, table, records):
        sizes = np.stack(np.divmod(records.labels, 2**31), 1)[:, None, None]
        data, _ = super()._gather(table, records)
        return data, torch.from_numpy(sizes).to(data)

    def finish(self, fetched: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return (*super().finish(fetched[:1]), fetched[1])


class WindowFeed(_DrawnFeed):
    """The batches of a WindowData layer, warped by a thread that reads ahead."""

    @staticmethod
    def _param(layer):
        return layer.window_data_param

    def _open(self, layer, phase):
        batch_size = layer.window_data_param.batch_size
        windows = Windows(layer, self._seed, self._stride, self._log)
        plain = Transform(caffe_pb.TransformationParameter(), phase, self._device, self._log)
        self._serve(windows, windows, plain, batch_size, layer.data_param.prefetch)
        self._log_size("window_data_layer.cpp:180")
        # Caffe reads it a second time, and says so.
        if mean_file := layer.transform_param.mean_file:
            self._log(f"Loading mean file from: {mean_file}", "window_data_layer.cpp:196")


class AnnotatedFeed(Feed):
    """The batches of an AnnotatedData layer, changed as they come by a thread that reads ahead.

    data_shape: of the data; label_shape: of the labels at set-up, whose batches have a row for
    each box. The random changes of a record depend on the seed and its number alone.
    """

    @staticmethod
    def _param(layer):
        return layer.data_param

    def _open(self, layer, phase):
        param = layer.data_param
        if not param.batch_size:
            raise DataLayerError("data_param needs a batch_size > 0")
        source = open_source(param.source, param.backend)
        self._log_opened(param)
        self._annotation = Annotation(layer, phase, self._seed, self._log)
        count = self._change(source, param.batch_size, param.prefetch)
        if not self._annotation.boxed:
            self.label_shape = (param.batch_size, 1, 1, 1)
        elif layer.annotated_data_param.yolo_data_type == 1:
            self.label_shape = (param.batch_size, 1, YOLO_ROWS, 5)
        else:
            self.label_shape = (1, 1, max(count, 1), 8)
        self._log_size("annotated_data_layer.cpp:55")

    def _change(self, source, batch_size, prefetch):
        """Serve a source's records as _annotation changes them; how many boxes the first has."""
        self._source = Numbered(source)
        _, _, first = next(self._source.records())
        shape, count = self._annotation.look(first)
        self._batch_size, self.data_shape = batch_size, (batch_size, *shape)
        collect = self._annotation.collect
        self._records = Stream(self._source, None, self._device, prefetch, collect)
        return count

    def fetch(self) -> list[torch.Tensor]:
        first, end = self._image, self._image + self._batch_size * self._stride
        with self._named():
            batch = self._records.take(first + self._rank, self._batch_size, self._stride)
        self._image = end
        return [batch.values, batch.labels.to(self._device)]

    def finish(self, fetched: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
        data, labels = fetched
        return data, labels if self._has_labels else None

    def load_state(self, state: dict[str, int | None]) -> None:
        super().load_state(state)
        self.close()  # what was read ahead came from the other seed
        self._annotation.seed = self._seed


class ChangedFeed(AnnotatedFeed):
    """The batches of a Data or ImageData layer whose transform_param has fields of SSD's.

    Images are changed as they come by a thread that reads ahead, as an AnnotatedData's are.
    """

    @staticmethod
    def wanted(layer: caffe_pb.LayerParameter) -> bool:
        """Whether a layer has such fields."""
        flags = layer.transform_param
        return bool(flags.resize_param or flags.HasField("noise_param") or flags.crop_h)

    @staticmethod
    def _param(layer):
        return layer.image_data_param if layer.type == "ImageData" else layer.data_param

    def _open(self, layer, phase):
        param, flags = self._param(layer), layer.transform_param
        if layer.type == "ImageData":
            source = decode = self._drawn = ImageList(param, self._seed, self._log)
        else:
            source = open_source(param.source, param.backend)
            self._log_opened(param)
            decode, self._drawn = Decoder(flags.force_color, flags.force_gray), None
            if param.shuffle:
                source = self._drawn = Shuffled(source, self._seed)
        self._annotation = PlainImages(layer, phase, self._seed, self._log, decode)
        self._change(source, param.batch_size, layer.data_param.prefetch)
        of_list = layer.type == "ImageData"
        self._log_size("image_data_layer.cpp:90" if of_list else "data_layer.cpp:45")

    def finish(self, fetched: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
        data, labels = super().finish(fetched)
        return data, labels if labels is None else labels.reshape(-1)

    def load_state(self, state: dict[str, int | None]) -> None:
        super().load_state(state)
        if self._drawn is not None:
            self._drawn.seed = self._seed
