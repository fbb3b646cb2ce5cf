"""Plot Caffe training logs: train loss, test loss and test accuracy in one figure."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from caffe_tools.plot_loss import command

if __name__ == "__main__":
    command()
