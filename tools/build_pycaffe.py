"""Build a C++ Caffe with pycaffe from its source package, for `caffe -engine pycaffe`."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from caffe_tools.pycaffe.build import command

if __name__ == "__main__":
    command()
