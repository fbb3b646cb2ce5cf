"""Datasets to GCN, ZCA and LMDB: see README.md beside this file.

The names below are loaded on first use, so that `python -m data_prep --help` needs
neither NumPy nor protobuf.
"""

from importlib import import_module

_HOME = {
    "DataError": "errors", "NoDataError": "errors",
    "Dataset": "dataset", "IMAGE_SHAPE": "dataset",
    "read_cifar10": "cifar10", "read_mnist": "mnist", "make_synthetic": "synthetic",
    "global_contrast_normalize": "whiten", "Preprocessing": "whiten", "ZCA": "whiten",
    "encode_datums": "records", "write_lmdb": "records", "read_lmdb": "records",
    "Options": "pipeline", "build": "pipeline",
    "verify": "check",
}  # fmt: skip

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'data_prep' has no attribute {name!r}")
    return getattr(import_module(f"data_prep.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
