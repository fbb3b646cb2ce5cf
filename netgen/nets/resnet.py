"""ResNet-20 for CIFAR-10 (He et al. 2015, arXiv 1512.03385, section 4.2): 269,722 parameters.

A convolution, nine blocks of two 3x3 convolutions in three stages of 16, 32 and 64 channels,
the global average and one inner product. The count is of what is learned: weights, the scales
and biases after each BatchNorm, the inner product; not the 1,395 statistics that BatchNorm
keeps in its blobs.

Where a stage halves the image and doubles the channels, the shortcut is the paper's option A,
without parameters: every second pixel, and zeros for the new channels. Caffe's pooling rounds
sizes up, so pixels are taken from the image without its last row and column; the zeros are the
pixels times 0. The image is cropped to the size of a constant, or for deployment to that of its
own 2x2 pooling, and the zeros are the pixels minus themselves: readers of deploy nets, such as
OpenCV 4's, stumble over constants.

Training images have 4 zeros around them (after the mean is subtracted, as those of the records
are 0 in the mean image too), are cropped at random and mirrored.
"""

from fractions import Fraction
from functools import partial

from netgen.builder import NetSpec, Top
from netgen.builder import layers as L
from netgen.builder import params as P
from netgen.errors import CaffeError
from netgen.nets import frame
from netgen.nets.options import NetOptions
from netgen.nets.registry import Recipe, net
from netgen.schema import caffe_pb

DATASET = frame.Dataset("cifar10", (3, 32, 32), {"crop_size": 32}, mirror=True, mean_file=True)
CHANNELS = 16  # of the first stage; each later one has twice as many
STAGES = 3

# Section 4.2: 64,000 iterations. There is no test before the first one: BatchNorm has no
# statistics yet, so that 19 divisions by sqrt(eps) overflow.
RECIPE = Recipe(
    epochs=Fraction(64_000 * 128, 50_000),
    drops=(Fraction(32, 64), Fraction(48, 64)),
    batch_size=128,
    train_size=50_000,
    base_lr=0.1,
    weight_decay=0.0001,
    lr_policy="multistep",
    test_initialization=False,
)


def resnet(
    blocks: int, name: str, options: NetOptions, deploy: bool = False
) -> caffe_pb.NetParameter:
    """The net of 6 blocks + 2 layers with weights, `blocks` being those of each stage."""
    options = options.of_net(
        name, deploy, batch_size=128, data="data/cifar10_raw_pad4", weight_filler="msra"
    )
    _, height, width = DATASET.shape(options)
    least = 2 ** (STAGES - 1)
    if height % least or width % least:
        raise CaffeError(
            f"{name}: images of {height}x{width} do not fit the net: its stages halve them, their "
            f"sides must be multiples of {least}"
        )
    return frame.whole_net(partial(_scores, blocks), DATASET, name, options, deploy)


@net("resnet20", "ResNet-20 for CIFAR-10, shortcuts without parameters", recipe=RECIPE)
def resnet20(name: str, options: NetOptions, deploy: bool = False) -> caffe_pb.NetParameter:
    return resnet(3, name, options, deploy)


def _scores(blocks: int, n: NetSpec, image: Top, o: NetOptions, deploy: bool) -> Top:
    _, *sides = DATASET.shape(o)
    channels = o.channels(CHANNELS)
    top = _relu(n, "relu1", _conv(n, "", 1, image, channels, o))
    for stage in range(1, STAGES + 1):
        for block in range(1, blocks + 1):
            prefix, short, stride = f"stage{stage}_block{block}_", top, 1
            if stage > 1 and block == 1:
                short, stride = _option_a(n, prefix, top, sides, deploy), 2
                channels, sides = 2 * channels, [side // 2 for side in sides]
            top = _conv(n, prefix, 1, top, channels, o, stride)
            top = _conv(n, prefix, 2, _relu(n, f"{prefix}relu1", top), channels, o)
            n[f"{prefix}sum"] = L.Eltwise(short, top, operation=P.Eltwise.SUM)
            top = _relu(n, f"{prefix}relu2", n[f"{prefix}sum"])
    n.pool = L.Pooling(top, pool=P.Pooling.AVE, global_pooling=True)
    n.fc = L.InnerProduct(
        n.pool,
        num_output=o.classes,
        weight_filler={"type": o.weight_filler},
        bias_filler={"type": "constant"},
    )
    return n.fc


def _conv(
    n: NetSpec, prefix: str, number: int, bottom: Top, channels: int, o: NetOptions, stride: int = 1
) -> Top:
    """A 3x3 convolution, its BatchNorm and its Scale."""
    conv, norm, scale = (f"{prefix}{kind}{number}" for kind in ("conv", "bn", "scale"))
    n[conv] = L.Convolution(
        bottom,
        num_output=channels,
        kernel_size=3,
        pad=1,
        bias_term=False,
        weight_filler={"type": o.weight_filler},
        **({"stride": stride} if stride > 1 else {}),
    )
    n[norm] = L.BatchNorm(n[conv], in_place=True)
    n[scale] = L.Scale(n[norm], bias_term=True, in_place=True)
    return n[scale]


def _relu(n: NetSpec, name: str, bottom: Top) -> Top:
    n[name] = L.ReLU(bottom, in_place=True)
    return n[name]


def _option_a(n: NetSpec, prefix: str, top: Top, sides: list[int], deploy: bool) -> Top:
    """Every second pixel of `top`, whose images have these sides, and as many zero channels."""
    name = f"{prefix}shortcut"
    n[f"{name}_size"] = (
        L.Pooling(top, pool=P.Pooling.MAX, kernel_size=2, stride=1)
        if deploy
        else L.DummyData(shape={"dim": [1, 1, *(side - 1 for side in sides)]})
    )
    n[f"{name}_crop"] = L.Crop(top, n[f"{name}_size"], axis=2)
    n[f"{name}_half"] = half = L.Pooling(
        n[f"{name}_crop"], pool=P.Pooling.AVE, kernel_size=1, stride=2
    )
    n[f"{name}_zeros"] = zeros = (
        L.Eltwise(half, half, operation=P.Eltwise.SUM, coeff=[1, -1])
        if deploy
        else L.Power(half, scale=0)
    )
    n[name] = L.Concat(half, zeros)
    return n[name]
