"""The All-CNN family for CIFAR-10 (Springenberg et al. 2015, arXiv 1412.6806, tables 1 and 2).

Pooling is replaced by convolutions of stride 2. Dropout is on the image and after each of
those. The paper pads so that only the third-last convolution shrinks its image, 8x8 to 6x6.
All-CNN-C has 1,369,738 parameters and is the project's baseline.
"""

from collections.abc import Callable
from fractions import Fraction

from netgen.builder import NetSpec, Top
from netgen.nets import frame
from netgen.nets.column import Column
from netgen.nets.options import NetOptions
from netgen.nets.registry import Builder, Recipe, net
from netgen.schema import caffe_pb

# Whitened values have a deviation of about 1, pixels less their mean one of about 64.
DATASET = frame.Dataset("cifar10", (3, 32, 32), {"crop_size": 32}, mirror=True, pixel_scale=1 / 64)

# Section 3: SGD with momentum 0.9 and weight decay 0.001 for 350 epochs, the rate times 0.1 after
# 200, 250 and 300. The paper picks the rate from 0.25, 0.1, 0.05 and 0.01 for each net; here it
# is 0.05, which the known Caffe version of the net uses too.
RECIPE = Recipe(
    epochs=350,
    drops=(Fraction(200, 350), Fraction(250, 350), Fraction(300, 350)),
    batch_size=128,
    train_size=50_000,
    base_lr=0.05,
    weight_decay=0.001,
    lr_policy="multistep",
)


def _plain(table: Callable[[Column, NetOptions], None]) -> Builder:
    """The builder of a plain net whose layers table(column, options) adds one after the other."""

    def build_plain_net(
        name: str, options: NetOptions, deploy: bool = False
    ) -> caffe_pb.NetParameter:
        options = options.of_net(
            name,
            deploy,
            batch_size=128,
            data="data/cifar10",
            weight_filler="msra",
            input_dropout=0.2,
            dropout=0.5,
        )
        return frame.whole_net(scores, DATASET, name, options, deploy)

    def scores(n: NetSpec, image: Top, options: NetOptions, deploy: bool) -> Top:
        column = Column(n, image, options, dropout=not deploy)
        table(column, options)
        return column.top

    return build_plain_net


@net("allcnn-a", "All-CNN-A: two 5x5 stages", recipe=RECIPE)
@_plain
def allcnn_a(c: Column, o: NetOptions) -> None:
    c.dropout(o.input_dropout)
    c.conv(96, 5, pad=2)
    c.conv(96, 3, pad=1, stride=2)
    c.dropout(o.dropout)
    c.conv(192, 5, pad=2)
    c.conv(192, 3, pad=1, stride=2)
    c.dropout(o.dropout)
    c.conv(192, 3)
    c.conv(192, 1)
    c.conv(o.classes, 1, scaled=False)
    c.global_average()


@net("allcnn-b", "All-CNN-B: as A, with 1x1 convolutions between", recipe=RECIPE)
@_plain
def allcnn_b(c: Column, o: NetOptions) -> None:
    c.dropout(o.input_dropout)
    c.conv(96, 5, pad=2)
    c.conv(96, 1)
    c.conv(96, 3, pad=1, stride=2)
    c.dropout(o.dropout)
    c.conv(192, 5, pad=2)
    c.conv(192, 1)
    c.conv(192, 3, pad=1, stride=2)
    c.dropout(o.dropout)
    c.conv(192, 3)
    c.conv(192, 1)
    c.conv(o.classes, 1, scaled=False)
    c.global_average()


@net("baseline", "All-CNN-C under the name that the experiments use", recipe=RECIPE)
@net("allcnn-c", "All-CNN-C: nine 3x3 and 1x1 convolutions", recipe=RECIPE)
@_plain
def allcnn_c(c: Column, o: NetOptions) -> None:
    c.dropout(o.input_dropout)
    c.conv(96, 3, pad=1)
    c.conv(96, 3, pad=1)
    c.conv(96, 3, pad=1, stride=2)
    c.dropout(o.dropout)
    c.conv(192, 3, pad=1)
    c.conv(192, 3, pad=1)
    c.conv(192, 3, pad=1, stride=2)
    c.dropout(o.dropout)
    c.conv(192, 3)
    c.conv(192, 1)
    c.conv(o.classes, 1, scaled=False)
    c.global_average()
