"""Plot a TPM measurement: one row a layer, the histogram of its kernels and its entropy."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from caffe_tools.plot_tpm import command

if __name__ == "__main__":
    command()
