"""Nets written in Python: NetSpec, `layers` and `params`, as netgen.builder has them.

from caffe import layers as L, params as P

n = caffe.NetSpec()
n.data = L.Input(shape=dict(dim=[1, 3, 32, 32]))
n.conv1 = L.Convolution(n.data, num_output=16, kernel_size=3)
print(n.to_proto())
"""

from netgen.builder import Function, NetSpec, Top, assign_proto, layers, params, to_proto

__all__ = ["Function", "NetSpec", "Top", "assign_proto", "layers", "params", "to_proto"]
