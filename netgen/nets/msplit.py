"""The nets of the case study: All-CNN-C grown by residual splits, twice.

msplit1 is the baseline with conv1, conv2 and conv8 split, msplit2 splits four parts of it again.
The halves are even, the first outputs as the fast ones: which kernels a training found fast is
in its plan, and changes weights but no layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netgen.errors import CaffeError
from netgen.nets.allcnn import RECIPE, allcnn_c
from netgen.nets.options import NetOptions
from netgen.nets.registry import net
from netgen.schema import caffe_pb

if TYPE_CHECKING:
    from netgen.growth.plan import LayerPlan

MSPLIT1 = ("conv1", "conv2", "conv8")
MSPLIT2 = ("conv1_split2_residual_pre", "conv1_split2", "conv2_split1", "conv2_split2")


@net("msplit1", "baseline with conv1, conv2 and conv8 split", recipe=RECIPE)
def msplit1(name: str, options: NetOptions, deploy: bool = False) -> caffe_pb.NetParameter:
    return _grown(allcnn_c(name, options, deploy), MSPLIT1)


@net("msplit2", "msplit1 with parts of conv1 and conv2 split again", recipe=RECIPE)
def msplit2(name: str, options: NetOptions, deploy: bool = False) -> caffe_pb.NetParameter:
    return _grown(msplit1(name, options, deploy), MSPLIT2)


def _grown(net: caffe_pb.NetParameter, layers: tuple[str, ...]) -> caffe_pb.NetParameter:
    from netgen.growth.plan import Plan  # plain nets are written without loading all of this
    from netgen.growth.split import split_net

    return split_net(net, Plan(tuple(_halves(net, name) for name in layers))).child


def _halves(net: caffe_pb.NetParameter, name: str) -> LayerPlan:
    from netgen.growth.plan import LayerPlan

    count = next(x.convolution_param.num_output for x in net.layer if x.name == name)
    if count < 2:
        raise CaffeError(f"layer '{name}' has one output: there is nothing to split")
    middle = (count + 1) // 2
    return LayerPlan(name, "residual", tuple(range(middle)), tuple(range(middle, count)))
