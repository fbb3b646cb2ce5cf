"""Layers without bottoms: Data, Input, DummyData."""

import zlib

import torch

from netgen import graph
from netgen.schema import caffe_pb
from runner.data import DataFeed
from runner.layers.base import Layer
from runner.log import glog


class Data(Layer, type="Data"):
    """Batches of an LMDB: data, and with a second top the labels."""

    reads = True

    def __init__(self, param, context):
        super().__init__(param, context)
        # The stream depends on the run's seed and the layer, not on what else the net holds.
        seed = (context.seed * 0x9E3779B1 + zlib.crc32(self.name.encode())) % 2**63
        self._until_setup = []
        # Only one worker tests, and it does so on all records.
        alone = self.phase == caffe_pb.TEST
        self.feed = DataFeed(
            param, self.phase, seed ^ self.phase, context.device, self._tell,
            *((0, 1) if alone else (context.rank, context.count)),
        )  # fmt: skip

    def _tell(self, message, where):
        # As in Caffe, a source is opened with its layer; the rest is told when that is set up.
        if self._until_setup is None or where.startswith("db_"):
            glog.info(message, where)
        else:
            self._until_setup.append((message, where))

    def setup(self, bottoms):
        told, self._until_setup = self._until_setup or [], None
        for message, where in told:
            glog.info(message, where)
        record = tuple(self.feed.data_shape[1:])
        self.shapes = graph.layer_shapes(self.param, bottoms, self.phase, data_shape=record)
        return self.shapes

    def fetch(self):
        """Go on to the next batch; a list of tensors on the device."""
        return self.feed.fetch()

    def finish(self, fetched):
        """The tops of what `fetch` gave: work for the device alone."""
        return list(self.feed.finish(fetched))[: len(self.param.top)]

    def forward(self, bottoms, blobs):
        return self.finish(self.fetch())

    def state(self):
        return self.feed.state()

    def load_state(self, state):
        self.feed.load_state(state)


class Input(Layer, type="Input"):
    """Blobs filled from outside; zero until then."""

    def setup(self, bottoms):
        shapes = super().setup(bottoms)
        self.values = [torch.zeros(top, device=self.context.device) for top in shapes.tops]
        return shapes

    def forward(self, bottoms, blobs):
        return [value.clone() for value in self.values]


class DummyData(Layer, type="DummyData"):
    """Filled blobs; constant ones are filled once, random ones anew each forward."""

    def setup(self, bottoms):
        shapes = super().setup(bottoms)
        given = list(self.param.dummy_data_param.data_filler)
        if not given:
            given = [caffe_pb.FillerParameter(type="constant")]
        fillers = given * len(shapes.tops) if len(given) == 1 else given
        self.how = list(zip(shapes.tops, fillers, strict=True))
        self.first = [self._filled(*how) for how in self.how]
        return shapes

    def _filled(self, shape, filler):
        value = torch.empty(shape, device=self.context.device)
        self.fill(value, filler, self.context.random)
        return value

    def forward(self, bottoms, blobs):
        return [
            first if filler.type == "constant" else self._filled(shape, filler)
            for first, (shape, filler) in zip(self.first, self.how, strict=True)
        ]
