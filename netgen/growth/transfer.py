"""A child's weights from its parent's; start.py and kinds.py tell what the new layers get."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netgen import schema
from netgen.growth.errors import TransferError
from netgen.growth.kinds import KINDS
from netgen.growth.plan import LayerPlan
from netgen.growth.split import Split, SplitLayer
from netgen.growth.start import Blobs, Init, Start, checked
from netgen.schema import caffe_pb


def transfer_weights(
    split: Split, weights: caffe_pb.NetParameter, init: Init | None = None
) -> caffe_pb.NetParameter:
    """The child's weights: a NetParameter to be written as its caffemodel.

    split: the Split of the net whose caffemodel the weights are; they stay unchanged. Layers that
    the plan leaves alone are copied by name; what the net does not have is left out, as Caffe
    would ignore it. Raises TransferError for weights of another net.
    """
    old = {layer.name: layer for layer in weights.layer}
    kept = {layer.name for layer in split.parent.layer}
    for replaced in split.layers:
        if replaced.plan.layer in kept - old.keys():
            raise TransferError(f"there are no weights of layer '{replaced.plan.layer}'")
    new = carry(
        split,
        arrays(weights),
        lambda layer, blobs: part_weights(layer.layer, layer.plan, blobs, init or Init()),
    )
    result = caffe_pb.NetParameter(name=split.child.name)
    for layer in {layer.name: layer for layer in split.child.layer}.values():
        if layer.name in kept and layer.name in old:
            result.layer.add().CopyFrom(old[layer.name])
        elif layer.name not in kept:
            written = result.layer.add()
            written.CopyFrom(layer)
            for array in new.get(layer.name, []):
                schema.array_to_blob(array, written.blobs.add())
    return result


def arrays(weights: caffe_pb.NetParameter) -> Blobs:
    """{layer name: [array of each blob]} of a caffemodel. Raises SchemaError naming the layer."""
    found = {}
    for layer in weights.layer:
        try:
            found[layer.name] = [schema.blob_to_array(blob) for blob in layer.blobs]
        except schema.SchemaError as error:
            raise schema.SchemaError(f"layer '{layer.name}': {error}") from None
    return found


def carry(
    split: Split, blobs: Blobs, rule: Callable[[SplitLayer, list[np.ndarray]], Blobs]
) -> Blobs:
    """The child's {layer name: [array]} from the parent's.

    rule(split layer, arrays) gives {role: [array]} of the parts of one split layer, and is asked
    for each layer of the plan that `blobs` has.
    """
    blobs = dict(blobs)
    for layer in split.layers:
        if layer.plan.layer in blobs:
            made = rule(layer, blobs.pop(layer.plan.layer))
            blobs |= {layer.parts[role].name: new for role, new in made.items()}
    return blobs


def part_weights(
    layer: caffe_pb.LayerParameter, plan: LayerPlan, blobs: list[np.ndarray], init: Init
) -> Blobs:
    """{role: [weight, bias]} of the parts of `layer` by the table in kinds.py.

    blobs: the layer's arrays, weight (N, C / group, *kernel) and bias (N).
    """
    start = Start(layer, plan, checked(layer, blobs), init)
    KINDS[plan.kind].start(start)
    start.pointwise("reorder", np.eye(plan.num_output)[:, [*sorted(plan.fast), *sorted(plan.slow)]])
    return start.weights
