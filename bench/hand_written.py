"""The nets as one writes them in PyTorch today, and their training loop.

    python -m bench.hand_written allcnn-c FOLDER --steps 5    # alone in a process

channels_last, torch.optim.SGD, data in memory: images already scaled and centred, cropped and
mirrored by slices, one crop a batch. Modules stand in the order of the prototxt's layers, so that
their parameters are those of the Caffe net one by one.
"""

import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, cross_entropy, pad, relu

from netgen.commandline import Parser, run

CLASSES = 10


def scaled(width, *channels):
    """Channel counts at a width, as `python -m netgen --width` rounds them."""
    return [max(1, round(count * width)) for count in channels]


# --- All-CNN-C and the nets grown from it ---


class Split(nn.Module):
    """A convolution split in two, the second part with a residual path; a 1x1 mixes them."""

    def __init__(self, first, second, residual, outputs):
        super().__init__()
        self.first, self.second, self.residual = first, second, residual
        self.post = nn.Conv2d(outputs // 2, outputs // 2, 1)
        self.mix = nn.Conv2d(outputs, outputs, 1)

    def forward(self, x):
        second = self.second(x) + self.post(relu(self.residual(x)))
        return self.mix(torch.cat([self.first(x), second], 1))


def _conv(inputs, outputs, kernel, padding, split):
    """A convolution; split: the names of its parts that are split again, None for a plain one."""
    if split is None:
        return nn.Conv2d(inputs, outputs, kernel, padding=padding)
    counts = {"first": (outputs + 1) // 2, "second": outputs // 2, "residual": outputs // 2}
    parts = {
        part: _conv(inputs, count, kernel, padding, () if part in split else None)
        for part, count in counts.items()
    }
    return Split(**parts, outputs=outputs)


def all_cnn(width, splits=None):
    """All-CNN-C; splits: {number of a convolution: its parts that are split again}."""
    narrow, wide = scaled(width, 96, 192)
    splits = splits or {}
    layers, inputs = [nn.Dropout(0.2)], 3
    plan = [(narrow, 3, 1, 1), (narrow, 3, 1, 1), (narrow, 3, 2, 1),
            (wide, 3, 1, 1), (wide, 3, 1, 1), (wide, 3, 2, 1),
            (wide, 3, 1, 0), (wide, 1, 1, 0), (CLASSES, 1, 1, 0)]  # fmt: skip
    for number, (outputs, kernel, stride, padding) in enumerate(plan, start=1):
        if stride > 1:
            convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding)
        else:
            convolution = _conv(inputs, outputs, kernel, padding, splits.get(number))
        layers += [convolution, nn.ReLU(inplace=True)]
        if stride > 1:
            layers.append(nn.Dropout(0.5))
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def msplit1(width):
    return all_cnn(width, {1: (), 2: (), 8: ()})


def msplit2(width):
    return all_cnn(width, {1: ("second", "residual"), 2: ("first", "second"), 8: ()})


# --- the nets of Caffe's examples ---


def lenet(width):
    first, second, hidden = scaled(width, 20, 50, 500)
    return nn.Sequential(
        nn.Conv2d(1, first, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * second, hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, CLASSES),
    )


class WithinChannelNorm(nn.Module):
    """x / (1 + alpha m)^beta with m the mean of x^2 over a square: LRN, WITHIN_CHANNEL."""

    def __init__(self, size=3, alpha=5e-5, beta=0.75):
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x):
        mean = avg_pool2d(x * x, self.size, stride=1, padding=self.size // 2)
        return x * (1 + self.alpha * mean) ** -self.beta


def cifar10_full(width):
    narrow, wide = scaled(width, 32, 64)

    def average():
        # Caffe divides by the pixels of a window that are in the image, as this does.
        return nn.AvgPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        nn.Conv2d(3, narrow, 5, padding=2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.ReLU(inplace=True),
        WithinChannelNorm(),
        nn.Conv2d(narrow, narrow, 5, padding=2),
        nn.ReLU(inplace=True),
        average(),
        WithinChannelNorm(),
        nn.Conv2d(narrow, wide, 5, padding=2),
        nn.ReLU(inplace=True),
        average(),
        nn.Flatten(),
        nn.Linear(16 * wide, CLASSES),
    )


# --- ResNet ---


class Block(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a shortcut without parameters (option A)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x):
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return relu(x + y)


def resnet(blocks, width):
    (channels,) = scaled(width, 16)
    layers = [
        nn.Conv2d(3, channels, 3, 1, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]
    inputs = channels
    for stage in range(3):
        outputs = channels * 2**stage
        for block in range(blocks):
            layers.append(Block(inputs, outputs, 2 if stage and not block else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES))


def resnet20(width):
    return resnet(3, width)


NETS = {
    "allcnn-c": all_cnn,
    "msplit1": msplit1,
    "msplit2": msplit2,
    "lenet": lenet,
    "cifar10_full": cifar10_full,
    "resnet20": resnet20,
}


class Loop:
    """Trains a module on images (N, C, H, W) float32 and labels (N,) held in memory.

    crop: side of the images that the net sees, None for whole ones; mirror: of every other batch.
    """

    def __init__(
        self, net, images, labels, batch, crop=None, mirror=False, device="cpu", compiled=False
    ):
        self.net = net.to(device, memory_format=torch.channels_last).train()
        self.run = torch.compile(self.net) if compiled else self.net
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=0.01, momentum=0.9, weight_decay=0.0005
        )
        self.images = torch.as_tensor(images, dtype=torch.float32, device=device)
        self.labels = torch.as_tensor(labels, dtype=torch.long, device=device)
        self.batch, self.crop, self.mirror, self.at = batch, crop, mirror, 0

    def next(self):
        rows = slice(self.at, self.at + self.batch)
        self.at = (self.at + self.batch) % max(1, len(self.images) - self.batch)
        x = self.images[rows]
        if self.crop:
            top, left = torch.randint(0, x.shape[-1] - self.crop + 1, (2,)).tolist()
            x = x[:, :, top : top + self.crop, left : left + self.crop]
        if self.mirror and torch.rand(()) < 0.5:
            x = x.flip(3)
        return x.contiguous(memory_format=torch.channels_last), self.labels[rows]

    def step(self, count):
        for _ in range(count):
            x, labels = self.next()
            loss = cross_entropy(self.run(x), labels)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()


def main():
    """Train alone in this process and print the seconds of a step, after one to warm up."""
    parser = Parser(description=main.__doc__)
    parser.add_argument("net", choices=NETS)
    parser.add_argument("folder", help="with images.npy and labels.npy")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--crop", type=int)
    parser.add_argument("--mirror", action="store_true")
    args = parser.parse_args()
    import numpy as np

    images, labels = (np.load(Path(args.folder) / f"{name}.npy") for name in ("images", "labels"))
    loop = Loop(NETS[args.net](args.width), images, labels, args.batch_size, args.crop, args.mirror)
    loop.step(1)
    start = time.perf_counter()
    loop.step(args.steps)
    print((time.perf_counter() - start) / args.steps)


if __name__ == "__main__":
    run(main)
