"""Write what blobs of a trained net hold into databases, as Caffe's extract_features does.

The net runs in phase TEST and reads its own data layer, num_mini_batches times. Every picture's
values become a Datum of float_data under the keys 0000000000, 0000000001, ...; of several blobs
and databases the names are separated by ','. A database is there when it is whole, and a folder
that is there already is left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import numpy as np

import runner
from data_prep import database, encode_datums, opened
from netgen.commandline import Parser, run
from netgen.errors import CaffeError
from runner.log import glog

EXAMPLE = """example:
  extract_features s_iter_500.caffemodel net.prototxt conv5,ip1 conv5_lmdb,ip1_lmdb 10 lmdb GPU 0
"""
COMMIT = 1000  # records


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    names, folders = options.blobs.split(","), options.databases.split(",")
    if len(names) != len(folders):
        raise CaffeError(
            "the number of blob names and dataset names must be equal "
            f"({len(names)} vs. {len(folders)})"
        )
    if options.batches < 1:
        raise CaffeError(f"num_mini_batches {options.batches}: at least one is needed")
    runner.prepare_host()  # before PyTorch is loaded
    if options.device == "GPU":
        glog.error("Using GPU", "extract_features.cpp:52")
        glog.error(f"Using Device_id={options.device_id}", "extract_features.cpp:58")
        net = runner.Net(options.net, device=f"cuda:{options.device_id}")
    else:
        glog.error("Using CPU", "extract_features.cpp:62")
        net = runner.Net(options.net)
    missing = runner.load_weights(net, options.weights).missing
    if missing:
        glog.warning(
            f"{options.weights}: no weights of {', '.join(missing)}, which have what their "
            "fillers drew",
            "net.cpp:768",
        )
    for name in names:
        if name not in net.blob_shapes:
            raise CaffeError(f"Unknown feature blob name {name} in the network {options.net}")
    extract(net, names, folders, options.batches, options.backend)
    glog.error("Successfully extracted the features!", "extract_features.cpp:181")
    return 0


def extract(
    net: runner.Net, names: Sequence[str], folders: Sequence[str], batches: int, backend: str
) -> None:
    """Write the blobs of `names`, of so many batches, into new databases, one for each.

    backend: lmdb or leveldb. Raises CaffeError, and then leaves nothing.
    """
    with ExitStack() as stack:
        puts = []
        for folder in folders:
            glog.info(f"Opening dataset {folder}", "extract_features.cpp:125")
            puts.append(stack.enter_context(database(folder, backend)))
            glog.info(*opened(backend, folder))
        glog.error("Extracting Features", "extract_features.cpp:133")
        waiting: list[list[tuple[bytes, bytes]]] = [[] for _ in names]
        counts = [0] * len(names)

        def tell(place: int, line: int) -> None:
            glog.error(
                f"Extracted features of {counts[place]} query images for feature blob "
                f"{names[place]}",
                f"extract_features.cpp:{line}",
            )

        for _ in range(batches):
            blobs = net.forward(names)
            for place, name in enumerate(names):
                for record in _records(blobs[name], name):
                    waiting[place].append((b"%010d" % counts[place], record))
                    counts[place] += 1
                    if not counts[place] % COMMIT:
                        puts[place](waiting[place])
                        waiting[place] = []
                        tell(place, 165)
        for place, put in enumerate(puts):
            put(waiting[place])
            tell(place, 176)


def _records(values: np.ndarray, name: str) -> Iterator[bytes]:
    """The Datums of a blob (N, C, H, W), of which axes on the right may lack."""
    if values.ndim > 4:
        raise CaffeError(
            f"blob '{name}': Cannot use legacy accessors on Blobs with > 4 axes. ({values.ndim})"
        )
    return encode_datums(values.reshape((*values.shape, 1, 1, 1, 1)[:4]), None)


def _parser() -> Parser:
    usage = (
        "extract_features [-h] pretrained_net_param feature_extraction_proto_file\n"
        "       extract_feature_blob_name1[,name2,...] save_feature_dataset_name1[,name2,...]\n"
        "       num_mini_batches db_type [CPU/GPU] [DEVICE_ID=0]"
    )
    parser = Parser.documented("extract_features", __doc__, EXAMPLE, usage=usage)
    add = parser.add_argument
    add("weights", metavar="pretrained_net_param", help="the caffemodel")
    add("net", metavar="feature_extraction_proto_file", help="a net with a data layer")
    add("blobs", metavar="blob_names", help="separated by ','")
    add("databases", metavar="dataset_names", help="new folders, as many as blobs")
    add("batches", metavar="num_mini_batches", type=int, help="of the data layer's batch_size")
    add("backend", metavar="db_type", choices=("lmdb", "leveldb"), help="lmdb or leveldb")
    add("device", nargs="?", choices=("CPU", "GPU"), default="CPU", help="CPU or GPU (CPU)")
    add("device_id", metavar="DEVICE_ID", nargs="?", type=int, default=0, help="(0)")
    return parser


def command() -> None:
    """Run the command as a program of its own."""
    run(main, "extract_features")


if __name__ == "__main__":
    command()
