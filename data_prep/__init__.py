"""Datasets to GCN, ZCA and LMDB: see README.md beside this file.

The names below are loaded on first use, so that `python -m data_prep --help` needs
neither NumPy nor protobuf.
"""

from importlib import import_module

_HOMES = {
    "data_prep.check": ("verify",),
    "data_prep.cifar10": ("read_cifar10",),
    "data_prep.convert": ("Form", "convert_imageset", "database", "opened"),
    "data_prep.dataset": ("IMAGE_SHAPE", "Dataset"),
    "data_prep.errors": ("DataError", "NoDataError"),
    "data_prep.images": ("ImageOptions", "build_images"),
    "data_prep.mean": ("channel_means", "compute_image_mean", "mean_blob"),
    "data_prep.mnist": ("read_mnist",),
    "data_prep.pipeline": ("Options", "build_dataset"),
    "data_prep.records": ("read_lmdb", "write_lmdb"),
    "data_prep.synthetic": ("make_synthetic",),
    "data_prep.whiten": ("fit_preprocessing", "fit_zca"),
    "netgen.schema": ("ZCA", "Preprocessing", "encode_datums", "global_contrast_normalize"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'data_prep' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
