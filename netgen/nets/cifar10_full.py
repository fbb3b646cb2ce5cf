"""The CIFAR-10 net of BVLC's examples/cifar10, after Krizhevsky's cuda-convnet: 89,578 parameters.

Three 5x5 convolutions with overlapping pooling, two response normalisations within channels,
and one inner product, whose weights decay 250 times as fast. Pixels have the mean image
subtracted; there is no augmentation.
"""

from fractions import Fraction

from netgen.builder import NetSpec, Top
from netgen.builder import layers as L
from netgen.builder import params as P
from netgen.nets import frame
from netgen.nets.options import NetOptions
from netgen.nets.registry import Recipe, net
from netgen.schema import caffe_pb

DATASET = frame.Dataset("cifar10", (3, 32, 32), {}, mean_file=True)
RATES = [{"lr_mult": 1}, {"lr_mult": 2}]

# BVLC examples/cifar10/cifar10_full_solver.prototxt and, after 60,000 and 65,000 iterations, the
# same with _lr1 and _lr2.
RECIPE = Recipe(
    epochs=Fraction(70_000 * 100, 50_000),
    drops=(Fraction(60, 70), Fraction(65, 70)),
    batch_size=100,
    train_size=50_000,
    base_lr=0.001,
    weight_decay=0.004,
    lr_policy="multistep",
    test_interval=1000,
    display=200,
    snapshot=5000,
)


@net("cifar10_full", "Krizhevsky's CIFAR-10 net with LRN, as in Caffe's examples", recipe=RECIPE)
def cifar10_full(name: str, options: NetOptions, deploy: bool = False) -> caffe_pb.NetParameter:
    options = options.of_net(name, deploy, batch_size=100, data="data/cifar10_raw")
    return frame.whole_net(_scores, DATASET, name, options, deploy)


def _scores(n: NetSpec, image: Top, o: NetOptions, deploy: bool) -> Top:
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
        num_output=o.classes,
        **_fillers(0.01),
        param=[{"lr_mult": 1, "decay_mult": 250}, {"lr_mult": 2, "decay_mult": 0}],
    )
    return n.ip1


def _conv(bottom: Top, channels: int, std: float, rates: list[dict[str, int]]) -> Top:
    return L.Convolution(
        bottom, num_output=channels, kernel_size=5, pad=2, **_fillers(std), param=rates
    )


def _fillers(std: float) -> dict[str, dict]:
    return {"weight_filler": {"type": "gaussian", "std": std}, "bias_filler": {"type": "constant"}}


def _pool(bottom: Top, method: int) -> Top:
    return L.Pooling(bottom, pool=method, kernel_size=3, stride=2)


def _norm(bottom: Top) -> Top:
    return L.LRN(bottom, local_size=3, alpha=5e-5, beta=0.75, norm_region=P.LRN.WITHIN_CHANNEL)
