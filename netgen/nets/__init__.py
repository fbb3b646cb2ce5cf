"""The bundled nets by name.

A net is a function (name, options, deploy) -> NetParameter, so that a later one may as well
be made from another net as be written down layer by layer.
"""

from functools import partial

from netgen.errors import CaffeError
from netgen.nets.allcnn import allcnn_a, allcnn_b, allcnn_c
from netgen.nets.allcnn import build as column
from netgen.nets.cifar10_full import cifar10_full
from netgen.nets.lenet import lenet
from netgen.nets.msplit import msplit1, msplit2
from netgen.nets.options import WEIGHT_FILLERS, NetOptions
from netgen.nets.resnet import resnet20

__all__ = ["NETS", "WEIGHT_FILLERS", "NetOptions", "build", "check_name", "stem"]

# name: (one line about it, the function that makes it)
NETS = {
    "baseline": ("All-CNN-C under the name that the experiments use", partial(column, allcnn_c)),
    "allcnn-a": ("All-CNN-A: two 5x5 stages", partial(column, allcnn_a)),
    "allcnn-b": ("All-CNN-B: as A, with 1x1 convolutions between", partial(column, allcnn_b)),
    "allcnn-c": ("All-CNN-C: nine 3x3 and 1x1 convolutions", partial(column, allcnn_c)),
    "msplit1": ("baseline with conv1, conv2 and conv8 split", msplit1),
    "msplit2": ("msplit1 with parts of conv1 and conv2 split again", msplit2),
    "lenet": ("LeNet for MNIST, as in Caffe's examples", lenet),
    "cifar10_full": ("Krizhevsky's CIFAR-10 net with LRN, as in Caffe's examples", cifar10_full),
    "resnet20": ("ResNet-20 for CIFAR-10, shortcuts without parameters", resnet20),
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
