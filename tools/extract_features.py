"""Write what blobs of a trained net hold into databases, as Caffe's extract_features does."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from caffe_tools.extract_features import command

if __name__ == "__main__":
    command()
