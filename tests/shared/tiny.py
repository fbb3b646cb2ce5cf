"""A tiny data set and most of a net for it, which several rooms' tests train on."""

from pathlib import Path

import lmdb
import numpy as np

from netgen.schema import caffe_pb

TRAIN_RECORDS, TEST_RECORDS = 22, 10  # no multiple of a batch: every run goes over the end

#: The data layers of a net; {folder} holds train_lmdb and test_lmdb. Doubled braces are braces.
DATA = """\
name: "tiny"
layer {{
  name: "data" type: "Data" top: "data" top: "label" include {{ phase: TRAIN }}
  transform_param {{ crop_size: 6 mirror: true scale: 0.00390625 }}
  data_param {{ source: "{folder}/train_lmdb" backend: LMDB batch_size: 4 }}
}}
layer {{
  name: "data" type: "Data" top: "data" top: "label" include {{ phase: TEST }}
  transform_param {{ crop_size: 6 mirror: true scale: 0.00390625 }}
  data_param {{ source: "{folder}/test_lmdb" backend: LMDB batch_size: 3 }}
}}
"""

#: Its loss and accuracy, of the blob "ip".
LOSS = """\
layer {{
  name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
  include {{ phase: TEST }}
}}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
"""


def write_lmdbs(folder: Path) -> None:
    """train_lmdb and test_lmdb: 2x8x8 images of three classes, each with its own bright corner."""
    for name, count, seed in (("train_lmdb", TRAIN_RECORDS, 1), ("test_lmdb", TEST_RECORDS, 2)):
        random = np.random.default_rng(seed)
        with lmdb.open(str(folder / name), map_size=1 << 22) as env, env.begin(write=True) as txn:
            for i in range(count):
                label = i * 2 % 3
                image = random.integers(0, 100, (2, 8, 8)).astype(np.uint8)
                image[label % 2, label * 2 : label * 2 + 4] += 120
                datum = caffe_pb.Datum(
                    channels=2, height=8, width=8, data=image.tobytes(), label=label
                )
                txn.put(b"%05d" % i, datum.SerializeToString())
