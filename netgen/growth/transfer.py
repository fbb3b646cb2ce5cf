"""A child's weights from its parent's.

Two starts. `study`, that of the case study: near the parent's function, not at it. `preserve`:
the child computes what the parent did, to float32 rounding. W: the rows of the slow kernels.

    part           study                           preserve
    split1         the fast kernels                the same
    split2         W                               W; beside a skip less what the skip adds
    residual_pre   -0.2 W, plus 2 W at the centre  the same
    residual_post  identity + noise                0
    extension      identity + noise                identity
    skip           identity on the slow channels   the same
    reorder        the parent's order + noise      the parent's order

Biases are the parent's rows for the splits and 0 for all others. `preserve` zeroes the outgoing
side of the residual and not the incoming: a ReLU unit fed by zeros would never get a gradient.
The centre of a kernel of even size k is its place k // 2. Noise is Gaussian on every weight.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from netgen import graph, schema
from netgen.checks import check_count, check_number
from netgen.errors import CaffeError
from netgen.growth.split import apply, split_net
from netgen.schema import caffe_pb

INITS = ("study", "preserve")
# Ours: the study gives no value. In a quarter-width All-CNN-C trained to 38 % (n = 1), extensions
# of conv1, conv2 and conv8 with this noise moved the scores by 6 % of the largest.
NOISE = 0.01


class TransferError(CaffeError):
    """Weights that do not fit the net they are said to be of."""


@dataclass(frozen=True)
class Init:
    """How new layers start: kind, one of INITS; noise: standard deviation; seed of the noise.

    noise None: NOISE for study; preserve has none. Raises CaffeError.
    """

    kind: str = "study"
    noise: float | None = None
    seed: int = 0

    def __post_init__(self):
        if self.kind not in INITS:
            raise CaffeError(f"Unknown init: '{self.kind}' (known: {', '.join(INITS)})")
        if self.noise is None:
            object.__setattr__(self, "noise", 0.0 if self.preserve else NOISE)
        check_number("noise", self.noise, least=0)
        check_count("seed", self.seed, least=0)
        if self.preserve and self.noise:
            raise CaffeError(f"init preserve has no noise (noise {self.noise:g})")

    @property
    def preserve(self):
        return self.kind == "preserve"


def transfer_weights(net, weights, plan, init=None, data_shape=None):
    """The child's weights: a NetParameter to be written as its caffemodel.

    net: the parent's NetParameter. weights: the parent's caffemodel, unchanged. plan: the Plan
    that also makes the child net. init: an Init. Layers that the plan leaves alone are copied by
    name; what the net does not have is left out, as Caffe would ignore it.
    Raises what split_net raises, and TransferError for weights of another net.
    """
    child = split_net(net, plan, data_shape)
    old = {layer.name: layer for layer in weights.layer}
    for layer_plan in plan.layers:
        if layer_plan.layer in {x.name for x in net.layer} - old.keys():
            raise TransferError(f"there are no weights of layer '{layer_plan.layer}'")
    new = carry(
        net,
        arrays(weights),
        plan,
        lambda layer, step, blobs: part_weights(layer, step, blobs, init or Init()),
    )
    result = caffe_pb.NetParameter(name=child.name)
    kept = {layer.name for layer in net.layer}
    for layer in {layer.name: layer for layer in child.layer}.values():
        if layer.name in kept and layer.name in old:
            result.layer.add().CopyFrom(old[layer.name])
        elif layer.name not in kept:
            written = result.layer.add()
            written.CopyFrom(layer)
            for array in new.get(layer.name, []):
                schema.array_to_blob(array, written.blobs.add())
    return result


def arrays(weights):
    """{layer name: [array of each blob]} of a caffemodel. Raises SchemaError naming the layer."""
    found = {}
    for layer in weights.layer:
        try:
            found[layer.name] = [schema.blob_to_array(blob) for blob in layer.blobs]
        except schema.SchemaError as error:
            raise schema.SchemaError(f"layer '{layer.name}': {error}") from None
    return found


def carry(net, blobs, plan, rule):
    """The child's {layer name: [array]} from the parent's.

    rule(layer, layer_plan, arrays) gives {role: [array]} of the parts of one split layer, and is
    asked for each layer of the plan that `blobs` has.
    """
    blobs = dict(blobs)
    for step in plan.layers:
        if step.layer in blobs:
            layer = next(layer for layer in net.layer if layer.name == step.layer)
            made = rule(layer, step, blobs.pop(step.layer))
            blobs |= {f"{step.layer}_{role}": new for role, new in made.items()}
        net = apply(net, step)
    return blobs


def rows(step, blobs):
    """The parent's rows of any blobs indexed by output: {role: [array]} of the two splits."""
    # In the parent's order, whatever the plan's: then groups stay together, and plans that name
    # the same channels are the same plan.
    return {
        role: [blob[sorted(channels)] for blob in blobs]
        for role, channels in (("split1", step.fast), ("split2", step.slow))
    }


def part_weights(layer, step, blobs, init):
    """{role: [weight, bias]} of the parts of `layer` (LayerParameter) by the table above.

    step: its LayerPlan. blobs: its arrays, weight (N, C / group, *kernel) and bias (N).
    """
    blobs = checked(layer, blobs)
    made = rows(step, blobs)
    slow = made["split2"][0]
    order = [*sorted(step.fast), *sorted(step.slow)]

    def pointwise(role, matrix, exact=False):
        if not exact and init.noise:
            random = np.random.default_rng([init.seed, crc32(f"{layer.name}_{role}".encode())])
            matrix = matrix + random.normal(0, init.noise, matrix.shape)
        weight = matrix.astype(np.float32).reshape(matrix.shape + (1,) * (slow.ndim - 2))
        made[role] = [weight] + [np.zeros(len(matrix), np.float32)] * (len(blobs) - 1)

    if step.kind == "residual":
        made["split2_residual_pre"] = [_edges(slow), *map(np.zeros_like, made["split2"][1:])]
        pointwise("split2_residual_post", np.eye(len(slow)) * (not init.preserve))
    elif step.kind == "extension":
        pointwise("split2_extension", np.eye(len(slow)))
    else:
        if slow.shape[1] * layer.convolution_param.group != step.num_output:
            raise TransferError(
                f"layer '{layer.name}' cannot have a skip: it has "
                f"{step.num_output} outputs, and its weights are for "
                f"{slow.shape[1] * layer.convolution_param.group} channels"
            )
        pointwise("split2_skip", np.eye(step.num_output)[sorted(step.slow)], exact=True)
        del made["split2_skip"][1:]
        if init.preserve:
            _take_off_identity(slow, sorted(step.slow))
    pointwise("reorder", np.eye(step.num_output)[:, order])
    return made


def _edges(weight):
    edges = np.float32(-0.2) * weight
    edges[_centre(weight)] += np.float32(2) * weight[_centre(weight)]
    return edges


def _take_off_identity(weight, channels):
    """Subtract from the rows of these channels what passes the channel itself on, in place."""
    centre = weight[_centre(weight)]
    for row, channel in enumerate(channels):
        centre[row, channel % weight.shape[1]] -= 1  # an output reads its own group's channels


def _centre(weight):
    """The index of the middle of the kernel, all outputs and inputs: a view."""
    return (slice(None), slice(None), *(size // 2 for size in weight.shape[2:]))


def checked(layer, blobs):
    """A Convolution's arrays, a bias of older files made flat. Raises TransferError."""
    param, name = layer.convolution_param, layer.name
    wanted = 1 + param.bias_term
    if len(blobs) != wanted:
        raise TransferError(
            f"layer '{name}' has {wanted} blobs in the net and {len(blobs)} in the weights"
        )
    weight, *bias = blobs
    outputs = param.num_output
    if weight.ndim < 2 or weight.shape[0] != outputs or any(b.size != outputs for b in bias):
        shapes = " and ".join(graph.shape_string(blob.shape) for blob in blobs)
        raise TransferError(
            f"layer '{name}' has {outputs} outputs in the net and blobs of shape "
            f"{shapes} in the weights"
        )
    kernel = graph.conv_geometry(param, weight.ndim - 2).kernel
    if kernel != weight.shape[2:]:
        raise TransferError(
            f"layer '{name}' has kernel {' '.join(map(str, kernel))} in the net "
            f"and {' '.join(map(str, weight.shape[2:]))} in the weights"
        )
    return [weight, *(b.reshape(-1) for b in bias)]
