"""The All-CNN family for CIFAR-10 (Springenberg et al. 2015, arXiv 1412.6806, tables 1 and 2).

Pooling is replaced by convolutions of stride 2. Dropout is on the image and after each of
those. The paper pads so that only the third-last convolution shrinks its image, 8x8 to 6x6.
All-CNN-C has 1,369,738 parameters and is the project's baseline.
"""

from netgen.nets.cifar10 import CLASSES


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
    c.conv(CLASSES, 1, scaled=False)
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
    c.conv(CLASSES, 1, scaled=False)
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
    c.conv(CLASSES, 1, scaled=False)
    c.global_average()
