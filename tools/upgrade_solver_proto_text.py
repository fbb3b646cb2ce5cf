"""Caffe's upgrade_solver_proto_text: an old file in the current format."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from caffe_tools.upgrade_solver_proto_text import command

if __name__ == "__main__":
    command()
