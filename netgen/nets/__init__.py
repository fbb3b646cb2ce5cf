"""The bundled nets by name.

A net is a function (name, options, deploy) -> NetParameter, so that a later one may as well
be made from another net as be written down layer by layer.
"""

from functools import partial

from netgen.errors import CaffeError
from netgen.nets.allcnn import allcnn_a, allcnn_b, allcnn_c
from netgen.nets.cifar10 import build as cifar10
from netgen.nets.msplit import msplit1, msplit2
from netgen.nets.options import WEIGHT_FILLERS, NetOptions

__all__ = ["NETS", "WEIGHT_FILLERS", "NetOptions", "build", "check_name", "stem"]

# name: (one line about it, the function that makes it)
NETS = {
    "baseline": ("All-CNN-C under the name that the experiments use", partial(cifar10, allcnn_c)),
    "allcnn-a": ("All-CNN-A: two 5x5 stages", partial(cifar10, allcnn_a)),
    "allcnn-b": ("All-CNN-B: as A, with 1x1 convolutions between", partial(cifar10, allcnn_b)),
    "allcnn-c": ("All-CNN-C: nine 3x3 and 1x1 convolutions", partial(cifar10, allcnn_c)),
    "msplit1": ("baseline with conv1, conv2 and conv8 split", msplit1),
    "msplit2": ("msplit1 with parts of conv1 and conv2 split again", msplit2),
}


def build(name, options=None, deploy=False):
    """The NetParameter of a bundled net: train and test net in one, or the deploy net.

    Raises CaffeError for an unknown name, listing the known ones.
    """
    check_name(name)
    _, make = NETS[name]
    return make(name, options or NetOptions(), deploy)


def check_name(name):
    """Raise CaffeError, listing the known names, unless this is one."""
    if name not in NETS:
        raise CaffeError(f"Unknown net: '{name}' (known nets: {', '.join(NETS)})")


def stem(name):
    """The name in file names: allcnn-a is allcnn_a.prototxt."""
    return name.replace("-", "_")
