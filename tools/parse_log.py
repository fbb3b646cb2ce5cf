"""Turn Caffe training logs into tables: LOG.train and LOG.test as CSV, or JSON."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from caffe_tools.parse_log import command

if __name__ == "__main__":
    command()
