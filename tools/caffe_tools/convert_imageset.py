"""Convert a list of image files to an LMDB or LevelDB, as Caffe's convert_imageset does.

LISTFILE has a line `subfolder/file.jpg 7` for each picture: its path below ROOTFOLDER/, a space,
its label. The flags, the records, their keys and the log are Caffe's, and pixels are those of its
OpenCV. Where Caffe goes on or aborts, this is one line and exit status 1: an empty list, a
list of which no picture can be read, a folder that is there. DB_NAME is there when it is whole.

For a folder with a folder of pictures for each class, `python -m data_prep images` makes all that
a training needs.
"""

from __future__ import annotations

import sys

from caffe_tools.gflags import FlagParser
from data_prep import Form, convert_imageset
from netgen.commandline import run
from runner.log import glog

USAGE = "convert_imageset [FLAGS] ROOTFOLDER/ LISTFILE DB_NAME"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = FlagParser("convert_imageset", __doc__, USAGE)
    parser.switch("gray", "treat images as gray ones")
    parser.switch("shuffle", "shuffle the order of the images, anew each time")
    parser.switch("check_size", "end with an error where an image has another size than the first")
    parser.switch("encoded", "store the image files themselves, not their pixels")
    add = parser.add_argument
    add("-encode_type", default="", metavar="TYPE", help="store images encoded as png, jpg, ...")
    add("-backend", default="lmdb", choices=("lmdb", "leveldb"), help="(%(default)s)")
    add("-resize_width", type=int, default=0, metavar="N", help="pixels; 0: as they are")
    add("-resize_height", type=int, default=0, metavar="N", help="pixels; 0: as they are")
    add("root", metavar="ROOTFOLDER/", help="what stands before every path, with its slash")
    add("listed", metavar="LISTFILE", help="lines `path label`")
    add("out", metavar="DB_NAME", help="the database, a new folder")
    flags = parser.parse(sys.argv[1:] if arguments is None else arguments)
    form = Form(
        flags.gray,
        max(0, flags.resize_height),
        max(0, flags.resize_width),
        flags.encoded,
        flags.encode_type,
    )
    convert_imageset(
        flags.root,
        flags.listed,
        flags.out,
        form,
        glog.log.line,
        backend=flags.backend,
        shuffle=flags.shuffle,
        check_size=flags.check_size,
    )
    return 0


def command() -> None:
    """Run the command as a program of its own."""
    run(main, "convert_imageset")


if __name__ == "__main__":
    command()
