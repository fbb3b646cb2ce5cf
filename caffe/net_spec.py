"""Nets written in Python: NetSpec, `layers` and `params`, as netgen.builder has them.

from caffe import layers as L, params as P

n = caffe.NetSpec()
n.data = L.Input(shape=dict(dim=[1, 3, 32, 32]))
n.conv1 = L.Convolution(n.data, num_output=16, kernel_size=3)
print(n.to_proto())
"""

from netgen.builder import (
    Function,
    Layers,
    NetSpec,
    Parameters,
    Top,
    assign_proto,
    layers,
    params,
    to_proto,
)
from netgen.schema import caffe_pb

__all__ = [
    "Function",
    "Layers",
    "NetSpec",
    "Parameters",
    "Top",
    "assign_proto",
    "layers",
    "param_name_dict",
    "params",
    "to_proto",
]


def param_name_dict() -> dict[str, str]:
    """{type: its field of LayerParameter without _param}: InnerProduct's is inner_product."""
    return {
        field.message_type.name.removesuffix("Parameter"): field.name.removesuffix("_param")
        for field in caffe_pb.LayerParameter.DESCRIPTOR.fields
        if field.name.endswith("_param")
    }
