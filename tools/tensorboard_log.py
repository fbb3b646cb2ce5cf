"""Write Caffe training logs as TensorBoard's event files: a run for each log."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from caffe_tools.tensorboard_log import command

if __name__ == "__main__":
    command()
