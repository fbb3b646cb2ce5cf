"""What a Data layer draws its batches from."""

import contextlib

import torch

from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.data import memory
from runner.data.datum import Decoder
from runner.data.errors import DataError
from runner.data.records import collect, load
from runner.data.source import open_source
from runner.data.stream import Stream
from runner.data.transform import Transform, upload


class DataFeed:
    """The batches of a Data layer, as Caffe's layer of the same prototxt gives them.

    layer: LayerParameter of type Data; phase: caffe_pb.TRAIN or TEST; generator_seed: int, of
    the crops and mirrors; device: where batches are wanted; log(message, where): takes Caffe's
    lines. The source is decoded once and kept on the device if it fits (`memory.budget`),
    streamed otherwise, with the same batches. rand_skip is ignored, as Caffe 1.0 does;
    prefetch only bounds what streaming reads ahead. rank, count: deals records as Caffe does to
    `count` workers, to this one every count-th from number `rank` on; batches with the same
    number then make up, together, a batch that is `count` times as large.

    Raises DataError, one line naming layer and source, for what cannot be used.
    """

    def __init__(self, layer, phase, generator_seed, device, log, rank=0, count=1):
        param = layer.data_param
        self._name = f"layer '{layer.name}', source '{param.source}'"
        self._log = log
        self._seed = generator_seed % 2**64
        self._image = 0  # images given out so far, to all workers
        self._rank, self._stride = rank, count
        self._has_labels = len(layer.top) != 1
        device = torch.empty(0, device=device).device  # "cuda" gets its number
        with self._named():
            self._batch_size = _checked(param).batch_size
            source = open_source(param.source)
            log(f"Opened lmdb {param.source}", "db_lmdb.cpp:35")
            flags = layer.transform_param
            decode = Decoder(flags.force_color, flags.force_gray)
            self._transform = Transform(flags, phase, device, log)
            first = collect(source.records(), 1, decode).shapes
            self.data_shape = (self._batch_size, *self._transform.output_shape(first))
            self.label_shape = (self._batch_size,)
            if decode.unencoded and (flags.force_color or flags.force_gray):
                log("force_color and force_gray only for encoded datum", "data_transformer.cpp:152")
            log("output data size: " + ",".join(map(str, self.data_shape)), "data_layer.cpp:45")
            self._length = source.length
            self._records = load(source, decode, device, memory.budget(device))
            if self._records is None:
                self._records = Stream(source, decode, device, param.prefetch)
                self._uniform = False
            else:
                shapes = self._records.shapes
                self._uniform = bool((shapes == shapes[0]).all())

    def next(self):
        """The next batch: data (N, C, H, W), labels (N,) or None with one top; float32.

        Batches follow the keys' order and run over the end of the source into its start. The
        shape is data_shape, unless records of other sizes come (Caffe reshapes for each batch).
        """
        return self.finish(self.fetch())

    def fetch(self):
        """Go on to the next batch; returns what `finish` makes it of, a list of tensors.

        With resident records of one shape that is a small table of where each image lies, and
        finish is work for the device alone, the same each time; else it is the batch itself.
        """
        first, end = self._image, self._image + self._batch_size * self._stride
        with self._named():
            batch = self._records.take(first + self._rank, self._batch_size, self._stride)
            draws = self._transform.draw(self._seed, first + self._rank, batch.shapes, self._stride)
            table = upload(self._transform.table(batch, draws), batch.values.device)
            fetched = [table] if self._uniform else self._gather(table, batch)
        self._image = end
        for _ in range(end // self._length - first // self._length):
            self._log("Restarting data prefetching from start.", "data_layer.cpp:73")
        return fetched

    def finish(self, fetched):
        """The batch of what `fetch` gave, as `next` returns it."""
        data, labels = self._gather(*fetched, self._records) if self._uniform else fetched
        return data, labels if self._has_labels else None

    def _gather(self, table, records):
        return self._transform.gather(table, records)

    def state(self):
        """Where the feed is; `load_state` on a feed of the same source continues bit for bit.

        All workers are at the same place, and any number of them can go on from there.
        """
        return {"image": self._image, "seed": self._seed, "records": self._length}

    def load_state(self, state):
        """Take back a `state()`; raises DataError if the source has other records since."""
        if state["records"] != self._length:
            raise DataError(
                f"cannot go on where the run was: the source had {state['records']} records "
                f"then and has {self._length} now ({self._name})"
            )
        self._image, self._seed = state["image"], state["seed"]

    def close(self):
        """Stop the reading thread, if there is one; a later `next` starts it again."""
        self._records.close()

    @contextlib.contextmanager
    def _named(self):
        try:
            yield
        except CaffeError as error:
            raise DataError(f"{error} ({self._name})") from None


def _checked(param):
    if param.backend != caffe_pb.DataParameter.LMDB:
        given = "LEVELDB" if param.HasField("backend") else "LEVELDB, the default,"
        raise DataError(f"backend {given} is not supported: write `backend: LMDB` in data_param")
    if not param.batch_size:
        raise DataError("data_param needs a batch_size > 0")
    return param
