"""What Caffe's forks have: fields that change no result here, and whose the others are.

Source: the caffe.proto of 33 forks. A fork is called by its repository, or by what it is known for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from netgen.schema.caffe_pb import NetParameter
from netgen.schema.fork_names import FORK_OF

#: Fields that say how something is computed or read, and never what: skipped with a warning.
IGNORED = frozenset(
    [
        "NetParameter.default_forward_type",
        "NetParameter.default_backward_type",
        "NetParameter.default_forward_math",
        "NetParameter.default_backward_math",
        "NetParameter.global_grad_scale",
        "NetParameter.global_grad_scale_adaptive",
        "NetParameter.eltwise_mem_sharing",
        "SolverParameter.solver_data_type",
        "LayerParameter.forward_type",
        "LayerParameter.backward_type",
        "LayerParameter.forward_math",
        "LayerParameter.backward_math",
        "LayerParameter.engine",
        "ConvolutionParameter.cudnn_convolution_algo_seeker",
        "ConvolutionParameter.conv_algos_override",
        "ConvolutionParameter.conv_algorithm",
        "BatchNormParameter.engine",
        "BNParameter.engine",
        "DropoutParameter.engine",
        "InnerProductParameter.engine",
        "DataParameter.threads",
        "DataParameter.parser_threads",
        "DataParameter.cache",
        "DataParameter.precache",
        "ImageDataParameter.threads",
        "ImageDataParameter.cache",
        "ImageDataParameter.precache",
    ]
)
#: Values of Caffe's own `engine` fields that forks add.
_ENGINES = ("MKL2017", "MKLDNN")

_OWN_LAYER = "a layer of your own (-layers FILE.py, docs/own_layers.md), or "
_FORK = "the fork itself (-engine pycaffe with CAFFE_ROOT)"

#: The fields of a LayerParameter whose numbers forks use for other fields, and whose they are.
_TYPES_OF_FIELD = {
    "embed_param": ("Embed",),
    "tile_param": ("Tile",),
    "batch_norm_param": ("BatchNorm",),
    "elu_param": ("ELU",),
    "bias_param": ("Bias",),
    "scale_param": ("Scale",),
    "input_param": ("Input",),
    "crop_param": ("Crop",),
    "parameter_param": ("Parameter",),
    "recurrent_param": ("LSTM", "RNN"),
    "swish_param": ("Swish",),
    "clip_param": ("Clip",),
    "annotated_data_param": ("AnnotatedData",),
    "multibox_loss_param": ("MultiBoxLoss",),
    "permute_param": ("Permute",),
    "prior_box_param": ("PriorBox",),
    "detection_output_param": ("DetectionOutput",),
    "detection_evaluate_param": ("DetectionEvaluate",),
    "norm_param": ("Normalize",),
}
#: Those of a TransformationParameter, which are of SSD's data layers.
_TRANSFORMATIONS = [
    "resize_param",
    "noise_param",
    "emit_constraint",
    "crop_h",
    "crop_w",
    "distort_param",
    "expand_param",
]


def fork_of(name: str) -> str:
    """The forks that have a layer type, a field or a value; "" where none is known.

    name: the type, Message.field, or Message.field=VALUE.
    """
    return FORK_OF.get(name, "")


def skipped(message: Message) -> str | None:
    """The line about fields and values in a net or solver that change no result, or None."""
    found = Counter(_ignored(message))
    if not found:
        return None
    names = ", ".join(f"{name} ({count})" for name, count in sorted(found.items()))
    return f"skipped, since it changes no result here: {names}"


def _ignored(message: Message) -> Iterator[str]:
    descriptor = message.DESCRIPTOR
    if descriptor.name == "BlobProto":
        return
    of_image_data = descriptor.name == "LayerParameter" and message.type == "ImageData"  # type: ignore[attr-defined]
    if of_image_data and message.image_data_param.HasField("label_type"):  # type: ignore[attr-defined]
        yield "ImageDataParameter.label_type, which ImageSegData obeys"
    for field, value in message.ListFields():
        name = f"{descriptor.name}.{field.name}"
        if name in IGNORED:
            yield name
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in value if hasattr(value, "extend") else (value,):
                yield from _ignored(inner)
        elif field.enum_type is not None and field.name == "engine":
            engine = field.enum_type.values_by_number[value].name
            if engine in _ENGINES:
                yield f"{name}: {engine}"


def lacking(types: Iterable[str], fields: Iterable[str] = (), values: Iterable[str] = ()) -> str:
    """What a net needs and we lack, with counts and forks, and the ways out; "" for one typo.

    types: layer types that nobody registered, fields: Message.field, values: Message.field=VALUE,
    each as often as it stands in the net. A single name that no fork is known to have is a
    mistake of the net.
    """
    kinds = (
        ("layer types", Counter(types)),
        ("fields", Counter(fields)),
        ("values", Counter(values)),
    )
    names = [name for _, found in kinds for name in found]
    if len(names) < 2 and not any(map(fork_of, names)):
        return ""
    parts = [
        f"{kind} {', '.join(_counted(*item) for item in sorted(found.items()))}"
        for kind, found in kinds
        if found
    ]
    ways = (
        _FORK if all(name.startswith("SolverParameter.") for name in names) else _OWN_LAYER + _FORK
    )
    return f"; all that is needed and not here: {_joined(parts)}; ways out: {ways}"


def drop_misread(net: NetParameter) -> None:
    """Clear what a fork's caffemodel has under a number that is another field's here.

    Only names can be trusted, so that a field stays if its layer is of the field's type.
    """
    for layer in net.layer:
        for field, _ in layer.ListFields():
            types = _TYPES_OF_FIELD.get(field.name)
            if types and layer.type not in types:
                layer.ClearField(field.name)
        if layer.HasField("transform_param") and layer.type != "AnnotatedData":
            for name in _TRANSFORMATIONS:
                layer.transform_param.ClearField(name)


def _joined(parts: list[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def _counted(name: str, count: int) -> str:
    fork = fork_of(name)
    return f"{name} ({count}, of {fork})" if fork else f"{name} ({count})"
