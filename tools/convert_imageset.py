"""Convert a list of image files to an LMDB or LevelDB, as Caffe's convert_imageset does."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from caffe_tools.convert_imageset import command

if __name__ == "__main__":
    command()
