"""Is a case's end a matter of rounding? Change what it starts from a little, and see."""

from pathlib import Path

import lmdb
import numpy as np

from netgen import schema
from netgen.schema import caffe_pb

MILLIONTH = 1e-6
ROUNDING = 1e-7  # about what rounding to float32 changes


class Stirred:
    """An engine that changes the first weights and the float records before its first call.

    size: the standard deviation of the changes, relative to each value.
    """

    def __init__(self, engine, seed, size=MILLIONTH):
        self.engine, self.random, self.size = engine, np.random.RandomState(seed), size

    def call(self, words, folder):
        if "init.caffemodel" in words:
            self._weights(f"{folder}/init.caffemodel")
            for source in sorted(Path(folder).glob("*_lmdb")):
                self._records(str(source))
        return self.engine.call(words, folder)

    def _noisy(self, array):
        """The array changed, but for whole numbers: labels and indices stay what they are."""
        noisy = np.float32(array * (1 + self.size * self.random.standard_normal(array.shape)))
        return np.where(array == np.round(array), array, noisy)

    def _weights(self, path):
        net = schema.read_caffemodel(path)
        for layer in net.layer:
            for blob in layer.blobs:
                schema.array_to_blob(self._noisy(schema.blob_to_array(blob)), blob)
        schema.write_binary(net, path)

    def _records(self, path):
        env = lmdb.open(path, map_size=1 << 24, sync=False)
        with env.begin(write=True) as transaction:
            for key, value in list(transaction.cursor()):
                datum = caffe_pb.Datum.FromString(value)
                values = np.array(datum.float_data)
                datum.float_data[:] = self._noisy(values).tolist()
                transaction.put(key, datum.SerializeToString())
        env.close()
