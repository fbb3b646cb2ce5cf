"""A compact notation for nets: one layer a line.

    conv Convolution data > conv | {n: 4 k: 3} param { lr_mult: 2 }

is name, type, bottoms, `>`, tops; behind `|` the fields of the type's own message in braces
(n: num_output, k: kernel_size), then fields of LayerParameter. Layers that learn get random
fillers unless the line says otherwise, so that nothing stays at zero. A line that starts with
`=` is text of the NetParameter as it stands. `@data` is the usual pair of Data layers:

    @data target label batch=6,5 source=target : transform_param { scale: 0.5 }
"""

import re

from netgen import schema
from netgen.schema import caffe_pb

#: types whose own message is not called after them
_OWN = {
    "ReLU6": "relu6_param",
    "Deconvolution": "convolution_param",
    "Im2col": "convolution_param",
    "SoftmaxWithLoss": "loss_param",
    "SigmoidCrossEntropyLoss": "loss_param",
    "LSTM": "recurrent_param",
    "RNN": "recurrent_param",
}
_BY_TYPE = {
    field.message_type.name.removesuffix("Parameter"): field.name
    for field in reversed(caffe_pb.LayerParameter.DESCRIPTOR.fields)  # relu_param, not relu6_param
    if field.name.endswith("_param")
}
_SHORT = {"n": "num_output", "k": "kernel_size"}
_WEIGHTS = {
    "Convolution": 0.3,
    "Deconvolution": 0.3,
    "InnerProduct": 0.1,
    "Embed": 0.3,
    "LSTM": 0.3,
    "RNN": 0.3,
}
_BIAS = 'type: "uniform" min: -0.2 max: 0.2'


def own_field(kind):
    """The LayerParameter field with the options of layer type `kind`, or None."""
    return _OWN.get(kind, _BY_TYPE.get(kind))


def layer_text(line):
    """One line of the notation as `layer { ... }`. Raises ValueError for a malformed line."""
    head, _, body = line.partition("|")
    left, _, right = head.partition(">")
    words = left.split()
    if len(words) < 2:
        raise ValueError(f"not a layer: {line!r}")
    name, kind, *bottoms = words
    own, rest = _own_and_rest(body.strip())
    if kind != "LRN":
        own = re.sub(r"\b([nk]):", lambda m: _SHORT[m[1]] + ":", own)
    own = " ".join([own, *_default_fillers(kind, own, len(bottoms))]).strip()
    parts = [f'name: "{name}" type: "{kind}"']
    parts += [f'bottom: "{blob}"' for blob in bottoms]
    parts += [f'top: "{blob}"' for blob in right.split()]
    if own:
        parts.append(f"{own_field(kind)} {{ {own} }}")
    return f"layer {{ {' '.join([*parts, rest])} }}"


def _own_and_rest(body):
    """The text in the braces that `body` starts with, and what follows them."""
    if not body.startswith("{"):
        return "", body
    depth = 0
    for i, character in enumerate(body):
        depth += (character == "{") - (character == "}")
        if not depth:
            return body[1:i].strip(), body[i + 1 :].strip()
    raise ValueError(f"braces do not close: {body!r}")


def _default_fillers(kind, own, bottoms):
    """Random fillers for the blobs whose filler `own` does not give."""
    if kind in _WEIGHTS:
        if "weight_filler" not in own:
            yield f'weight_filler {{ type: "gaussian" std: {_WEIGHTS[kind]} }}'
        if "bias_filler" not in own and "bias_term: false" not in own:
            yield f"bias_filler {{ {_BIAS} }}"
    if kind == "Scale":
        if bottoms == 1 and not re.search(r"(^| )filler", own):
            yield 'filler { type: "uniform" min: 0.5 max: 1.5 }'
        if "bias_term: true" in own and "bias_filler" not in own:
            yield f"bias_filler {{ {_BIAS} }}"
    if kind == "Bias" and bottoms == 1 and "filler" not in own:
        yield f"filler {{ {_BIAS} }}"


def data_pair(words):
    """The two Data layers of an `@data` line (without the `@data`)."""
    head, _, body = words.partition(":")
    given = dict(word.split("=") for word in head.split() if "=" in word)
    tops = [word for word in head.split() if "=" not in word] or ["data", "label"]
    train, test = given.get("batch", "4,3").split(",")
    source = given.get("source", tops[0]) + "_lmdb"
    # Older Caffes share a reader between layers of one name and source: another spelling helps.
    phases = (("TRAIN", train, source), ("TEST", test, f"./{source}"))
    return [
        f"{given.get('name', tops[0])} Data > {' '.join(tops)} "
        f'| {{source: "{path}" batch_size: {batch} backend: LMDB}} '
        f"include {{ phase: {phase} }} {body}"
        for phase, batch, path in phases
    ]


def net_text(name, lines):
    """The prototxt of a net given in the notation, one field a line."""
    parts = [f'name: "{name}"']
    for line in lines:
        if line.startswith("="):
            parts.append(line[1:])
        elif line.startswith("@data"):
            parts += map(layer_text, data_pair(line[len("@data") :]))
        else:
            parts.append(layer_text(line))
    try:
        return schema.to_text(schema.parse_text("\n".join(parts), caffe_pb.NetParameter, name))
    except schema.SchemaError:  # a net that is meant to be broken
        return "\n".join(parts) + "\n"
