"""The bundled nets by name, each in one file with its recipe.

A module of this folder is found by being there: its `@net(...)` enters the net.
"""

from importlib import import_module
from pkgutil import iter_modules

from netgen.errors import CaffeError
from netgen.nets.options import WEIGHT_FILLERS, NetOptions
from netgen.nets.registry import NETS, BundledNet
from netgen.schema import caffe_pb

__all__ = ["NETS", "WEIGHT_FILLERS", "NetOptions", "build_net", "find", "stem"]

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)


def build_net(
    name: str, options: NetOptions | None = None, deploy: bool = False
) -> caffe_pb.NetParameter:
    """The NetParameter of a bundled net: train and test net in one, or the deploy net.

    Raises CaffeError for an unknown name, listing the known ones, and for options that do not
    fit the net.
    """
    return find(name).builder(name, options or NetOptions(), deploy)


def find(name: str) -> BundledNet:
    """The bundled net of this name. Raises CaffeError, listing the known names."""
    if name not in NETS:
        raise CaffeError(f"Unknown net: '{name}' (known nets: {', '.join(NETS)})")
    return NETS[name]


def stem(name: str) -> str:
    """The name in file names: allcnn-a is allcnn_a.prototxt."""
    return name.replace("-", "_")
