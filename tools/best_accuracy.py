"""Best and final test accuracy of Caffe training logs, a line for each accuracy."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from caffe_tools.best_accuracy import command

if __name__ == "__main__":
    command()
