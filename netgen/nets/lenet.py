"""LeNet for MNIST as BVLC's examples/mnist have it: 431,080 parameters.

Two convolutions with max pooling, then 500 hidden units; the only ReLU is on those. Biases
learn at twice the rate. Pixels are scaled to 0..1.
"""

from fractions import Fraction

from netgen.builder import NetSpec, Top
from netgen.builder import layers as L
from netgen.builder import params as P
from netgen.nets import frame
from netgen.nets.options import NetOptions
from netgen.nets.registry import Recipe, net
from netgen.schema import caffe_pb

DATASET = frame.Dataset("mnist", (1, 28, 28), {"scale": 1 / 256})
RATES = [{"lr_mult": 1}, {"lr_mult": 2}]

# BVLC examples/mnist/lenet_solver.prototxt: 10,000 iterations.
RECIPE = Recipe(
    epochs=Fraction(10_000 * 64, 60_000),
    batch_size=64,
    train_size=60_000,
    base_lr=0.01,
    weight_decay=0.0005,
    lr_policy="inv",
    snapshot=5000,
)


@net("lenet", "LeNet for MNIST, as in Caffe's examples", recipe=RECIPE)
def lenet(name: str, options: NetOptions, deploy: bool = False) -> caffe_pb.NetParameter:
    options = options.of_net(name, deploy, batch_size=64, data="data/mnist", weight_filler="xavier")
    return frame.whole_net(_scores, DATASET, name, options, deploy)


def _scores(n: NetSpec, image: Top, o: NetOptions, deploy: bool) -> Top:
    learned = {
        "param": RATES,
        "weight_filler": {"type": o.weight_filler},
        "bias_filler": {"type": "constant"},
    }
    halve = {"pool": P.Pooling.MAX, "kernel_size": 2, "stride": 2}
    n.conv1 = L.Convolution(image, num_output=o.channels(20), kernel_size=5, **learned)
    n.pool1 = L.Pooling(n.conv1, **halve)
    n.conv2 = L.Convolution(n.pool1, num_output=o.channels(50), kernel_size=5, **learned)
    n.pool2 = L.Pooling(n.conv2, **halve)
    n.ip1 = L.InnerProduct(n.pool2, num_output=o.channels(500), **learned)
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=o.classes, **learned)
    return n.ip2
