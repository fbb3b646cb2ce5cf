"""The All-CNN family for CIFAR-10 (Springenberg et al. 2015, arXiv 1412.6806, tables 1 and 2).

Pooling is replaced by convolutions of stride 2. Dropout is on the image and after each of
those. The paper pads so that only the third-last convolution shrinks its image, 8x8 to 6x6.
All-CNN-C has 1,369,738 parameters and is the project's baseline.
"""

from functools import partial

from netgen.nets import frame
from netgen.nets.column import Column

RECORDS = frame.Records("cifar10", (3, 32, 32), {"crop_size": 32}, mirror=True)


def build(body, name, options, deploy=False):
    """The NetParameter of a plain net: body(column, options) adds the layers of its table."""
    options = options.of_net(
        name,
        deploy,
        batch_size=128,
        data="data/cifar10",
        weight_filler="msra",
        input_dropout=0.2,
        dropout=0.5,
    )
    return frame.build(partial(_column, body), RECORDS, name, options, deploy)


def _column(body, n, image, options, deploy):
    column = Column(n, image, options, dropout=not deploy)
    body(column, options)
    return column.top


def allcnn_a(c, o):
    c.dropout(o.input_dropout)
    c.conv(96, 5, pad=2)
    c.conv(96, 3, pad=1, stride=2)
    c.dropout(o.dropout)
    c.conv(192, 5, pad=2)
    c.conv(192, 3, pad=1, stride=2)
    c.dropout(o.dropout)
    c.conv(192, 3)
    c.conv(192, 1)
    c.conv(frame.CLASSES, 1, scaled=False)
    c.global_average()


def allcnn_b(c, o):
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
    c.conv(frame.CLASSES, 1, scaled=False)
    c.global_average()


def allcnn_c(c, o):
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
    c.conv(frame.CLASSES, 1, scaled=False)
    c.global_average()
