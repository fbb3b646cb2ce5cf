"""The weights that the parts of a split layer start from.

There are two starts. `study`, that of the case study, is near the parent's function but not at it.
With `preserve` the child computes what the parent did, to float32 rounding. The parts start as the
table in kinds.py says. Biases are the parent's rows for split1 and split2, and 0 for all others.
The centre of a kernel of even size k is its place k // 2. Noise is Gaussian and on every weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from netgen import graph
from netgen.checks import check_count, check_number
from netgen.errors import CaffeError
from netgen.growth.errors import TransferError
from netgen.growth.parts import Halves, by_row, groups, own_param
from netgen.schema import caffe_pb

#: {layer name or role: the arrays of its blobs}
Blobs = dict[str, list[np.ndarray]]

INITS = ("study", "preserve")
PRES = ("sharpened", "filler", "gradient")
# Ours: the study gives no value. In a quarter-width All-CNN-C trained to 38 % (n = 1), extensions
# of conv1, conv2 and conv8 with this noise moved the scores by 6 % of the largest.
NOISE = 0.01


@dataclass(frozen=True)
class Init:
    """How new layers start.

    kind: one of INITS. noise: standard deviation of the noise on new 1x1 weights; None is NOISE
    for study, and preserve has none. seed: of the noise. pre: what residual_pre starts from, one
    of PRES. gradient: the gradients that `gradient` takes it from, by layer. Raises CaffeError.
    """

    kind: str = "study"
    noise: float | None = None
    seed: int = 0
    pre: str = "sharpened"
    gradient: Blobs | None = None

    def __post_init__(self) -> None:
        if self.pre not in PRES:
            raise CaffeError(f"Unknown residual_pre: '{self.pre}' (known: {', '.join(PRES)})")
        if (self.pre == "gradient") != (self.gradient is not None):
            raise CaffeError("a residual_pre from the gradient and a gradient go together")
        if self.kind not in INITS:
            raise CaffeError(f"Unknown init: '{self.kind}' (known: {', '.join(INITS)})")
        if self.noise is None:
            object.__setattr__(self, "noise", 0.0 if self.preserve else NOISE)
        check_number("noise", self.noise, least=0)
        check_count("seed", self.seed, least=0)
        if self.preserve and self.noise:
            raise CaffeError(f"init preserve has no noise (noise {self.noise:g})")

    @property
    def preserve(self) -> bool:
        """Whether the child is to compute what the parent did."""
        return self.kind == "preserve"


def rows(plan: Halves, blobs: list[np.ndarray]) -> Blobs:
    """The parent's rows of any blobs indexed by output: {role: [array]} of the two splits."""
    # In the parent's order, whatever the plan's: then groups stay together, and plans that name
    # the same channels are the same plan.
    return {
        role: [blob[sorted(channels)] for blob in blobs]
        for role, channels in (("split1", plan.fast), ("split2", plan.slow))
    }


class Start:
    """The weights that the parts of one split layer start from.

    weights: {role: [weight, bias]}, at first those of split1 and split2. A Kind sets those of
    what stands beside split2 with the methods below. channels: of the layer's bottom.
    """

    def __init__(
        self,
        layer: caffe_pb.LayerParameter,
        plan: Halves,
        blobs: list[np.ndarray],
        init: Init,
    ):
        self.layer = layer
        self.plan = plan
        self.preserve = init.preserve
        self.weights = rows(plan, blobs)
        self._slow = self.weights["split2"][0]
        self.channels = self._slow.shape[1] * groups(layer)
        self._init = init

    def residual_pre(self, role: str) -> None:
        """A layer of the shape of the slow kernels, as the Init's `pre` has it; no bias."""
        make = {"sharpened": self._sharpened, "filler": self._filled, "gradient": self._steepest}
        weight = make[self._init.pre](role).astype(np.float32)
        self.weights[role] = [weight, *map(np.zeros_like, self.weights["split2"][1:])]

    def _sharpened(self, role: str) -> np.ndarray:
        """-0.2 times the slow kernels, with 2 times them added at the centre."""
        weight = np.float32(-0.2) * self._slow
        weight[_centre(weight)] += np.float32(2) * self._slow[_centre(self._slow)]
        return weight

    def _filled(self, role: str) -> np.ndarray:
        """What msra draws for a layer before a ReLU, whatever the parent's filler was."""
        deviation = np.sqrt(2 / self._slow[0].size)
        return self._random(role).normal(0, deviation, self._slow.shape)

    def _steepest(self, role: str) -> np.ndarray:
        """The kernels with which the loss falls fastest in the weights of residual_post.

        Those start at 0. Had the ReLU a slope of 1 everywhere, their gradient would be M R^T,
        with M the gradient of the slow kernels, a row each, and R the rows of residual_pre: of
        given length it is largest where these are the leading right singular vectors of M
        (GradMax, Evci et al. 2022, arXiv:2201.05125, section 3). Where there are fewer of them
        than kernels, they come again with the other sign, as the ReLU passes only one. Every
        kernel has the length of a slow one, in the root of the mean square.
        """
        gradients = (self._init.gradient or {}).get(self.layer.name)
        if not gradients:
            raise TransferError(f"there is no gradient of layer '{self.layer.name}'")
        if gradients[0].size != self.plan.num_output * self._slow[0].size:
            raise TransferError(
                f"layer '{self.layer.name}' has a gradient of "
                f"{graph.shape_string(gradients[0].shape)}"
            )
        if groups(self.layer) > 1:
            raise TransferError(
                f"layer '{self.layer.name}' has groups, each of which would need a gradient of "
                "its own"
            )
        count = len(self._slow)
        matrix = gradients[0].reshape(self.plan.num_output, -1)[sorted(self.plan.slow)]
        if not np.isfinite(matrix).all() or not matrix.any():
            raise TransferError(f"layer '{self.layer.name}' has a gradient that is 0 or not finite")
        vectors = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)[2]
        vectors *= np.sign(vectors.sum(1, keepdims=True)) + (vectors.sum(1, keepdims=True) == 0)
        rows_ = [vectors[i % len(vectors)] * (-1) ** (i // len(vectors)) for i in range(count)]
        length = np.linalg.norm(self._slow) / np.sqrt(count)
        return (np.array(rows_) * length).reshape(self._slow.shape)

    def _random(self, role: str) -> np.random.Generator:
        name = f"{self.layer.name}_{role}"
        return np.random.default_rng([self._init.seed, crc32(name.encode())])

    def identity(self, role: str, scale: float = 1) -> None:
        """A 1x1 layer that passes the slow outputs on, times `scale`, with the start's noise."""
        self.pointwise(role, np.eye(len(self._slow)) * scale)

    def pointwise(self, role: str, matrix: np.ndarray, exact: bool = False) -> None:
        """A 1x1 layer with this (outputs, inputs) matrix as its weights, and a bias of 0.

        exact: without the start's noise.
        """
        if not exact and self._init.noise:
            matrix = matrix + self._random(role).normal(0, self._init.noise, matrix.shape)
        weight = matrix.astype(np.float32).reshape(matrix.shape + (1,) * (self._slow.ndim - 2))
        biases = len(self.weights["split2"]) - 1
        self.weights[role] = [weight] + [np.zeros(len(matrix), np.float32)] * biases

    def slow_channels(self, role: str) -> None:
        """A 1x1 layer without bias that passes on the bottom's channels of the slow outputs."""
        self.pointwise(role, np.eye(self.plan.num_output)[sorted(self.plan.slow)], exact=True)
        del self.weights[role][1:]

    def subtract_slow_channels(self, side: int = 1) -> None:
        """Subtract from split2 what slow_channels passes on of the mean of side x side places.

        The squares begin at the centres of the kernels.
        """
        places = [slice(size // 2, size // 2 + side) for size in self._slow.shape[2:]]
        square = self._slow[(slice(None), slice(None), *places)]
        for row, channel in enumerate(sorted(self.plan.slow)):
            # An output reads the channels of its own group only.
            square[row, channel % self._slow.shape[1]] -= 1 / side ** len(places)


def _centre(weight: np.ndarray) -> tuple[slice | int, ...]:
    """The index of the middle of the kernel, all outputs and inputs: it gives a view."""
    return (slice(None), slice(None), *(size // 2 for size in weight.shape[2:]))


def checked(layer: caffe_pb.LayerParameter, blobs: list[np.ndarray]) -> list[np.ndarray]:
    """A layer's arrays, those of older files in the shapes of today. Raises TransferError."""
    param, name = own_param(layer), layer.name
    wanted = 1 + param.bias_term
    if len(blobs) != wanted:
        raise TransferError(
            f"layer '{name}' has {wanted} blobs in the net and {len(blobs)} in the weights"
        )
    weight, *bias = [by_row(layer, blobs[0]), *blobs[1:]]
    outputs = param.num_output
    if weight.ndim < 2 or weight.shape[0] != outputs or any(b.size != outputs for b in bias):
        shapes = " and ".join(graph.shape_string(blob.shape) for blob in blobs)
        raise TransferError(
            f"layer '{name}' has {outputs} outputs in the net and blobs of shape "
            f"{shapes} in the weights"
        )
    is_convolution = layer.type == "Convolution"
    kernel = graph.conv_geometry(param, weight.ndim - 2).kernel if is_convolution else ()
    if kernel != weight.shape[2:]:
        raise TransferError(
            f"layer '{name}' has kernel {' '.join(map(str, kernel))} in the net "
            f"and {' '.join(map(str, weight.shape[2:]))} in the weights"
        )
    return [weight, *(b.reshape(-1) for b in bias)]
