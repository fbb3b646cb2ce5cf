"""What Caffe's forks have: fields that change no result here, and whose the others are.

Source: the caffe.proto of 33 forks. A fork is called by its repository, or by what it is known for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from netgen.schema.caffe_pb import NetParameter

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

_FIELDS = {
    "DRFN": ("LossParameter.class_weight_source"),
    "DeepLab": (
        "ConvolutionParameter.hole ConvolutionParameter.hole_h "
        "ConvolutionParameter.hole_w ImageDataParameter.has_label "
        "ImageDataParameter.max_labels"
    ),
    "DeepLab, PSPNet": ("LayerParameter.seg_accuracy_param"),
    "DlutMedimgGroup": (
        "TransformationParameter.crop_size_w TransformationParameter.crop_size_h "
        "LossParameter.weight_source"
    ),
    "DlutMedimgGroup, intel": ("PoolingParameter.axis"),
    "FlowNet": (
        "DataParameter.disk_reader_threads DataParameter.huge_video_dataset "
        "DataParameter.limit_samples DataParameter.preselection_file "
        "DataParameter.preselection_label DataParameter.range_start"
    ),
    "LRCN, intel": ("ImageDataParameter.min_height ImageDataParameter.min_width"),
    "NVIDIA": (
        "PoolingParameter.torch_pooling BatchNormParameter.scale_filler "
        "BatchNormParameter.scale_bias ImageDataParameter.short_side "
        "ImageDataParameter.dataset_share_per_node SolverParameter.rampup_interval "
        "SolverParameter.rampup_lr SolverParameter.momentum_policy "
        "SolverParameter.max_momentum SolverParameter.momentum_power "
        "DropoutParameter.random_seed LayerParameter.detectnet_groundtruth_param "
        "LayerParameter.detectnet_augmentation_param"
    ),
    "NVIDIA, intel": ("LossParameter.label_smoothing BatchNormParameter.bias_filler"),
    "NVIDIA, jolibrain": ("SolverParameter.min_lr"),
    "PSPNet, caffe_ocr, DeepLab v2": ("BatchNormParameter.update_global_stats"),
    "SSD, video-caffe": ("LayerParameter.video_data_param"),
    "SSL": ("ParamSpec.force_mult ParamSpec.force_regularize"),
    "caffe_ocr": ("LayerParameter.transpose_param"),
    "intel": (
        "PoolingParameter.pad_3d PoolingParameter.kernel_size_3d "
        "PoolingParameter.stride_3d PoolingParameter.avg_include_pad "
        "ConvolutionParameter.relu ConvolutionParameter.negative_slope "
        "ConvolutionParameter.coeff BatchNormParameter.use_weight_bias "
        "BatchNormParameter.bias_term BatchNormParameter.filler "
        "BatchNormParameter.stats_batch_size BatchNormParameter.relu ReLUParameter.fuse "
        "DataParameter.side InnerProductParameter.relu "
        "InnerProductParameter.negative_slope"
    ),
    "intel, jolibrain": ("SolverParameter.warmup_iter SolverParameter.warmup_start_lr"),
    "jolibrain": ("ImageDataParameter.label_size"),
    "video-caffe": (
        "PoolingParameter.pad_shape PoolingParameter.kernel_shape "
        "PoolingParameter.stride_shape ConvolutionParameter.pad_shape "
        "ConvolutionParameter.kernel_shape ConvolutionParameter.stride_shape"
    ),
}
_TYPES = {
    "DeepLab, PSPNet": "SegAccuracy",
    "FlowNet": "FlowWarp",
    "MNC": "MaskPooling MaskResize ROIWarping",
    "MobileNet-YOLO": "SegmentationEvaluate YoloSeg",
    "NVIDIA": "DetectNetTransformation",
    "SSD": "VideoData",
    "caffe_ocr": "Transpose",
    "caffe-lstm": "Lstm",
    "video-caffe": "NdConvolution NdPooling",
}
#: Values of enums, as Message.field=VALUE.
_VALUES = {
    "CRF-RNN": "V1LayerParameter.type=MULTI_STAGE_MEANFIELD",
    "DeepLab": (
        "V1LayerParameter.type=MAT_WRITE "
        "V1LayerParameter.type=SEG_ACCURACY V1LayerParameter.type=PADDING"
    ),
    "visual-concepts": ("V1LayerParameter.type=CROSS_ENTROPY_LOSS V1LayerParameter.type=MIL_DATA"),
}
_FORK_OF_VALUE = {value: fork for fork, values in _VALUES.items() for value in values.split()}
_FORK_OF_FIELD = {field: fork for fork, fields in _FIELDS.items() for field in fields.split()}
_FORK_OF_TYPE = {name: fork for fork, names in _TYPES.items() for name in names.split()}

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
    return next(
        (forks[name] for forks in (_FORK_OF_TYPE, _FORK_OF_FIELD, _FORK_OF_VALUE) if name in forks),
        "",
    )


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
