"""Compute the mean image of a database, as Caffe's compute_image_mean does.

OUTPUT_FILE is the binaryproto that `mean_file` of transform_param reads; without it, the means of
the channels are printed alone, for `mean_value`. The mean has Caffe's bits.
"""

from __future__ import annotations

import sys

from caffe_tools.gflags import FlagParser
from data_prep import channel_means, compute_image_mean, mean_blob
from netgen import schema
from netgen.commandline import run
from runner.log import glog

USAGE = "compute_image_mean [FLAGS] INPUT_DB [OUTPUT_FILE]"
_SOURCE = "compute_image_mean.cpp"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = FlagParser("compute_image_mean", __doc__, USAGE)
    add = parser.add_argument
    add("-backend", default="lmdb", choices=("lmdb", "leveldb"), help="(%(default)s)")
    add("source", metavar="INPUT_DB", help="the database, a folder")
    add("output", metavar="OUTPUT_FILE", nargs="?", help="the binaryproto to write")
    flags = parser.parse(sys.argv[1:] if arguments is None else arguments)
    mean = compute_image_mean(flags.source, glog.log.line, flags.backend)
    if flags.output:
        glog.info(f"Write to {flags.output}", f"{_SOURCE}:108")
        schema.write_binary(mean_blob(mean), flags.output)
    glog.info(f"Number of channels: {len(mean)}", f"{_SOURCE}:114")
    for channel, value in enumerate(channel_means(mean)):
        glog.info(f"mean_value channel [{channel}]: {glog.number(value)}", f"{_SOURCE}:119")
    return 0


def command() -> None:
    """Run the command as a program of its own."""
    run(main, "compute_image_mean")


if __name__ == "__main__":
    command()
