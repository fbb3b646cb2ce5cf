"""The CIFAR-10 net of BVLC's examples/cifar10, after Krizhevsky's cuda-convnet: 89,578 parameters.

Three 5x5 convolutions with overlapping pooling, two response normalisations within channels,
and one inner product, whose weights decay 250 times as fast. Pixels have the mean image
subtracted; there is no augmentation.
"""

from netgen.builder import layers as L
from netgen.builder import params as P
from netgen.nets import frame

RECORDS = frame.Records("cifar10", (3, 32, 32), {}, mean_file=True)
RATES = [{"lr_mult": 1}, {"lr_mult": 2}]


def cifar10_full(name, options, deploy=False):
    options = options.of_net(name, deploy, batch_size=100, data="data/cifar10_raw")
    return frame.build(_scores, RECORDS, name, options, deploy)


def _scores(n, image, o, deploy):
    narrow, wide = o.channels(32), o.channels(64)
    n.conv1 = _conv(image, narrow, 0.0001, RATES)
    n.pool1 = _pool(n.conv1, P.Pooling.MAX)
    n.relu1 = L.ReLU(n.pool1, in_place=True)
    n.norm1 = _norm(n.relu1)
    n.conv2 = _conv(n.norm1, narrow, 0.01, RATES)
    n.relu2 = L.ReLU(n.conv2, in_place=True)
    n.pool2 = _pool(n.relu2, P.Pooling.AVE)
    n.norm2 = _norm(n.pool2)
    n.conv3 = _conv(n.norm2, wide, 0.01, [])
    n.relu3 = L.ReLU(n.conv3, in_place=True)
    n.pool3 = _pool(n.relu3, P.Pooling.AVE)
    n.ip1 = L.InnerProduct(
        n.pool3,
        num_output=frame.CLASSES,
        **_fillers(0.01),
        param=[{"lr_mult": 1, "decay_mult": 250}, {"lr_mult": 2, "decay_mult": 0}],
    )
    return n.ip1


def _conv(bottom, channels, std, rates):
    return L.Convolution(
        bottom, num_output=channels, kernel_size=5, pad=2, **_fillers(std), param=rates
    )


def _fillers(std):
    return {"weight_filler": {"type": "gaussian", "std": std}, "bias_filler": {"type": "constant"}}


def _pool(bottom, method):
    return L.Pooling(bottom, pool=method, kernel_size=3, stride=2)


def _norm(bottom):
    return L.LRN(bottom, local_size=3, alpha=5e-5, beta=0.75, norm_region=P.LRN.WITHIN_CHANNEL)
