"""Nets as people write them in PyTorch, in the style of their papers, narrow enough for tests.

    python tests/shared/onnx_models.py [--target bvlc] [NAME]...

exports every net, converts it, and prints how far the Caffe net is from onnxruntime.
"""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

sys.path[:0] = [os.path.join(os.path.dirname(__file__), *[os.pardir] * 2)]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

CLASSES = 5


def conv_bn(inputs, outputs, kernel=3, stride=1, groups=1, relu=nn.ReLU):
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([relu(inplace=True)] if relu else []))


class VGG(nn.Module):
    """Simonyan and Zisserman 2014: 3x3 convolutions, two big products with dropout."""

    def __init__(self, width=4):
        super().__init__()
        layers, channels = [], 3
        for stage, convolutions in enumerate((1, 1, 2)):
            for _ in range(convolutions):
                layers += [nn.Conv2d(channels, width << stage, 3, padding=1), nn.ReLU(True)]
                channels = width << stage
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(channels * 16, 32), nn.ReLU(True), nn.Dropout(),
            nn.Linear(32, CLASSES),
        )  # fmt: skip

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or inputs != width:
            self.downsample = conv_bn(inputs, width, 1, stride, relu=None)

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.conv1 = conv_bn(inputs, width, 1)
        self.conv2 = conv_bn(width, width, 3, stride)
        self.conv3 = conv_bn(width, outputs, 1, relu=None)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = conv_bn(inputs, outputs, 1, stride, relu=None)

    def forward(self, x):
        y = self.conv3(self.conv2(self.conv1(x)))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """He et al. 2015, for ImageNet: [2, 2, 2, 2] basic blocks or [3, 4, 6, 3] bottlenecks."""

    def __init__(self, block, blocks, width=4, classes=CLASSES):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        for stage, count in enumerate(blocks, 1):
            layers = []
            for i in range(count):
                stride = 2 if stage > 1 and i == 0 else 1
                layers.append(block(channels, width << (stage - 1), stride))
                channels = (width << (stage - 1)) * block.expansion
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet18(width=4, classes=CLASSES):
    return ResNet(BasicBlock, (2, 2, 2, 2), width, classes)


def resnet50(width=4, classes=CLASSES):
    return ResNet(Bottleneck, (3, 4, 6, 3), width, classes)


class MobileNetV1(nn.Module):
    """Howard et al. 2017: depthwise and pointwise convolutions in turns."""

    def __init__(self, width=4):
        super().__init__()
        layers, channels = [conv_bn(3, width, stride=2)], width
        for stride in (1, 2, 1):
            layers += [conv_bn(channels, channels, 3, stride, groups=channels),
                       conv_bn(channels, 2 * channels, 1)]  # fmt: skip
            channels *= 2
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(channels, CLASSES)

    def forward(self, x):
        return F.softmax(self.fc(F.avg_pool2d(self.features(x), 8).flatten(1)), dim=1)


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, relu, squeeze=False):
        super().__init__()
        wide = 3 * inputs
        self.expand = conv_bn(inputs, wide, 1, relu=relu)
        self.depthwise = conv_bn(wide, wide, 3, stride, groups=wide, relu=relu)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, 4, 1), nn.ReLU(), nn.Conv2d(4, wide, 1),
            nn.Hardsigmoid(),
        ) if squeeze else None  # fmt: skip
        self.project = conv_bn(wide, outputs, 1, relu=None)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.depthwise(self.expand(x))
        if self.squeeze is not None:
            y = y * self.squeeze(y)
        y = self.project(y)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Sandler et al. 2018: ReLU6 and inverted residuals."""

    relu, squeeze = nn.ReLU6, False

    def __init__(self, width=4):
        super().__init__()
        self.stem = conv_bn(3, width, stride=2, relu=self.relu)
        self.blocks = nn.Sequential(*(
            InvertedResidual(width, outputs, stride, self.relu, self.squeeze)
            for outputs, stride in ((width, 1), (width, 1), (2 * width, 2))
        ))  # fmt: skip
        self.last = conv_bn(2 * width, 32, 1, relu=self.relu)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, CLASSES))

    def forward(self, x):
        return self.classifier(self.last(self.blocks(self.stem(x))).mean((2, 3)))


class MobileNetV3(MobileNetV2):
    """Howard et al. 2019: hard swish, and gates of channels."""

    relu, squeeze = nn.Hardswish, True


class ShuffleNetV2(nn.Module):
    """Ma et al. 2018: half of the channels goes past, then channels are shuffled."""

    def __init__(self, width=8):
        super().__init__()
        self.stem = conv_bn(3, width, stride=2)
        half = width // 2
        self.branches = nn.ModuleList(
            nn.Sequential(
                conv_bn(half, half, 1),
                conv_bn(half, half, 3, groups=half, relu=None),
                conv_bn(half, half, 1),
            )
            for _ in range(2)
        )
        self.fc = nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        for branch in self.branches:
            past, through = x.chunk(2, dim=1)
            x = torch.cat((past, branch(through)), dim=1)
            n, c, h, w = x.shape
            x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.fc(x.mean([2, 3]))


class Fire(nn.Module):
    def __init__(self, inputs, squeeze, expand):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """Iandola et al. 2016, whose pools round up."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(8, 4, 8), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(16, 4, 8),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Conv2d(16, CLASSES, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )

    def forward(self, x):
        return torch.flatten(self.classifier(self.features(x)), 1)


class DenseNet(nn.Module):
    """Huang et al. 2016: BatchNorm before the convolutions, everything concatenated."""

    def __init__(self, growth=4):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(8 + i * growth), nn.ReLU(),
                nn.Conv2d(8 + i * growth, growth, 3, padding=1, bias=False),
            )
            for i in range(3)
        )  # fmt: skip
        channels = 8 + 3 * growth
        self.transition = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 8, 1), nn.AvgPool2d(2)
        )
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.fc(F.adaptive_avg_pool2d(F.relu(self.norm(self.transition(x))), 1).flatten(1))


class Inception(nn.Module):
    """Szegedy et al. 2014: branches of all sizes; pools that round up, and pools that round down."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.LocalResponseNorm(5),
            nn.MaxPool2d(3, 2, ceil_mode=True),
        )  # fmt: skip
        self.a = nn.Conv2d(8, 4, 1)
        self.b = nn.Sequential(nn.Conv2d(8, 4, 1), nn.Conv2d(4, 6, (1, 3), padding=(0, 1)),
                               nn.Conv2d(6, 6, (3, 1), padding=(1, 0)))  # fmt: skip
        self.c = nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(8, 4, 1))
        self.d = nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.Conv2d(8, 4, 1))
        self.fc = nn.Linear(18, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        x = F.relu(torch.cat([self.a(x), self.b(x), self.c(x), self.d(x)], 1))
        x = F.avg_pool2d(x, 2, ceil_mode=True)
        return self.fc(x.mean((2, 3)))


class UNet(nn.Module):
    """Ronneberger et al. 2015: down, up again, and across."""

    def __init__(self, width=4):
        super().__init__()
        self.down1, self.down2 = conv_bn(3, width), conv_bn(width, 2 * width)
        self.bottom = conv_bn(2 * width, 4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 3, 2, 1, output_padding=1)
        self.conv2, self.conv1 = conv_bn(4 * width, 2 * width), conv_bn(2 * width, width)
        self.last = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        x = self.up2(self.bottom(F.max_pool2d(two, 2)))
        x = self.up1(self.conv2(torch.cat([x, two], 1)))
        return torch.sigmoid(self.last(self.conv1(torch.cat([x, one], 1))))


class FCN(nn.Module):
    """Long et al. 2015, its scores enlarged as torch does it, and the class of each pixel."""

    def __init__(self, width=4):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.ReLU())
        self.score1, self.score2 = nn.Conv2d(width, CLASSES, 1), nn.Conv2d(width, CLASSES, 1)

    def forward(self, x):
        one = self.one(x)
        coarse = self.score2(self.two(one))
        up = F.interpolate(coarse, scale_factor=2, mode="nearest") + self.score1(one)
        return F.interpolate(up, scale_factor=2, mode="bilinear", align_corners=False)


class SSDHead(nn.Module):
    """Liu et al. 2016: boxes and scores of two maps, concatenated over all places."""

    def __init__(self):
        super().__init__()
        self.one, self.two = conv_bn(3, 8, stride=2), conv_bn(8, 8, stride=2)
        self.location = nn.ModuleList(nn.Conv2d(8, 3 * 4, 3, padding=1) for _ in range(2))
        self.confidence = nn.ModuleList(nn.Conv2d(8, 3 * 4, 3, padding=1) for _ in range(2))

    def forward(self, x):
        maps = [self.one(x)]
        maps.append(self.two(maps[0]))
        boxes, scores = (
            torch.cat(
                [
                    head(m).permute(0, 2, 3, 1).flatten(1)
                    for head, m in zip(heads, maps, strict=True)
                ],
                1,
            )
            for heads in (self.location, self.confidence)
        )
        return boxes, F.softmax(scores.view(scores.shape[0], -1, 4), dim=2)


class YOLOHead(nn.Module):
    """Redmon and Farhadi 2018: leaky ReLU, a map enlarged and joined with a finer one."""

    def __init__(self, width=4):
        super().__init__()
        self.one = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.1)
        )
        self.two = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.SiLU())
        self.fine, self.coarse = nn.Conv2d(2 * width, 9, 1), nn.Conv2d(width, 9, 1)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x):
        one = self.one(x)
        two = self.two(one)
        joined = torch.cat([self.up(two), one], 1)
        boxes = self.fine(joined)
        return torch.sigmoid(boxes[:, 4:]), boxes[:, :4].exp(), self.coarse(two)


class LSTMClassifier(nn.Module):
    """Words, an LSTM over them, and the class by its last state."""

    shape, vocabulary = (7, 2), 11

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(self.vocabulary, 6)
        self.lstm = nn.LSTM(6, 8)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, words):
        states, _ = self.lstm(self.embedding(words))
        return self.fc(states[-1])


class SqueezeExcite(nn.Module):
    """Hu et al. 2017: the channels of an image weighed by what the image is."""

    def __init__(self, channels, relu=nn.SiLU, gate=nn.Sigmoid):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)
        self.relu, self.gate = relu(), gate()

    def forward(self, x):
        return x * self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))


class MBConv(nn.Module):
    """A block of EfficientNet and MNASNet: wide in the middle, depthwise, gated."""

    def __init__(self, inputs, outputs, kernel, stride, relu, gated):
        super().__init__()
        wide = 3 * inputs
        self.block = nn.Sequential(
            conv_bn(inputs, wide, 1, relu=relu),
            conv_bn(wide, wide, kernel, stride, groups=wide, relu=relu),
            *([SqueezeExcite(wide)] if gated else []),
            conv_bn(wide, outputs, 1, relu=None),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.block(x) if self.residual else self.block(x)


class EfficientNet(nn.Module):
    """Tan and Le 2019: SiLU, gates, kernels of 3 and 5."""

    relu, gated = nn.SiLU, True

    def __init__(self, width=4):
        super().__init__()
        self.features = nn.Sequential(
            conv_bn(3, width, 3, 2, relu=self.relu),
            MBConv(width, width, 3, 1, self.relu, self.gated),
            MBConv(width, 2 * width, 5, 2, self.relu, self.gated),
            conv_bn(2 * width, 16, 1, relu=self.relu),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(16, CLASSES))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class MNASNet(EfficientNet):
    """Tan et al. 2018: the same blocks with ReLU, and without gates."""

    relu, gated = nn.ReLU, False


class RegNet(nn.Module):
    """Radosavovic et al. 2020, RegNetY: bottlenecks of grouped convolutions, gated."""

    def __init__(self, width=8):
        super().__init__()
        self.stem = conv_bn(3, width, 3, 2)
        self.a = nn.Sequential(
            conv_bn(width, 2 * width, 1),
            conv_bn(2 * width, 2 * width, 3, 2, groups=4),
            SqueezeExcite(2 * width, nn.ReLU),
            conv_bn(2 * width, 2 * width, 1, relu=None),
        )
        self.proj = conv_bn(width, 2 * width, 1, 2, relu=None)
        self.fc = nn.Linear(2 * width, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        x = F.relu(self.proj(x) + self.a(x))
        return self.fc(F.adaptive_avg_pool2d(x, (1, 1)).flatten(start_dim=1))


class LayerNorm2d(nn.LayerNorm):
    """A LayerNorm over the channels of images."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.wide, self.narrow = (
            nn.Linear(channels, 4 * channels),
            nn.Linear(4 * channels, channels),
        )
        self.gelu = nn.GELU()
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.5))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.scale * self.narrow(self.gelu(self.wide(y))).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Liu et al. 2022: patches, kernels of 7, LayerNorm and GELU."""

    def __init__(self, width=4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 4, 4), LayerNorm2d(width, eps=1e-6))
        self.block = ConvNeXtBlock(width)
        self.down = nn.Sequential(LayerNorm2d(width, eps=1e-6), nn.Conv2d(width, 2 * width, 2, 2))
        self.norm, self.head = nn.LayerNorm(2 * width, eps=1e-6), nn.Linear(2 * width, CLASSES)

    def forward(self, x):
        return self.head(self.norm(self.down(self.block(self.stem(x))).mean((2, 3))))


class Ghost(nn.Module):
    """Half of the channels are made of the other half, one by one."""

    def __init__(self, inputs, outputs):
        super().__init__()
        half = -(-outputs // 2)
        self.outputs = outputs
        self.primary = conv_bn(inputs, half, 1)
        self.cheap = conv_bn(half, half, 3, groups=half)

    def forward(self, x):
        one = self.primary(x)
        return torch.cat([one, self.cheap(one)], dim=1)[:, : self.outputs, :, :]


class GhostNet(nn.Module):
    """Han et al. 2019."""

    def __init__(self, width=5):
        super().__init__()
        self.stem = conv_bn(3, width, 3, 2)
        self.one = Ghost(width, 3 * width)
        self.gate = SqueezeExcite(3 * width, nn.ReLU, nn.ReLU6)
        self.two = Ghost(3 * width, width)
        self.fc = nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        y = self.one(x)
        y = y * F.relu6(self.gate(y) + 3.0) / 6.0
        return self.fc((x + self.two(y)).mean((2, 3)))


class HRNet(nn.Module):
    """Sun et al. 2019: two resolutions side by side, each told of the other."""

    def __init__(self, width=4):
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, width, 3, 2), conv_bn(width, width, 3))
        self.coarse = conv_bn(width, 2 * width, 3, 2)
        self.up = nn.Sequential(
            conv_bn(2 * width, width, 1, relu=None), nn.Upsample(scale_factor=2, mode="nearest")
        )
        self.down = conv_bn(width, 2 * width, 3, 2, relu=None)
        self.last = nn.Conv2d(3 * width, 2, 1)

    def forward(self, x):
        fine = self.stem(x)
        coarse = self.coarse(fine)
        fine, coarse = F.relu(fine + self.up(coarse)), F.relu(self.down(fine) + coarse)
        size = fine.shape[2:]
        wide = F.interpolate(coarse, size=size, mode="bilinear", align_corners=True)
        return self.last(torch.cat([fine, wide], 1))


class DeepLab(nn.Module):
    """Chen et al. 2017, DeepLabV3: convolutions with holes, and the whole image's mean."""

    def __init__(self, width=4):
        super().__init__()
        self.stem = conv_bn(3, width, 3, 4)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=d, dilation=d, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            for d in (2, 3)
        )
        self.image = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1, bias=False), nn.ReLU()
        )
        self.project = nn.Sequential(nn.Conv2d(3 * width, CLASSES, 1), nn.Dropout(0.5))

    def forward(self, x):
        y = self.stem(x)
        whole = F.interpolate(
            self.image(y), size=y.shape[-2:], mode="bilinear", align_corners=False
        )
        y = self.project(torch.cat([*(branch(y) for branch in self.branches), whole], 1))
        return F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


class CRNN(nn.Module):
    """Shi et al. 2015: columns of features, read both ways by an LSTM."""

    def __init__(self, width=4):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(3, width, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2, 2),
            nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.MaxPool2d((2, 2), (2, 1), (0, 1)), nn.AdaptiveAvgPool2d((1, None)),
        )  # fmt: skip
        self.rnn = nn.LSTM(width, 6, bidirectional=True)
        self.embedding = nn.Linear(12, CLASSES)

    def forward(self, x):
        steps = self.cnn(x).squeeze(2).permute(2, 0, 1)
        states, _ = self.rnn(steps)
        t, b, h = states.size()
        return F.log_softmax(self.embedding(states.view(t * b, h)).view(t, b, -1), dim=2)


class ESPCN(nn.Module):
    """Shi et al. 2016: super resolution by channels that become pixels."""

    def __init__(self, times=3):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 5, padding=2), nn.Conv2d(6, 3 * times**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(times)

    def forward(self, x):
        return self.shuffle(self.two(torch.tanh(self.one(x))))


class YOLOv5(nn.Module):
    """A head of anchors with its grid, over a focus, pools of one size and an enlarged map."""

    def __init__(self, width=4, anchors=2, classes=3):
        super().__init__()
        self.focus = conv_bn(12, width, 3, relu=nn.SiLU)
        self.down = conv_bn(width, width, 3, 2, relu=nn.SiLU)
        self.pool, self.after = nn.MaxPool2d(5, 1, 2), conv_bn(4 * width, width, 1, relu=nn.SiLU)
        self.head = nn.Conv2d(2 * width, anchors * (classes + 5), 1)
        self.anchors = anchors
        self.register_buffer("sizes", torch.rand(1, anchors, 1, 1, 2) * 20)

    def forward(self, x):
        x = torch.cat(
            [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1
        )
        fine = self.focus(x)
        pools = [self.down(fine)]
        for _ in range(3):
            pools.append(self.pool(pools[-1]))
        up = F.interpolate(self.after(torch.cat(pools, 1)), scale_factor=2.0, mode="nearest")
        x = self.head(torch.cat([up, fine], 1))
        b, _, h, w = x.shape
        x = x.view(b, self.anchors, -1, h, w).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid = torch.stack((columns, rows), 2).view(1, 1, h, w, 2).float()
        place = (x[..., 0:2] * 2.0 - 0.5 + grid) * 2.0
        size = (x[..., 2:4] * 2) ** 2 * self.sizes
        return torch.cat((place, size, x[..., 4:]), -1).view(b, -1, x.shape[-1])


class YOLOv8(nn.Module):
    """A head without anchors, whose box edges are means of distributions."""

    def __init__(self, width=8, bins=4, classes=3):
        super().__init__()
        self.stem = conv_bn(3, width, 3, 4, relu=nn.SiLU)
        self.one, self.two = (conv_bn(width // 2, width // 2, 3, relu=nn.SiLU) for _ in range(2))
        self.joined = conv_bn(2 * width, width, 1, relu=nn.SiLU)
        self.box, self.score = nn.Conv2d(width, 4 * bins, 1), nn.Conv2d(width, classes, 1)
        self.bins, self.classes = bins, classes
        self.mean = nn.Conv2d(bins, 1, 1, bias=False)
        self.mean.weight.data[:] = torch.arange(bins).view(1, bins, 1, 1)

    def forward(self, x):
        parts = list(self.stem(x).chunk(2, 1))
        for layer in (self.one, self.two):
            parts.append(layer(parts[-1]))
        y = self.joined(torch.cat(parts, 1))
        y = torch.cat([self.box(y), self.score(y)], 1)
        b, channels, h, w = y.shape
        box, score = y.view(b, channels, -1).split((4 * self.bins, self.classes), 1)
        edges = box.view(b, 4, self.bins, h * w).transpose(2, 1).softmax(1)
        first, last = self.mean(edges).view(b, 4, h * w).chunk(2, 1)
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        anchors = torch.stack((columns, rows)).view(1, 2, -1) + 0.5
        low, high = anchors - first, anchors + last
        return torch.cat((torch.cat(((low + high) / 2, high - low), 1) * 4, score.sigmoid()), 1)


class BilinearUNet(nn.Module):
    """A U-Net whose maps are enlarged bilinearly, cut and padded to each other's size."""

    def __init__(self, width=4):
        super().__init__()
        self.down1, self.down2 = conv_bn(3, width), conv_bn(width, width)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.conv, self.last = conv_bn(2 * width, width), nn.Conv2d(width, 2, 1)

    def forward(self, x):
        one = self.down1(x)
        up = self.up(self.down2(F.max_pool2d(one, 3, 2)))
        high, wide = one.size(2) - up.size(2), one.size(3) - up.size(3)
        up = F.pad(up, [wide // 2, wide - wide // 2, high // 2, high - high // 2])
        return self.last(self.conv(torch.cat([one, up], dim=1)))


class StyleTransfer(nn.Module):
    """Johnson et al. 2016: mirrored borders and the statistics of each image."""

    def __init__(self, width=4):
        super().__init__()
        self.pad = nn.ReflectionPad2d(4)
        self.one = nn.Conv2d(3, width, 9, 2)
        self.norm1 = nn.InstanceNorm2d(width, affine=True)
        self.norm2 = nn.GroupNorm(2, width)
        self.two = nn.Conv2d(width, 3, 3)

    def forward(self, x):
        y = F.relu(self.norm1(self.one(self.pad(x))))
        y = F.interpolate(self.norm2(y), mode="nearest", scale_factor=2)
        return self.two(F.pad(y, (1, 1, 1, 1), mode="reflect"))


class CifarResNet(nn.Module):
    """He et al. 2015, for CIFAR: shortcuts without parameters."""

    def __init__(self, width=4):
        super().__init__()
        self.stem = conv_bn(3, width)
        self.conv1, self.conv2 = (
            conv_bn(width, 2 * width, 3, 2),
            conv_bn(2 * width, 2 * width, relu=None),
        )
        self.linear = nn.Linear(2 * width, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        missing = x.shape[1] // 2
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, missing, missing), "constant", 0)
        x = F.relu(self.conv2(self.conv1(x)) + short)
        return self.linear(F.avg_pool2d(x, x.size()[3]).view(x.size(0), -1))


class Mixer(nn.Module):
    """Tolstikhin et al. 2021: products over places and over channels in turns."""

    def __init__(self, width=6, places=16):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(places, 8), nn.GELU(), nn.Linear(8, places))
        self.channels = nn.Sequential(nn.Linear(width, 8), nn.GELU(), nn.Linear(8, width))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.channels(self.norm2(x))).mean(1))


class GRUClassifier(LSTMClassifier):
    """Words, batch first, two GRUs over them, and the class by the last state."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.GRU(6, 8, num_layers=2, batch_first=True)

    def forward(self, words):
        _, last = self.lstm(self.embedding(words))
        return self.fc(last[-1])


class ViT(nn.Module):
    """Dosovitskiy et al. 2020: attention, which no layer of Caffe is."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 17, width))
        self.block = nn.TransformerEncoderLayer(
            width, heads, 16, activation="gelu", batch_first=True, norm_first=True
        )
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.block(x)[:, 0])


MODELS = {
    "vgg": VGG,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": MobileNetV2,
    "mobilenet_v3": MobileNetV3,
    "shufflenet_v2": ShuffleNetV2,
    "squeezenet": SqueezeNet,
    "densenet": DenseNet,
    "inception": Inception,
    "unet": UNet,
    "fcn": FCN,
    "ssd_head": SSDHead,
    "yolo_head": YOLOHead,
    "lstm": LSTMClassifier,
    "bilinear_unet": BilinearUNet,
    "cifar_resnet": CifarResNet,
    "convnext": ConvNeXt,
    "crnn": CRNN,
    "deeplab": DeepLab,
    "efficientnet": EfficientNet,
    "espcn": ESPCN,
    "ghostnet": GhostNet,
    "gru": GRUClassifier,
    "hrnet": HRNet,
    "mixer": Mixer,
    "mnasnet": MNASNet,
    "regnet": RegNet,
    "style_transfer": StyleTransfer,
    "yolo_v5": YOLOv5,
    "yolo_v8": YOLOv8,
}
#: Those that only a Caffe with more layer types can say.
TARGET = {"ssd_head": "ssd"}


def model(name):
    """The net of a name, weights and statistics drawn at random."""
    torch.manual_seed(0)
    net = MODELS[name]()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def export(net, path, opset=17, dynamo=False, batch=1, size=32, training=False, **options):
    """Write a net as ONNX, by the exporter of traces or, with dynamo, by that of graphs."""
    shape = getattr(net, "shape", (batch, 3, size, size))
    vocabulary = getattr(net, "vocabulary", None)
    words = vocabulary is not None
    example = torch.randint(0, vocabulary, shape) if words else torch.randn(shape)
    if training:
        options["training"] = torch.onnx.TrainingMode.PRESERVE
        options["do_constant_folding"] = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (example,), str(path), input_names=["data"], opset_version=opset, dynamo=dynamo,
            verbose=False,
            **options,
        )  # fmt: skip
    return path


def in_process(found, inputs, blobs):
    """What runs a net for netgen.from_onnx.check without another process."""
    import runner

    return runner.Net(found.net, weights=found.weights).forward(blobs, **inputs)


def main():
    from netgen import from_onnx
    from netgen.errors import CaffeError
    from netgen.from_onnx.check import check

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(MODELS))
    parser.add_argument("--target")
    args = parser.parse_args()
    for name in args.names or MODELS:
        for opset, dynamo in ((11, False), (17, False), (18, True)):
            target = from_onnx.TARGETS[args.target or TARGET.get(name, "bvlc")]
            with tempfile.TemporaryDirectory() as folder:
                path = export(model(name), Path(folder, "net.onnx"), opset, dynamo)
                try:
                    found = from_onnx.convert(from_onnx.read_model(path), target)
                    worst = max(d.relative for d in check(path, found, run=in_process))
                    told = f"{worst:.1e}, {len(found.net.layer)} layers"
                except CaffeError as error:
                    told = f"refused: {error}"
            print(f"{name:14} opset {opset}{' dynamo' * dynamo}, {target.name}: {told}", flush=True)


if __name__ == "__main__":
    main()
