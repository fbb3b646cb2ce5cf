"""The bundled nets by name, each in one file with its recipe.

A module of this folder is found by being there: its `@net(...)` enters the net.
"""

from importlib import import_module
from pkgutil import iter_modules

from netgen.errors import CaffeError
from netgen.nets.options import WEIGHT_FILLERS, NetOptions
from netgen.nets.registry import NETS, Builder, BundledNet
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
    options, builder = options or NetOptions(), find(name).builder
    if options.image_sides:
        _require_fit(name, builder, options)
    return builder(name, options, deploy)


def _require_fit(name: str, builder: Builder, options: NetOptions) -> None:
    """Raise CaffeError where images of this size are too small, or not of a size, for the net."""
    from netgen import graph  # nets of their own size are written without loading all of this

    try:
        net = builder(name, options, True)
        graph.infer(graph.in_phase(net, caffe_pb.TEST), caffe_pb.TEST)
    except graph.NetError as error:
        size = "x".join(map(str, options.image_sides or ()))
        raise CaffeError(f"{name}: images of {size} do not fit the net: {error}") from None


def find(name: str) -> BundledNet:
    """The bundled net of this name. Raises CaffeError, listing the known names."""
    if name not in NETS:
        raise CaffeError(f"Unknown net: '{name}' (known nets: {', '.join(NETS)})")
    return NETS[name]


def stem(name: str) -> str:
    """The name in file names: allcnn-a is allcnn_a.prototxt."""
    return name.replace("-", "_")
