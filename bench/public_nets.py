"""The shapes of four nets that everybody knows, as deploy nets with random weights.

Layer by layer they are AlexNet (Krizhevsky et al. 2012), GoogLeNet (Szegedy et al. 2014), ResNet-50
(He et al. 2015) and MobileNet (Howard et al. 2017) as published for Caffe: Caffe's pooling, LRN
across channels, a BatchNorm and a Scale behind each convolution.
"""

from netgen.builder import NetSpec
from netgen.builder import layers as L
from netgen.builder import params as P
from netgen.schema import caffe_pb

CLASSES = 1000
MSRA, XAVIER = {"type": "msra"}, {"type": "xavier"}


def alexnet(batch: int) -> caffe_pb.NetParameter:
    """AlexNet, its second, fourth and fifth convolution in two groups."""
    n, top = _input("alexnet", batch, 227)
    plan = [
        (96, 11, 4, 0, 1),
        (256, 5, 1, 2, 2),
        (384, 3, 1, 1, 1),
        (384, 3, 1, 1, 2),
        (256, 3, 1, 1, 2),
    ]
    for number, (outputs, kernel, stride, pad, group) in enumerate(plan, start=1):
        top = _conv(n, f"conv{number}", top, outputs, kernel, stride, pad, group=group)
        if number < 3:
            top = _norm(n, f"norm{number}", top)
        if number in (1, 2, 5):
            top = _pool(n, f"pool{number}", top, 3, 2)
    for number in (6, 7):
        n[f"fc{number}"] = L.InnerProduct(top, num_output=4096, weight_filler=XAVIER)
        n[f"relu{number}"] = L.ReLU(n[f"fc{number}"], in_place=True)
        top = n[f"drop{number}"] = L.Dropout(n[f"relu{number}"], in_place=True)
    return _scored(n, "fc8", top)


def googlenet(batch: int) -> caffe_pb.NetParameter:
    """GoogLeNet without the two classifiers on the way, which only help in training."""
    n, top = _input("googlenet", batch, 224)
    top = _pool(n, "pool1", _conv(n, "conv1", top, 64, 7, 2, 3), 3, 2)
    top = _conv(n, "conv2_reduce", _norm(n, "norm1", top), 64, 1)
    top = _norm(n, "norm2", _conv(n, "conv2", top, 192, 3, 1, 1))
    top = _pool(n, "pool2", top, 3, 2)
    modules = {
        "3a": (64, 96, 128, 16, 32, 32),
        "3b": (128, 128, 192, 32, 96, 64),
        "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64),
        "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128),
        "5a": (256, 160, 320, 32, 128, 128),
        "5b": (384, 192, 384, 48, 128, 128),
    }
    for name, counts in modules.items():
        if name in ("4a", "5a"):
            top = _pool(n, f"pool{int(name[0]) - 1}", top, 3, 2)
        top = _inception(n, f"inception_{name}", top, *counts)
    n.pool5 = L.Pooling(top, pool=P.Pooling.AVE, global_pooling=True)
    n.drop = L.Dropout(n.pool5, dropout_ratio=0.4, in_place=True)
    return _scored(n, "fc", n.drop)


def resnet50(batch: int) -> caffe_pb.NetParameter:
    """ResNet-50: 16 blocks of 1x1, 3x3 and 1x1 convolutions; a stage's first 1x1 has its stride."""
    n, top = _input("resnet50", batch, 224)
    top = _pool(n, "pool1", _conv(n, "conv1", top, 64, 7, 2, 3, normal=True), 3, 2)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            name, short = f"res{stage + 2}{'abcdef'[block]}", top
            stride = 2 if stage and not block else 1
            if not block:
                short = _conv(
                    n, f"{name}_branch1", top, 4 * width, 1, stride, normal=True, relu=False
                )
            top = _conv(n, f"{name}_branch2a", top, width, 1, stride, normal=True)
            top = _conv(n, f"{name}_branch2b", top, width, 3, 1, 1, normal=True)
            top = _conv(n, f"{name}_branch2c", top, 4 * width, 1, normal=True, relu=False)
            n[name] = L.Eltwise(short, top)
            top = n[f"{name}_relu"] = L.ReLU(n[name], in_place=True)
    n.pool5 = L.Pooling(top, pool=P.Pooling.AVE, global_pooling=True)
    return _scored(n, "fc1000", n.pool5)


def mobilenet(batch: int) -> caffe_pb.NetParameter:
    """MobileNet: 13 pairs of a convolution of each channel by itself and one over the channels."""
    n, top = _input("mobilenet", batch, 224)
    top = _conv(n, "conv1", top, 32, 3, 2, 1, normal=True)
    inputs = 32
    pairs = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    for number, (outputs, stride) in enumerate([*pairs, (1024, 2), (1024, 1)], start=2):
        name = f"conv{number}"
        top = _conv(n, f"{name}_dw", top, inputs, 3, stride, 1, group=inputs, normal=True)
        top = _conv(n, f"{name}_sep", top, outputs, 1, normal=True)
        inputs = outputs
    n.pool = L.Pooling(top, pool=P.Pooling.AVE, global_pooling=True)
    return _scored(n, "fc", n.pool)


NETS = {"alexnet": alexnet, "googlenet": googlenet, "resnet50": resnet50, "mobilenet": mobilenet}


def _input(name, batch, side):
    n = NetSpec(name)
    n.data = L.Input(shape={"dim": [batch, 3, side, side]})
    return n, n.data


def _conv(n, name, top, outputs, kernel, stride=1, pad=0, group=1, normal=False, relu=True):
    """A convolution with a bias, or a BatchNorm and a Scale behind it, and a ReLU."""
    n[name] = L.Convolution(
        top,
        num_output=outputs,
        kernel_size=kernel,
        stride=stride,
        pad=pad,
        group=group,
        bias_term=not normal,
        weight_filler=MSRA,
    )
    top = n[name]
    if normal:
        n[f"{name}_bn"] = L.BatchNorm(top, in_place=True)
        top = n[f"{name}_scale"] = L.Scale(n[f"{name}_bn"], bias_term=True, in_place=True)
    if relu:
        top = n[f"{name}_relu"] = L.ReLU(top, in_place=True)
    return top


def _norm(n, name, top):
    n[name] = L.LRN(top, local_size=5, alpha=1e-4, beta=0.75)
    return n[name]


def _pool(n, name, top, kernel, stride, pad=0):
    n[name] = L.Pooling(top, pool=P.Pooling.MAX, kernel_size=kernel, stride=stride, pad=pad)
    return n[name]


def _inception(n, name, top, one, three_reduce, three, five_reduce, five, pooled):
    branches = [
        _conv(n, f"{name}_1x1", top, one, 1),
        _conv(
            n, f"{name}_3x3", _conv(n, f"{name}_3x3_reduce", top, three_reduce, 1), three, 3, 1, 1
        ),
        _conv(n, f"{name}_5x5", _conv(n, f"{name}_5x5_reduce", top, five_reduce, 1), five, 5, 1, 2),
        _conv(n, f"{name}_pool_proj", _pool(n, f"{name}_pool", top, 3, 1, 1), pooled, 1),
    ]
    n[f"{name}_output"] = L.Concat(*branches)
    return n[f"{name}_output"]


def _scored(n, name, top):
    n[name] = L.InnerProduct(top, num_output=CLASSES, weight_filler=XAVIER)
    n.prob = L.Softmax(n[name])
    return n.to_proto()
