"""Compare a net before and after a split: outputs, test accuracy, parameters, multiply-adds."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from caffe_tools.verify_split import command

if __name__ == "__main__":
    command()
