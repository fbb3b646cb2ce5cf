"""Compute the mean image of a database, as Caffe's compute_image_mean does."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from caffe_tools.compute_image_mean import command

if __name__ == "__main__":
    command()
